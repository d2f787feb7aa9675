// Connections from clients to ports that are closed for them, and the ways around: extension headers,
// fragments. Of both families.

import assert from 'node:assert/strict';
import { beforeEach, describe, test } from 'node:test';
import { parseIpv4Prefix } from '../../src/address.ts';
import { TUNNEL_ASSIGNED, TUNNEL_UNFILTERED } from '../../src/dataplane/layout.gen.ts';
import { DELEGATED, DROP, ELSEWHERE, GATEWAY, INSIDE, PASS, SLOT, setUpBench } from './bench.ts';
import { bytes, ethernet, filler, type Ipv4Fields, ipv4, ipv6, tcp, udp } from './packets.ts';
import { clearFaults, faultsOf, setFlags, type Tunnels } from './pinned.ts';
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
const [HOP_BY_HOP, TCP, UDP, ROUTING, FRAGMENT, AUTHENTICATION, NOTHING] = [
  0, 6, 17, 43, 44, 51, 59,
];
const [OPTIONS, MOBILITY, HIP, SHIM6, ESP] = [60, 135, 139, 140, 50];
const [SYN, ACK] = [0x02, 0x10];
const SMTP = 25;

beforeEach(() => {
  for (const map of ['tunnels', 'tunnels_v4v6'] as const) clearFaults(bench, SLOT, map);
});

const allow = (map: Tunnels = 'tunnels') =>
  setFlags(bench, SLOT, TUNNEL_ASSIGNED | TUNNEL_UNFILTERED, map);

describe('TCP over IPv6 to a port that is closed', () => {
  const segment = (to: number, flags = SYN) => tcp({ from: 4000, to, flags }, filler(20));
  const packet = (nextHeader: number, payload: Uint8Array, fields = {}) => {
    const inner = ipv6({ from: INSIDE, to: ELSEWHERE, nextHeader, ...fields }, payload);
    const datagram = udp({ from: CLIENT_PORT, to: PORT }, inner);
    return ethernet('ipv4', ipv4({ from: CLIENT, to: BROKER, protocol: UDP }, datagram));
  };
  /** An extension header of 8 octets. */
  const header = (next: number) => bytes([next, 0, 1, 4, 0, 0, 0, 0]);
  const fragment = (next: number, offset: number, more: number) =>
    bytes([next, 0, offset >> 5, ((offset << 3) & 0xff) | more, 0, 0, 0, 9]);
  const filtered = (...from: Parameters<typeof packet>) =>
    void bench.expect('in_filtered', DROP, packet(...from));
  const passes = (...from: Parameters<typeof packet>) =>
    void bench.expect('in_decapsulated', PASS, packet(...from));

  test('is dropped, every segment of it, and the tunnel is told', () => {
    filtered(TCP, segment(SMTP));
    filtered(TCP, segment(SMTP, ACK));
    filtered(TCP, segment(SMTP), { from: DELEGATED });
    const { packets, lastOutcome } = faultsOf(bench, SLOT);
    assert.deepEqual(packets, { filtered: 3 });
    assert.equal(lastOutcome, 'in_filtered');
  });
  test('is not what goes to another port, or is no TCP', () => {
    passes(TCP, segment(587));
    passes(TCP, segment(0));
    passes(TCP, tcp({ from: SMTP, to: 4000, flags: SYN | ACK }));
    passes(UDP, udp({ from: 4000, to: SMTP }, filler(20)));
    passes(ESP, segment(SMTP));
    passes(NOTHING, segment(SMTP));
  });
  test('may be one of four', () => {
    bench.plane.configure({ ...SETTINGS, filteredPorts: [25, 135, 445, 6667] });
    for (const port of [25, 135, 445, 6667]) filtered(TCP, segment(port));
    for (const port of [24, 0, 587]) passes(TCP, segment(port));
    bench.plane.configure({ ...SETTINGS, filteredPorts: [] });
    for (const port of [25, 0]) passes(TCP, segment(port));
  });
  test('passes when the tunnel may', () => {
    allow();
    passes(TCP, segment(SMTP));
    passes(HOP_BY_HOP, bytes(header(TCP), segment(SMTP)));
    passes(TCP, segment(SMTP).slice(0, 3));
  });
  test('is found behind extension headers', () => {
    for (const kind of [HOP_BY_HOP, ROUTING, OPTIONS, MOBILITY, HIP, SHIM6]) {
      filtered(kind, bytes(header(TCP), segment(SMTP)));
      passes(kind, bytes(header(TCP), segment(80)));
      passes(kind, bytes(header(UDP), segment(SMTP)));
      const long = bytes([TCP, 2], filler(22));
      filtered(kind, bytes(long, segment(SMTP)));
      passes(kind, bytes(long, segment(80)));
    }
    const authentication = bytes([TCP, 4], filler(22)); // 24 octets: in units of 4, without 2 of them
    filtered(AUTHENTICATION, bytes(authentication, segment(SMTP)));
    passes(AUTHENTICATION, bytes(authentication, segment(80)));
  });
  test('is found behind six of them; seven are nobody’s need', () => {
    const five = new Array(5).fill([OPTIONS, 0, 1, 4, 0, 0, 0, 0]).flat();
    filtered(OPTIONS, bytes(five, header(TCP), segment(SMTP)));
    passes(OPTIONS, bytes(five, header(TCP), segment(80)));
    filtered(OPTIONS, bytes(five, header(OPTIONS), header(TCP), segment(80)));
    bench.plane.configure({ ...SETTINGS, filteredPorts: [] });
    passes(OPTIONS, bytes(five, header(OPTIONS), header(TCP), segment(80)));
  });
  test('is found in a first fragment, and in one that is whole', () => {
    filtered(FRAGMENT, bytes(fragment(TCP, 0, 1), segment(SMTP)));
    filtered(FRAGMENT, bytes(fragment(TCP, 0, 0), segment(SMTP)));
    filtered(HOP_BY_HOP, bytes(header(FRAGMENT), fragment(TCP, 0, 1), segment(SMTP)));
    filtered(FRAGMENT, bytes(fragment(OPTIONS, 0, 1), header(TCP), segment(SMTP)));
    passes(FRAGMENT, bytes(fragment(TCP, 0, 1), segment(80)));
  });
  test('is no later fragment: its first one was stopped', () => {
    passes(FRAGMENT, bytes(fragment(TCP, 1, 0), segment(SMTP)));
    passes(HOP_BY_HOP, bytes(header(FRAGMENT), fragment(TCP, 181, 1), segment(SMTP)));
  });
  test('is what hides its ports in a second fragment (RFC 7112)', () => {
    filtered(FRAGMENT, bytes(fragment(TCP, 0, 1), segment(80).slice(0, 3)));
    filtered(FRAGMENT, fragment(TCP, 0, 1));
    filtered(FRAGMENT, bytes(fragment(OPTIONS, 0, 1), header(TCP)));
    filtered(FRAGMENT, bytes(fragment(OPTIONS, 0, 1), header(TCP).slice(0, 4)));
    passes(FRAGMENT, bytes(fragment(UDP, 0, 1), filler(3)));
  });
  test('is not told by octets after the inner packet', () => {
    filtered(FRAGMENT, bytes(fragment(TCP, 0, 1), segment(80)), { payloadLength: 8 });
    filtered(TCP, segment(80), { payloadLength: 3 });
    filtered(HOP_BY_HOP, bytes(header(TCP), segment(80)), { payloadLength: 7 });
    filtered(TCP, segment(SMTP), { payloadLength: 4 });
    passes(TCP, segment(80), { payloadLength: 4 });
  });
  test('is none of the gateway’s either', () => filtered(TCP, segment(SMTP), { to: GATEWAY }));
});

