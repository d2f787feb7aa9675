// What strangers and cheats get: dropped, counted, and no effect on anybody else's tunnel.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { parseIpv6 } from '../../src/address.ts';
import { BROKER_IPV4, buildInternet, type Internet, WEB_IPV6 } from '../lab/internet.ts';
import { type Host, Lab } from '../lab/lab.ts';
import { ping, sendDatagrams, startWebServer } from '../lab/probe.ts';
import {
  addUser,
  type ClientTunnel,
  type RunningBroker,
  startBroker,
  startClient,
  tunnelUp,
} from '../lab/sixway.ts';

const lab = new Lab();
let net: Internet;
let broker: RunningBroker;
let neighbour: Host;
let office: Host;
let alice: ClientTunnel;
let bob: ClientTunnel;

before(async () => {
  net = await buildInternet(lab);
  broker = await startBroker(net);
  await startWebServer(net.web);
  neighbour = await net.addClient('neighbour');
  office = await net.addOffice('office', 7);
  alice = await connect(net.client, 'alice');
  bob = await connect(neighbour, 'bob');
});
after(() => lab.close());

async function connect(host: Host, name: string): Promise<ClientTunnel> {
  const secret = await addUser(broker, name);
  return tunnelUp(startClient(host, `${name}@${BROKER_IPV4}`, secret, '--json'));
}

async function counters(): Promise<Record<string, number>> {
  const rows = JSON.parse(await broker.sixway('counters', '--json')) as {
    outcome: string;
    packets: number;
  }[];
  return Object.fromEntries(rows.map(({ outcome, packets }) => [outcome, packets]));
}

/** How much each counter grew while `body` ran, without those that did not. */
async function growth(body: () => Promise<unknown>): Promise<Record<string, number>> {
  const from = await counters();
  await body();
  const to = await counters();
  const grown = Object.entries(to).map(([name, value]) => [name, value - (from[name] ?? 0)]);
  return Object.fromEntries(grown.filter(([, value]) => value !== 0));
}

/** An IPv6 packet with an empty UDP payload to port 9, in hex. */
function innerPacket(source: string, destination: string): string {
  const hex = (address: string) => parseIpv6(address)?.toString(16).padStart(32, '0') ?? '';
  return `6000000000081140${hex(source)}${hex(destination)}1234000900080000`;
}

async function bothStillWork(): Promise<void> {
  assert.equal(await ping(net.client, WEB_IPV6), 1);
  assert.equal(await ping(neighbour, WEB_IPV6), 1);
}

test('two clients behind one NAT each have their own tunnel', async () => {
  assert.notEqual(alice.address, bob.address);
  await bothStillWork();
  assert.equal(await ping(net.client, bob.address), 1, 'from one to the other');
});

test('a spoofed endpoint is dropped and counted', async () => {
  const packets = new Array<string>(25).fill(innerPacket(alice.address, WEB_IPV6));
  const grown = await growth(() => sendDatagrams(office, BROKER_IPV4, 3653, packets));
  assert.equal(grown.in_wrong_endpoint, 25, JSON.stringify(grown));
  await bothStillWork();
});

test('another tunnel’s inner source is dropped and counted', async () => {
  await net.client.ip(`-6 addr add ${bob.address}/128 dev tb6`);
  const grown = await growth(() =>
    ping(net.client, WEB_IPV6, { count: 5, extra: ['-I', bob.address] }),
  );
  await net.client.ip(`-6 addr del ${bob.address}/128 dev tb6`);
  assert.equal(grown.in_wrong_endpoint, 5, JSON.stringify(grown));
  await bothStillWork();
});

test('an inner source from nowhere is dropped and counted', async () => {
  await net.client.ip('-6 addr add 2001:db8:dead::1/128 dev tb6');
  const grown = await growth(() =>
    ping(net.client, WEB_IPV6, { count: 5, extra: ['-I', '2001:db8:dead::1'] }),
  );
  await net.client.ip('-6 addr del 2001:db8:dead::1/128 dev tb6');
  assert.equal(grown.in_outside_pools, 5, JSON.stringify(grown));
  await bothStillWork();
});

test('junk on the port gets no answer, a counter, and changes nothing', async () => {
  const junk = [
    '',
    '00',
    'ff',
    '45000014',
    'f00000',
    '60',
    `6000000000${'00'.repeat(10)}`,
    'deadbeef'.repeat(100),
    `f00000f000000007${'41'.repeat(1200)}`,
    `f00000f000000007${Buffer.from('AUTHENTICATE NONSENSE\r\n').toString('hex')}`,
    `f00000f000000007${Buffer.from('Content-length: 999999\r\n<tunnel').toString('hex')}`,
    `f00000f000000007${Buffer.from('Content-length: 40\r\n<!DOCTYPE a [<!ENTITY b "c">]>').toString('hex')}`,
  ];
  const answers = await sendDatagrams(office, BROKER_IPV4, 3653, junk);
  for (const answer of answers) assert.ok(answer.length / 2 <= 40, `a long answer: ${answer}`);
  await bothStillWork();
  const { code } = await broker.trySixway('tunnel', 'list');
  assert.equal(code, 0);
  assert.ok(broker.service.running);
});

test('a disabled user’s traffic stops within a second and comes back when enabled', async () => {
  await broker.sixway('user', 'disable', 'bob');
  await new Promise((resolve) => setTimeout(resolve, 1000));
  assert.equal(await ping(neighbour, WEB_IPV6), 0);
  assert.equal(await ping(net.client, WEB_IPV6), 1, 'the other user is not touched');
  await broker.sixway('user', 'enable', 'bob');
  await new Promise((resolve) => setTimeout(resolve, 1000));
});
