// IPv4 over IPv6 (RFC 2473): what both server programs do with its packets, one test per outcome, each
// with the packet, the verdict and the packet that must come out; and the records it is kept in.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { beforeEach, describe, test } from 'node:test';
import { formatIpv4, parseIpv4Prefix, parseIpv6Prefix } from '../../src/address.ts';
import type { Ipv4PoolMapping, OutcomeName } from '../../src/dataplane/dataplane.ts';
import { testRun } from '../../src/dataplane/native.ts';
import { DROP, PASS, SEND, setUpBench } from './bench.ts';
import {
  bytes,
  checksum,
  ethernet,
  filler,
  type Ipv4Fields,
  type Ipv6Fields,
  ipv4,
  ipv6,
  tcp,
  udp,
} from './packets.ts';
import {
  address6,
  BROKER,
  BROKER6,
  CLIENT6,
  DELEGATIONS,
  LINKS,
  PORT,
  SETTINGS,
} from './scratch.ts';

const ingress = setUpBench('tunnel_ingress');
const egress = setUpBench('tunnel_egress');

function pool(text: string, positionLength: 30 | 32, firstIndex: number): Ipv4PoolMapping {
  const prefix = parseIpv4Prefix(text);
  assert.ok(prefix);
  return { purpose: 'ipv4-link', prefix, positionLength, firstIndex };
}

/** 64 links of four addresses each, and 128 single addresses. */
const FOURS = pool('10.64.0.0/24', 30, 0);
const SINGLES = pool('203.0.113.128/25', 32, 64);

/** Slot 5 of the one, position 7 of the other; both of the same client. */
const SLOT = 5;
const INSIDE = '10.64.0.22';
const GATEWAY = '10.64.0.21';
const SINGLE_SLOT = 64 + 7;
const SINGLE = '203.0.113.135';
const SINGLE_GATEWAY = '203.0.113.128';
const ELSEWHERE = '192.0.2.80';
const [IPV4, TCP, UDP, FRAGMENT, OPTIONS] = [4, 6, 17, 44, 60];
const ENCAPSULATION_LIMIT = [IPV4, 0, 4, 1, 4, 1, 1, 0];

beforeEach(() => {
  for (const { plane } of [ingress, egress]) {
    const client = address6(CLIENT6);
    const v4v6 = [
      { slot: SLOT, client },
      { slot: SINGLE_SLOT, client },
    ];
    plane.reconcile({ pools: [LINKS, FOURS, SINGLES, DELEGATIONS], tunnels: [], owners: [], v4v6 });
  }
});

function inner(fields: Partial<Ipv4Fields> = {}, payload = filler(64)): Uint8Array {
  return ipv4({ from: INSIDE, to: ELSEWHERE, protocol: UDP, ...fields }, payload);
}

function tunnelled(packet: Uint8Array, outer: Partial<Ipv6Fields> = {}): Uint8Array {
  return ethernet('ipv6', ipv6({ from: CLIENT6, to: BROKER6, nextHeader: IPV4, ...outer }, packet));
}

function echo4(
  type: 'request' | 'reply',
  fields: { from: string; to: string; ttl?: number; options?: number[]; fragment?: number },
): Uint8Array {
  const message = bytes([type === 'request' ? 8 : 0, 0, 0, 0, 0x12, 0x34, 2, 3], filler(16));
  const sum = checksum(message);
  message.set([sum >> 8, sum & 0xff], 2);
  return ipv4({ protocol: 1, ...fields }, message);
}

const comesIn = (outcome: OutcomeName, packet: Uint8Array, context = {}) =>
  void ingress.expect(outcome, DROP, packet, context);
const passesBy = (packet: Uint8Array) =>
  assert.deepEqual(ingress.expect('in_not_ours', PASS, packet), packet);
const comesOut = (packet: Uint8Array, expected: Uint8Array) =>
  assert.deepEqual(ingress.expect('in_decapsulated', PASS, packet).slice(14), expected);

