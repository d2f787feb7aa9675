// What `sixway tunnel config` makes of a tunnel in the store: whose facts they are, and what is printed.

import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, mock, test } from 'node:test';
import { formatIpv4, formatIpv6Prefix } from '../../src/address.ts';
import { CommandFailed } from '../../src/cli/output.ts';
import { type ConfigFlags, factsOf, showConfig } from '../../src/cli/tunnel-config.ts';
import { type Config, loadConfig } from '../../src/config.ts';
import { SECRET_PLACEHOLDER, valuesOf } from '../../src/setup/values.ts';
import { SYSTEMS } from '../../src/setup.ts';
import type { Tunnel } from '../../src/store/tunnels.ts';
import { Fixture, HOME } from '../broker/fixture.ts';

const FLAGS: ConfigFlags = { system: 'sixway', language: 'en' };
let fixture: Fixture;
let config: Config;
let userId: number;

before(async () => {
  fixture = await Fixture.make();
  const file = join(fixture.directory, 'sixway.toml');
  writeFileSync(
    file,
    '[server]\nname = "tb.example"\naddress = "203.0.113.53"\n[tunnel]\nmtu = 1400\n',
  );
  const loaded = loadConfig(file, {});
  assert.ok(loaded.ok);
  config = loaded.config;
  userId = await fixture.addUser('ada');
  await fixture.login({ userId, prefixLength: 56 });
});
after(() => fixture.remove());

async function tunnel(): Promise<Tunnel> {
  return (await fixture.store.tunnel({ userId }))!;
}

async function printed(flags: Partial<ConfigFlags> = {}): Promise<string> {
  const found = await tunnel();
  const log = mock.method(console, 'log', () => {});
  try {
    showConfig(found, config, { ...FLAGS, ...flags });
    return log.mock.calls.map(({ arguments: [line] }) => String(line)).join('\n');
  } finally {
    log.mock.restore();
  }
}

async function refused(flags: Partial<ConfigFlags>): Promise<string> {
  try {
    await printed(flags);
  } catch (error) {
    if (error instanceof CommandFailed) return error.message;
    throw error;
  }
  return 'it did not fail';
}

test('the facts are the tunnel’s own, and the broker’s', async () => {
  const found = await tunnel();
  const values = valuesOf(factsOf(found, config, FLAGS));
  assert.equal(values.host, 'tb.example');
  assert.equal(values.server, '203.0.113.53');
  assert.equal(values.user, 'ada');
  assert.equal(values.mtu, 1400);
  assert.equal(values.keepaliveSeconds, found.keepaliveSeconds);
  assert.equal(values.prefix?.text, formatIpv6Prefix(found.delegation!));
  assert.equal(values.resolver, '2620:fe::fe');
  const link = formatIpv6Prefix(found.link).replace('/64', '');
  assert.deepEqual([values.gateway, values.address], [`${link}1`, `${link}2`]);
});

test('a tunnel’s own MTU comes before the broker’s', async () => {
  const { id } = await tunnel();
  await fixture.store.setTunnelPolicy(id, { mtu: 1300 }, fixture.nowMs);
  assert.equal(factsOf(await tunnel(), config, FLAGS).mtu, 1300);
  await fixture.store.setTunnelPolicy(id, { mtu: undefined }, fixture.nowMs);
});

test('an attachment in UDP counts as behind a NAT; an address given does not', async () => {
  const { client, encapsulation } = factsOf(await tunnel(), config, FLAGS);
  assert.deepEqual(
    [client, encapsulation],
    [{ address: HOME.address, behindNat: true }, 'v6udpv4'],
  );
  const given = factsOf(await tunnel(), config, { ...FLAGS, address: '198.51.100.77' });
  assert.equal(formatIpv4(given.client!.address), '198.51.100.77');
  assert.deepEqual([given.client?.behindNat, given.encapsulation], [false, 'v6v4']);
});

test('by default it is our own client, with headings, files and no secret', async () => {
  const text = await printed();
  assert.match(text, /^Sixway client$/m);
  for (const heading of ['Set up', 'Check', 'Undo'])
    assert.match(text, new RegExp(`^── ${heading} ──$`, 'm'));
  assert.match(
    text,
    /^sixway connect ada@tb\.example --type v6udpv4 --mtu 1400 --prefix-length 56/m,
  );
  assert.match(text, /^Write \/etc\/sixway\/tunnel\.secret, mode 0600:$/m);
  assert.match(text, new RegExp(`^${SECRET_PLACEHOLDER}$`, 'm'));
});

test('another system, another language', async () => {
  const text = await printed({ system: 'mikrotik', language: 'ar', address: '198.51.100.77' });
  assert.match(text, /^── الإعداد ──$/m);
  assert.match(text, /^\/interface 6to4 add name=tb6 local-address=198\.51\.100\.77 /m);
});

test('a system that cannot have the tunnel is refused in words', async () => {
  const text = await printed({ system: 'mikrotik' });
  assert.match(text, /^MikroTik RouterOS 7$/m);
  assert.match(text.replaceAll('\n', ' '), /NAT cannot tell whose its packets are/);
});

test('the list says which systems can have it', async () => {
  const lines = (await printed({ list: true })).split('\n');
  assert.equal(lines.length, SYSTEMS.length + 1);
  assert.match(lines.find((line) => line.startsWith('sixway'))!, /yes$/);
  assert.match(lines.find((line) => line.startsWith('mikrotik'))!, /no$/);
  const rows = JSON.parse(await printed({ list: true, json: true })) as { why?: string }[];
  assert.equal(rows.filter(({ why }) => why !== undefined).length, SYSTEMS.length - 3);
});

test('in JSON there are the steps, in order', async () => {
  const shown = JSON.parse(await printed({ json: true })) as {
    setUp: { text?: string; code?: string; path?: string; mode?: string }[];
  };
  const secret = shown.setUp.find(({ path }) => path === '/etc/sixway/tunnel.secret');
  assert.deepEqual([secret?.code, secret?.mode], [SECRET_PLACEHOLDER, '0600']);
  assert.ok(shown.setUp.every(({ text, code }) => (text === undefined) !== (code === undefined)));
});

test('what cannot be understood is refused', async () => {
  assert.match(await refused({ system: 'amiga' }), /--system is one of sixway, gogoc/);
  assert.match(await refused({ language: 'xx' }), /--language is one of en, ar/);
  assert.match(await refused({ encapsulation: 'gre' }), /--encapsulation is v6udpv4 or v6v4/);
  assert.match(await refused({ address: '198.51.100' }), /--address is an IPv4 address/);
});
