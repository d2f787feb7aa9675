// Outer packets that arrive in fragments: put together they take the way of any other packet, whatever
// came first; and nothing comes of those that do not fit together. Runs the compiled program in the
// kernel, one fragment after the other.

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { OutcomeName } from '../../src/dataplane/dataplane.ts';
import {
  DROP,
  ELSEWHERE,
  GATEWAY,
  INSIDE,
  PASS,
  SEND,
  SITE,
  SITE_SLOT,
  SLOT,
  setUpBench,
} from './bench.ts';
import {
  bytes,
  checksum,
  echo,
  ethernet,
  filler,
  type Ipv4Fields,
  type Ipv6Fields,
  ipv4,
  ipv6,
  udp,
  withoutIdentification,
} from './packets.ts';
import { BROKER, BROKER6, CLIENT, CLIENT_PORT, CLIENT6, PORT, SETTINGS } from './scratch.ts';

const bench = setUpBench('tunnel_ingress');
const [UDP, IPV6] = [17, 41];
const MORE = 0x2000;

interface Piece {
  readonly offset: number;
  readonly octets: Uint8Array;
  readonly isLast: boolean;
}

/** Cuts a payload at these octets. */
function cut(payload: Uint8Array, ...at: number[]): Piece[] {
  const ends = [...at, payload.length];
  return ends.map((end, index) => {
    const offset = ends[index - 1] ?? 0;
    return { offset, octets: payload.slice(offset, end), isLast: end === payload.length };
  });
}

let identification = 0;

type Outer = Partial<Ipv4Fields> & { protocol: number };

/** One packet for each piece, all of one datagram. */
function packets(pieces: readonly Piece[], outer: Outer): Uint8Array[] {
  identification++;
  return pieces.map(({ offset, octets, isLast }) => {
    const fragment = offset / 8 + (isLast ? 0 : MORE);
    const fields = { from: CLIENT, to: BROKER, identification, fragment, ...outer };
    return ethernet('ipv4', ipv4(fields, octets));
  });
}

const inner = (fields: Partial<Ipv6Fields> = {}, payload = filler(1200)) =>
  ipv6({ from: INSIDE, to: ELSEWHERE, ...fields }, payload);

const datagram = (payload: Uint8Array, from = CLIENT_PORT, to = PORT) => udp({ from, to }, payload);

/** Runs all but the last, which must be kept, and returns what came of the last. */
function arrive(
  fragments: readonly Uint8Array[],
  outcome: OutcomeName,
  verdict: number = PASS,
): Uint8Array {
  for (const fragment of fragments.slice(0, -1)) bench.expect('in_fragment', DROP, fragment);
  return bench.expect(outcome, verdict, fragments.at(-1)!);
}

/** The link layer's type is the kernel's to ignore. */
function assertStripped(out: Uint8Array, expected: Uint8Array): void {
  assert.deepEqual(out.slice(14), expected);
}

