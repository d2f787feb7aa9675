// What a limited tunnel may carry in each direction. Rates are so low that next to nothing is earned
// back while a test runs: what counts is the burst, 200 ms worth.

import assert from 'node:assert/strict';
import { beforeEach, describe, test } from 'node:test';
import { parseIpv4Prefix } from '../../src/address.ts';
import {
  RATE_KEY_V4V6_SHIFT,
  TUNNEL_ASSIGNED,
  TUNNEL_LIMITED,
} from '../../src/dataplane/layout.gen.ts';
import { testRun } from '../../src/dataplane/native.ts';
import { DELEGATED, DROP, ELSEWHERE, GATEWAY, INSIDE, SLOT, setUpBench } from './bench.ts';
import { echo, ethernet, filler, ipv4, ipv6, tcp, udp } from './packets.ts';
import { clearFaults, faultsOf, setFlags, setRate } from './pinned.ts';
import { address6, BROKER, BROKER6, CLIENT, CLIENT_PORT, CLIENT6, PORT } from './scratch.ts';

const bench = setUpBench('tunnel_ingress');
/** Of 1024 octets: 40 ms, so that five of them are the burst. */
const COST = 40_000_000;
const V4V6_KEY = SLOT + 2 ** RATE_KEY_V4V6_SHIFT;

const inUdp = (inner: Uint8Array) =>
  ethernet(
    'ipv4',
    ipv4({ from: CLIENT, to: BROKER, protocol: 17 }, udp({ from: CLIENT_PORT, to: PORT }, inner)),
  );
const sent = (from = INSIDE, octets = 1024, to = ELSEWHERE) =>
  inUdp(ipv6({ from, to }, filler(octets - 40)));
const received = (to = INSIDE, octets = 1024) =>
  ethernet('ipv6', ipv6({ from: ELSEWHERE, to }, filler(octets - 40)));
const inner4 = (from: string, to: string) => ipv4({ from, to, protocol: 17 }, filler(1004));
const sent4 = () => {
  const outer = { from: CLIENT6, to: BROKER6, nextHeader: 4 };
  return ethernet('ipv6', ipv6(outer, inner4('10.64.0.22', '192.0.2.80')));
};
const received4 = () => ethernet('ipv4', inner4('192.0.2.80', '10.64.0.22'));

/** How many of ten of the packets go through. */
function passing(direction: 'ingress' | 'egress', packet: Uint8Array, packets = 10): number {
  const program = bench.plane.programFd(`tunnel_${direction}`);
  const verdicts = Array.from({ length: packets }, () => testRun(program, packet).verdict);
  return verdicts.filter((verdict) => verdict !== DROP).length;
}

const countOf = (name: string) =>
  bench.plane.outcomes().find(({ outcome }) => outcome === name)?.packets ?? 0n;

beforeEach(() => {
  const prefix = parseIpv4Prefix('10.64.0.0/24');
  assert.ok(prefix);
  bench.plane.setPools([
    ...bench.plane.pools(),
    { purpose: 'ipv4-link', prefix, positionLength: 30, firstIndex: 0 },
  ]);
  bench.plane.putV4v6(SLOT, { client: address6(CLIENT6) });
  for (const map of ['tunnels', 'tunnels_v4v6'] as const) {
    clearFaults(bench, SLOT, map);
    setFlags(bench, SLOT, TUNNEL_ASSIGNED | TUNNEL_LIMITED, map);
  }
  setRate(bench, SLOT, COST, COST);
  setRate(bench, V4V6_KEY, COST, COST);
});

/** One more may have been earned on a busy machine. */
const assertBurst = (count: number, expected = 5) =>
  assert.ok(count >= expected && count <= expected + 1, `${count} of 10`);

