// What the portal can see of a tunnel while it is used, broken and mended, through the daemon's local
// socket; and what is known of it afterwards: its traffic, and whose its addresses were.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { parseIpv6 } from '../../src/address.ts';
import { LiveClient } from '../../src/live/client.ts';
import type { LiveCounters, LiveTunnel } from '../../src/live/contract.ts';
import { openSqliteStore } from '../../src/store/sqlite.ts';
import { BROKER_IPV4, buildInternet, HOME_IPV4, type Internet, WEB_IPV6 } from '../lab/internet.ts';
import { eventually, type Host, Lab, type Service } from '../lab/lab.ts';
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
let office: Host;
let live: LiveClient;
let client: Service;
let tunnel: ClientTunnel;
let tunnelId: number;

before(async () => {
  net = await buildInternet(lab);
  broker = await startBroker(net, {
    tunnel: 'keepaliveSeconds = 5',
    history: 'trafficSeconds = 1',
  });
  await startWebServer(net.web);
  office = await net.addOffice('office', 7);
  const secret = await addUser(broker, 'alice');
  client = startClient(
    net.client,
    `alice@${BROKER_IPV4}`,
    secret,
    '--json',
    '--prefix-length',
    '56',
  );
  tunnel = await tunnelUp(client);
  const [listed] = JSON.parse(await broker.sixway('tunnel', 'list', '--json')) as {
    tunnel: number;
  }[];
  tunnelId = listed!.tunnel;
  live = new LiveClient({ socket: broker.liveSocket, timeoutMs: 5000 });
});
after(async () => {
  live?.close();
  await lab.close();
});

async function counters(): Promise<LiveCounters> {
  const asked = await live.counters(tunnelId);
  assert.ok(asked.ok, JSON.stringify(asked));
  return asked.value;
}

async function looked(): Promise<LiveTunnel> {
  const asked = await live.tunnel(tunnelId);
  assert.ok(asked.ok, JSON.stringify(asked));
  return asked.value;
}

/** Looked at until the finding is there: what takes long to read is a moment old. */
function found(key: string) {
  return eventually(key, async () => (await looked()).findings.find((each) => each.key === key));
}

/** An IPv6 packet with an empty UDP payload to port 9, in hex. */
function innerPacket(source: string, destination: string): string {
  const hex = (address: string) => parseIpv6(address)?.toString(16).padStart(32, '0') ?? '';
  return `6000000000081140${hex(source)}${hex(destination)}1234000900080000`;
}

test('traffic moves the counters at once', async () => {
  const from = await counters();
  assert.equal(await ping(net.client, WEB_IPV6, { count: 20, intervalSeconds: 0.02 }), 1);
  const to = await counters();
  assert.ok(to.inPackets - from.inPackets >= 20);
  assert.ok(to.outBytes - from.outBytes >= 20 * 104);
  assert.ok(Math.abs((to.inLastSeenMs ?? 0) - Date.now()) < 5000);
  const { findings, endpoint, faults } = await looked();
  assert.equal(findings.at(-1)?.key, 'works', JSON.stringify({ findings, faults }));
  assert.match(endpoint ?? '', new RegExp(`^${HOME_IPV4}:`));
});

test('a wrong source shows as a fault with what to do', async () => {
  const before = (await looked()).faults.packets.wrong_source;
  const wrong = tunnel.address.replace(/::.*$/, '::99');
  await net.client.ip(`-6 addr add ${wrong}/128 dev tb6`);
  assert.equal(await ping(net.client, WEB_IPV6, { count: 3, extra: ['-I', wrong] }), 0);
  await net.client.ip(`-6 addr del ${wrong}/128 dev tb6`);
  const { faults, findings } = await looked();
  const packets = faults.packets.wrong_source;
  assert.ok(packets >= before + 3, JSON.stringify({ before, faults }));
  assert.equal(faults.last?.outcome, 'in_wrong_interface_id');
  assert.match(faults.last?.meaning ?? '', /^The client sends with another address of the link/);
  assert.deepEqual(findings[0], {
    severity: 'problem',
    key: 'wrong-source',
    values: { packets },
  });
  const said = await broker.sixway('tunnel', 'show', 'alice');
  assert.match(said, /^✘ Dropped because their source was another address of the link/m);
});

