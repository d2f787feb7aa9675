// Every system, filled in with every kind of tunnel, in every language: nothing is left open, nothing
// is said that is not so, and what a machine is to read can be read.

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { describe, test } from 'node:test';
import { formatIpv6Prefix, parseIpv4, parseIpv6 } from '../../src/address.ts';
import type { CodeStep, Step } from '../../src/setup/instructions.ts';
import {
  LANGUAGES,
  type Language,
  type Prose,
  proseParts,
  proseText,
} from '../../src/setup/texts.ts';
import { ENGLISH, type TextKey } from '../../src/setup/texts-en.ts';
import { SECRET_PLACEHOLDER, type TunnelFacts, valuesOf } from '../../src/setup/values.ts';
import {
  type Instructions,
  instructionsFor,
  instructionsOf,
  SYSTEMS,
  systemOf,
} from '../../src/setup.ts';
import { everyCombination, facts, ODD_NAME } from './facts.ts';
import { parseIni, parseYaml, shellWords, systemdWords } from './readers.ts';

const languages = Object.keys(LANGUAGES) as Language[];

function stepsOf(found: Instructions): readonly Step[] {
  return found.serves ? [...found.setUp, ...found.check, ...found.undo] : [];
}

function codeOf(found: Instructions): CodeStep[] {
  return stepsOf(found).filter((step) => step.type === 'code');
}

function saidBy(found: Instructions): Prose[] {
  if (!found.serves) return [found.why];
  return stepsOf(found).flatMap((step) => (step.type === 'prose' ? [step.said] : []));
}

/** All that a reader sees of it. */
function textOf(found: Instructions, language: Language): string {
  const said = saidBy(found).map((prose) => proseText(prose, language));
  return [...said, ...codeOf(found).map(({ text }) => text)].join('\n');
}

function each(check: (found: Instructions, facts: TunnelFacts) => void): void {
  for (const [name, tunnel] of everyCombination())
    for (const found of instructionsFor(tunnel))
      try {
        check(found, tunnel);
      } catch (error) {
        (error as Error).message = `${found.system.id}, ${name}: ${(error as Error).message}`;
        throw error;
      }
}

describe('the table of systems', () => {
  test('ids and titles are unique, and ids are words for a command line', () => {
    assert.equal(new Set(SYSTEMS.map(({ id }) => id)).size, SYSTEMS.length);
    assert.equal(new Set(SYSTEMS.map(({ title }) => title)).size, SYSTEMS.length);
    for (const { id } of SYSTEMS) assert.match(id, /^[a-z]+(-[a-z]+)*$/);
    assert.equal(systemOf('openwrt')?.title, 'OpenWrt');
    assert.equal(systemOf('nothing'), undefined);
  });

  test('holds every system that users were promised', () => {
    const promised =
      'sixway gogoc linux-sit linux-fou systemd-networkd networkmanager netplan ifupdown openwrt ' +
      'mikrotik freebsd openbsd macos windows pfsense opnsense vyos cisco-ios junos fortigate';
    for (const id of promised.split(' ')) assert.ok(systemOf(id), id);
  });

  test('a system serves what it says it serves, and nothing else', () => {
    each((found, { encapsulation, client }) => {
      const { encapsulations, needsPublicAddress } = found.system;
      const can = encapsulations.includes(encapsulation);
      assert.equal(found.serves, can && (!needsPublicAddress || client?.behindNat === false));
    });
  });

  test('every tunnel whose client is known can be had on some system', () => {
    for (const [name, tunnel] of everyCombination())
      assert.ok(
        instructionsFor(tunnel).some(({ serves }) => serves),
        name,
      );
  });

  test('who is not served is told why', () => {
    const why = (id: string, changes: Partial<TunnelFacts>): TextKey | undefined => {
      const found = instructionsOf(systemOf(id)!, facts(changes));
      return found.serves ? undefined : found.why.key;
    };
    const behindNat = { client: { address: parseIpv4('198.51.100.10')!, behindNat: true } };
    assert.equal(why('mikrotik', { encapsulation: 'v6udpv4' }), 'no-udp');
    assert.equal(why('mikrotik', { encapsulation: 'v6udpv4', ...behindNat }), 'no-nat');
    assert.equal(why('mikrotik', behindNat), 'no-nat');
    assert.equal(why('mikrotik', { client: undefined }), 'no-address');
    assert.equal(why('linux-fou', {}), 'no-protocol-41');
    assert.equal(why('sixway', behindNat), undefined);
  });
});

