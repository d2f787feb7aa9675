// What is held against a tunnel when its packets are dropped, and what is remembered of packets that
// belong to none: the maps beside the outcomes.

import assert from 'node:assert/strict';
import { beforeEach, describe, test } from 'node:test';
import { parseIpv4Prefix } from '../../src/address.ts';
import type { OutcomeName } from '../../src/dataplane/dataplane.ts';
import type { FaultName } from '../../src/dataplane/layout.gen.ts';
import { OUTCOME_NAMES } from '../../src/dataplane/layout.gen.ts';
import { testRun } from '../../src/dataplane/native.ts';
import { endpointValue } from '../../src/dataplane/records.ts';
import {
  ATTACHMENT,
  DELEGATED,
  ELSEWHERE,
  GATEWAY,
  INSIDE,
  PASS,
  SEND,
  SLOT,
  setUpBench,
} from './bench.ts';
import { echo, ethernet, filler, ipv4, ipv6, udp } from './packets.ts';
import { clearFaults, faultsOf, setFlags, strayAt, strayPlace } from './pinned.ts';
import {
  address4,
  address6,
  BROKER,
  BROKER6,
  CLIENT,
  CLIENT_PORT,
  CLIENT6,
  LINKS,
  PORT,
} from './scratch.ts';

const bench = setUpBench('tunnel_ingress');
beforeEach(() => clearFaults(bench, SLOT));

const sent = (fields: { from?: string; to?: string; trafficClass?: number } = {}) =>
  ipv6({ from: INSIDE, to: ELSEWHERE, ...fields }, filler(32));
const inUdp = (inner: Uint8Array, { from = CLIENT, port = CLIENT_PORT, tos = 0 } = {}) =>
  ethernet(
    'ipv4',
    ipv4({ from, to: BROKER, protocol: 17, tos }, udp({ from: port, to: PORT }, inner)),
  );
const egress = (to: string, context = {}) =>
  testRun(
    bench.plane.programFd('tunnel_egress'),
    ethernet('ipv6', ipv6({ from: ELSEWHERE, to }, filler(1400))),
    context,
  );

function blamed(fault: FaultName, outcome: OutcomeName, packets = 1): void {
  const faults = faultsOf(bench, SLOT);
  assert.deepEqual(faults.packets, { [fault]: packets });
  assert.equal(faults.lastOutcome, outcome);
  const ticks = Number(process.hrtime.bigint() >> 27n);
  assert.ok(Math.abs(ticks - faults.lastTick) <= 2);
}

describe('a tunnel is told of its packets that were dropped', () => {
  test('because they came from elsewhere', () => {
    for (const port of [1, 2, 3]) bench.run(inUdp(sent(), { port }));
    blamed('wrong_endpoint', 'in_wrong_endpoint', 3);
  });
  test('because their source is not the client’s', () => {
    bench.run(inUdp(sent({ from: '2001:db8:1000:5::3' })));
    blamed('wrong_source', 'in_wrong_interface_id');
    bench.run(inUdp(sent({ from: GATEWAY })));
    blamed('wrong_source', 'in_gateway_source', 2);
  });
  test('because they were to the gateway', () => {
    bench.run(inUdp(sent({ to: GATEWAY })));
    blamed('to_gateway', 'in_to_gateway');
  });
  test('because no client was attached, also from its delegated prefix', () => {
    bench.plane.remove(SLOT, 'down');
    bench.run(inUdp(sent()));
    bench.run(inUdp(sent({ from: DELEGATED })));
    blamed('closed_in', 'in_detached', 2);
  });
  test('because the path marked them', () => {
    bench.run(inUdp(sent(), { tos: 3 }));
    blamed('congestion', 'in_congestion_lost');
  });
  test('because the kernel refused them', () => {
    testRun(bench.plane.programFd('tunnel_ingress'), inUdp(sent()), {
      gsoSize: 50,
      gsoSegments: 2,
    });
    blamed('other', 'in_strip_failed');
  });
  test('because they were too big for it', async () => {
    bench.plane.put(SLOT, { ...ATTACHMENT, mtu: 1300 });
    await new Promise((resolve) => setTimeout(resolve, 300));
    assert.equal(egress(INSIDE).verdict, SEND);
    blamed('too_big', 'out_too_big');
  });
  test('because they were to an address that is not the client’s', () => {
    egress('2001:db8:1000:5::3');
    blamed('wrong_destination', 'out_wrong_interface_id');
    egress(GATEWAY);
    blamed('wrong_destination', 'out_to_gateway', 2);
  });
  test('because it had not been heard', () => {
    bench.plane.put(SLOT, { ...ATTACHMENT, silentUntilHeard: true }, { resetCounters: true });
    egress(INSIDE);
    blamed('closed_out', 'out_not_yet_heard');
  });
});