describe('packets over IPv6 that are not tunnelled pass untouched', () => {
  test('to another address', () => passesBy(tunnelled(inner(), { to: '2001:db8:53::54' })));
  test('IPv6 in IPv6', () => passesBy(tunnelled(filler(60), { nextHeader: 41 })));
  test('UDP to another port', () =>
    passesBy(tunnelled(udp({ from: 4000, to: 53 }, filler(9)), { nextHeader: UDP })));
  test('everything, when there is no IPv6 side', () => {
    ingress.plane.configure({ ...SETTINGS, localAddress6: 0n });
    passesBy(tunnelled(inner()));
    passesBy(tunnelled(inner(), { to: '::' }));
  });
  test('everything that comes in by another interface', () => {
    ingress.plane.configure({ ...SETTINGS, uplink6Ifindex: 2 });
    passesBy(tunnelled(inner()));
  });
});

describe('packets with the right addresses lose their outer header', () => {
  test('out of a /30', () => comesOut(tunnelled(inner()), inner()));
  test('out of a single address', () =>
    comesOut(tunnelled(inner({ from: SINGLE })), inner({ from: SINGLE })));
  test('behind the encapsulation limit that the kernel’s own tunnels send', () =>
    comesOut(tunnelled(bytes(ENCAPSULATION_LIMIT, inner()), { nextHeader: OPTIONS }), inner()));
  test('with IPv4 options', () => {
    const packet = inner({ options: [1, 1, 1, 0] });
    comesOut(tunnelled(packet), packet);
  });
  test('as fragments, which are the receiver’s to put together', () => {
    const packet = inner({ fragment: 0x2010 });
    comesOut(tunnelled(packet), packet);
  });
  test('with nothing after the inner header', () => {
    const packet = inner({}, filler(0));
    comesOut(tunnelled(packet), packet);
  });
  test('in outer fragments, in any order, behind that limit or not', () => {
    const packet = inner({}, filler(1300));
    const header = (offset: number, more: number, id: number) => [
      ...[IPV4, 0, offset >> 8, (offset & 255) | more],
      ...[0, 0, 0, id],
    ];
    const first = (id: number) => bytes(header(0, 1, id), packet.slice(0, 800));
    const second = (id: number) => bytes(header(800, 0, id), packet.slice(800));
    const outer = { nextHeader: FRAGMENT };
    comesIn('in_fragment', tunnelled(first(1), outer));
    comesOut(tunnelled(second(1), outer), packet);
    comesIn('in_fragment', tunnelled(second(2), outer));
    comesOut(tunnelled(first(2), outer), packet);
    const behind = (fragment: Uint8Array) =>
      tunnelled(bytes([FRAGMENT], ENCAPSULATION_LIMIT.slice(1), fragment), { nextHeader: OPTIONS });
    comesIn('in_fragment', behind(first(3)));
    comesOut(behind(second(3)), packet);
    const stranger = { ...outer, from: '2001:db8:6::8' };
    comesIn('in_fragment', tunnelled(first(4), stranger));
    comesIn('in_wrong_endpoint', tunnelled(second(4), stranger));
  });
  test('to another tunnel’s gateway, who is somebody else', () => {
    const packet = inner({ to: '10.64.0.25' });
    comesOut(tunnelled(packet), packet);
  });
  test('and are counted for their tunnel, in inner octets', () => {
    const was = ingress.plane.countersV4v6(SLOT);
    comesOut(tunnelled(inner()), inner());
    const is = ingress.plane.countersV4v6(SLOT);
    assert.equal(is.inPackets - was.inPackets, 1n);
    assert.equal(is.inBytes - was.inBytes, 84n);
    assert.equal(is.outPackets, was.outPackets);
    assert.ok(Math.abs(Date.now() - (is.inLastSeenMs ?? 0)) < 1000);
  });
});