describe('fragments of a datagram are put together', () => {
  const site = inner({ from: SITE });

  test('of UDP, in order', () => {
    const pieces = cut(datagram(inner()), 800);
    assertStripped(arrive(packets(pieces, { protocol: UDP }), 'in_decapsulated'), inner());
  });
  test('of protocol 41, in order and reversed', () => {
    for (const order of [
      [0, 1, 2],
      [2, 1, 0],
      [1, 2, 0],
      [1, 0, 2],
    ]) {
      const pieces = packets(cut(site, 400, 808), { protocol: IPV6 });
      const out = arrive(
        order.map((index) => pieces[index]!),
        'in_decapsulated',
      );
      assertStripped(out, site);
    }
  });
  test('of UDP, reversed: what nobody can tell yet goes to the kernel, too', () => {
    const [first, second, third] = packets(cut(datagram(inner()), 400, 808), { protocol: UDP });
    for (const early of [third!, second!])
      assert.deepEqual(bench.expect('in_not_ours', PASS, early), early);
    assertStripped(bench.expect('in_decapsulated', PASS, first!), inner());
  });
  test('of UDP, the first neither first nor last', () => {
    const [first, second, third] = packets(cut(datagram(inner()), 400, 808), { protocol: UDP });
    bench.expect('in_not_ours', PASS, third!);
    assertStripped(arrive([first!, second!], 'in_decapsulated'), inner());
  });
  test('the first of which ends within the inner header, or within the ports', () => {
    for (const at of [8, 16, 24, 40]) {
      const inUdp = packets(cut(datagram(inner()), at), { protocol: UDP });
      assertStripped(arrive(inUdp, 'in_decapsulated'), inner());
      const inProtocol41 = packets(cut(site, at), { protocol: IPV6 });
      assertStripped(arrive(inProtocol41, 'in_decapsulated'), site);
    }
  });
  test('of many datagrams at once, whichever way they are cut', () => {
    let whole = 0;
    for (let round = 0; round < 20; round++) {
      const rest = Array.from({ length: 8 }, () => {
        const packet = inner({ from: SITE }, filler(1 + Math.floor(Math.random() * 1900)));
        const cuts = new Set(
          Array.from({ length: 4 }, () => 8 + 8 * Math.floor((Math.random() * packet.length) / 8)),
        );
        const at = [...cuts].filter((octet) => octet < packet.length).sort((a, b) => a - b);
        return { packet, pieces: packets(cut(packet, ...at), { protocol: IPV6 }) };
      });
      while (rest.length > 0) {
        const chosen = rest[Math.floor(Math.random() * rest.length)]!;
        const at = Math.floor(Math.random() * chosen.pieces.length);
        const [piece] = chosen.pieces.splice(at, 1);
        if (chosen.pieces.length > 0) {
          bench.expect('in_fragment', DROP, piece!);
          continue;
        }
        rest.splice(rest.indexOf(chosen), 1);
        const counted = () => bench.plane.counters(SITE_SLOT).inPackets;
        const before = counted();
        const { packet } = bench.run(piece!);
        if (counted() === before) continue;
        assertStripped(packet, chosen.packet);
        whole++;
      }
    }
    // Two that are under way at once may have the same place.
    assert.ok(whole > 130, `${whole} of 160`);
  });
  test('as long as there is room, and no longer', () => {
    const longest = inner({ from: SITE }, filler(2047 - 40));
    assertStripped(
      arrive(packets(cut(longest, 1024), { protocol: IPV6 }), 'in_decapsulated'),
      longest,
    );
    const longer = inner({ from: SITE }, filler(2048 - 40));
    arrive(packets(cut(longer, 1024), { protocol: IPV6 }), 'in_truncated', DROP);
  });
  test('behind IPv4 options', () => {
    const options = [1, 1, 1, 1, 1, 1, 1, 0];
    const pieces = packets(cut(datagram(inner()), 800), { protocol: UDP, options });
    assertStripped(arrive(pieces, 'in_decapsulated'), inner());
  });
  test('one of which the network delivered twice', () => {
    const [first, second] = packets(cut(site, 800), { protocol: IPV6 });
    assertStripped(arrive([first!, first!, second!], 'in_decapsulated'), site);
  });
  test('the last of which is shorter than the shortest frame', () => {
    const [first, second] = packets(cut(site, 1232), { protocol: IPV6 });
    assertStripped(arrive([first!, bytes(second!, filler(18))], 'in_decapsulated'), site);
  });
  test('and are counted for their tunnel as one packet', () => {
    const was = bench.plane.counters(SLOT);
    arrive(packets(cut(datagram(inner()), 800), { protocol: UDP }), 'in_decapsulated');
    const is = bench.plane.counters(SLOT);
    assert.deepEqual([is.inPackets - was.inPackets, is.inBytes - was.inBytes], [1n, 1240n]);
  });
});

