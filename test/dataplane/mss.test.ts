// The largest segment that a SYN offers to receive: lowered to what the tunnel carries, in both
// directions and both families, with the checksum that belongs to it.

import assert from 'node:assert/strict';
import { beforeEach, describe, test } from 'node:test';
import { parseIpv4Prefix } from '../../src/address.ts';
import { testRun } from '../../src/dataplane/native.ts';
import { ATTACHMENT, ELSEWHERE, INSIDE, PASS, SEND, SLOT, setUpBench } from './bench.ts';
import { bytes, ethernet, filler, ipv4, ipv6, tcp, udp, withTcpChecksum } from './packets.ts';
import {
  address6,
  BROKER,
  BROKER6,
  CLIENT,
  CLIENT_PORT,
  CLIENT6,
  LINKS,
  PORT,
  SETTINGS,
} from './scratch.ts';

const bench = setUpBench('tunnel_ingress');
const [TCP, UDP, FRAGMENT] = [6, 17, 44];
const [SYN, ACK] = [0x02, 0x10];
/** Of tunnels whose record does not say, which is 1280 in these tests; the headers are 60 and 40. */
const [MOST, MOST4] = [1220, 1240];
const INSIDE4 = '10.64.0.22';
const ELSEWHERE4 = '198.51.100.80';
const SACK_PERMITTED = [4, 2];
const mss = (value: number) => [2, 4, value >> 8, value & 0xff];

beforeEach(() => {
  const prefix = parseIpv4Prefix('10.64.0.0/24');
  assert.ok(prefix);
  bench.plane.setPools([
    LINKS,
    { purpose: 'ipv4-link', prefix, positionLength: 30, firstIndex: 0 },
  ]);
  bench.plane.putV4v6(SLOT, { client: address6(CLIENT6) });
});

interface Way {
  readonly name: string;
  readonly most: number;
  readonly addresses: { from: string; to: string };
  /** A segment goes through the tunnel, and comes out as this. */
  through(segment: Uint8Array): Uint8Array;
}

function run(program: 'tunnel_ingress' | 'tunnel_egress', verdict: number, packet: Uint8Array) {
  const result = testRun(bench.plane.programFd(program), packet);
  assert.equal(result.verdict, verdict);
  return result.packet.slice(14);
}

const [from6, to6] = [
  { from: INSIDE, to: ELSEWHERE },
  { from: ELSEWHERE, to: INSIDE },
];
const [from4, to4] = [
  { from: INSIDE4, to: ELSEWHERE4 },
  { from: ELSEWHERE4, to: INSIDE4 },
];
const packet6 = (fields: { from: string; to: string }, payload: Uint8Array, nextHeader = TCP) =>
  ipv6({ ...fields, nextHeader }, payload);
const packet4 = (fields: { from: string; to: string; options?: number[] }, payload: Uint8Array) =>
  ipv4({ ...fields, protocol: TCP }, payload);

const ways: Way[] = [
  {
    name: 'from a client',
    most: MOST,
    addresses: from6,
    through(segment) {
      const datagram = udp({ from: CLIENT_PORT, to: PORT }, packet6(from6, segment));
      const packet = ipv4({ from: CLIENT, to: BROKER, protocol: UDP }, datagram);
      return run('tunnel_ingress', PASS, ethernet('ipv4', packet)).slice(40);
    },
  },
  {
    name: 'to a client',
    most: MOST,
    addresses: to6,
    through: (segment) =>
      run('tunnel_egress', SEND, ethernet('ipv6', packet6(to6, segment))).slice(28 + 40),
  },
  {
    name: 'from a client for IPv4',
    most: MOST4,
    addresses: from4,
    through(segment) {
      const header = { from: CLIENT6, to: BROKER6, nextHeader: 4 };
      const packet = ipv6(header, packet4(from4, segment));
      return run('tunnel_ingress', PASS, ethernet('ipv6', packet)).slice(20);
    },
  },
  {
    name: 'to a client for IPv4',
    most: MOST4,
    addresses: to4,
    through: (segment) =>
      run('tunnel_egress', SEND, ethernet('ipv4', packet4(to4, segment))).slice(40 + 20),
  },
];

