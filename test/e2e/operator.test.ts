// What an operator does and what goes wrong for operators: every command with --json, a second
// broker, a full pool, a lost database, a lost key, and taking everything out again.

import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { after, before, test } from 'node:test';
import { BROKER_IPV4, buildInternet, type Internet, LINK_POOL, WEB_IPV6 } from '../lab/internet.ts';
import { eventually, type Host, Lab } from '../lab/lab.ts';
import { ping, startWebServer } from '../lab/probe.ts';
import { addUser, type RunningBroker, startBroker, startClient, tunnelUp } from '../lab/sixway.ts';

const lab = new Lab();
let net: Internet;
let broker: RunningBroker;
let neighbour: Host;

before(async () => {
  net = await buildInternet(lab);
  // One link pool with a single link to give: position 0 is the server's own.
  broker = await startBroker(net, {}, [['pool', 'add', '2001:db8:1000::/63', '--for', 'links']]);
  await startWebServer(net.web);
  neighbour = await net.addClient('neighbour');
});
after(() => lab.close());

async function json(...words: string[]): Promise<unknown> {
  return JSON.parse(await broker.sixway(...words, '--json'));
}

test('a user is added, listed, given another secret, disabled, enabled and removed', async () => {
  const secret = await addUser(broker, 'carol');
  assert.match(secret, /^[a-z2-9]{20}$/);
  assert.deepEqual(await json('user', 'disable', 'carol'), { user: 'carol', result: 'disabled' });
  const [listed] = (await json('user', 'list')) as { name: string; state: string }[];
  assert.equal(listed?.name, 'carol');
  assert.equal(listed?.state, 'disabled');
  await json('user', 'enable', 'carol');
  const changed = (await json('user', 'passwd', 'carol')) as { secret: string };
  assert.notEqual(changed.secret, secret);
  await json('user', 'remove', 'carol');
  assert.deepEqual(await json('user', 'list'), []);
});

test('what cannot be done is said in one line', async () => {
  await addUser(broker, 'dave');
  const cases: [string[], RegExp][] = [
    [['user', 'add', 'dave'], /^sixway: there is a user dave already\n$/],
    [['user', 'add', 'a:b'], /^sixway: a user name has .*\n$/],
    [['user', 'passwd', 'erin'], /^sixway: there is no user erin\n$/],
    [['pool', 'add', LINK_POOL, '--for', 'links'], /^sixway: .* overlaps the pool .*\n$/],
    [['pool', 'add', 'fe80::/48', '--for', 'links'], /^sixway: fe80::\/48 is not global unicast/],
    [['pool', 'add', '2001:db8::1/48', '--for', 'links'], /without bits beyond its length\n$/],
    [['pool', 'add', '2001:db8:4000::/40', '--for', 'delegations'], /needs --length/],
    [['tunnel', 'show', 'dave'], /^sixway: dave has no tunnel yet/],
    [['tunnel', 'close', '77'], /^sixway: there is no tunnel 77\n$/],
  ];
  for (const [words, message] of cases) {
    const outcome = await broker.trySixway(...words);
    assert.equal(outcome.code, 1, words.join(' '));
    assert.match(outcome.stderr, message, words.join(' '));
  }
  await json('user', 'remove', 'dave');
});

test('a full pool refuses the next user with a status, and the first one’s tunnel stays', async () => {
  const first = await addUser(broker, 'first');
  const second = await addUser(broker, 'second');
  const client = startClient(net.client, `first@${BROKER_IPV4}`, first, '--json');
  await tunnelUp(client);
  const late = startClient(neighbour, `second@${BROKER_IPV4}`, second, '--json', '--once');
  assert.notEqual(await late.ended, 0);
  assert.match(late.output, /301/);
  assert.equal(await ping(net.client, '2001:db8:53::53'), 1);
  await client.stop();
});

test('what a tunnel may do is said for it or for its user’s group, and shown', async () => {
  await json('group', 'add', 'staff', '--mtu', '1400', '--rate-in', '20M', '--open-ports');
  await json('user', 'group', 'first', 'staff');
  await json('tunnel', 'set', 'first', '--rate-out', '1.5G', '--close-ports');
  const { policy } = (await json('tunnel', 'show', 'first')) as { policy: object };
  assert.deepEqual(policy, {
    mtu: 1400,
    rateIn: 20_000_000,
    rateOut: 1_500_000_000,
    ports: 'closed',
    own: { rateOut: 1_500_000_000, ports: 'closed' },
    group: { name: 'staff', mtu: 1400, rateIn: 20_000_000, ports: 'open' },
  });
  assert.match(await broker.sixway('tunnel', 'show', 'first'), /20 Mbit\/s from, 1\.5 Gbit\/s to/);
  const refused = await broker.trySixway('group', 'remove', 'staff');
  assert.match(refused.stderr, /^sixway: there are users in staff/);
  await json('user', 'group', 'first', 'none');
  await json('group', 'remove', 'staff');
  assert.deepEqual(await json('group', 'list'), []);
  await json('tunnel', 'disable', 'first');
  const { state } = (await json('tunnel', 'show', 'first')) as { state: string };
  assert.equal(state, 'disabled');
  await json('tunnel', 'enable', 'first');
});

