// ICMPv4 errors about packets to clients: which of them become ICMPv6 errors to the inner sender, and
// which pass untouched, since anybody can send such errors.

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { DELEGATED, ELSEWHERE, GATEWAY, INSIDE, PASS, SITE, SLOT, setUpBench } from './bench.ts';
import {
  bytes,
  checksum,
  ethernet,
  filler,
  type Ipv4Fields,
  icmpv6,
  ipv4,
  ipv6,
  udp,
} from './packets.ts';
import { BROKER, CLIENT, CLIENT_PORT, PORT, SETTINGS } from './scratch.ts';

const bench = setUpBench('tunnel_ingress');
const ROUTER = '203.0.113.9';
const [UNREACHABLE, QUENCH, REDIRECT, EXCEEDED, PARAMETER] = [3, 4, 5, 11, 12];
const TOO_BIG = 4;
const [ADDRESS6, TOO_BIG6] = [
  [1, 3, 0, 0, 0, 0, 0, 0],
  (mtu: number) => [2, 0, 0, 0, 0, 0, mtu >> 8, mtu & 0xff],
];

const inner = (fields: { from?: string; to?: string; nextHeader?: number } = {}, length = 100) =>
  ipv6({ from: ELSEWHERE, to: INSIDE, nextHeader: 17, ...fields }, filler(length));
const inUdp = (
  packet: Uint8Array,
  outer: Partial<Ipv4Fields> = {},
  ports: { from?: number; to?: number } = {},
) =>
  ipv4(
    { from: BROKER, to: CLIENT, protocol: 17, ...outer },
    udp({ from: PORT, to: CLIENT_PORT, ...ports }, packet),
  );
const inProtocol41 = (packet: Uint8Array, outer: Partial<Ipv4Fields> = {}) =>
  ipv4({ from: BROKER, to: CLIENT, protocol: 41, ...outer }, packet);

interface ErrorFields extends Partial<Ipv4Fields> {
  rest?: number[];
  checksum?: number;
}

function error(type: number, code: number, quote: Uint8Array, fields: ErrorFields = {}) {
  const { rest = [0, 0, 0, 0], checksum: wrong, ...header } = fields;
  const message = bytes([type, code, 0, 0], rest, quote);
  const sum = wrong ?? checksum(message);
  message.set([sum >> 8, sum & 0xff], 2);
  return ethernet('ipv4', ipv4({ from: ROUTER, to: BROKER, protocol: 1, ...header }, message));
}
const tooBig = (mtu: number, quote: Uint8Array) =>
  error(UNREACHABLE, TOO_BIG, quote, { rest: [0, 0, mtu >> 8, mtu & 0xff] });

function relayed(
  packet: Uint8Array,
  said: number[],
  quote: Uint8Array,
  { from = GATEWAY, to = ELSEWHERE } = {},
): void {
  const out = bench.expect('in_error_relayed', PASS, packet).slice(14);
  assert.deepEqual(out, icmpv6({ from, to }, bytes(said, quote)));
}
const untouched = (packet: Uint8Array) =>
  assert.deepEqual(bench.expect('in_not_ours', PASS, packet), packet);

describe('an error about a packet to a client is told its sender', () => {
  test('as Packet Too Big, with what the outer headers leave', () => {
    relayed(tooBig(1400, inUdp(inner())), TOO_BIG6(1372), inner());
    const toSite = inner({ to: SITE });
    const from = '2001:db8:1000:6::1';
    relayed(tooBig(1400, inProtocol41(toSite)), TOO_BIG6(1380), toSite, { from });
    const options = inUdp(inner(), { options: [1, 1, 1, 0] });
    relayed(tooBig(1400, options), TOO_BIG6(1368), inner());
  });
  test('with no less than IPv6 must carry, nor more than was said', () => {
    for (const mtu of [0, 68, 1280, 1307, 1308])
      relayed(tooBig(mtu, inUdp(inner())), TOO_BIG6(1280), inner());
    relayed(tooBig(1309, inUdp(inner())), TOO_BIG6(1281), inner());
    relayed(tooBig(65535, inUdp(inner())), TOO_BIG6(65507), inner());
  });
  test('as an unreachable address, whatever else the router says', () => {
    for (const code of [0, 1, 2, 3, 5, 9, 10, 13])
      relayed(error(UNREACHABLE, code, inUdp(inner())), ADDRESS6, inner());
    for (const code of [0, 1]) relayed(error(EXCEEDED, code, inUdp(inner())), ADDRESS6, inner());
  });
  test('from the tunnel’s own gateway, when it was to its delegated prefix', () => {
    const packet = inner({ to: DELEGATED });
    relayed(error(UNREACHABLE, 1, inUdp(packet)), ADDRESS6, packet);
  });
  test('with what is there of the packet, from its header on', () => {
    for (const length of [0, 1, 2, 3, 60, 500, 1100]) {
      const packet = inner({}, length);
      relayed(error(UNREACHABLE, 1, inUdp(packet)), ADDRESS6, packet);
    }
    const long = inner({}, 1300);
    const cut = inUdp(long).slice(0, 548);
    relayed(error(UNREACHABLE, 1, cut), ADDRESS6, long.slice(0, 520));
    relayed(error(UNREACHABLE, 1, inUdp(inner()).slice(0, 68)), ADDRESS6, inner().slice(0, 40));
  });
  test('without padding, and without the extensions of RFC 4884', () => {
    const quote = inUdp(inner());
    relayed(error(UNREACHABLE, 1, bytes(quote, filler(40))), ADDRESS6, inner());
    relayed(
      bytes(error(UNREACHABLE, 1, quote.slice(0, 120)), filler(9)),
      ADDRESS6,
      inner().slice(0, 92),
    );
    const cut = bytes(quote.slice(0, 128), [0x20, 0, 0, 0], filler(8));
    const extended = error(UNREACHABLE, 1, cut, { rest: [0, 32, 0, 0] });
    relayed(extended, ADDRESS6, inner().slice(0, 100));
  });
  test('behind IPv4 options of the router’s', () => {
    const packet = error(UNREACHABLE, 1, inUdp(inner()), { options: [1, 1, 1, 1, 1, 1, 1, 0] });
    relayed(packet, ADDRESS6, inner());
  });
  test('about a first fragment', () =>
    relayed(error(UNREACHABLE, 1, inUdp(inner(), { fragment: 0x2000 })), ADDRESS6, inner()));
});