for (const { name, most, addresses, through } of ways) {
  const segment = (options: number[], flags = SYN, payload: Uint8Array = filler(0)) =>
    withTcpChecksum(addresses, tcp({ from: 4000, to: 80, flags, options }, payload));
  const lowered = (before: number[], after: number[], flags = SYN, payload?: Uint8Array) =>
    assert.deepEqual(through(segment(before, flags, payload)), segment(after, flags, payload));
  const left = (options: number[], flags = SYN) => lowered(options, options, flags);

  describe(`the largest segment of a SYN ${name}`, () => {
    test('is lowered to the tunnel’s', () => {
      lowered(mss(1460), mss(most));
      lowered(mss(most + 1), mss(most));
      lowered(mss(65535), mss(most), SYN | ACK);
      lowered(mss(1460), mss(most), SYN, filler(7));
    });
    test('is never raised', () => {
      for (const value of [0, 536, most - 1, most]) left(mss(value));
    });
    test('is found among other options, on odd octets too', () => {
      const among = (value: number) => [
        [...SACK_PERMITTED, 1, 1, ...mss(value)],
        [1, ...mss(value), 3, 3, 7],
        [3, 3, 7, ...mss(value), 0],
        [8, 10, 1, 2, 3, 4, 5, 6, 7, 8, ...mss(value), 1, 1],
        [...new Array(36).fill(1), ...mss(value)],
        [...new Array(35).fill(1), ...mss(value), 1],
        [254, 36, ...new Array(34).fill(9), ...mss(value)],
      ];
      for (const [index, options] of among(1460).entries())
        lowered(options, among(most)[index] ?? []);
    });
    test('is left alone where it is not, or not whole', () => {
      left([]);
      left(mss(1460), ACK);
      left([0, ...mss(1460), 0, 0, 0]);
      left([2, 3, 5, 1]);
      left([2, 0, 5, 180]);
      left([9, 0, ...mss(1460), 0, 0]);
      left([9, 1, ...mss(1460), 0, 0]);
      left([9, 255, ...mss(1460), 0, 0]);
      left([1, 1, 1, 2]);
      left([1, 1, 2, 4]);
      left([1, 2, 4, 5]);
      left(new Array(40).fill(1));
      left([...new Array(37).fill(1), 2, 4, 5]);
    });
    test('is left alone where the segment is cut off', () => {
      const whole = segment(mss(1460));
      const announced = segment([...mss(1460), ...new Array(36).fill(1)]).slice(0, 26);
      for (const part of [whole.slice(0, 13), whole.slice(0, 19), whole.slice(0, 23), announced])
        assert.deepEqual(through(part), part);
    });
  });
}

describe('the largest segment', () => {
  const syn = (value: number, fields: { from: string; to: string }) =>
    withTcpChecksum(fields, tcp({ from: 4000, to: 80, flags: SYN, options: mss(value) }));
  const out6 = (segment: Uint8Array, nextHeader = TCP) =>
    run('tunnel_egress', SEND, ethernet('ipv6', packet6(to6, segment, nextHeader))).slice(68);

  test('is that of the tunnel’s own MTU', () => {
    bench.plane.put(SLOT, { ...ATTACHMENT, mtu: 1400 });
    assert.deepEqual(out6(syn(1460, to6)), syn(1340, to6));
    bench.plane.putV4v6(SLOT, { client: address6(CLIENT6), mtu: 1400 });
    const packet = ethernet('ipv4', packet4(to4, syn(1460, to4)));
    assert.deepEqual(run('tunnel_egress', SEND, packet).slice(60), syn(1360, to4));
  });
  test('is that of all tunnels’ MTU', () => {
    bench.plane.configure({ ...SETTINGS, tunnelMtu: 1472 });
    assert.deepEqual(out6(syn(1460, to6)), syn(1412, to6));
    bench.plane.configure({ ...SETTINGS, tunnelMtu: 0 });
    assert.deepEqual(out6(syn(1460, to6)), syn(MOST, to6));
  });
  test('is found behind IPv4 options', () => {
    const header = { ...to4, options: [1, 1, 1, 0] };
    const packet = ethernet('ipv4', packet4(header, syn(1460, to4)));
    assert.deepEqual(run('tunnel_egress', SEND, packet).slice(64), syn(MOST4, to4));
    const inner = packet4({ ...from4, options: [1, 1, 1, 0] }, syn(1460, from4));
    const over = ethernet('ipv6', ipv6({ from: CLIENT6, to: BROKER6, nextHeader: 4 }, inner));
    assert.deepEqual(run('tunnel_ingress', PASS, over).slice(24), syn(MOST4, from4));
  });
  test('is left alone in what is no TCP header, or behind others', () => {
    const segment = syn(1460, to6);
    assert.deepEqual(out6(segment, UDP), segment);
    const first = bytes([TCP, 0, 0, 1, 0, 0, 0, 9], segment);
    assert.deepEqual(out6(first, FRAGMENT), first);
    const later = ethernet('ipv4', ipv4({ ...to4, protocol: TCP, fragment: 4 }, segment));
    assert.deepEqual(run('tunnel_egress', SEND, later).slice(60), segment);
  });
});