describe('congestion marks over IPv6 (RFC 6040, 4.2)', () => {
  const marked = (trafficClass: number, tos: number) => tunnelled(inner({ tos }), { trafficClass });
  test('an outer CE marks an inner packet that is ECN-capable, and its checksum follows', () =>
    comesOut(marked(3, 0xba), inner({ tos: 0xbb })));
  test('an outer ECT(1) turns ECT(0) into ECT(1)', () => comesOut(marked(1, 2), inner({ tos: 1 })));
  test('an inner CE stays', () => comesOut(marked(2, 3), inner({ tos: 3 })));
  test('an outer CE on a packet that cannot tell is a loss', () =>
    comesIn('in_congestion_lost', marked(3, 0)));
});

describe('a keepalive over IPv6', () => {
  const answered = (packet: Uint8Array, expected: Uint8Array) =>
    assert.deepEqual(ingress.expect('in_echo_answered', SEND, packet), expected);
  const back = (packet: Uint8Array, nextHeader = IPV4) =>
    ethernet('ipv6', ipv6({ from: BROKER6, to: CLIENT6, nextHeader }, packet));

  test('is answered on the spot', () =>
    answered(
      tunnelled(echo4('request', { from: INSIDE, to: GATEWAY, ttl: 9 }), { hopLimit: 9 }),
      back(echo4('reply', { from: GATEWAY, to: INSIDE })),
    ));
  test('is answered by the gateway of a pool of single addresses', () =>
    answered(
      tunnelled(echo4('request', { from: SINGLE, to: SINGLE_GATEWAY })),
      back(echo4('reply', { from: SINGLE_GATEWAY, to: SINGLE })),
    ));
  test('is answered with the extension header that it had', () => {
    const request = echo4('request', { from: INSIDE, to: GATEWAY });
    answered(
      tunnelled(bytes(ENCAPSULATION_LIMIT, request), { nextHeader: OPTIONS }),
      back(bytes(ENCAPSULATION_LIMIT, echo4('reply', { from: GATEWAY, to: INSIDE })), OPTIONS),
    );
  });
  test('counts in both directions', () => {
    const was = ingress.plane.countersV4v6(SLOT);
    ingress.run(tunnelled(echo4('request', { from: INSIDE, to: GATEWAY })));
    const is = ingress.plane.countersV4v6(SLOT);
    assert.equal(is.inPackets - was.inPackets, 1n);
    assert.equal(is.outBytes - was.outBytes, 44n);
  });
  test('is nothing else: other packets to the gateway are dropped', () => {
    const to = { from: INSIDE, to: GATEWAY };
    comesIn('in_to_gateway', tunnelled(inner({ to: GATEWAY })));
    comesIn('in_to_gateway', tunnelled(echo4('reply', to)));
    comesIn('in_to_gateway', tunnelled(echo4('request', { ...to, options: [8, 0, 0, 0] })));
    comesIn('in_to_gateway', tunnelled(echo4('request', { ...to, fragment: 0x2000 })));
    comesIn('in_to_gateway', tunnelled(inner({ to: GATEWAY, protocol: 1 }, bytes([8, 0, 0]))));
  });
});

describe('datagrams over IPv6 that carry no IPv4 packet are dropped', () => {
  test('another version inside', () =>
    comesIn('in_not_ipv6_nor_tsp', tunnelled(bytes([0x60], filler(60)))));
  test('an inner header shorter than a header', () => {
    const packet = inner();
    packet[0] = 0x44;
    comesIn('in_not_ipv6_nor_tsp', tunnelled(packet));
  });
  test('an inner header that is cut off', () =>
    comesIn('in_truncated', tunnelled(inner().slice(0, 19))));
  test('an inner packet longer than the datagram', () =>
    comesIn('in_truncated', tunnelled(inner({ totalLength: 85 }))));
  test('an inner packet shorter than its header', () =>
    comesIn('in_truncated', tunnelled(inner({ totalLength: 19 }))));
  test('a datagram longer than the frame', () =>
    comesIn('in_truncated', tunnelled(inner(), { payloadLength: 85 })));
  test('an option that leaves no room', () =>
    comesIn(
      'in_truncated',
      tunnelled(bytes(ENCAPSULATION_LIMIT, inner()), { nextHeader: OPTIONS, payloadLength: 7 }),
    ));
  test('a fragment of a tunnelled packet', () =>
    comesIn(
      'in_fragment',
      tunnelled(bytes([IPV4, 0, 0, 1, 0, 0, 0, 1], inner().slice(0, 80)), {
        nextHeader: FRAGMENT,
      }),
    ));
  test('several packets that the uplink put together', () =>
    comesIn('in_aggregated', tunnelled(bytes(inner(), inner())), { gsoSize: 84, gsoSegments: 2 }));
  test('what the kernel cannot strip: a super-packet of no known kind', () =>
    comesIn('in_strip_failed', tunnelled(inner()), { gsoSize: 50, gsoSegments: 2 }));
});