describe('what was put together takes the complete path', () => {
  const at = (...cuts: number[]) => ({
    udp: (packet: Uint8Array, from?: number) =>
      packets(cut(datagram(packet, from), ...cuts), { protocol: UDP }),
  });

  test('a keepalive is answered', () => {
    const content = { identifier: 7, sequence: 9, payload: filler(1200) };
    const request = echo('request', { from: INSIDE, to: GATEWAY }, content);
    const out = arrive(at(800).udp(request), 'in_echo_answered', SEND);
    const answer = datagram(
      echo('reply', { from: GATEWAY, to: INSIDE }, content),
      PORT,
      CLIENT_PORT,
    );
    assert.deepEqual(
      withoutIdentification(out),
      ethernet('ipv4', ipv4({ from: BROKER, to: CLIENT, protocol: UDP }, answer)),
    );
  });
  test('from another endpoint', () => {
    arrive(at(800).udp(inner(), CLIENT_PORT + 1), 'in_wrong_endpoint', DROP);
    assert.ok(bench.plane.faults(SLOT).packets.wrong_endpoint > 0);
    const elsewhere = { protocol: UDP, from: '198.51.100.8' };
    arrive(packets(cut(datagram(inner()), 800), elsewhere), 'in_wrong_endpoint', DROP);
  });
  test('from a source that the sender may not use', () => {
    arrive(at(800).udp(inner({ from: ELSEWHERE })), 'in_outside_pools', DROP);
    arrive(at(800).udp(inner({ from: '2001:db8:1000:5::3' })), 'in_wrong_interface_id', DROP);
  });
  test('to a filtered port that the first fragment hides', () => {
    const smtp = bytes([0x0f, 0xa0, 0, 25], filler(8), [0x50, 2], filler(100));
    arrive(at(48).udp(inner({ nextHeader: 6 }, smtp)), 'in_filtered', DROP);
  });
  test('with lengths that do not fit', () =>
    void arrive(at(800).udp(inner({ payloadLength: 1201 })), 'in_truncated', DROP));
  test('with a first nibble of neither kind', () => {
    arrive(at(8).udp(bytes([0x45], filler(600))), 'in_not_ipv6_nor_tsp', DROP);
    const pieces = packets(cut(bytes([0x45], filler(600)), 304), { protocol: IPV6 });
    arrive(pieces, 'in_not_ipv6_nor_tsp', DROP);
  });
  test('signalling whose first fragment says nothing goes to the socket, whole', () => {
    const tsp = datagram(bytes([0xf0], filler(600)));
    const out = arrive(packets(cut(tsp, 8), { protocol: UDP, ttl: 7 }), 'in_signalling');
    const whole = ipv4({ from: CLIENT, to: BROKER, protocol: UDP, identification, ttl: 7 }, tsp);
    assert.deepEqual(out, ethernet('ipv4', whole));
    assert.equal(checksum(out.slice(14, 34)), 0);
  });
  test('and that is limited as any other', () => {
    const signallingLimits = { perAddress: 1, perPrefix: 0, total: 0 };
    bench.plane.configure({ ...SETTINGS, signallingLimits });
    const signal = () => packets(cut(datagram(bytes([0xf0], filler(600))), 8), { protocol: UDP });
    for (let i = 0; i < 9; i++) for (const fragment of signal()) bench.run(fragment);
    arrive(signal(), 'in_signalling_limited_address', DROP);
  });
});

describe('congestion marks (RFC 3168, 5.3)', () => {
  const marked = (trafficClass: number, ...marks: number[]) => {
    const packet = inner({ from: SITE, trafficClass });
    const pieces = packets(cut(packet, 400, 800), { protocol: IPV6 });
    return pieces.map((piece, index) => {
      const header = piece.slice(14, 34);
      header[1] = marks[index] ?? 0;
      header.set([0, 0], 10);
      const sum = checksum(header);
      header.set([sum >> 8, sum & 255], 10);
      return bytes(piece.slice(0, 14), header, piece.slice(34));
    });
  };
  test('one marked fragment marks the whole', () => {
    for (const marks of [
      [2, 2, 3],
      [3, 2, 2],
      [2, 3, 2],
    ])
      assertStripped(
        arrive(marked(2, ...marks), 'in_decapsulated'),
        inner({ from: SITE, trafficClass: 3 }),
      );
  });
  test('beside one whose sender does not know of marks it is a loss', () =>
    void arrive(marked(2, 3, 0, 3), 'in_congestion_lost', DROP));
});

