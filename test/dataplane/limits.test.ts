// How much signalling tunnel_ingress lets through to user space, limit by limit. Rates are so low that
// no packet is earned back while a test runs: what counts is the burst, twice the rate.

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { formatIpv4, parseIpv4 } from '../../src/address.ts';
import type { OutcomeName, SignallingLimits } from '../../src/dataplane/dataplane.ts';
import { SOURCES_BITS } from '../../src/dataplane/layout.gen.ts';
import { DROP, ELSEWHERE, INSIDE, PASS, setUpBench } from './bench.ts';
import { bytes, ethernet, filler, ipv4, ipv6, tcp, udp } from './packets.ts';
import { BROKER, BROKER6, CLIENT, CLIENT_PORT, PORT, SETTINGS } from './scratch.ts';

const bench = setUpBench('tunnel_ingress');
const NO_LIMITS: SignallingLimits = { perAddress: 0, perPrefix: 0, total: 0 };

function limit(limits: Partial<SignallingLimits>): void {
  bench.plane.configure({ ...SETTINGS, signallingLimits: { ...NO_LIMITS, ...limits } });
}

function signalling(from: string): Uint8Array {
  const datagram = udp({ from: CLIENT_PORT, to: PORT }, bytes([0xf0, 0, 0, 1], filler(40)));
  return ethernet('ipv4', ipv4({ from, to: BROKER, protocol: 17 }, datagram));
}

function connection(from: string, flags: number, fields: { to?: number } = {}): Uint8Array {
  const segment = tcp({ from: CLIENT_PORT, to: PORT, flags, ...fields });
  return ethernet('ipv4', ipv4({ from, to: BROKER, protocol: 6 }, segment));
}

const [SYN, ACK] = [0x02, 0x10];
const pass = (packet: Uint8Array) => void bench.expect('in_signalling', PASS, packet);
const limited = (by: 'address' | 'prefix' | 'total', packet: Uint8Array) =>
  void bench.expect(LIMITED[by], DROP, packet);
const LIMITED = {
  address: 'in_signalling_limited_address',
  prefix: 'in_signalling_limited_prefix',
  total: 'in_signalling_limited_total',
} as const;

/** How often each outcome came of one packet from each source. */
function tally(sources: Iterable<string>): Partial<Record<OutcomeName, number>> {
  const outcomes = () => bench.plane.outcomes();
  const before = outcomes();
  for (const source of sources) bench.run(signalling(source));
  const changed = outcomes().map(
    ({ outcome, packets }, i) => [outcome, Number(packets - (before[i]?.packets ?? 0n))] as const,
  );
  return Object.fromEntries(changed.filter(([, count]) => count > 0));
}

/** A few more may be earned on a busy machine, and two sources may have one place. */
function assertAbout(expected: number, count = 0): void {
  assert.ok(Math.abs(count - expected) <= 5, `${count}, not about ${expected}`);
}

/** Addresses one after another, none in the /24 of the one before it. */
function* strangers(first: string, count: number): Generator<string> {
  const base = parseIpv4(first) ?? 0;
  for (let i = 0; i < count; i++) yield formatIpv4(base + i * 256);
}

/** Another address whose hash leads to the same place; the table's secret is read from the map. */
function sharingThePlaceOf(address: string): string {
  const { hashMultiplier } = bench.plane.settings();
  const place = (key: number) =>
    BigInt.asUintN(64, BigInt(key) * hashMultiplier) >> BigInt(64 - SOURCES_BITS);
  const wanted = place(parseIpv4(address) ?? 0);
  let other = parseIpv4('100.0.0.0') ?? 0;
  while (place(other) !== wanted) other++;
  return formatIpv4(other);
}