describe('inner IPv4 addresses that the sender may not use are dropped', () => {
  test('link-local ones', () => {
    comesIn('in_link_local', tunnelled(inner({ from: '169.254.1.1' })));
    comesIn('in_link_local', tunnelled(inner({ to: '169.254.1.1' })));
  });
  test('to a group, or to everybody', () => {
    comesIn('in_multicast', tunnelled(inner({ to: '224.0.0.1' })));
    comesIn('in_multicast', tunnelled(inner({ to: '255.255.255.255' })));
  });
  test('from outside the pools', () => {
    comesIn('in_outside_pools', tunnelled(inner({ from: ELSEWHERE })));
    comesIn('in_outside_pools', tunnelled(inner({ from: '10.64.1.2' })));
    comesIn('in_outside_pools', tunnelled(inner({ from: '203.0.113.127' })));
  });
  test('from the bits of an IPv6 pool, or as IPv6 from those of an IPv4 pool', () => {
    const wide = parseIpv6Prefix('2001:db8::/32');
    assert.ok(wide);
    const purpose = 'delegation' as const;
    ingress.plane.setPools([FOURS, { purpose, prefix: wide, positionLength: 48, firstIndex: 0 }]);
    comesIn('in_outside_pools', tunnelled(inner({ from: '32.1.13.184' })));
    const packet = ipv6({ from: 'a40:15::2', to: '2001:db8::1' }, filler(9));
    comesIn(
      'in_outside_pools',
      ethernet('ipv4', ipv4({ from: '198.51.100.7', to: '192.0.2.1', protocol: 41 }, packet)),
    );
  });
  test('from a link that is not attached', () =>
    comesIn('in_detached', tunnelled(inner({ from: '10.64.0.26' }))));
  test('from a link that was removed', () => {
    ingress.plane.removeV4v6(SLOT, 'down');
    comesIn('in_detached', tunnelled(inner()));
  });
  test('from another IPv6 address, in either half', () => {
    comesIn('in_wrong_endpoint', tunnelled(inner(), { from: '2001:db8:6::8' }));
    comesIn('in_wrong_endpoint', tunnelled(inner(), { from: '2001:db8:7::7' }));
  });
  test('from the gateway’s own address', () => {
    comesIn('in_gateway_source', tunnelled(inner({ from: GATEWAY })));
    ingress.plane.putV4v6(64, { client: address6(CLIENT6) });
    comesIn('in_gateway_source', tunnelled(inner({ from: SINGLE_GATEWAY })));
  });
  test('from the first and last address of a /30', () => {
    comesIn('in_wrong_interface_id', tunnelled(inner({ from: '10.64.0.20' })));
    comesIn('in_wrong_interface_id', tunnelled(inner({ from: '10.64.0.23' })));
  });
});