describe('what does not fit together is not put together', () => {
  const site = inner({ from: SITE });
  const pieces = (...list: Piece[]) => packets(list, { protocol: IPV6 });
  const piece = (offset: number, end: number, isLast = end === site.length): Piece => ({
    offset,
    octets: site.slice(offset, end),
    isLast,
  });
  /** One after the other; the outcomes of all of them. */
  const outcomes = (fragments: readonly Uint8Array[]) =>
    fragments.map((fragment) => {
      const counts = () => new Map(bench.plane.outcomes().map((o) => [o.outcome, o.packets]));
      const before = counts();
      bench.run(fragment);
      const changed = [...counts()].filter(([name, count]) => count !== before.get(name));
      assert.equal(changed.length, 1);
      return changed[0]![0];
    });

  test('without its last fragment', () => {
    const was = bench.plane.counters(SLOT).inPackets;
    const { length } = outcomes(pieces(piece(0, 400), piece(400, 800)));
    assert.equal(length, 2);
    assert.equal(bench.plane.counters(SLOT).inPackets, was);
  });
  test('when the rest comes after two seconds', async () => {
    const [first, second] = pieces(piece(0, 800), piece(800, 1240));
    assert.deepEqual(outcomes([first!]), ['in_fragment']);
    await sleep(2400);
    assert.deepEqual(outcomes([second!, first!]), ['in_fragment', 'in_decapsulated']);
  });
  test('but a flood of fragments without an end is no hindrance once it is over', () => {
    for (let i = 0; i < 3000; i++) bench.run(pieces(piece(0, 400))[0]!);
    const honest = pieces(piece(0, 800), piece(800, 1240));
    assert.deepEqual(outcomes(honest), ['in_fragment', 'in_decapsulated']);
  });
  test('when two overlap; and what follows is no part of it', () => {
    const fragments = pieces(piece(0, 400), piece(392, 800), piece(400, 800), piece(800, 1240));
    assert.deepEqual(outcomes(fragments), [
      'in_fragment',
      'in_truncated',
      'in_fragment',
      'in_fragment',
    ]);
  });
  test('when there are two ends, or something behind the end', () => {
    const ends = pieces(piece(0, 400), piece(800, 1240), piece(400, 800, true));
    assert.deepEqual(outcomes(ends), ['in_fragment', 'in_fragment', 'in_truncated']);
    const behind = pieces(piece(0, 400), piece(400, 808, true), piece(808, 1208));
    assert.equal(outcomes(behind).at(-1), 'in_fragment');
    const before = pieces(piece(800, 1208), piece(400, 800, true));
    assert.deepEqual(outcomes(before), ['in_fragment', 'in_truncated']);
  });
  test('when one that is not the last has octets that nobody can continue, or none', () => {
    assert.deepEqual(outcomes(pieces(piece(0, 399))), ['in_truncated']);
    assert.deepEqual(outcomes(pieces(piece(0, 0))), ['in_truncated']);
  });
  test('when one is longer than its frame', () => {
    const [cutShort] = pieces(piece(0, 400));
    assert.deepEqual(outcomes([cutShort!.slice(0, 200)]), ['in_truncated']);
  });
  test('when one would end behind the longest packet there is', () => {
    const far = { offset: 0x1fff * 8, octets: filler(64), isLast: true };
    assert.deepEqual(outcomes(pieces(far)), ['in_truncated']);
    const udpFar = packets([far], { protocol: UDP });
    assert.deepEqual(outcomes(udpFar), ['in_not_ours']);
  });
  test('when they are of different datagrams, senders or protocols', () => {
    const halves = cut(site, 800);
    const [first] = packets(halves, { protocol: IPV6 });
    const [, other] = packets(halves, { protocol: IPV6 });
    const [, stranger] = packets(halves, {
      protocol: IPV6,
      identification: identification - 1,
      from: '198.51.100.8',
    });
    assert.deepEqual(outcomes([first!, other!, stranger!]), [
      'in_fragment',
      'in_fragment',
      'in_fragment',
    ]);
  });
  test('fragments of UDP to another port are the kernel’s', () => {
    const [first, second] = packets(cut(datagram(inner(), CLIENT_PORT, 53), 800), {
      protocol: UDP,
    });
    assert.deepEqual(outcomes([first!, second!]), ['in_not_ours', 'in_not_ours']);
  });
});

describe('over IPv6', () => {
  const [FRAGMENT, OPTIONS, IPV4] = [44, 60, 4];
  const ENCAPSULATION_LIMIT = [4, 1, 4, 1, 1, 0];
  const carried = ipv4({ from: '10.64.0.22', to: '192.0.2.80', protocol: UDP }, filler(1200));
  const outer = (nextHeader: number, payload: Uint8Array) =>
    ethernet('ipv6', ipv6({ from: CLIENT6, to: BROKER6, nextHeader }, payload));
  const fragments = (...at: number[]) => {
    identification++;
    return cut(carried, ...at).map(({ offset, octets, isLast }) => {
      const word = offset | (isLast ? 0 : 1);
      const header = [
        IPV4,
        0,
        word >> 8,
        word & 255,
        0,
        0,
        identification >> 8,
        identification & 255,
      ];
      return bytes(header, octets);
    });
  };
  // No tunnel has that source: it is known only once the inner header was read.
  test('they are put together, with the option of nested tunnels before them or without', () => {
    const plain = fragments(400, 800).map((fragment) => outer(FRAGMENT, fragment));
    arrive(plain, 'in_outside_pools', DROP);
    arrive([plain[2]!, plain[0]!, plain[1]!], 'in_outside_pools', DROP);
    const behind = fragments(400).map((fragment) =>
      outer(OPTIONS, bytes([FRAGMENT, 0], ENCAPSULATION_LIMIT, fragment)),
    );
    arrive(behind, 'in_outside_pools', DROP);
  });
  test('and not, when they overlap', () => {
    const [first] = fragments(400).map((fragment) => outer(FRAGMENT, fragment));
    identification--;
    const [, second] = fragments(392).map((fragment) => outer(FRAGMENT, fragment));
    arrive([first!, second!], 'in_truncated', DROP);
  });
});
