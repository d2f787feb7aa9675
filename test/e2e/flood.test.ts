// A flood on the TSP port, from invented sources and from one: tunnels lose no more than what passes a
// plain router under the same flood, a login succeeds in the middle of it, and the daemon hardly
// notices.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { BROKER_IPV4, buildInternet, type Internet, WEB_IPV6 } from '../lab/internet.ts';
import { type Host, Lab, type Service, sleep } from '../lab/lab.ts';
import { NODE, ping } from '../lab/probe.ts';
import { addUser, type RunningBroker, startBroker, startClient, tunnelUp } from '../lab/sixway.ts';

const RATE = 200_000;
const BROKER_SECONDS = 10;
const ROUTER_SECONDS = 3;
const ROUTER_IPV4 = '198.19.0.2';
const BEHIND_ROUTER_IPV4 = '198.19.1.2';
/** Of a share, what two measurements on a busy machine may differ by. */
const MARGIN = 0.01;

const lab = new Lab();
let net: Internet;
let broker: RunningBroker;
let attacker: Host;
let office: Host;
let alice: Service;
const newcomers = new Map<Mode, Host>();

before(async () => {
  net = await buildInternet(lab);
  attacker = await net.addOffice('attacker', 66);
  office = await net.addOffice('office', 1);
  await addPlainRouter();
  // Before anybody connects: a bridge's address may change with its ports, and then the home router
  // is not found until its neighbours ask again.
  for (const mode of ['invented', 'one'] as const)
    newcomers.set(mode, await net.addClient(`new-${mode}`));
  broker = await startBroker(net);
  const secret = await addUser(broker, 'alice');
  alice = startClient(net.client, `alice@${BROKER_IPV4}`, secret, '--json');
  await tunnelUp(alice);
});
after(() => lab.close());

/** Beside the broker, on the same backbone: what forwarding costs without us. */
async function addPlainRouter(): Promise<void> {
  const router = await lab.host('router');
  const behind = await lab.host('behind');
  await router.run('sysctl', ['-qw', 'net.ipv4.ip_forward=1']);
  await lab.cable(router, 'eth0', net.backbone, 'to-router');
  await net.backbone.ip('addr add 198.19.0.1/24 dev to-router');
  await router.ip(`addr add ${ROUTER_IPV4}/24 dev eth0`);
  await router.ip('route add default via 198.19.0.1');
  await lab.cable(router, 'eth1', behind, 'eth0');
  await router.ip('addr add 198.19.1.1/24 dev eth1');
  await behind.ip(`addr add ${BEHIND_ROUTER_IPV4}/24 dev eth0`);
  await behind.ip('route add default via 198.19.1.1');
  await net.backbone.ip(`route add 198.19.1.0/24 via ${ROUTER_IPV4}`);
}

type Mode = 'invented' | 'one';

function flood(mode: Mode, address: string, seconds: number): Service {
  const script = join(import.meta.dirname, '../lab/flood.ts');
  return attacker.start(NODE, [script, mode, address, '3653', String(RATE), String(seconds)]);
}

/** The share of pings lost in about `seconds`. */
async function loss(host: Host, to: string, seconds: number): Promise<number> {
  return 1 - (await ping(host, to, { count: seconds * 100, intervalSeconds: 0.01 }));
}

async function counters(): Promise<Record<string, number>> {
  const rows = JSON.parse(await broker.sixway('counters', '--json')) as {
    outcome: string;
    packets: number;
  }[];
  return Object.fromEntries(rows.map(({ outcome, packets }) => [outcome, packets]));
}

/** Seconds that a process has spent so far, by itself. */
function userSeconds(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
    .replace(/^.*\) /, '')
    .split(' ');
  return (Number(stat[11]) + Number(stat[12])) / 100;
}

for (const [mode, what, limit] of [
  ['invented', 'invented sources', 'in_signalling_limited_total'],
  ['one', 'one source', 'in_signalling_limited_address'],
] as const) {
  describe(`a flood from ${what}`, () => {
    test('costs tunnels no more than a plain router’s traffic, and lets a login through', async (t) => {
      const plainFlood = flood(mode, ROUTER_IPV4, ROUTER_SECONDS);
      const plainLoss = await loss(office, BEHIND_ROUTER_IPV4, ROUTER_SECONDS - 1);
      await plainFlood.says(/sent/);

      const newcomer = newcomers.get(mode);
      assert.ok(newcomer);
      const secret = await addUser(broker, `bob-${mode}`);
      const before = await counters();
      const spentBefore = userSeconds(broker.service.pid);
      const ourFlood = flood(mode, BROKER_IPV4, BROKER_SECONDS);
      const losing = loss(net.client, WEB_IPV6, BROKER_SECONDS - 1);
      await sleep(1000);
      const startMs = performance.now();
      const login = startClient(newcomer, `bob-${mode}@${BROKER_IPV4}`, secret, '--json');
      await tunnelUp(login, 8_000);
      const loginMs = performance.now() - startMs;
      assert.ok(ourFlood.running, 'the login was to be during the flood');
      const tunnelLoss = await losing;
      const [sent] = await ourFlood.says(/sent .*/);
      const spent = userSeconds(broker.service.pid) - spentBefore;
      const after = await counters();
      const dropped = (after[limit] ?? 0) - (before[limit] ?? 0);
      const reached = (after.in_signalling ?? 0) - (before.in_signalling ?? 0);
      t.diagnostic(
        `${sent}; lost ${tunnelLoss} of pings, ${plainLoss} at a plain router; login in ` +
          `${Math.round(loginMs)} ms; ${reached} reached the daemon, which spent ${spent} s`,
      );

      const said = `${tunnelLoss} lost, plainly ${plainLoss}; the client said: ${alice.output}`;
      assert.ok(tunnelLoss <= plainLoss + MARGIN, said);
      assert.ok(dropped > 100_000, `${limit}: ${dropped}`);
      assert.ok(spent < BROKER_SECONDS / 2, `${spent} s of ${BROKER_SECONDS} s`);
      assert.equal(await ping(newcomer, WEB_IPV6), 1);
      await login.stop();
    });
  });
}