describe('a limited tunnel', () => {
  test('sends no more than its burst at once, and is told', () => {
    const was = countOf('in_rate_limited');
    const passed = passing('ingress', sent());
    assertBurst(passed);
    assert.equal(countOf('in_rate_limited') - was, BigInt(10 - passed));
    assert.deepEqual(faultsOf(bench, SLOT).packets, { rate_in: 10 - passed });
  });
  test('receives no more than its burst at once, and is told', () => {
    const was = countOf('out_rate_limited');
    const counted = bench.plane.counters(SLOT).outPackets;
    const passed = passing('egress', received());
    assertBurst(passed);
    assert.equal(countOf('out_rate_limited') - was, BigInt(10 - passed));
    assert.equal(bench.plane.counters(SLOT).outPackets - counted, BigInt(passed));
    assert.deepEqual(faultsOf(bench, SLOT).packets, { rate_out: 10 - passed });
  });
  test('has a bucket for each direction, and one for link and prefix', () => {
    assertBurst(passing('ingress', sent()));
    assertBurst(passing('egress', received()));
    assert.ok(passing('ingress', sent(DELEGATED)) <= 1);
    assert.ok(passing('egress', received(DELEGATED)) <= 1);
  });
  test('pays for octets, not for packets', () => {
    assert.ok(passing('ingress', sent(INSIDE, 128), 100) >= 40);
    setRate(bench, SLOT, COST, COST);
    assert.ok(passing('ingress', sent(INSIDE, 128), 100) <= 50);
  });
  test('pays for its keepalives', () => {
    passing('ingress', sent());
    const content = { identifier: 1, sequence: 1, payload: filler(1000) };
    const keepalive = inUdp(echo('request', { from: INSIDE, to: GATEWAY }, content));
    assert.ok(passing('ingress', keepalive) <= 1);
  });
  test('earns with time', async () => {
    passing('ingress', sent());
    await new Promise((resolve) => setTimeout(resolve, 110));
    const passed = passing('ingress', sent());
    assert.ok(passed >= 1 && passed <= 5, `${passed} after 0.11 s`);
  });
  test('may be limited in one direction only', () => {
    setRate(bench, SLOT, 0, COST);
    assert.equal(passing('ingress', sent()), 10);
    assertBurst(passing('egress', received()));
  });
  test('sends what is worth more than the burst, but only when it has used none of it', () => {
    setRate(bench, SLOT, 100 * COST, 100 * COST);
    assert.equal(passing('ingress', sent()), 1);
    assert.equal(passing('egress', received()), 1);
  });
  test('does not pay for what is dropped anyway', () => {
    const spam = ipv6(
      { from: INSIDE, to: ELSEWHERE, nextHeader: 6 },
      tcp({ from: 4000, to: 25, flags: 2 }, filler(964)),
    );
    assert.equal(passing('ingress', inUdp(spam)), 0);
    assertBurst(passing('ingress', sent()));
  });
  test('for IPv4 has rates of its own', () => {
    assertBurst(passing('ingress', sent4()));
    assertBurst(passing('egress', received4()));
    const { packets } = faultsOf(bench, SLOT, 'tunnels_v4v6');
    assert.deepEqual(Object.keys(packets), ['rate_in', 'rate_out']);
    assertBurst(passing('ingress', sent()));
  });
});

describe('a tunnel is not limited', () => {
  test('without the flag', () => {
    for (const map of ['tunnels', 'tunnels_v4v6'] as const)
      setFlags(bench, SLOT, TUNNEL_ASSIGNED, map);
    assert.equal(passing('ingress', sent()), 10);
    assert.equal(passing('egress', received()), 10);
    assert.equal(passing('ingress', sent4()), 10);
    assert.equal(passing('egress', received4()), 10);
  });
  test('without a rate', () => {
    const other = 7;
    bench.plane.put(other, {
      encapsulation: 'v6v4',
      client: { address: 0xcb007101, port: 0 },
      interfaceId: 2n,
      mtu: 0,
    });
    setFlags(bench, other, TUNNEL_ASSIGNED | TUNNEL_LIMITED);
    assert.equal(passing('egress', received('2001:db8:1000:7::2')), 10);
  });
});
