// What tunnel_ingress does with packets from the IPv4 side: one test per outcome, each with the
// packet, the verdict and the packet that must come out. Runs the compiled program in the kernel.

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { OutcomeName } from '../../src/dataplane/dataplane.ts';
import {
  DELEGATED,
  DROP,
  ELSEWHERE,
  GATEWAY,
  INSIDE,
  PASS,
  SEND,
  SITE,
  SLOT,
  setUpBench,
} from './bench.ts';
import {
  bytes,
  echo,
  ethernet,
  filler,
  type Ipv4Fields,
  type Ipv6Fields,
  icmpv6,
  ipv4,
  ipv6,
  udp,
  withoutIdentification,
} from './packets.ts';
import { BROKER, CLIENT, CLIENT_PORT, PORT, SETTINGS } from './scratch.ts';

const bench = setUpBench('tunnel_ingress');
const expectOutcome = bench.expect;

/** Expects the packet to come out as it went in. */
function expectUntouched(expected: OutcomeName, packet: Uint8Array): void {
  assert.deepEqual(expectOutcome(expected, PASS, packet), packet);
}

function inUdp(
  payload: Uint8Array,
  outer: Partial<Ipv4Fields> = {},
  ports: { from?: number; to?: number; length?: number } = {},
): Uint8Array {
  const datagram = udp({ from: CLIENT_PORT, to: PORT, ...ports }, payload);
  return ethernet('ipv4', ipv4({ from: CLIENT, to: BROKER, protocol: 17, ...outer }, datagram));
}

function inProtocol41(payload: Uint8Array, outer: Partial<Ipv4Fields> = {}): Uint8Array {
  return ethernet('ipv4', ipv4({ from: CLIENT, to: BROKER, protocol: 41, ...outer }, payload));
}

function inner(fields: Partial<Ipv6Fields> = {}, payload = filler(64)): Uint8Array {
  return ipv6({ from: INSIDE, to: ELSEWHERE, ...fields }, payload);
}

/** What is left when the outer headers are gone; the link layer's type is the kernel's to ignore. */
function assertStripped(out: Uint8Array, expected: Uint8Array): void {
  assert.deepEqual(out.slice(14), expected);
}

describe('packets that are not tunnelled pass untouched', () => {
  test('UDP to another port', () =>
    expectUntouched('in_not_ours', inUdp(inner(), {}, { to: PORT + 1 })));
  test('protocol 41 to another address', () =>
    expectUntouched('in_not_ours', inProtocol41(inner(), { to: '192.0.2.2' })));
  test('TCP to our address', () =>
    expectUntouched('in_not_ours', inProtocol41(filler(40), { protocol: 6 })));
  test('IPv6 itself', () => expectUntouched('in_not_ours', ethernet('ipv6', inner())));
  test('UDP that ends within its header', () =>
    expectUntouched('in_not_ours', inUdp(inner()).slice(0, 14 + 20 + 7)));
  test('a later fragment of UDP, for the kernel to put together', () =>
    expectUntouched('in_not_ours', inUdp(inner(), { fragment: 0x00b9 })));
  test('frames to somebody else’s MAC address', () => {
    const packet = inProtocol41(inner());
    packet.set([2, 0, 0, 0, 0, 9]);
    expectUntouched('in_not_ours', packet);
  });
  test('everything that comes in by another interface than the uplink', () => {
    bench.plane.configure({ ...SETTINGS, uplinkIfindex: 2 });
    expectUntouched('in_not_ours', inUdp(inner()));
  });
  test('TSP, whose first nibble is F, goes to the socket', () =>
    expectUntouched('in_signalling', inUdp(bytes([0xf0, 0, 0, 240], filler(40)))));
  test('a first fragment of TSP', () =>
    expectUntouched('in_signalling', inUdp(bytes([0xf0], filler(63)), { fragment: 0x2000 })));
});

describe('tunnelled packets with the right addresses lose their outer headers', () => {
  test('out of UDP', () =>
    assertStripped(expectOutcome('in_decapsulated', PASS, inUdp(inner())), inner()));
  test('out of protocol 41', () => {
    const packet = inner({ from: SITE });
    assertStripped(expectOutcome('in_decapsulated', PASS, inProtocol41(packet)), packet);
  });
  test('from a delegated prefix', () => {
    const packet = inner({ from: DELEGATED });
    assertStripped(expectOutcome('in_decapsulated', PASS, inUdp(packet)), packet);
  });
  test('from any interface identifier when none is set', () => {
    const packet = inner({ from: '2001:db8:1000:6:dead:beef:0:77' });
    assertStripped(expectOutcome('in_decapsulated', PASS, inProtocol41(packet)), packet);
  });
  test('with IPv4 options in the way', () => {
    const packet = inUdp(inner(), { options: [1, 1, 1, 1, 1, 1, 1, 0] });
    assertStripped(expectOutcome('in_decapsulated', PASS, packet), inner());
  });
  test('with octets after the inner packet, which the kernel cuts off', () => {
    const out = expectOutcome('in_decapsulated', PASS, inUdp(bytes(inner(), filler(6))));
    assertStripped(out, bytes(inner(), filler(6)));
  });
  test('with nothing after the inner header', () => {
    const packet = inner({}, filler(0));
    assertStripped(expectOutcome('in_decapsulated', PASS, inUdp(packet)), packet);
  });
  test('and are counted for their tunnel, in inner octets', () => {
    const was = bench.plane.counters(SLOT);
    expectOutcome('in_decapsulated', PASS, inUdp(inner()));
    const is = bench.plane.counters(SLOT);
    assert.equal(is.inPackets - was.inPackets, 1n);
    assert.equal(is.inBytes - was.inBytes, 104n);
    assert.equal(is.outPackets, was.outPackets);
    const ageMs = Date.now() - (is.inLastSeenMs ?? 0);
    assert.ok(ageMs >= 0 && ageMs < 1000, `last seen ${ageMs} ms ago`);
  });
});