describe('signalling over IPv6', () => {
  const tsp = udp({ from: 4000, to: PORT }, bytes([0xf0, 0, 0, 1], filler(9)));
  const signalling = (packet: Uint8Array) => void ingress.expect('in_signalling', PASS, packet);
  const limit = (limits: Partial<typeof SETTINGS.signallingLimits>) =>
    ingress.plane.configure({
      ...SETTINGS,
      signallingLimits: { ...SETTINGS.signallingLimits, ...limits },
    });

  test('goes to the socket', () => signalling(tunnelled(tsp, { nextHeader: UDP })));
  test('is a TCP connection, too', () =>
    signalling(tunnelled(tcp({ from: 4000, to: PORT, flags: 2 }), { nextHeader: TCP })));
  test('is what may be signalling behind extension headers', () => {
    const header = (next: number) => bytes([next, 0, 1, 4, 0, 0, 0, 0], tsp);
    signalling(tunnelled(header(UDP), { nextHeader: 0 }));
    signalling(tunnelled(header(UDP), { nextHeader: OPTIONS }));
    signalling(tunnelled(header(IPV4), { nextHeader: OPTIONS }));
    signalling(tunnelled(bytes([UDP, 0, 0, 1, 0, 0, 0, 1], tsp), { nextHeader: FRAGMENT }));
    passesBy(tunnelled(bytes([UDP, 0, 0, 9, 0, 0, 0, 1], tsp), { nextHeader: FRAGMENT }));
  });
  test('is not what says nothing, or speaks another protocol', () => {
    const other = udp({ from: 4000, to: PORT }, bytes([0x60], filler(60)));
    comesIn('in_empty', tunnelled(udp({ from: 4000, to: PORT }, filler(0)), { nextHeader: UDP }));
    comesIn('in_not_ipv6_nor_tsp', tunnelled(other, { nextHeader: UDP }));
  });
  test('is limited for a /64 as for an address', () => {
    limit({ perAddress: 1 });
    const from = (address: string) => tunnelled(tsp, { nextHeader: UDP, from: address });
    signalling(from('2001:db8:9::1'));
    signalling(from('2001:db8:9::2'));
    comesIn('in_signalling_limited_address', from('2001:db8:9::3'));
    signalling(from('2001:db8:9:1::3'));
  });
  test('is limited for a /48 as for a /24', () => {
    limit({ perPrefix: 1 });
    const from = (address: string) => tunnelled(tsp, { nextHeader: UDP, from: address });
    signalling(from('2001:db8:9:1::1'));
    signalling(from('2001:db8:9:2::1'));
    comesIn('in_signalling_limited_prefix', from('2001:db8:9:3::1'));
    signalling(from('2001:db8:a:1::1'));
  });
});

describe('signalling through a v4v6 tunnel', () => {
  const tsp = udp({ from: 4000, to: PORT }, bytes([0xf0], filler(20)));
  const syn = tcp({ from: 4000, to: PORT, flags: 2 });
  const goesOn = (packet: Uint8Array) =>
    void ingress.expect('in_decapsulated', PASS, tunnelled(packet));
  const limited = (packet: Uint8Array) =>
    comesIn('in_signalling_limited_address', tunnelled(packet));
  const toUs = (fields: Partial<Ipv4Fields>, payload: Uint8Array) =>
    inner({ to: BROKER, ...fields }, payload);

  test('is limited as if it came without one', () => {
    ingress.plane.configure({
      ...SETTINGS,
      signallingLimits: { ...SETTINGS.signallingLimits, perAddress: 1 },
    });
    goesOn(toUs({}, tsp));
    goesOn(toUs({ protocol: TCP }, syn));
    limited(toUs({}, tsp));
    limited(toUs({ options: [1, 1, 1, 0] }, tsp));
    limited(toUs({ protocol: TCP }, syn));
    limited(toUs({ protocol: TCP, fragment: 0x2000 }, bytes(syn.slice(0, 8), filler(8))));
    goesOn(toUs({ fragment: 0x0010 }, tsp));
    goesOn(toUs({ to: ELSEWHERE }, tsp));
    goesOn(toUs({}, udp({ from: PORT, to: 53 }, filler(20))));
    goesOn(toUs({ protocol: TCP }, tcp({ from: 4000, to: PORT, flags: 0x10 })));
  });
});

