// Packets to tunnels that are unassigned, disabled or down: what their sender is told, and when it is
// told nothing. Of both families.

import assert from 'node:assert/strict';
import { beforeEach, describe, test } from 'node:test';
import { parseIpv4Prefix } from '../../src/address.ts';
import type { OutcomeName } from '../../src/dataplane/dataplane.ts';
import { TUNNEL_ASSIGNED, TUNNEL_DISABLED } from '../../src/dataplane/layout.gen.ts';
import { testRun } from '../../src/dataplane/native.ts';
import { DELEGATED, DROP, ELSEWHERE, GATEWAY, INSIDE, SEND, SLOT, setUpBench } from './bench.ts';
import { bytes, checksum, ethernet, filler, icmpv6, ipv4, ipv6, udp } from './packets.ts';
import { clearFaults, faultsOf, setFlags } from './pinned.ts';
import {
  address6,
  BROKER,
  BROKER6,
  CLIENT,
  CLIENT_PORT,
  CLIENT6,
  DELEGATIONS,
  LINKS,
  PORT,
  SETTINGS,
} from './scratch.ts';

const bench = setUpBench('tunnel_egress');
const [NO_ROUTE, PROHIBITED, ADDRESS] = [0, 1, 3];
const UNASSIGNED = '2001:db8:1000:9::2';
const UNDELEGATED = '2001:db8:2000:400::1';
const TO_NOBODY = { from: ELSEWHERE, to: UNDELEGATED };

beforeEach(() => clearFaults(bench, SLOT));

const packetTo = (to: string, payload = filler(64), from = ELSEWHERE, nextHeader = 17) =>
  ipv6({ from, to, nextHeader }, payload);

/** Expects an ICMPv6 destination unreachable about the packet, as long as it may be. */
function told(outcome: OutcomeName, code: number, source: string, packet: Uint8Array): void {
  const out = bench.expect(outcome, SEND, ethernet('ipv6', packet)).slice(14);
  const message = bytes([1, code, 0, 0, 0, 0, 0, 0], packet.slice(0, 1232));
  const from = new DataView(packet.buffer, packet.byteOffset);
  const groups = Array.from({ length: 8 }, (_, i) => from.getUint16(8 + 2 * i).toString(16));
  assert.deepEqual(out, icmpv6({ from: source, to: groups.join(':') }, message));
}
const quiet = (outcome: OutcomeName, packet: Uint8Array) =>
  void bench.expect(outcome, DROP, ethernet('ipv6', packet));

describe('the sender of a packet to nobody is told that there is', () => {
  test('no route to a prefix that is delegated to nobody', () =>
    told('out_undelegated_told', NO_ROUTE, BROKER6, packetTo(UNDELEGATED)));
  test('no route to a link that is nobody’s', () =>
    told('out_undelegated_told', NO_ROUTE, BROKER6, packetTo(UNASSIGNED)));
  test('no route, by a gateway when the server has no IPv6 address of its own', () => {
    bench.plane.configure({ ...SETTINGS, localAddress6: 0n });
    told('out_undelegated_told', NO_ROUTE, '2001:db8:1000::1', packetTo(UNDELEGATED));
    bench.plane.setPools([DELEGATIONS]);
    quiet('out_undelegated', packetTo(UNDELEGATED));
  });
  test('an administrator who has closed the tunnel', () => {
    setFlags(bench, SLOT, TUNNEL_ASSIGNED | TUNNEL_DISABLED);
    told('out_disabled_told', PROHIBITED, GATEWAY, packetTo(INSIDE));
    told('out_disabled_told', PROHIBITED, GATEWAY, packetTo(DELEGATED));
    bench.plane.remove(SLOT, 'disabled');
    told('out_disabled_told', PROHIBITED, GATEWAY, packetTo(INSIDE));
    assert.deepEqual(faultsOf(bench, SLOT).packets, { closed_out: 3 });
  });
  test('no client at the tunnel’s end', () => {
    bench.plane.remove(SLOT, 'down');
    told('out_detached_told', ADDRESS, GATEWAY, packetTo(INSIDE));
    told('out_detached_told', ADDRESS, GATEWAY, packetTo(DELEGATED));
    assert.deepEqual(faultsOf(bench, SLOT).packets, { closed_out: 2 });
  });
  test('with as much of the packet as fits, whatever its length', () => {
    for (const length of [
      0, 1, 2, 3, 5, 400, 471, 472, 473, 935, 936, 1000, 1191, 1192, 1193, 1400,
    ])
      told('out_undelegated_told', NO_ROUTE, BROKER6, packetTo(UNDELEGATED, filler(length)));
  });
  test('nothing to the gateway’s own address of a tunnel that is there', () =>
    quiet('out_to_gateway', packetTo(GATEWAY)));
});