describe('congestion marks (RFC 6040, 4.2)', () => {
  const marked = (outerTos: number, trafficClass: number) =>
    inUdp(inner({ trafficClass }), { tos: outerTos });
  test('an outer CE marks an inner packet that is ECN-capable, and keeps its DSCP', () =>
    assertStripped(
      expectOutcome('in_decapsulated', PASS, marked(3, 0xba)),
      inner({ trafficClass: 0xbb }),
    ));
  test('an outer ECT(1) turns ECT(0) into ECT(1)', () =>
    assertStripped(
      expectOutcome('in_decapsulated', PASS, marked(1, 2)),
      inner({ trafficClass: 1 }),
    ));
  test('an inner CE stays', () =>
    assertStripped(
      expectOutcome('in_decapsulated', PASS, marked(2, 3)),
      inner({ trafficClass: 3 }),
    ));
  test('an outer CE on a packet that cannot tell is a loss', () =>
    void expectOutcome('in_congestion_lost', DROP, marked(3, 0)));
});

describe('keepalive', () => {
  const content = { identifier: 0x1234, sequence: 0x0203, payload: filler(16) };
  const request = { from: INSIDE, to: GATEWAY, hopLimit: 17 };
  const reply = { from: GATEWAY, to: INSIDE };

  test('an echo request to the gateway is answered on the spot, in UDP', () => {
    const out = expectOutcome('in_echo_answered', SEND, inUdp(echo('request', request, content)));
    assert.deepEqual(
      withoutIdentification(out),
      ethernet(
        'ipv4',
        ipv4(
          { from: BROKER, to: CLIENT, protocol: 17 },
          udp({ from: PORT, to: CLIENT_PORT }, echo('reply', reply, content)),
        ),
      ),
    );
  });
  test('and in protocol 41', () => {
    const packet = echo('request', { from: SITE, to: '2001:db8:1000:6::1' }, content);
    const out = expectOutcome('in_echo_answered', SEND, inProtocol41(packet));
    const answer = echo('reply', { from: '2001:db8:1000:6::1', to: SITE }, content);
    assert.deepEqual(
      withoutIdentification(out),
      ethernet('ipv4', ipv4({ from: BROKER, to: CLIENT, protocol: 41 }, answer)),
    );
  });
  test('also from the delegated prefix, and with a checksum that carries over', () => {
    for (let identifier = 0; identifier < 0x10000; identifier += 0x0fff) {
      const packet = echo('request', { from: DELEGATED, to: GATEWAY }, { ...content, identifier });
      const { packet: out } = bench.run(inUdp(packet));
      const answer = echo('reply', { from: GATEWAY, to: DELEGATED }, { ...content, identifier });
      assert.deepEqual(out.slice(42), answer);
    }
  });
  test('counts in both directions', () => {
    const was = bench.plane.counters(SLOT);
    expectOutcome('in_echo_answered', SEND, inUdp(echo('request', request, content)));
    const is = bench.plane.counters(SLOT);
    assert.equal(is.inPackets - was.inPackets, 1n);
    assert.equal(is.outPackets - was.outPackets, 1n);
    assert.equal(is.outBytes - was.outBytes, 64n);
  });
  test('another link’s gateway is somebody else: the kernel routes', () => {
    const packet = echo('request', { from: INSIDE, to: '2001:db8:1000:6::1' }, content);
    assertStripped(expectOutcome('in_decapsulated', PASS, inUdp(packet)), packet);
  });
  test('anything else to the gateway is dropped', () => {
    expectOutcome('in_to_gateway', DROP, inUdp(inner({ to: GATEWAY, nextHeader: 6 })));
  });
  test('an echo reply to the gateway is dropped', () => {
    expectOutcome('in_to_gateway', DROP, inUdp(echo('reply', request, content)));
  });
  test('an echo request behind IPv4 options is dropped', () => {
    const packet = inUdp(echo('request', request, content), { options: [1, 1, 1, 0] });
    expectOutcome('in_to_gateway', DROP, packet);
  });
  test('an echo request too short to be one is dropped', () => {
    const packet = icmpv6(request, Uint8Array.of(128, 0, 0, 0, 1, 2));
    expectOutcome('in_to_gateway', DROP, inUdp(bytes(packet, filler(8))));
  });
});