describe('packets to a v4v6 tunnel', () => {
  const packetTo = (to: string, fields: Partial<Ipv4Fields> = {}, payload = filler(64)) =>
    ethernet('ipv4', ipv4({ from: ELSEWHERE, to, protocol: UDP, ...fields }, payload));
  const dropped = (outcome: OutcomeName, packet: Uint8Array, context = {}) =>
    void egress.expect(outcome, DROP, packet, context);
  /** From the network header on, without the flow label. */
  const sent = (packet: Uint8Array, trafficClass = 0) => {
    const out = egress.expect('out_encapsulated', SEND, packet).slice(14);
    out[1] = (out[1] ?? 0) & 0xf0;
    out.set([0, 0], 2);
    const header = { from: BROKER6, to: CLIENT6, nextHeader: IPV4, trafficClass };
    assert.deepEqual(out, ipv6(header, packet.slice(14)));
  };

  test('get an IPv6 header', () => {
    sent(packetTo(INSIDE));
    sent(packetTo(SINGLE));
  });
  test('with the ECN field copied, the DSCP kept private', () =>
    sent(packetTo(INSIDE, { tos: 0xbb }), 3));
  test('with a flow label that is the same for a flow and another for another', () => {
    const labelOf = (from: number) => {
      const { packet } = egress.run(packetTo(INSIDE, {}, udp({ from, to: 53 }, filler(9))));
      return new DataView(packet.buffer, packet.byteOffset).getUint32(14) & 0xfffff;
    };
    assert.equal(labelOf(1000), labelOf(1000));
    const labels = new Set(Array.from({ length: 16 }, (_, i) => labelOf(1000 + i)));
    assert.ok(labels.size > 8, `${labels.size} labels`);
  });
  test('and are counted for it', () => {
    const was = egress.plane.countersV4v6(SLOT);
    egress.run(packetTo(INSIDE));
    const is = egress.plane.countersV4v6(SLOT);
    assert.equal(is.outPackets - was.outPackets, 1n);
    assert.equal(is.outBytes - was.outBytes, 84n);
    assert.ok(Math.abs(Date.now() - (is.outLastSeenMs ?? 0)) < 1000);
  });
  test('are dropped outside the pools', () => dropped('out_outside_pools', packetTo('10.64.1.2')));
  test('are dropped when they are the gateway’s or nobody’s', () => {
    dropped('out_to_gateway', packetTo(GATEWAY));
    egress.plane.putV4v6(64, { client: address6(CLIENT6) });
    dropped('out_to_gateway', packetTo(SINGLE_GATEWAY));
    dropped('out_wrong_interface_id', packetTo('10.64.0.20'));
    dropped('out_wrong_interface_id', packetTo('10.64.0.23'));
  });
  test('are dropped when they are not to one host', () => {
    dropped('out_not_unicast', packetTo('224.0.0.1'));
    dropped('out_not_unicast', packetTo('169.254.3.4'));
  });
  test('are dropped when the kernel cannot encapsulate them', () =>
    dropped('out_push_failed', packetTo(INSIDE), { gsoSize: 50, gsoSegments: 2 }));

  describe('that are larger than its MTU', () => {
    const tickMs = 2 ** 27 / 1e6;
    const nextTick = () => new Promise((resolve) => setTimeout(resolve, 2 * tickMs));
    const large = packetTo(INSIDE, {}, filler(1301 - 20));
    beforeEach(async () => {
      egress.plane.putV4v6(SLOT, { client: address6(CLIENT6), mtu: 1300 });
      await nextTick();
    });

    test('become “fragmentation needed” to their sender, with as much of them as may be', () => {
      const out = egress.expect('out_too_big', SEND, large).slice(14);
      const message = bytes([3, 4, 0, 0, 0, 0, 0x05, 0x14], large.slice(14, 14 + 548));
      const sum = checksum(message);
      message.set([sum >> 8, sum & 0xff], 2);
      assert.equal(checksum(out.slice(0, 20)), 0);
      out.set([0, 0], 4);
      out.set([0, 0], 10);
      const expected = ipv4({ from: GATEWAY, to: ELSEWHERE, protocol: 1 }, message);
      expected.set([0, 0], 10);
      assert.deepEqual(out, expected);
    });
    test('become one only once in a tick', () => {
      const quiet = () =>
        egress.plane.outcomes().find(({ outcome }) => outcome === 'out_too_big_quiet')?.packets;
      const was = quiet() ?? 0n;
      for (let i = 0; i < 20; i++) egress.run(large);
      assert.ok((quiet() ?? 0n) - was >= 17n);
    });
    test('become none when they are errors themselves, or later fragments', () => {
      const error = bytes([3, 1, 0, 0], filler(1290));
      dropped('out_too_big_quiet', packetTo(INSIDE, { protocol: 1 }, error));
      dropped('out_too_big_quiet', packetTo(INSIDE, { fragment: 0x2010 }, filler(1290)));
    });
    test('are so to the octet', () => {
      const fits = packetTo(INSIDE, {}, filler(1300 - 20));
      assert.equal(egress.run(fits).verdict, SEND);
      egress.plane.putV4v6(SLOT, { client: address6(CLIENT6) });
      sent(large);
    });
    test('are so by their segments, when they are super-packets', async () => {
      const segment = filler(1400);
      segment[12] = 0x80; // data offset: 32 octets of TCP header
      const tcpPacket = packetTo(INSIDE, { protocol: TCP }, segment);
      const fitting = { gsoSegments: 2, gsoSize: 1300 - 20 - 32 };
      dropped('out_push_failed', tcpPacket, fitting); // for another reason than its size
      await nextTick();
      const { verdict } = egress.run(tcpPacket, { ...fitting, gsoSize: fitting.gsoSize + 1 });
      assert.equal(verdict, SEND, 'fragmentation needed');
    });
  });
});

