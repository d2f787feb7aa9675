// `sixway tunnel config`: how one tunnel is set up on the user's system, for support staff to read out
// or send. What to do is setup/'s; here is where the facts come from, and how it looks in a terminal.

import type { Command } from 'commander';
import { parseIpv4, parseIpv6 } from '../address.ts';
import { effectivePolicy } from '../broker/policy.ts';
import type { Config } from '../config.ts';
import { defaultUplink, ipv4AddressesOf } from '../host.ts';
import type { Step } from '../setup/instructions.ts';
import { LANGUAGES, type Language, prose, proseText } from '../setup/texts.ts';
import type { Encapsulation, TunnelFacts } from '../setup/values.ts';
import { type Instructions, instructionsFor, instructionsOf, SYSTEMS, systemOf } from '../setup.ts';
import type { Tunnel } from '../store/tunnels.ts';
import { fail, printJson, printTable } from './output.ts';

export interface ConfigFlags {
  readonly system: string;
  readonly language: string;
  readonly list?: boolean;
  readonly encapsulation?: string;
  readonly address?: string;
  readonly serverAddress?: string;
  readonly json?: boolean;
}

export function addConfigOptions(command: Command): Command {
  return command
    .option('--system <name>', 'the user’s system; --list shows all', 'sixway')
    .option('--list', 'the systems, and which of them this tunnel can have')
    .option('--language <code>', Object.keys(LANGUAGES).join(', '), 'en')
    .option('--encapsulation <name>', 'v6udpv4 or v6v4 (default: as the tunnel is attached)')
    .option('--address <ipv4>', 'the client’s public address, where no NAT is in between')
    .option('--server-address <ipv4>', 'this server as clients see it (default: server.address)');
}

export function showConfig(tunnel: Tunnel, config: Config, flags: ConfigFlags): void {
  const facts = factsOf(tunnel, config, flags);
  const language = (Object.keys(LANGUAGES) as Language[]).find((code) => code === flags.language);
  if (!language) fail(`--language is one of ${Object.keys(LANGUAGES).join(', ')}`);
  if (flags.list) {
    list(instructionsFor(facts), language, flags.json ?? false);
    return;
  }
  const system =
    systemOf(flags.system) ?? fail(`--system is one of ${SYSTEMS.map(({ id }) => id).join(', ')}`);
  const found = instructionsOf(system, facts);
  if (flags.json) printJson(asJson(found, language));
  else console.log(asText(found, language));
}

/** An attachment in UDP is taken for one behind a NAT: clients without one get protocol 41. */
export function factsOf(tunnel: Tunnel, config: Config, flags: ConfigFlags): TunnelFacts {
  const { attachment, user } = tunnel;
  const given = flags.address === undefined ? undefined : ipv4Of('--address', flags.address);
  const client =
    given !== undefined
      ? { address: given, behindNat: false }
      : attachment && {
          address: attachment.client.address,
          behindNat: attachment.encapsulation === 'v6udpv4',
        };
  const { name } = config.server;
  return {
    server: {
      name: name === 'auto' ? '' : name,
      address: serverAddress(config, flags),
      port: config.tsp.port,
    },
    user:
      user?.name ??
      fail('an anonymous tunnel is made anew at each login: there is nothing to keep'),
    encapsulation: encapsulationOf(flags, given === undefined ? attachment?.encapsulation : 'v6v4'),
    gateway: tunnel.link.address | 1n,
    address: tunnel.link.address | tunnel.interfaceId,
    linkLength: tunnel.link.length,
    prefix: tunnel.delegation,
    mtu: effectivePolicy(tunnel).mtu || config.tunnel.mtu,
    keepaliveSeconds: tunnel.keepaliveSeconds,
    client,
    resolver: parseIpv6(config.tunnel.resolver) ?? 0n,
  };
}

/** UDP where nothing is known: it gets through everywhere. */
function encapsulationOf({ encapsulation }: ConfigFlags, otherwise = 'v6udpv4'): Encapsulation {
  const chosen = encapsulation ?? otherwise;
  if (chosen !== 'v6udpv4' && chosen !== 'v6v4') fail('--encapsulation is v6udpv4 or v6v4');
  return chosen;
}

function serverAddress({ server }: Config, flags: ConfigFlags): number {
  if (flags.serverAddress !== undefined) return ipv4Of('--server-address', flags.serverAddress);
  if (server.address !== 'auto') return ipv4Of('server.address', server.address);
  const uplink = server.uplink === 'auto' ? defaultUplink() : server.uplink;
  const [address] = (uplink !== undefined && ipv4AddressesOf(uplink)) || [];
  return address ?? fail('the server’s IPv4 address is not known: give --server-address');
}

function ipv4Of(name: string, text: string): number {
  return parseIpv4(text) ?? fail(`${name} is an IPv4 address`);
}

function list(all: readonly Instructions[], language: Language, json: boolean): void {
  const why = (found: Instructions) => (found.serves ? undefined : proseText(found.why, language));
  if (json) {
    printJson(
      all.map((found) => ({
        system: found.system.id,
        title: found.system.title,
        serves: found.serves,
        why: why(found),
      })),
    );
    return;
  }
  printTable(
    ['system', 'title', 'by', 'this tunnel'],
    all.map(({ system, serves }) => [
      system.id,
      system.title,
      system.encapsulations.join(', '),
      serves ? 'yes' : 'no',
    ]),
  );
}

const SECTIONS = [
  ['set-up', 'setUp'],
  ['check', 'check'],
  ['undo', 'undo'],
] as const;

function asJson(found: Instructions, language: Language) {
  const { id, title } = found.system;
  if (!found.serves)
    return { system: id, title, serves: false, why: proseText(found.why, language) };
  const steps = (all: readonly Step[]) =>
    all.map((step) =>
      step.type === 'prose'
        ? { text: proseText(step.said, language) }
        : {
            code: step.text,
            language: step.language,
            ...step.file,
            ...(step.foreground && { foreground: true }),
          },
    );
  const { setUp, check, undo } = found;
  return {
    system: id,
    title,
    serves: true,
    setUp: steps(setUp),
    check: steps(check),
    undo: steps(undo),
  };
}

/** Headings, wrapped texts, and code without a margin, so that it can be copied from the terminal. */
export function asText(found: Instructions, language: Language): string {
  const lines: string[] = [found.system.title];
  if (!found.serves) return [...lines, '', ...wrap(proseText(found.why, language))].join('\n');
  for (const [heading, section] of SECTIONS) {
    const text = proseText(prose(heading), language);
    lines.push('', `── ${text} ──`);
    for (const step of found[section]) {
      if (step.type === 'prose') {
        lines.push('', ...wrap(proseText(step.said, language)));
        continue;
      }
      const { file } = step;
      if (file) lines.push('', ...wrap(proseText(prose('write-file', file), language)));
      lines.push('', step.text);
    }
  }
  return lines.join('\n');
}

const COLUMNS = 80;

function wrap(text: string): string[] {
  const lines = [''];
  for (const word of text.split(' ')) {
    const last = lines.at(-1) ?? '';
    if (last !== '' && last.length + 1 + word.length > COLUMNS) lines.push(word);
    else lines[lines.length - 1] = last === '' ? word : `${last} ${word}`;
  }
  return lines;
}