describe('filled in', () => {
  test('no value is missing in any language', () => {
    each((found) => {
      for (const language of languages) {
        const text = textOf(found, language);
        assert.doesNotMatch(text, /undefined|(?<!\/dev\/)null|NaN|\[object|\{[a-z]+\}|<[A-Za-z]/);
        for (const said of saidBy(found))
          for (const { text: part } of proseParts(said, language)) assert.notEqual(part, '');
      }
    });
  });

  test('the secret is never there, only the place for it, and only where somebody logs in', () => {
    each((found) => {
      const places = textOf(found, 'en').split(SECRET_PLACEHOLDER).length - 1;
      const logsIn = ['sixway', 'gogoc', 'linux-fou'].includes(found.system.id);
      assert.equal(places > 0, found.serves && logsIn);
    });
  });

  test('every address is one of the tunnel’s own, or stands for all or for this machine', () => {
    const constants = ['::/0', '::1', '2000::/3'];
    each((found, tunnel) => {
      const { gateway, address, resolver, server, client, prefix, linkLength } = valuesOf(tunnel);
      const own = [gateway, address, resolver, server, client, `${address}/${linkLength}`];
      if (prefix) own.push(prefix.text, prefix.lan, prefix.router, `${prefix.router}/64`);
      for (const seen of addressesIn(textOf(found, 'en')))
        assert.ok([...own, ...constants].includes(seen), seen);
    });
  });

  test('a prefix appears: as a network where the steps set one up, else in words', () => {
    each((found, { prefix }) => {
      if (!found.serves) return;
      const text = textOf(found, 'en');
      if (!prefix) {
        assert.doesNotMatch(text, /2001:db8:2000|your prefix|ip6prefix/i);
        return;
      }
      assert.ok(text.includes(formatIpv6Prefix(prefix)));
      const code = codeOf(found)
        .map(({ text: line }) => line)
        .join('\n');
      const { lan, router } = valuesOf({ ...facts(), prefix }).prefix!;
      const inCode = code.includes(lan) || code.includes(router) || code.includes('ip6prefix');
      // gogoc is told the prefix by the broker and announces it by itself.
      const byItself = found.system.id === 'gogoc';
      assert.equal(inCode || byItself, found.system.servesNetwork);
    });
  });

  test('the gateway is asked in the check, and what is made has an undoing', () => {
    each((found, tunnel) => {
      if (!found.serves) return;
      const { gateway, resolver } = valuesOf(tunnel);
      const checks = found.check.flatMap((step) => (step.type === 'code' ? [step.text] : []));
      assert.ok(checks.some((text) => text.includes(gateway)));
      assert.ok(checks.some((text) => text.includes(resolver)));
      assert.ok(found.undo.length > 0);
      const undo = found.undo
        .map((step) => (step.type === 'code' ? step.text : proseText(step.said, 'en')))
        .join('\n');
      for (const step of codeOf(found))
        if (step.file) assert.ok(undo.includes(step.file.path), step.file.path);
    });
  });

  test('the MTU is the tunnel’s, as far as its encapsulation leaves room', () => {
    assert.equal(valuesOf(facts({ mtu: 1280 })).mtu, 1280);
    assert.equal(valuesOf(facts({ mtu: 9000 })).mtu, 1480);
    assert.equal(valuesOf(facts({ mtu: 9000, encapsulation: 'v6udpv4' })).mtu, 1472);
    for (const found of instructionsFor(facts({ mtu: 1337 })))
      if (found.serves && !['gogoc', 'fortigate'].includes(found.system.id))
        assert.ok(textOf(found, 'en').includes('1337'), found.system.id);
  });

  test('a server whose name nobody can look up is called by its address', () => {
    const named = (name: string) =>
      valuesOf(facts({ server: { name, address: parseIpv4('203.0.113.53')!, port: 3653 } })).host;
    assert.equal(named('tb.example'), 'tb.example');
    for (const name of ['', 'broker', 'a b.example', '$(id).example', '-x.example', 'tb..example'])
      assert.equal(named(name), '203.0.113.53');
  });
});

describe('readable by machines', () => {
  test('shell commands are valid', () => {
    const seen = new Set<string>();
    each((found) => {
      for (const { language, text } of codeOf(found)) if (language === 'sh') seen.add(text);
    });
    const { status, stderr } = spawnSync('bash', ['-n'], {
      input: [...seen].map((text, index) => `f${index}() {\n${text}\n}`).join('\n'),
      encoding: 'utf8',
    });
    assert.equal(stderr, '');
    assert.equal(status, 0);
    assert.ok(seen.size > 50);
  });

  test('units, networks and YAML are valid', () => {
    let read = 0;
    each((found) => {
      for (const { language, text } of codeOf(found)) {
        if (language === 'ini') parseIni(text);
        if (language === 'yaml') parseYaml(text);
        if (language === 'ini' || language === 'yaml') read++;
      }
    });
    assert.ok(read > 10);
  });

  test('netplan’s file says what it shall', () => {
    const found = instructionsOf(systemOf('netplan')!, facts());
    const yaml = codeOf(found).find(({ language }) => language === 'yaml')!;
    assert.deepEqual(parseYaml(yaml.text), {
      network: {
        version: '2',
        ethernets: { eth1: { addresses: ['2001:db8:2000:300::1/64'] } },
        tunnels: {
          tb6: {
            mode: 'sit',
            local: '198.51.100.10',
            remote: '203.0.113.53',
            ttl: '64',
            mtu: '1400',
            addresses: ['2001:db8:1000:7::2/64'],
            routes: [
              { to: '::/0', via: '2001:db8:1000:7::1' },
              { to: '2001:db8:2000:300::/56', type: 'unreachable' },
            ],
          },
        },
      },
    });
  });

  test('a user’s name reaches the client as it is, from a shell and from systemd', () => {
    for (const user of ['ada', 'ada@home', ODD_NAME, '$(reboot)', "'", 'é ü']) {
      for (const encapsulation of ['v6udpv4', 'v6v4'] as const) {
        const blocks = codeOf(instructionsOf(systemOf('sixway')!, facts({ user, encapsulation })));
        const command = blocks.find(({ foreground }) => foreground)!;
        const unit = blocks.find(({ file }) => file?.path.endsWith('sixway-client.service'))!;
        const words = shellWords(command.text);
        assert.ok(words.includes(`${user}@tb.example`), command.text);
        if (user.startsWith('-')) assert.equal(words.at(-2), '--');
        const [{ ExecStart = '' } = {}] = parseIni(unit.text).Service ?? [];
        assert.deepEqual(systemdWords(ExecStart), ['/usr/bin/env', ...words]);
      }
    }
  });

  test('gogoc’s configuration is lines of name=value', () => {
    const found = instructionsOf(systemOf('gogoc')!, facts({ user: ODD_NAME }));
    const config = codeOf(found).find(({ file }) => file)!;
    const lines = config.text.split('\n').map((line) => /^([a-z0-9_]+)=(.*)$/.exec(line)!);
    assert.equal(lines.find(([, name]) => name === 'userid')?.[2], ODD_NAME);
    assert.equal(config.file?.mode, '0600');
  });

  test('whatever holds the secret is for its owner only', () => {
    each((found) => {
      for (const { text, file } of codeOf(found))
        if (text.includes(SECRET_PLACEHOLDER)) assert.equal(file?.mode, '0600');
    });
  });
});

describe('texts', () => {
  const namesIn = (text: string) =>
    [...text.matchAll(/\{([a-z]+)\}/g)].map(([, name]) => name).sort();

  test('every language has every text, with the same values in it', () => {
    for (const { texts } of Object.values(LANGUAGES)) {
      assert.deepEqual(Object.keys(texts), Object.keys(ENGLISH));
      for (const [key, text] of Object.entries(ENGLISH))
        assert.deepEqual(namesIn(texts[key as TextKey]), namesIn(text), key);
    }
  });

  test('Arabic is in Arabic, but for names', () => {
    for (const [key, text] of Object.entries(LANGUAGES.ar.texts))
      if (key !== 'by-v6udpv4') assert.match(text, /\p{Script=Arabic}/u, key);
    assert.equal(new Set(Object.values(LANGUAGES.ar.texts)).size, Object.keys(ENGLISH).length);
  });

  test('every text is used', () => {
    const used = new Set<string>([
      'set-up',
      'check',
      'undo',
      'write-file',
      'by-v6v4',
      'by-v6udpv4',
    ]);
    each((found) => {
      for (const { key } of saidBy(found)) used.add(key);
    });
    assert.deepEqual([...used].sort(), Object.keys(ENGLISH).sort());
  });

  test('values are isolated where the text runs the other way', () => {
    const said = saidBy(instructionsOf(systemOf('linux-sit')!, facts()))[0]!;
    assert.match(proseText(said, 'ar'), /\u2066198\.51\.100\.10\u2069/);
    assert.doesNotMatch(proseText(said, 'en'), /[\u2066\u2069]/);
    const values = proseParts(said, 'ar').filter(({ type }) => type === 'value');
    assert.deepEqual(values, [{ type: 'value', text: '198.51.100.10' }]);
  });
});

function addressesIn(text: string): string[] {
  const ipv4 = [...text.matchAll(/(?<![\d.])\d+\.\d+\.\d+\.\d+(?![\d.])/g)].map(([found]) => found);
  const ipv6 = [...text.matchAll(/(?<![\w:])(?:[0-9a-fA-F]{0,4}:){2,}[0-9a-fA-F]{0,4}(?:\/\d+)?/g)]
    .map(([found]) => found)
    .filter((found) => parseIpv6(found.split('/')[0]!) !== undefined);
  assert.ok(ipv4.every((found) => parseIpv4(found) !== undefined));
  return [...ipv4, ...ipv6];
}
