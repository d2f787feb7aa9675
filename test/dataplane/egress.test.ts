// What tunnel_egress does with packets that the kernel routed to the tunnel device: one test per
// outcome, as for tunnel_ingress. (The kernel's test device has a link layer, a TUN device has none:
// the tests between namespaces cover the latter.)

import assert from 'node:assert/strict';
import { beforeEach, describe, test } from 'node:test';
import type { Attachment } from '../../src/dataplane/dataplane.ts';
import { testRun } from '../../src/dataplane/native.ts';
import {
  ATTACHMENT,
  DELEGATED,
  DROP,
  ELSEWHERE,
  GATEWAY,
  INSIDE,
  SEND,
  SLOT,
  setUpBench,
} from './bench.ts';
import {
  bytes,
  checksum,
  ethernet,
  filler,
  icmpv6,
  ipv4,
  ipv6,
  udp,
  withoutIdentification,
} from './packets.ts';
import { address4, BROKER, CLIENT, CLIENT_PORT, PORT } from './scratch.ts';

const bench = setUpBench('tunnel_egress');
const expectOutcome = bench.expect;

function packetTo(to: string, trafficClass = 0, payload = filler(64)): Uint8Array {
  return ipv6({ from: ELSEWHERE, to, trafficClass }, payload);
}

const toLink = ethernet('ipv6', packetTo(INSIDE));

describe('packets to a tunnel get their outer headers', () => {
  const inUdp = (packet: Uint8Array, tos = 0) =>
    ethernet(
      'ipv4',
      ipv4(
        { from: BROKER, to: CLIENT, protocol: 17, tos },
        udp({ from: PORT, to: CLIENT_PORT }, packet),
      ),
    );
  /** From the network header on: the link layer is replaced when the packet is sent. */
  const assertSent = (out: Uint8Array, expected: Uint8Array) =>
    assert.deepEqual(withoutIdentification(out).slice(14), expected.slice(14));

  test('in UDP', () =>
    assertSent(expectOutcome('out_encapsulated', SEND, toLink), inUdp(packetTo(INSIDE))));
  test('in protocol 41', () => {
    const client = { address: address4(CLIENT), port: 0 };
    bench.plane.put(SLOT, { ...ATTACHMENT, encapsulation: 'v6v4', client });
    assertSent(
      expectOutcome('out_encapsulated', SEND, toLink),
      ethernet('ipv4', ipv4({ from: BROKER, to: CLIENT, protocol: 41 }, packetTo(INSIDE))),
    );
  });
  test('to a delegated prefix', () =>
    assertSent(
      expectOutcome('out_encapsulated', SEND, ethernet('ipv6', packetTo(DELEGATED))),
      inUdp(packetTo(DELEGATED)),
    ));
  test('with the ECN field copied, the DSCP kept private (RFC 6040, 4.1)', () =>
    assertSent(
      expectOutcome('out_encapsulated', SEND, ethernet('ipv6', packetTo(INSIDE, 0xbb))),
      inUdp(packetTo(INSIDE, 0xbb), 3),
    ));
  test('with an identification that is not always the same', () => {
    const identifications = new Set<number>();
    for (let i = 0; i < 8; i++) {
      const { packet } = bench.run(toLink);
      identifications.add(new DataView(packet.buffer, packet.byteOffset).getUint16(18));
    }
    assert.ok(identifications.size > 1);
  });
  test('and are counted for their tunnel, in inner octets', () => {
    const was = bench.plane.counters(SLOT);
    expectOutcome('out_encapsulated', SEND, toLink);
    const is = bench.plane.counters(SLOT);
    assert.equal(is.outPackets - was.outPackets, 1n);
    assert.equal(is.outBytes - was.outBytes, 104n);
    assert.equal(is.inPackets, was.inPackets);
    assert.ok(Math.abs(Date.now() - (is.outLastSeenMs ?? 0)) < 1000);
  });
  test('the largest packet there can be', () => {
    const packet = packetTo(INSIDE, 0, filler(1400));
    assertSent(expectOutcome('out_encapsulated', SEND, ethernet('ipv6', packet)), inUdp(packet));
  });
});

describe('packets that are to nobody at all are dropped', () => {
  test('to an address outside the pools', () =>
    void expectOutcome('out_outside_pools', DROP, ethernet('ipv6', packetTo('2001:db8:9::1'))));
  test('to the server’s own end of a link', () =>
    void expectOutcome('out_to_gateway', DROP, ethernet('ipv6', packetTo('2001:db8:1000:5::1'))));
  test('to another interface identifier than the client’s', () =>
    void expectOutcome(
      'out_wrong_interface_id',
      DROP,
      ethernet('ipv6', packetTo('2001:db8:1000:5::3')),
    ));
  test('to a multicast group', () =>
    void expectOutcome('out_not_unicast', DROP, ethernet('ipv6', packetTo('ff02::2'))));
  test('to a link-local address', () =>
    void expectOutcome('out_not_unicast', DROP, ethernet('ipv6', packetTo('fe80::2'))));
  test('IPv4 to an address outside the pools', () => {
    const packet = ipv4({ from: BROKER, to: CLIENT, protocol: 17 }, filler(40));
    expectOutcome('out_outside_pools', DROP, ethernet('ipv4', packet));
  });
  test('less than a header', () => {
    const short = toLink.slice(0, 14 + 39);
    short.set([0x88, 0xb5], 12); // a local experiment's type: the kernel tests no short IPv6
    expectOutcome('out_not_unicast', DROP, short);
  });
  test('what the kernel cannot encapsulate: a super-packet of no known kind', () =>
    void expectOutcome('out_push_failed', DROP, toLink, { gsoSize: 50, gsoSegments: 2 }));
});