describe('a record of v4v6', () => {
  test('says what was put, up to the largest values', () => {
    const largest = { client: (1n << 128n) - 1n, mtu: 65535 };
    ingress.plane.putV4v6(1023, largest);
    assert.deepEqual(ingress.plane.attachmentV4v6(1023), largest);
    assert.deepEqual(ingress.plane.attachmentV4v6(SLOT), { client: address6(CLIENT6) });
    assert.equal(ingress.plane.attachmentV4v6(6), undefined);
    ingress.plane.removeV4v6(1023);
    assert.equal(ingress.plane.attachmentV4v6(1023), undefined);
  });
  test('keeps its counters until they are reset', () => {
    const { plane } = ingress;
    plane.putV4v6(SLOT, { client: 1n }, { resetCounters: true });
    assert.deepEqual(plane.countersV4v6(SLOT), {
      inPackets: 0n,
      inBytes: 0n,
      outPackets: 0n,
      outBytes: 0n,
    });
    plane.putV4v6(SLOT, { client: address6(CLIENT6) });
    comesOut(tunnelled(inner()), inner());
    plane.removeV4v6(SLOT);
    plane.putV4v6(SLOT, { client: 1n, mtu: 1300 });
    assert.equal(plane.countersV4v6(SLOT).inPackets, 1n);
    plane.putV4v6(SLOT, { client: 1n }, { resetCounters: true });
    assert.equal(plane.countersV4v6(SLOT).inPackets, 0n);
    assert.deepEqual(plane.attachmentV4v6(SLOT), { client: 1n });
  });
  test('refuses what cannot be', () => {
    const { plane } = ingress;
    for (const slot of [-1, 1024, 0.5])
      assert.throws(() => plane.putV4v6(slot, { client: 1n }), RangeError);
    for (const client of [0n, -1n, 1n << 128n])
      assert.throws(() => plane.putV4v6(0, { client }), RangeError);
    assert.throws(() => plane.putV4v6(0, { client: 1n, mtu: 1279 }), RangeError);
    assert.equal(plane.attachmentV4v6(0), undefined);
  });
  test('is put, removed and kept by reconcile', () => {
    const { plane } = ingress;
    const nothing = { pools: [], tunnels: [], owners: [] };
    const client = address6(CLIENT6);
    const v4v6 = [
      { slot: SLOT, client },
      { slot: 9, client, mtu: 1400 },
    ];
    assert.deepEqual(plane.reconcile({ ...nothing, v4v6 }), { put: 1, removed: 1, kept: 1 });
    assert.deepEqual(plane.attachmentV4v6(9), { client, mtu: 1400 });
    assert.equal(plane.attachmentV4v6(SINGLE_SLOT), undefined);
    assert.deepEqual(plane.reconcile({ ...nothing, v4v6 }), { put: 0, removed: 0, kept: 2 });
    v4v6[0] = { slot: SLOT, client, mtu: 1400 };
    assert.deepEqual(plane.reconcile({ ...nothing, v4v6 }), { put: 1, removed: 0, kept: 1 });
    const impossible = [{ slot: 1024, client }];
    assert.throws(() => plane.reconcile({ ...nothing, v4v6: impossible }), RangeError);
    assert.equal(plane.reconcile(nothing).removed, 2);
  });

  test('never shows a program half of one address and half of another', async (t) => {
    const [one, other] = ['2001:db8:a::a', '2001:db8:b::b'];
    const mixtures = ['2001:db8:a::b', '2001:db8:b::a'].map((from) => tunnelled(inner(), { from }));
    const script = join(import.meta.dirname, 'flip-client.ts');
    const flipper = spawn(process.execPath, [
      script,
      ingress.pinDirectory,
      String(SLOT),
      one,
      other,
    ]);
    t.after(() => flipper.kill());
    await new Promise((resolve) => flipper.stdout.once('data', resolve));
    const program = ingress.plane.programFd('tunnel_ingress');
    const count = (outcome: OutcomeName) =>
      Number(ingress.plane.outcomes().find((entry) => entry.outcome === outcome)?.packets ?? 0n);
    const before = {
      wrong: count('in_wrong_endpoint'),
      detached: count('in_detached'),
      through: count('in_decapsulated'),
    };
    for (let i = 0; i < 20_000; i++) testRun(program, mixtures[i & 1]!);
    assert.equal(count('in_decapsulated') - before.through, 0);
    assert.ok(count('in_wrong_endpoint') > before.wrong, 'whole addresses to compare');
    assert.ok(count('in_detached') > before.detached, 'moments in between');
    flipper.kill();
  });
});