describe('no error is sent (RFC 4443, 2.4 (e))', () => {
  const [HOP_BY_HOP, FRAGMENT, ICMPV6] = [0, 44, 58];
  const quietAbout = (packet: Uint8Array) => quiet('out_undelegated', packet);
  const toldAbout = (packet: Uint8Array) => told('out_undelegated_told', NO_ROUTE, BROKER6, packet);
  const options = (next: number) => [next, 0, 1, 4, 0, 0, 0, 0];
  const piece = (next: number, offset: number, more: number) => [
    ...[next, 0, offset >> 5, ((offset << 3) & 0xff) | more],
    ...[0, 0, 0, 9],
  ];

  test('about ICMPv6 errors, and redirects', () => {
    for (const type of [1, 2, 3, 4, 127, 137])
      quietAbout(icmpv6(TO_NOBODY, bytes([type, 0, 0, 0], filler(48))));
    quietAbout(packetTo(UNDELEGATED, bytes(options(ICMPV6), [1, 0, 0, 0]), ELSEWHERE, HOP_BY_HOP));
  });
  test('but about other ICMPv6 messages', () => {
    toldAbout(icmpv6(TO_NOBODY, bytes([128, 0, 0, 0], filler(16))));
    toldAbout(packetTo(UNDELEGATED, bytes(options(ICMPV6), [128, 0]), ELSEWHERE, HOP_BY_HOP));
  });
  test('about ICMPv6 messages that say nothing', () =>
    quietAbout(packetTo(UNDELEGATED, filler(0), ELSEWHERE, ICMPV6)));
  test('about later fragments', () => {
    const fragment = (offset: number) =>
      packetTo(UNDELEGATED, bytes(piece(17, offset, 1), filler(32)), ELSEWHERE, FRAGMENT);
    toldAbout(fragment(0));
    quietAbout(fragment(4));
  });
  test('about packets that were sent by no single host', () => {
    quietAbout(packetTo(UNDELEGATED, filler(9), '::'));
    quietAbout(packetTo(UNDELEGATED, filler(9), 'ff0e::1'));
    quietAbout(packetTo(UNDELEGATED, filler(9), 'fe80::1'));
  });
  test('about packets whose upper layer is out of sight', () => {
    const six = new Array(6).fill(options(HOP_BY_HOP)).flat();
    six[40] = 17;
    toldAbout(packetTo(UNDELEGATED, bytes(six, filler(9)), ELSEWHERE, HOP_BY_HOP));
    six[40] = HOP_BY_HOP;
    const seven = bytes(six, options(17), filler(9));
    quietAbout(packetTo(UNDELEGATED, seven, ELSEWHERE, HOP_BY_HOP));
    quietAbout(packetTo(UNDELEGATED, bytes(six.slice(0, 12)), ELSEWHERE, HOP_BY_HOP));
  });
  test('beyond the budget', () => {
    bench.plane.configure({ ...SETTINGS, errorsPerSecond: 2 });
    for (let i = 0; i < 4; i++) toldAbout(packetTo(UNDELEGATED));
    quietAbout(packetTo(UNDELEGATED));
    bench.plane.remove(SLOT, 'down');
    quiet('out_detached', packetTo(INSIDE));
    bench.plane.remove(SLOT, 'disabled');
    quiet('out_disabled', packetTo(INSIDE));
  });
});

test('a disabled tunnel sends nothing', () => {
  const program = bench.plane.programFd('tunnel_ingress');
  const inner = ipv6({ from: INSIDE, to: ELSEWHERE }, filler(9));
  const datagram = udp({ from: CLIENT_PORT, to: PORT }, inner);
  const packet = ethernet('ipv4', ipv4({ from: CLIENT, to: BROKER, protocol: 17 }, datagram));
  assert.equal(testRun(program, packet).verdict, 0);
  setFlags(bench, SLOT, TUNNEL_ASSIGNED | TUNNEL_DISABLED);
  const count = () =>
    bench.plane.outcomes().find(({ outcome }) => outcome === 'in_disabled')?.packets ?? 0n;
  const was = count();
  assert.equal(testRun(program, packet).verdict, DROP);
  assert.equal(count() - was, 1n);
  assert.deepEqual(faultsOf(bench, SLOT).packets, { closed_in: 1 });
});