describe('TCP over IPv4 to a port that is closed', () => {
  beforeEach(() => {
    const prefix = parseIpv4Prefix('10.64.0.0/24');
    assert.ok(prefix);
    bench.plane.setPools([
      LINKS,
      { purpose: 'ipv4-link', prefix, positionLength: 30, firstIndex: 0 },
    ]);
    bench.plane.putV4v6(SLOT, { client: address6(CLIENT6) });
  });
  const segment = (to: number) => tcp({ from: 4000, to, flags: SYN }, filler(20));
  const packet = (payload: Uint8Array, fields: Partial<Ipv4Fields> = {}) => {
    const header = { from: '10.64.0.22', to: CLIENT, protocol: TCP, ...fields };
    return ethernet(
      'ipv6',
      ipv6({ from: CLIENT6, to: BROKER6, nextHeader: 4 }, ipv4(header, payload)),
    );
  };
  const filtered = (...from: Parameters<typeof packet>) =>
    void bench.expect('in_filtered', DROP, packet(...from));
  const passes = (...from: Parameters<typeof packet>) =>
    void bench.expect('in_decapsulated', PASS, packet(...from));

  test('is dropped, and the tunnel is told', () => {
    filtered(segment(SMTP));
    assert.deepEqual(faultsOf(bench, SLOT, 'tunnels_v4v6').packets, { filtered: 1 });
  });
  test('is not what goes to another port, or is no TCP', () => {
    passes(segment(587));
    passes(udp({ from: 4000, to: SMTP }, filler(9)), { protocol: UDP });
    passes(segment(SMTP), { protocol: FRAGMENT });
  });
  test('passes when the tunnel may', () => {
    allow('tunnels_v4v6');
    passes(segment(SMTP));
  });
  test('is found behind IPv4 options', () => {
    filtered(segment(SMTP), { options: [1, 1, 1, 0] });
    passes(segment(80), { options: [1, 1, 1, 0] });
  });
  test('is found in a first fragment, and is what hides its ports in a second one', () => {
    filtered(segment(SMTP), { fragment: 0x2000 });
    passes(segment(80), { fragment: 0x2000 });
    passes(segment(SMTP), { fragment: 0x2001 });
    filtered(segment(80).slice(0, 3), { fragment: 0x2000 });
    filtered(segment(80), { fragment: 0x2000, totalLength: 23 });
  });
});