describe('IPv4 pools', () => {
  test('are in the map as they were set, beside the others', () => {
    assert.deepEqual(ingress.plane.ipv4Pools(), [FOURS, SINGLES]);
    assert.equal(ingress.plane.pools().length, 2);
  });
  test('must be possible', () => {
    const refused: [Ipv4PoolMapping[], RegExp][] = [
      [[{ ...FOURS, positionLength: 31 as 30 }], /\/30 or a \/32/],
      [[pool('10.64.0.0/31', 30, 0)], /cannot have positions of \/30/],
      [[pool('10.64.0.0/16', 30, 0)], /beyond the capacity of 1024/],
      [[FOURS, pool('10.64.0.128/25', 32, 64)], /overlaps 10\.64\.0\.128\/25/],
      [[FOURS, pool('10.65.0.0/24', 30, 63)], /shares indices/],
    ];
    for (const [pools, message] of refused)
      assert.throws(() => ingress.plane.setPools(pools), message);
    // A slot of v4v6 is none of the others.
    ingress.plane.setPools([LINKS, { ...FOURS, firstIndex: LINKS.firstIndex }]);
  });
  test('lead every address to its own slot', () => {
    const { plane } = ingress;
    for (const position of [0, 1, 62, 63]) {
      plane.putV4v6(position, { client: address6(CLIENT6) });
      const from = formatIpv4(FOURS.prefix.address + position * 4 + 2);
      ingress.expect('in_decapsulated', PASS, tunnelled(inner({ from })));
      plane.removeV4v6(position);
      comesIn('in_detached', tunnelled(inner({ from })));
    }
  });
});