describe('datagrams that carry no IPv6 packet are dropped', () => {
  test('nothing at all', () => void expectOutcome('in_empty', DROP, inUdp(filler(0))));
  test('nothing, padded to the shortest frame', () =>
    void expectOutcome('in_empty', DROP, bytes(inUdp(filler(0)), filler(18))));
  test('a first nibble of neither kind, in UDP', () =>
    void expectOutcome('in_not_ipv6_nor_tsp', DROP, inUdp(bytes([0x45], filler(60)))));
  test('a first nibble other than 6 in protocol 41', () =>
    void expectOutcome('in_not_ipv6_nor_tsp', DROP, inProtocol41(bytes([0xf0], filler(60)))));
  test('an inner header that is cut off, in UDP', () =>
    void expectOutcome('in_truncated', DROP, inUdp(inner().slice(0, 39))));
  test('an inner header that is cut off, in protocol 41', () =>
    void expectOutcome('in_truncated', DROP, inProtocol41(inner().slice(0, 39))));
  test('an inner packet longer than the datagram', () =>
    void expectOutcome('in_truncated', DROP, inUdp(inner({ payloadLength: 65 }))));
  test('a datagram longer than the IPv4 packet', () =>
    void expectOutcome('in_truncated', DROP, inUdp(inner(), {}, { length: 8 + 104 + 1 })));
  test('an IPv4 packet longer than the frame', () =>
    void expectOutcome('in_truncated', DROP, inProtocol41(inner(), { totalLength: 125 })));
  test('what the kernel cannot strip: a super-packet of no known kind', () =>
    void expectOutcome('in_strip_failed', DROP, inUdp(inner()), { gsoSize: 50, gsoSegments: 2 }));
  test('several datagrams that the uplink put together', () => {
    const two = inUdp(bytes(inner(), inner({ from: ELSEWHERE })));
    expectOutcome('in_aggregated', DROP, two, { gsoSize: 104, gsoSegments: 2 });
  });
});

describe('inner addresses that the sender may not use are dropped', () => {
  test('router solicitations and other link-local packets', () =>
    void expectOutcome('in_link_local', DROP, inUdp(inner({ from: 'fe80::1', to: 'ff02::2' }))));
  test('to link-local addresses', () =>
    void expectOutcome('in_link_local', DROP, inUdp(inner({ to: 'fe80::1' }))));
  test('to a multicast group', () =>
    void expectOutcome('in_multicast', DROP, inUdp(inner({ to: 'ff0e::1' }))));
  test('from a multicast address', () =>
    void expectOutcome('in_outside_pools', DROP, inUdp(inner({ from: 'ff0e::1' }))));
  test('from an address that is not ours to give', () =>
    void expectOutcome('in_outside_pools', DROP, inUdp(inner({ from: ELSEWHERE }))));
  test('from the unspecified address', () =>
    void expectOutcome('in_outside_pools', DROP, inUdp(inner({ from: '::' }))));
  test('from the address just after the link pool', () =>
    void expectOutcome('in_outside_pools', DROP, inUdp(inner({ from: '2001:db8:1000:100::2' }))));
  test('from a prefix delegated to nobody', () =>
    void expectOutcome('in_undelegated', DROP, inUdp(inner({ from: '2001:db8:2000:400::1' }))));
  test('from the link of a tunnel that is not attached', () =>
    void expectOutcome('in_detached', DROP, inUdp(inner({ from: '2001:db8:1000:9::2' }))));
  test('from the tunnel’s delegated prefix once it is detached', () => {
    bench.plane.remove(SLOT, 'down');
    expectOutcome('in_detached', DROP, inUdp(inner({ from: DELEGATED })));
  });
  test('from another IPv4 address', () =>
    void expectOutcome('in_wrong_endpoint', DROP, inUdp(inner(), { from: '198.51.100.8' })));
  test('from another port', () =>
    void expectOutcome('in_wrong_endpoint', DROP, inUdp(inner(), {}, { from: CLIENT_PORT + 1 })));
  test('with another encapsulation', () =>
    void expectOutcome('in_wrong_endpoint', DROP, inProtocol41(inner())));
  test('from a prefix delegated to another tunnel', () =>
    void expectOutcome('in_wrong_endpoint', DROP, inProtocol41(inner({ from: DELEGATED }))));
  test('from another interface identifier than the client’s', () =>
    void expectOutcome(
      'in_wrong_interface_id',
      DROP,
      inUdp(inner({ from: '2001:db8:1000:5::3' })),
    ));
  test('from the gateway’s own address', () =>
    void expectOutcome('in_gateway_source', DROP, inUdp(inner({ from: GATEWAY }))));
  test('and leave no trace in the tunnel’s counters', () => {
    const was = bench.plane.counters(SLOT);
    expectOutcome('in_wrong_endpoint', DROP, inUdp(inner(), { from: '198.51.100.8' }));
    assert.deepEqual(bench.plane.counters(SLOT).inPackets, was.inPackets);
  });
});