describe('an error passes untouched', () => {
  const about = (quote: Uint8Array) => untouched(error(UNREACHABLE, 1, quote));

  test('when it says nothing about delivery', () => {
    for (const type of [0, QUENCH, REDIRECT, 8, PARAMETER])
      untouched(error(type, 0, inUdp(inner())));
  });
  test('when it quotes less than the inner header', () => {
    for (const octets of [0, 19, 20, 27, 28, 67]) about(inUdp(inner()).slice(0, octets));
    for (const octets of [28, 59]) about(inProtocol41(inner({ to: SITE })).slice(0, octets));
    const quote = inUdp(inner());
    untouched(error(UNREACHABLE, 1, quote, { rest: [0, 16, 0, 0] })); // RFC 4884: 64 octets
    about(inUdp(inner(), { totalLength: 67 }));
    about(inUdp(inner(), { totalLength: 27 }));
  });
  test('when the packet is not from us', () => {
    about(inUdp(inner(), { from: '192.0.2.2' }));
    about(inUdp(inner(), {}, { from: PORT + 1 }));
    about(inUdp(inner(), { protocol: 6 }));
    about(inUdp(inner(), { fragment: 0x0010 }));
    about(inUdp(bytes([0xf0], inner().slice(1))));
    const header = inUdp(inner());
    header[0] = 0x44;
    about(header);
  });
  test('when the packet is not what the tunnel is sent', () => {
    about(inUdp(inner(), { to: '198.51.100.8' }));
    about(inUdp(inner(), {}, { to: CLIENT_PORT + 1 }));
    about(inProtocol41(inner()));
    about(inUdp(inner({ to: SITE })));
    about(inUdp(inner({ to: ELSEWHERE })));
    about(inUdp(inner({ to: '2001:db8:2000:400::1' })));
    bench.plane.remove(SLOT, 'down');
    about(inUdp(inner()));
  });
  test('when its sender must not be told (RFC 4443, 2.4 (e))', () => {
    const message = (type: number) =>
      icmpv6({ from: ELSEWHERE, to: INSIDE }, bytes([type, 0, 0, 0], filler(60)));
    for (const type of [1, 2, 3, 4, 137]) about(inUdp(message(type)));
    relayed(error(UNREACHABLE, 1, inUdp(message(128))), ADDRESS6, message(128));
    about(inUdp(message(128)).slice(0, 68)); // whether it is an error was not quoted
    for (const from of ['::', 'ff0e::1', 'fe80::1']) about(inUdp(inner({ from })));
  });
  test('when the packet was the answer to a keepalive', () =>
    about(inUdp(inner({ from: GATEWAY }))));
  test('when it is damaged, cut off, or a fragment', () => {
    untouched(error(UNREACHABLE, 1, inUdp(inner()), { checksum: 1 }));
    untouched(error(UNREACHABLE, 1, inUdp(inner())).slice(0, 100));
    untouched(error(UNREACHABLE, 1, inUdp(inner()), { fragment: 0x2000 }));
    untouched(error(UNREACHABLE, 1, filler(0), { totalLength: 27 }));
  });
  test('when it is longer than any router’s', () => about(inUdp(inner({}, 1300))));
  test('when it is to another address', () =>
    untouched(error(UNREACHABLE, 1, inUdp(inner()), { to: '192.0.2.2' })));
  test('beyond the budget', () => {
    bench.plane.configure({ ...SETTINGS, errorsPerSecond: 1 });
    for (let i = 0; i < 2; i++) relayed(error(UNREACHABLE, 1, inUdp(inner())), ADDRESS6, inner());
    untouched(error(UNREACHABLE, 1, inUdp(inner())));
  });
});