describe('a tunnel that is silent until heard', () => {
  const silent: Attachment = { ...ATTACHMENT, silentUntilHeard: true };
  const heard = () => {
    const packet = ethernet(
      'ipv4',
      ipv4(
        { from: CLIENT, to: BROKER, protocol: 17 },
        udp({ from: CLIENT_PORT, to: PORT }, ipv6({ from: INSIDE, to: ELSEWHERE }, filler(8))),
      ),
    );
    assert.equal(testRun(bench.plane.programFd('tunnel_ingress'), packet).verdict, 0);
  };

  test('gets nothing before its first packet', () => {
    bench.plane.put(SLOT, silent, { resetCounters: true });
    expectOutcome('out_not_yet_heard', DROP, toLink);
  });
  test('gets everything after it', () => {
    bench.plane.put(SLOT, silent, { resetCounters: true });
    heard();
    assert.equal(bench.run(toLink).verdict, SEND);
  });
  test('has to speak again when it moves', () => {
    bench.plane.put(SLOT, silent);
    heard();
    const moved = { address: address4(CLIENT), port: CLIENT_PORT + 1 };
    bench.plane.put(SLOT, { ...silent, client: moved });
    expectOutcome('out_not_yet_heard', DROP, toLink);
  });
  test('but not when the same is said again', () => {
    bench.plane.put(SLOT, silent);
    heard();
    bench.plane.put(SLOT, silent);
    assert.equal(bench.run(toLink).verdict, SEND);
  });
});

describe('packets larger than the tunnel’s MTU', () => {
  const large = packetTo(INSIDE, 0, filler(1301 - 40));
  const tickMs = 2 ** 27 / 1e6;
  beforeEach(() => bench.plane.put(SLOT, { ...ATTACHMENT, mtu: 1300 }));

  test('become a Packet Too Big to their sender, with as much of them as fits', async () => {
    await new Promise((resolve) => setTimeout(resolve, 2 * tickMs));
    const out = expectOutcome('out_too_big', SEND, ethernet('ipv6', large));
    const message = bytes([2, 0, 0, 0, 0, 0, 0x05, 0x14], large.slice(0, 1232));
    const expected = icmpv6({ from: '2001:db8:1000:5::1', to: ELSEWHERE }, message);
    assert.equal(expected.length, 1280);
    assert.deepEqual(out.slice(14), expected);
    assert.notEqual(checksum(out.slice(54)), 0xffff);
  });
  test('come from the tunnel’s own gateway when they are to its delegated prefix', async () => {
    await new Promise((resolve) => setTimeout(resolve, 2 * tickMs));
    const delegated = packetTo(DELEGATED, 0, filler(1301 - 40));
    const out = expectOutcome('out_too_big', SEND, ethernet('ipv6', delegated));
    const message = bytes([2, 0, 0, 0, 0, 0, 0x05, 0x14], delegated.slice(0, 1232));
    assert.deepEqual(out.slice(14), icmpv6({ from: GATEWAY, to: ELSEWHERE }, message));
  });
  test('become one only once in a tick', async () => {
    await new Promise((resolve) => setTimeout(resolve, 2 * tickMs));
    const outcomes = () =>
      bench.plane.outcomes().filter(({ outcome }) => outcome.startsWith('out_too_big'));
    const was = outcomes();
    for (let i = 0; i < 20; i++) bench.run(ethernet('ipv6', large));
    const [sent = 0n, quiet = 0n] = outcomes().map(
      ({ packets }, index) => packets - (was[index]?.packets ?? 0n),
    );
    assert.ok(sent >= 1n && sent <= 3n, `${sent} sent`);
    assert.equal(sent + quiet, 20n);
  });
  test('of just that size go through', () => {
    const fits = packetTo(INSIDE, 0, filler(1300 - 40));
    expectOutcome('out_encapsulated', SEND, ethernet('ipv6', fits));
  });
  test('are so to the octet, when they are super-packets of TCP', async () => {
    const segment = filler(1361);
    segment[12] = 0x80; // data offset: 32 octets of TCP header
    const tcp = ethernet('ipv6', ipv6({ from: ELSEWHERE, to: INSIDE, nextHeader: 6 }, segment));
    const context = { gsoSegments: 2, gsoSize: 1300 - 40 - 32 };
    expectOutcome('out_push_failed', DROP, tcp, context);
    await new Promise((resolve) => setTimeout(resolve, 2 * tickMs));
    const { verdict } = bench.run(tcp, {
      ...context,
      gsoSize: context.gsoSize + 1,
    });
    assert.equal(verdict, SEND, 'a Packet Too Big');
  });
  test('that are super-packets are judged by their segments', () => {
    // The kernel refuses to encapsulate this one, but not for its size.
    expectOutcome('out_push_failed', DROP, ethernet('ipv6', large), {
      gsoSize: 1200,
      gsoSegments: 2,
    });
  });
});
