// A broker that sends its clients to another one, at each point of the dialogue, and to the nearest
// of several.

import assert from 'node:assert/strict';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { BROKER_IPV4, buildInternet, type Internet } from '../lab/internet.ts';
import { type Host, Lab } from '../lab/lab.ts';
import { ping } from '../lab/probe.ts';
import { type RunningBroker, startBroker, startClient, tunnelUp } from '../lab/sixway.ts';

const SECOND_IPV4 = '192.0.2.54';
const FAR_IPV4 = '192.0.2.99';
const SECRET = 'one secret for both brokers';
const POOL = ['pool', 'add', '2001:db8:3000::/48', '--for', 'links'];

const lab = new Lab();
let net: Internet;
let office: Host;
let first: RunningBroker | undefined;
let secretFile: string;

before(async () => {
  net = await buildInternet(lab);
  office = await net.addOffice('office', 7);
  const host = await lab.host('second');
  await lab.cable(host, 'eth0', net.backbone, 'to-second');
  await net.backbone.ip('addr add 192.0.2.1/24 dev to-second');
  await host.ip(`addr add ${SECOND_IPV4}/24 dev eth0`);
  await host.ip('route add default via 192.0.2.1');
  const directory = join(lab.directory, 'second');
  mkdirSync(directory);
  const inLab = { id: `${lab.id}b`, directory, onClose: lab.onClose.bind(lab) };
  const second = await startBroker(
    { ...net, lab: inLab as unknown as Lab, broker: host },
    { tsp: 'mechanisms = ["SCRAM-SHA-256", "DIGEST-MD5", "PLAIN"]' },
    [POOL],
  );
  secretFile = join(lab.directory, 'secret');
  writeFileSync(secretFile, SECRET, { mode: 0o600 });
  await second.sixway('user', 'add', 'alice', '--secret-file', secretFile);
});
after(() => lab.close());

/** The first broker, started again with another list. */
async function sendTo(brokers: readonly string[], phase: string): Promise<void> {
  await first?.service.stop();
  const redirect = `redirect = ${JSON.stringify(brokers)}\nredirectPhase = "${phase}"`;
  const tsp = `${redirect}\nmechanisms = ["SCRAM-SHA-256", "DIGEST-MD5", "PLAIN"]`;
  const isNew = first === undefined;
  first = await startBroker(net, { tsp }, []);
  if (isNew) await first.sixway('user', 'add', 'alice', '--secret-file', secretFile);
}

function connect(...flags: readonly string[]) {
  return startClient(office, `alice@${BROKER_IPV4}`, SECRET, '--json', '--once', ...flags);
}

for (const [phase, flags] of [
  ['version', []],
  ['version', ['--transport', 'tcp']],
  ['authentication', []],
  ['authentication', ['--mechanism', 'PLAIN']],
  ['authentication', ['--mechanism', 'PLAIN', '--transport', 'tcp']],
  ['authentication', ['--mechanism', 'DIGEST-MD5', '--transport', 'tcp']],
  ['create', []],
  ['create', ['--transport', 'tcp']],
] as const) {
  const how = [phase, ...flags].join(' ');
  test(`a client that is sent on during ${how} gets its tunnel at the other broker`, async () => {
    await sendTo([SECOND_IPV4], phase);
    const client = connect(...flags);
    const tunnel = await tunnelUp(client);
    assert.match(tunnel.address, /^2001:db8:3000:/);
    assert.equal(await ping(office, tunnel.gateway), 1);
    await client.stop();
  });
}

test('of several brokers the nearest that answers is taken, by address and port', async () => {
  await sendTo([FAR_IPV4, `${SECOND_IPV4}:3653`], 'version');
  const client = connect();
  await tunnelUp(client, 25_000);
  const servers = [...client.output.matchAll(/"connecting","server":"([^"]+)"/g)].map((m) => m[1]);
  assert.deepEqual(servers, [BROKER_IPV4, SECOND_IPV4]);
  await client.stop();
});

test('brokers that send a client round in a circle are given up', async () => {
  await sendTo([BROKER_IPV4], 'version');
  const client = connect();
  assert.notEqual(await client.ended, 0);
  const attempts = client.output.match(/"event":"connecting"/g)?.length ?? 0;
  assert.ok(attempts > 2 && attempts <= 6, client.output);
});