describe('signalling of one address', () => {
  test('is dropped beyond the burst of twice its rate', () => {
    limit({ perAddress: 2 });
    for (let i = 0; i < 4; i++) pass(signalling(CLIENT));
    limited('address', signalling(CLIENT));
  });
  test('is let through again when time has earned it', async () => {
    limit({ perAddress: 20 });
    assert.deepEqual(tally(new Array<string>(60).fill(CLIENT)).in_signalling, 40);
    await new Promise((resolve) => setTimeout(resolve, 250));
    const { in_signalling = 0 } = tally(new Array<string>(60).fill(CLIENT));
    assert.ok(in_signalling >= 4 && in_signalling <= 12, `${in_signalling} in 0.25 s`);
  });
  test('does not count against its neighbours', () => {
    limit({ perAddress: 1 });
    for (let i = 0; i < 20; i++) bench.run(signalling(CLIENT));
    limited('address', signalling(CLIENT));
    pass(signalling('198.51.100.8'));
  });
  test('counts a TCP connection as much as a datagram', () => {
    limit({ perAddress: 1 });
    pass(signalling(CLIENT));
    pass(connection(CLIENT, SYN));
    limited('address', connection(CLIENT, SYN));
  });
  test('counts super-packets as the datagrams that they came as', () => {
    limit({ perAddress: 5 });
    void bench.expect('in_signalling', PASS, signalling(CLIENT), { gsoSize: 10, gsoSegments: 9 });
    pass(signalling(CLIENT));
    limited('address', signalling(CLIENT));
  });
  test('is not charged for who had its place in the table before', () => {
    limit({ perAddress: 5 });
    const nine = { gsoSize: 10, gsoSegments: 9 };
    void bench.expect('in_signalling', PASS, signalling(CLIENT), nine);
    void bench.expect('in_signalling', PASS, signalling(sharingThePlaceOf(CLIENT)), nine);
  });
  test('has no limit when none is set', () => {
    limit({});
    assert.deepEqual(tally(new Array<string>(300).fill(CLIENT)), { in_signalling: 300 });
  });
});

describe('signalling of one /24', () => {
  test('is dropped beyond its burst, whatever the address', () => {
    limit({ perPrefix: 2 });
    for (const last of [1, 2, 3, 4]) pass(signalling(`198.51.100.${last}`));
    limited('prefix', signalling('198.51.100.5'));
    pass(signalling('198.51.101.5'));
  });
  test('is not used up by what the limit of an address drops', () => {
    limit({ perAddress: 1, perPrefix: 2 });
    for (let i = 0; i < 20; i++) bench.run(signalling(CLIENT));
    limited('address', signalling(CLIENT));
    pass(signalling('198.51.100.8'));
    pass(signalling('198.51.100.9'));
    limited('prefix', signalling('198.51.100.10'));
  });
});

describe('signalling in all', () => {
  test('of strangers is dropped beyond a quarter of the total', () => {
    limit({ total: 40 });
    assertAbout(20, tally(strangers('11.0.0.1', 100)).in_signalling);
  });
  test('of sources that come again has three quarters', () => {
    limit({ total: 40 });
    tally(strangers('11.0.0.1', 100));
    assertAbout(60, tally(strangers('11.0.0.1', 100)).in_signalling);
  });
  test('lets a stranger in at the second attempt, in the middle of a flood of others', () => {
    limit({ perAddress: 50, perPrefix: 500, total: 4 });
    tally(strangers('11.0.0.1', 200));
    limited('total', signalling(CLIENT));
    tally(strangers('12.0.0.1', 200));
    pass(signalling(CLIENT));
  });
  test('does not forget who came again for a stranger with the same place in the table', () => {
    limit({ total: 4 });
    const stranger = sharingThePlaceOf(CLIENT);
    tally([CLIENT, CLIENT, stranger]);
    tally(strangers('11.0.0.1', 200));
    limited('total', signalling(stranger));
    pass(signalling(CLIENT));
  });
  test('forgets a stranger for another one with the same place', () => {
    limit({ total: 4 });
    tally([CLIENT, sharingThePlaceOf(CLIENT)]);
    tally(strangers('11.0.0.1', 200));
    limited('total', signalling(CLIENT));
  });
});

describe('what is no signalling is not limited', () => {
  test('packets of established tunnels', () => {
    limit({ perAddress: 1, perPrefix: 1, total: 1 });
    for (let i = 0; i < 9; i++) bench.run(signalling(CLIENT));
    const inner = ipv6({ from: INSIDE, to: ELSEWHERE }, filler(64));
    const datagram = udp({ from: CLIENT_PORT, to: PORT }, inner);
    const packet = ethernet('ipv4', ipv4({ from: CLIENT, to: BROKER, protocol: 17 }, datagram));
    for (let i = 0; i < 20; i++) bench.expect('in_decapsulated', PASS, packet);
  });
  test('segments of established TCP connections, and connections to other ports', () => {
    limit({ perAddress: 1, perPrefix: 1, total: 1 });
    for (let i = 0; i < 9; i++) bench.run(signalling(CLIENT));
    limited('address', connection(CLIENT, SYN));
    bench.expect('in_not_ours', PASS, connection(CLIENT, ACK));
    bench.expect('in_not_ours', PASS, connection(CLIENT, SYN | ACK));
    bench.expect('in_not_ours', PASS, connection(CLIENT, SYN, { to: 22 }));
  });
});