describe('nothing is held against a tunnel', () => {
  const nothing = () => assert.deepEqual(faultsOf(bench, SLOT), none);
  const none = { packets: {}, lastOutcome: undefined, lastTick: 0 };

  test('for good packets', () => {
    assert.equal(bench.run(inUdp(sent())).verdict, PASS);
    assert.equal(egress(INSIDE).verdict, SEND);
    const content = { identifier: 1, sequence: 1 };
    const keepalive = echo('request', { from: INSIDE, to: GATEWAY }, content);
    assert.equal(bench.run(inUdp(keepalive)).verdict, SEND);
    nothing();
  });
  test('for packets of nobody', () => {
    bench.run(inUdp(sent({ from: ELSEWHERE })));
    bench.run(inUdp(sent({ from: '2001:db8:2000:400::1' })));
    bench.run(inUdp(sent({ from: 'fe80::1' })));
    nothing();
  });
  test('while its slot is nobody’s', () => {
    bench.plane.remove(SLOT, 'down');
    setFlags(bench, SLOT, 0);
    bench.run(inUdp(sent()));
    egress(INSIDE);
    nothing();
  });
});

test('a tunnel for IPv4 has faults of its own', () => {
  const prefix = parseIpv4Prefix('10.64.0.0/24');
  assert.ok(prefix);
  bench.plane.setPools([
    LINKS,
    { purpose: 'ipv4-link', prefix, positionLength: 30, firstIndex: 0 },
  ]);
  bench.plane.putV4v6(SLOT, { client: address6(CLIENT6) });
  const inner = ipv4({ from: '10.64.0.22', to: '192.0.2.80', protocol: 17 }, filler(20));
  const over = (from: string, packet = inner) =>
    ethernet('ipv6', ipv6({ from, to: BROKER6, nextHeader: 4 }, packet));
  bench.run(over(CLIENT6));
  assert.deepEqual(faultsOf(bench, SLOT, 'tunnels_v4v6').packets, {});
  bench.run(over('2001:db8:7::7'));
  bench.run(over(CLIENT6, ipv4({ from: '10.64.0.20', to: BROKER, protocol: 17 }, filler(20))));
  const { packets, lastOutcome } = faultsOf(bench, SLOT, 'tunnels_v4v6');
  assert.deepEqual(packets, { wrong_endpoint: 1, wrong_source: 1 });
  assert.equal(lastOutcome, 'in_wrong_interface_id');
  assert.deepEqual(faultsOf(bench, SLOT).packets, {});
});

describe('an endpoint is remembered for a packet that belongs to no tunnel of it', () => {
  const endpointOf = (port: number, address = CLIENT) =>
    endpointValue('v6udpv4', { address: address4(address), port });
  /** Each test from a port of its own: what is remembered stays. */
  function remembered(outcome: OutcomeName, from: string, port: number, packets = 1): void {
    bench.run(inUdp(sent({ from }), { port }));
    const { lastTick, ...stray } = strayAt(bench, endpointOf(port));
    assert.deepEqual(stray, {
      endpoint: endpointOf(port),
      sourceHigh: address6(from) >> 64n,
      sourceLow: BigInt.asUintN(64, address6(from)),
      packets,
      outcome: OUTCOME_NAMES.indexOf(outcome),
    });
    assert.ok(Math.abs(Number(process.hrtime.bigint() >> 27n) - lastTick) <= 2);
  }

  test('with a source outside the pools', () => remembered('in_outside_pools', ELSEWHERE, 1001));
  test('with a source that is delegated to nobody', () =>
    remembered('in_undelegated', '2001:db8:2000:400::1', 1002));
  test('with the source of a tunnel that is elsewhere', () =>
    remembered('in_wrong_endpoint', INSIDE, 1003));
  test('with the source of a tunnel that is not attached', () => {
    bench.plane.remove(SLOT, 'down');
    remembered('in_detached', INSIDE, 1004);
  });
  test('of protocol 41, without a port', () => {
    const packet = ipv4({ from: CLIENT, to: BROKER, protocol: 41 }, sent({ from: ELSEWHERE }));
    bench.run(ethernet('ipv4', packet));
    const endpoint = endpointValue('v6v4', { address: address4(CLIENT), port: 0 });
    assert.equal(strayAt(bench, endpoint).endpoint, endpoint);
  });
  test('the last one, and how many there were', () => {
    remembered('in_outside_pools', ELSEWHERE, 1005);
    remembered('in_wrong_endpoint', INSIDE, 1005, 2);
  });
  test('until another endpoint with the same place has one', () => {
    remembered('in_outside_pools', ELSEWHERE, 1006);
    const place = strayPlace(bench, endpointOf(1006));
    let address = 0x0b000000;
    const endpoint = () => endpointValue('v6udpv4', { address, port: CLIENT_PORT });
    while (strayPlace(bench, endpoint()) !== place) address++;
    const from = [24, 16, 8, 0].map((shift) => (address >>> shift) & 255).join('.');
    bench.run(inUdp(sent({ from: ELSEWHERE }), { from }));
    const stray = strayAt(bench, endpointOf(1006));
    assert.equal(stray.endpoint, endpoint());
    assert.equal(stray.packets, 1);
  });
  test('but not for what is its own, nor for router solicitations', () => {
    const was = strayAt(bench, endpointOf(CLIENT_PORT));
    bench.run(inUdp(sent()));
    bench.run(inUdp(sent({ from: GATEWAY })));
    bench.run(inUdp(sent({ from: 'fe80::1', to: 'ff02::2' })));
    assert.deepEqual(strayAt(bench, endpointOf(CLIENT_PORT)), was);
  });
});
