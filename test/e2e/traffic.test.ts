// A router client with a delegated prefix, a host behind it, and what flows: bulk transfers both
// ways with their sums, and packets that are too big for the tunnel.

import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { formatIpv6, parseIpv6Prefix } from '../../src/address.ts';
import { BROKER_IPV4, buildInternet, type Internet, WEB_IPV6 } from '../lab/internet.ts';
import { type Host, Lab } from '../lab/lab.ts';
import { patternBlock, patternSum } from '../lab/pattern.ts';
import { download, ping, startWebServer, upload } from '../lab/probe.ts';
import {
  addUser,
  type ClientTunnel,
  type RunningBroker,
  startBroker,
  startClient,
  tunnelUp,
} from '../lab/sixway.ts';

const BULK_BYTES = 24_000_000;
const WEB = `http://[${WEB_IPV6}]`;

const lab = new Lab();
let net: Internet;
let broker: RunningBroker;
let laptop: Host;
let tunnel: ClientTunnel;
let bulkFile: string;

before(async () => {
  net = await buildInternet(lab);
  broker = await startBroker(net);
  await startWebServer(net.web);
  const secret = await addUser(broker, 'alice');
  // The client is a router: a laptop behind it has nothing but the delegated prefix.
  laptop = await lab.host('laptop');
  await lab.cable(net.client, 'lan0', laptop, 'eth0');
  await net.client.run('sysctl', ['-qw', 'net.ipv6.conf.all.forwarding=1']);
  const client = startClient(
    net.client,
    `alice@${BROKER_IPV4}`,
    secret,
    '--json',
    '--prefix-length',
    '56',
    '--lan',
    'lan0',
  );
  tunnel = await tunnelUp(client);
  const prefix = parseIpv6Prefix(tunnel.prefix ?? '');
  assert.ok(prefix, `no prefix in ${JSON.stringify(tunnel)}`);
  assert.equal(prefix.length, 56);
  await laptop.ip(`addr add ${formatIpv6(prefix.address | 0x10n)}/64 dev eth0`);
  await laptop.ip(`-6 route add default via ${formatIpv6(prefix.address | 1n)}`);
  bulkFile = join(lab.directory, 'bulk');
  const blocks = Math.floor(BULK_BYTES / 65_536);
  writeFileSync(
    bulkFile,
    Buffer.concat([
      ...new Array<Buffer>(blocks).fill(patternBlock(65_536)),
      patternBlock(BULK_BYTES % 65_536),
    ]),
  );
});
after(() => lab.close());

test('a host behind a router client reaches the IPv6 internet with its delegated prefix', async () => {
  assert.equal(await ping(laptop, WEB_IPV6), 1);
  const page = await laptop.run('curl', ['-6', '-sS', `${WEB}/`]);
  assert.match(page, new RegExp(`You came from ${(tunnel.prefix ?? '').split('::')[0]}::10`));
});

test('the internet reaches a host behind a router client', async () => {
  const address = (tunnel.prefix ?? '').replace(/::\/56$/, '::10');
  assert.equal(await ping(net.web, address), 1);
});

test('an unused part of the delegated prefix does not bounce between router and broker', async () => {
  const unused = (tunnel.prefix ?? '').replace(/00::\/56$/, '42::1');
  assert.notEqual(unused, tunnel.prefix);
  const { stdout } = await net.web.try('ping', ['-n', '-c', '1', '-W', '2', unused]);
  assert.doesNotMatch(stdout, /Time exceeded/i);
  assert.match(stdout, /unreachable|0 received/i);
});

test('a bulk transfer each way arrives whole, for the client and for the host behind it', async () => {
  const expected = `${BULK_BYTES} ${patternSum(BULK_BYTES)}`;
  for (const host of [net.client, laptop]) {
    assert.equal(await download(host, WEB, BULK_BYTES), expected, `down to ${host.name}`);
    assert.equal(await upload(host, WEB, bulkFile), expected, `up from ${host.name}`);
  }
});

test('a 1500-byte packet towards a tunnel yields Packet Too Big, and transfers go on', async () => {
  await net.web.ip('-6 route flush cache');
  const address = (tunnel.prefix ?? '').replace(/::\/56$/, '::10');
  const { stdout, stderr } = await net.web.try('ping', [
    ...['-n', '-c', '2', '-i', '0.2', '-W', '1', '-M', 'do', '-s', '1452', address],
  ]);
  assert.match(stdout + stderr, /mtu[=: ]*1280/i);
  // The laptop announces segments for 1500 bytes; the broker lowers that to what its tunnel carries, so
  // the web server has nothing to learn.
  await net.web.ip('-6 route flush cache');
  const expected = `${BULK_BYTES} ${patternSum(BULK_BYTES)}`;
  assert.equal(await download(laptop, WEB, BULK_BYTES), expected);
  assert.doesNotMatch(await net.web.ip(`-6 route get ${address}`), /mtu 1280/);
});

test('a 1500-byte packet from behind a tunnel yields Packet Too Big, and transfers go on', async () => {
  await laptop.ip('-6 route flush cache');
  const { stdout, stderr } = await laptop.try('ping', [
    ...['-n', '-c', '2', '-i', '0.2', '-W', '1', '-M', 'do', '-s', '1452', WEB_IPV6],
  ]);
  assert.match(stdout + stderr, /mtu[=: ]*1280/i);
  await laptop.ip('-6 route flush cache');
  const expected = `${BULK_BYTES} ${patternSum(BULK_BYTES)}`;
  assert.equal(await upload(laptop, WEB, bulkFile), expected);
});

test('the tunnel’s counters hold what went through it', async () => {
  const shown = JSON.parse(await broker.sixway('tunnel', 'show', 'alice', '--json')) as {
    counters: { inBytes: number; outBytes: number; inLastSeen: string };
  };
  // Twice up and thrice down at least, from the tests above.
  assert.ok(shown.counters.inBytes > 2 * BULK_BYTES, JSON.stringify(shown));
  assert.ok(shown.counters.outBytes > 3 * BULK_BYTES, JSON.stringify(shown));
  assert.ok(Date.now() - Date.parse(shown.counters.inLastSeen) < 60_000, JSON.stringify(shown));
});
