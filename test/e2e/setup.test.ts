// The instructions that users copy, run as they are printed, against a real server: our client, and
// Linux's own sit and FOU where this kernel has them. What they set up works, also for a network behind
// it, and what they undo leaves nothing.

import assert from 'node:assert/strict';
import { after, before, type TestContext, test } from 'node:test';
import { SECRET_PLACEHOLDER } from '../../src/setup/values.ts';
import { runAsWritten, type WrittenInstructions } from '../lab/as-written.ts';
import { BROKER_IPV4, buildInternet, type Internet, WEB_IPV6 } from '../lab/internet.ts';
import { type Host, Lab } from '../lab/lab.ts';
import { ping } from '../lab/probe.ts';
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

before(async () => {
  net = await buildInternet(lab);
  broker = await startBroker(net, { tunnel: `resolver = "${WEB_IPV6}"\nmtu = 1400` });
});
after(() => lab.close());

interface Home {
  readonly host: Host;
  /** A host on the network behind it, at eth1. */
  readonly behind: Host;
  readonly secret: string;
  readonly tunnel: ClientTunnel;
}

/** A user whose tunnel was up once, so that it is there and attached to the host's address. */
async function homeOf(user: string, host: Host): Promise<Home> {
  const secret = await addUser(broker, user);
  const behind = await lab.host(`${host.name}-lan`);
  await lab.cable(host, 'eth1', behind, 'eth0');
  const client = startClient(
    host,
    `${user}@${BROKER_IPV4}`,
    secret,
    '--json',
    '--prefix-length',
    '56',
  );
  const tunnel = await tunnelUp(client);
  const inside = tunnel.prefix!.replace('::/56', '::');
  await behind.ip(`addr add ${inside}2/64 dev eth0 nodad`);
  await behind.ip(`-6 route add default via ${inside}1`);
  await client.stop();
  return { host, behind, secret, tunnel };
}

async function instructions(user: string, system: string): Promise<WrittenInstructions> {
  const printed = await broker.sixway('tunnel', 'config', user, '--system', system, '--json');
  return JSON.parse(printed) as WrittenInstructions;
}

/** Runs them all; meanwhile the network behind the host must reach the web server. */
async function holds(home: Home, written: WrittenInstructions): Promise<string> {
  const { host, behind, secret, tunnel } = home;
  const into = `nsenter --net=/proc/$(cat ${lab.directory}/${behind.name}.pid)/ns/net`;
  const keeper = behind.start('bash', [
    '-c',
    `echo $$ > ${lab.directory}/${behind.name}.pid; exec sleep 600`,
  ]);
  const outcome = await runAsWritten(lab, host, written, {
    replace: { [SECRET_PLACEHOLDER]: secret },
    hosts: `${BROKER_IPV4} tb.example`,
    gateway: tunnel.gateway,
    whileUp: `${into} ping -6 -n -q -c 3 -i 0.2 ${WEB_IPV6}; echo done: behind`,
  });
  await keeper.stop();
  const told = `${outcome.stdout}${outcome.stderr}`;
  assert.equal(outcome.code, 0, told);
  for (const part of ['set up', 'behind', 'check'])
    assert.match(told, new RegExp(`^done: ${part}$`, 'm'), told);
  assert.deepEqual([outcome.left, outcome.gone], [[], []]);
  assert.equal(await ping(host, tunnel.gateway, { count: 1 }), 0);
  return told;
}

async function needs(host: Host, t: TestContext, what: 'sit' | 'FOU'): Promise<boolean> {
  const { code } =
    what === 'sit'
      ? await host.try('ip', 'link add name probe type sit remote 192.0.2.1'.split(' '))
      : await host.try('ip', 'fou add port 5555 ipproto 41'.split(' '));
  if (code === 0) {
    await host.ip(what === 'sit' ? 'link del probe' : 'fou del port 5555');
    return true;
  }
  t.skip(`this kernel has no ${what}`);
  return false;
}

test('our client, behind a NAT, as a router, started by hand and by systemd', async () => {
  const home = await homeOf('alice', net.client);
  const told = await holds(home, await instructions('alice', 'sixway'));
  assert.match(told, /The tunnel is up: .*IPv6 in UDP/);
});

test('our client with a public address, without a prefix, under a name that needs quotes', async () => {
  const user = "Bob's $HOME 100%";
  const host = await net.addOffice('bob', 3);
  const secret = await addUser(broker, user);
  const client = startClient(host, `${user}@${BROKER_IPV4}`, secret, '--json');
  const { gateway } = await tunnelUp(client);
  await client.stop();
  const { setUp, check } = await instructions(user, 'sixway');
  // systemd quotes in a way of its own, which the stand-in for it does not know.
  const byHand = setUp.slice(0, setUp.findIndex(({ foreground }) => foreground) + 1);
  assert.ok(byHand.length > 0 && check.length > 0);
  const outcome = await runAsWritten(
    lab,
    host,
    { setUp: byHand, check: [], undo: [] },
    { replace: { [SECRET_PLACEHOLDER]: secret }, hosts: `${BROKER_IPV4} tb.example` },
  );
  const told = `${outcome.stdout}${outcome.stderr}`;
  assert.match(told, /The tunnel is up: .*protocol 41/);
  assert.equal(outcome.code, 0, told);
  assert.equal(await ping(host, gateway, { count: 1 }), 0);
});

test('the login for FOU says which port the broker has', async () => {
  const host = await net.addOffice('carol', 4);
  const { secret } = await homeOf('carol', host);
  const printed = await broker.sixway(
    ...['tunnel', 'config', 'carol', '--system', 'linux-fou', '--json'],
    ...['--encapsulation', 'v6udpv4'],
  );
  const { setUp } = JSON.parse(printed) as WrittenInstructions;
  const login = setUp.findIndex(({ code }) => code?.includes('logged in from'));
  const outcome = await runAsWritten(
    lab,
    host,
    { setUp: setUp.slice(0, login + 1), check: [], undo: [] },
    { replace: { [SECRET_PLACEHOLDER]: secret }, hosts: `${BROKER_IPV4} tb.example` },
  );
  const port = /^logged in from port (\d+)$/m.exec(outcome.stdout)?.[1];
  assert.ok(port, `${outcome.stdout}${outcome.stderr}`);
  const shown = JSON.parse(await broker.sixway('tunnel', 'show', 'carol', '--json'));
  assert.equal(shown.endpoint, `198.18.4.2:${port}`);
});

test('sit, for protocol 41', async (t) => {
  const host = await net.addOffice('dora', 5);
  if (!(await needs(host, t, 'sit'))) return;
  const home = await homeOf('dora', host);
  await holds(home, await instructions('dora', 'linux-sit'));
});

test('sit in FOU, behind a NAT', async (t) => {
  const host = await net.addClient('emil');
  if (!(await needs(host, t, 'sit')) || !(await needs(host, t, 'FOU'))) return;
  const home = await homeOf('emil', host);
  await holds(home, await instructions('emil', 'linux-fou'));
});