describe('ways around the limits', () => {
  const first = (protocol: number, payload: Uint8Array, length: number) =>
    ethernet(
      'ipv4',
      ipv4({ from: CLIENT, to: BROKER, protocol, fragment: 0x2000 }, payload.slice(0, length)),
    );
  const datagram = udp({ from: CLIENT_PORT, to: PORT }, bytes([0xf0], filler(63)));
  const syn = tcp({ from: CLIENT_PORT, to: PORT, flags: SYN });

  test('a first fragment of UDP that leaves its first octet to the second waits for it', () =>
    void bench.expect('in_fragment', DROP, first(17, datagram, 8)));
  test('a first fragment of TCP that leaves its flags to the second is dropped', () =>
    void bench.expect('in_fragment', DROP, first(6, syn, 8)));
  test('a first fragment of either that says enough is signalling', () => {
    pass(first(17, datagram, 16));
    pass(first(6, syn, 16));
  });
  test('a segment too short for its flags is the kernel’s to drop', () => {
    const short = ipv4({ from: CLIENT, to: BROKER, protocol: 6 }, syn.slice(0, 13));
    bench.expect('in_not_ours', PASS, ethernet('ipv4', short));
  });
});

describe('signalling through a tunnel', () => {
  const through = (to: string, nextHeader: number, payload: Uint8Array) => {
    const datagram = udp(
      { from: CLIENT_PORT, to: PORT },
      ipv6({ from: INSIDE, to, nextHeader }, payload),
    );
    return ethernet('ipv4', ipv4({ from: CLIENT, to: BROKER, protocol: 17 }, datagram));
  };
  const tsp = udp({ from: 4000, to: PORT }, bytes([0xf0], filler(20)));
  const [TCP, UDP, HOP_BY_HOP] = [6, 17, 0];
  const segment = (flags: number, to = PORT) => tcp({ from: 4000, to, flags });
  const goesOn = (packet: Uint8Array) => void bench.expect('in_decapsulated', PASS, packet);

  test('to our own address is limited as if it came without one', () => {
    limit({ perAddress: 2 });
    goesOn(through(BROKER6, UDP, tsp));
    goesOn(through(BROKER6, TCP, segment(SYN)));
    goesOn(through(BROKER6, HOP_BY_HOP, bytes([UDP, 0, 1, 4, 0, 0, 0, 0], tsp)));
    pass(signalling(CLIENT));
    limited('address', through(BROKER6, UDP, tsp));
    limited('address', through(BROKER6, TCP, segment(SYN)));
    limited('address', through(BROKER6, HOP_BY_HOP, bytes([UDP, 0, 1, 4, 0, 0, 0, 0], tsp)));
    limited('address', through(BROKER6, UDP, tsp.slice(0, 3)));
    limited('address', through(BROKER6, TCP, segment(SYN).slice(0, 13)));
    limited('address', signalling(CLIENT));
  });
  test('is not what goes elsewhere, or to another port', () => {
    limit({ perAddress: 1 });
    for (let i = 0; i < 3; i++) bench.run(signalling(CLIENT));
    limited('address', signalling(CLIENT));
    goesOn(through(ELSEWHERE, UDP, tsp));
    goesOn(through('2001:db8:54::53', UDP, tsp));
    goesOn(through(ELSEWHERE, HOP_BY_HOP, filler(16)));
    goesOn(through(BROKER6, UDP, udp({ from: PORT, to: 53 }, filler(20))));
    goesOn(through(BROKER6, TCP, segment(SYN, 22)));
    goesOn(through(BROKER6, TCP, segment(ACK)));
    goesOn(through(BROKER6, 58, filler(20)));
  });
});

test('limits that cannot be are refused', () => {
  for (const perAddress of [-1, 0.5, 1e8, Number.NaN])
    assert.throws(() => limit({ perAddress }), RangeError);
});