test('a pool added while the broker runs is used at once', async () => {
  await broker.sixway('pool', 'add', '2001:db8:1000:1000::/52', '--for', 'links');
  await json('user', 'passwd', 'second');
  const { secret } = (await json('user', 'passwd', 'second')) as { secret: string };
  const client = startClient(neighbour, `second@${BROKER_IPV4}`, secret, '--json');
  const tunnel = await tunnelUp(client);
  assert.match(tunnel.address, /^2001:db8:1000:1001::2$/);
  assert.equal(await ping(neighbour, WEB_IPV6), 1);
  await broker.sixway('tunnel', 'close', 'second');
  await eventually('a closed tunnel carries nothing', async () => {
    return (await ping(neighbour, WEB_IPV6, { count: 1 })) === 0;
  });
  await client.stop();
});

test('the doctor finds nothing that fails on a machine where the broker runs', async () => {
  const findings = (await json('doctor')) as { check: string; state: string; found: string }[];
  assert.deepEqual(
    findings.filter(({ state }) => state === 'failed'),
    [],
  );
  assert.ok(findings.some(({ check, found }) => check === 'IPv4 address' && found === BROKER_IPV4));
});

test('a second broker on the same port says so and leaves the first one’s tunnels alone', async () => {
  const second = await broker.trySixway('serve');
  assert.equal(second.code, 1);
  assert.match(second.stderr, /UDP 203\.0\.113\.53:3653 is taken by another program/);
  assert.ok(broker.service.running);
});

test('every setting is explained', async () => {
  const settings = (await json('config')) as { name: string; help: string; origin: string }[];
  const realm = settings.find(({ name }) => name === 'server.name');
  assert.equal(realm?.origin, 'file');
  for (const { name, help } of settings) assert.ok(help.length > 10, name);
});

test('metrics can be read on the machine', async () => {
  const page = await net.broker.run('curl', ['-sS', 'http://127.0.0.1:9653/metrics']);
  assert.match(page, /^sixway_logins_total\{outcome="accepted"\} \d+$/m);
  assert.match(page, /^sixway_packets\{outcome="in_decapsulated"\} \d+$/m);
});

test('a broker that cannot start says why and ends, without holding anything', async () => {
  await broker.service.stop();
  const impossible = await net.broker.try(
    'env',
    ['SIXWAY_DATAPLANE_DEVICE=lo', ...broker.command('serve')],
    15_000,
  );
  assert.equal(impossible.code, 1, impossible.stdout + impossible.stderr);
  assert.match(impossible.stderr, /^sixway: .*lo/);
  await broker.restart();
});

test('a lost key is missed, not replaced, and another one is refused', async () => {
  await broker.service.stop();
  const keyFile = join(dirname(broker.database), 'secret.key');
  rmSync(keyFile);
  const missed = await broker.trySixway('user', 'add', 'mallory');
  assert.equal(missed.code, 1);
  assert.match(missed.stderr, /secret\.key is missing: the secrets in .* are sealed with it/);
  writeFileSync(keyFile, randomBytes(32));
  const refused = await broker.trySixway('user', 'add', 'mallory');
  assert.equal(refused.code, 1);
  assert.match(refused.stderr, /is not the key that the secrets in .* are sealed with/);
});

test('a database that is missing while its key is there is not begun anew', async () => {
  const elsewhere = join(dirname(broker.database), 'no-such.db');
  const outcome = await net.broker.try('env', [
    `SIXWAY_STORE_DATABASE=${elsewhere}`,
    `SIXWAY_STORE_KEY_FILE=${join(dirname(broker.database), 'sixway.toml')}`,
    ...broker.command('user', 'list'),
  ]);
  assert.equal(outcome.code, 1);
  assert.match(outcome.stderr, /no-such\.db is missing although its key .* exists/);
});

test('a running broker whose database file is lost refuses logins instead of promising', async () => {
  const lost = new Lab();
  try {
    const other = await buildInternet(lost);
    const running = await startBroker(other);
    const secret = await addUser(running, 'alice');
    for (const suffix of ['', '-wal', '-shm']) rmSync(running.database + suffix, { force: true });
    const client = startClient(other.client, `alice@${BROKER_IPV4}`, secret, '--json', '--once');
    assert.notEqual(await client.ended, 0);
    assert.match(client.output, /310|300|530/);
    assert.ok(running.service.running);
    assert.match(running.service.output, /was removed or replaced/);
  } finally {
    await lost.close();
  }
});

test('uninstall takes programs, maps and device out of the kernel', async () => {
  const said = await broker.sixway('uninstall', '--yes');
  assert.notEqual(said, '');
  assert.doesNotMatch(await net.broker.ip('-o link show'), /sixway0/);
  const { code } = await broker.trySixway('counters');
  assert.equal(code, 1);
});