describe('the sender of an IPv4 packet to nobody is told', () => {
  const inside = '10.64.0.22';
  const gateway = '10.64.0.21';
  const [NET, HOST, CLOSED] = [0, 1, 13];
  beforeEach(() => {
    const prefix = parseIpv4Prefix('10.64.0.0/24');
    assert.ok(prefix);
    bench.plane.setPools([
      LINKS,
      { purpose: 'ipv4-link', prefix, positionLength: 30, firstIndex: 0 },
    ]);
    bench.plane.putV4v6(SLOT, { client: address6(CLIENT6) });
  });
  const to = (address: string, payload = filler(32), fields = {}) =>
    ipv4({ from: '192.0.2.80', to: address, protocol: 17, ...fields }, payload);
  function told4(outcome: OutcomeName, code: number, source: string, packet: Uint8Array): void {
    const out = bench.expect(outcome, SEND, ethernet('ipv4', packet)).slice(14);
    const message = bytes([3, code, 0, 0, 0, 0, 0, 0], packet.slice(0, 548));
    const sum = checksum(message);
    message.set([sum >> 8, sum & 0xff], 2);
    const identification = ((out[4] ?? 0) << 8) | (out[5] ?? 0);
    const header = { from: source, to: '192.0.2.80', protocol: 1, identification };
    assert.deepEqual(out, ipv4(header, message));
  }
  const quiet4 = (outcome: OutcomeName, packet: Uint8Array) =>
    void bench.expect(outcome, DROP, ethernet('ipv4', packet));

  test('that the net is unreachable, when the link is nobody’s', () =>
    told4('out_undelegated_told', NET, '10.64.0.25', to('10.64.0.26')));
  test('that it is prohibited, when the tunnel is disabled', () => {
    setFlags(bench, SLOT, TUNNEL_ASSIGNED | TUNNEL_DISABLED, 'tunnels_v4v6');
    told4('out_disabled_told', CLOSED, gateway, to(inside));
    const program = bench.plane.programFd('tunnel_ingress');
    const packet = ipv4({ from: inside, to: CLIENT, protocol: 17 }, filler(9));
    const over = ipv6({ from: CLIENT6, to: BROKER6, nextHeader: 4 }, packet);
    assert.equal(testRun(program, ethernet('ipv6', over)).verdict, DROP);
    const { packets, lastOutcome } = faultsOf(bench, SLOT, 'tunnels_v4v6');
    assert.deepEqual(packets, { closed_in: 1, closed_out: 1 });
    assert.equal(lastOutcome, 'in_disabled');
  });
  test('that the host is unreachable, when no client is there', () => {
    bench.plane.removeV4v6(SLOT, 'down');
    told4('out_detached_told', HOST, gateway, to(inside));
  });
  test('with as much of the packet as fits, whatever its length', () => {
    bench.plane.removeV4v6(SLOT, 'down');
    for (const length of [0, 1, 2, 3, 483, 484, 485, 527, 528, 529, 1400])
      told4('out_detached_told', HOST, gateway, to(inside, filler(length)));
  });
  test('not about errors, later fragments, or what no single host sent', () => {
    bench.plane.removeV4v6(SLOT, 'down');
    quiet4('out_detached', to(inside, bytes([3, 1], filler(30)), { protocol: 1 }));
    quiet4('out_detached', to(inside, filler(32), { fragment: 4 }));
    for (const from of ['0.0.0.0', '127.0.0.1', '224.0.0.1', '255.255.255.255', '169.254.0.1'])
      quiet4('out_detached', to(inside, filler(32), { from }));
  });
  test('not beyond the budget', () => {
    bench.plane.removeV4v6(SLOT, 'down');
    bench.plane.configure({ ...SETTINGS, errorsPerSecond: 1 });
    const outcomes = () => bench.run(ethernet('ipv4', to(inside))).verdict;
    assert.deepEqual(
      Array.from({ length: 8 }, outcomes).filter((verdict) => verdict === DROP).length >= 4,
      true,
    );
  });
});