test('an address that is from elsewhere is named', async () => {
  await net.client.ip('-6 addr add 2001:db8:dead::1/128 dev tb6');
  await ping(net.client, WEB_IPV6, { count: 2, extra: ['-I', '2001:db8:dead::1'] });
  await net.client.ip('-6 addr del 2001:db8:dead::1/128 dev tb6');
  const { values } = (await found('foreign-source'))!;
  assert.equal((values as { source: string }).source, '2001:db8:dead::1');
});

test('who sends with the tunnel’s addresses from another place is heard', async () => {
  await sendDatagrams(office, BROKER_IPV4, 3653, [innerPacket(tunnel.address, WEB_IPV6)], 5555);
  const stray = await eventually('the stray', async () => {
    const asked = await live.strays('198.18.7.2');
    return asked.ok && asked.value.strays[0];
  });
  assert.deepEqual(
    [stray.from, stray.source, stray.outcome],
    ['198.18.7.2:5555', tunnel.address, 'in_wrong_endpoint'],
  );
  const { values } = (await found('others-with-our-addresses'))!;
  assert.equal((values as { from?: string }).from, '198.18.7.2:5555');
});

test('totals agree with the tunnel, and a disabled one says so', async () => {
  const totals = await live.totals();
  assert.ok(totals.ok);
  assert.ok(totals.value.inPackets >= 20);
  assert.deepEqual([totals.value.attached, totals.value.logins > 0], [1, true]);
  await broker.sixway('tunnel', 'disable', 'alice');
  await eventually('disabled', async () => (await counters()).state === 'disabled');
  assert.deepEqual(
    (await looked()).findings.map(({ key }) => key),
    ['tunnel-disabled'],
  );
  await broker.sixway('tunnel', 'enable', 'alice');
  await client.says(/("event":"up"[\s\S]*){2}\n/, 60_000);
  assert.equal((await counters()).state, 'attached');
});

test('a daemon that is away cannot be asked, and goes on where it was', async () => {
  assert.equal(await ping(net.client, WEB_IPV6, { count: 5 }), 1);
  const { inBytes } = await counters();
  await broker.service.stop('SIGKILL');
  const asked = await live.health();
  assert.equal(!asked.ok && asked.why, 'unreachable');
  assert.equal(await ping(net.client, WEB_IPV6, { count: 10, intervalSeconds: 0.02 }), 1);
  await broker.restart();
  assert.ok((await counters()).inBytes >= inBytes + 10 * 104);
});

test('the traffic is in the history, whatever happened to the daemon', async () => {
  const store = await openSqliteStore({ file: broker.database, create: false });
  try {
    const sum = async () => {
      const hour = 3_600_000;
      const points = await store.traffic.ofTunnel(
        tunnelId,
        'hours',
        Date.now() - 2 * hour,
        Date.now() + hour,
      );
      return points.reduce((total, { inBytes }) => total + inBytes, 0);
    };
    const { inBytes } = await counters();
    await eventually('the history has it', async () => (await sum()) >= inBytes, 20_000);
    // Keepalives go on: what is read afterwards is not less.
    const counted = await sum();
    assert.ok(counted <= (await counters()).inBytes, 'nothing is counted twice');
    const totals = await store.traffic.totals('hours', Date.now() - 7.2e6, Date.now() + 3.6e6);
    assert.ok(totals.reduce((total, { inBytes: all }) => total + all, 0) >= counted);
  } finally {
    await store.close();
  }
});

test('whose the addresses were is known when the user is gone', async () => {
  const upMs = Date.now();
  await client.stop();
  await broker.sixway('user', 'remove', 'alice');
  const prefix = tunnel.prefix!.replace(/\/\d+$/, '');
  const at = new Date(upMs).toISOString();
  for (const address of [tunnel.address, `${prefix}abcd`]) {
    const said = await broker.sixway('abuse', address, '--at', at);
    assert.match(said, /belonged to alice \(user \d+, tunnel \d+\)/);
    assert.match(said, new RegExp(`The client was at ${HOME_IPV4}:\\d+ by v6udpv4, from .* until`));
  }
  const byClient = JSON.parse(await broker.sixway('abuse', HOME_IPV4, '--at', at, '--json')) as {
    clients: { user: string; addresses: { prefix: string }[] }[];
  };
  assert.equal(byClient.clients[0]?.user, 'alice');
  assert.equal(byClient.clients[0]?.addresses.length, 2);
  assert.match(await broker.sixway('abuse', tunnel.address), /^Nobody had /);
  const csv = await broker.sixway('abuse', tunnel.address, '--at', at, '--csv');
  assert.match(csv, /^tunnel,user,[^\n]*\r\n\d+,alice,/);
});
