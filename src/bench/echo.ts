// The keepalive of a tunnel in UDP, packet and answer: an ICMPv6 echo (RFC 4443 §4), the IPv6 packet
// itself being the datagram. Knows no tunnels.

import type { Ipv6Address } from '../address.ts';

const IPV6_HEADER = 40;
const ICMPV6 = 58;
const [ECHO_REQUEST, ECHO_REPLY] = [128, 129] as const;
const ECHO_HEADER = 8;
const [AT_CHECKSUM, AT_IDENTIFIER, AT_SEQUENCE] = [42, 44, 46] as const;
const IDENTIFIER = 0x5349;

/** `sequence` is 16 bits. */
export function writeEcho(from: Ipv6Address, to: Ipv6Address, sequence: number): Uint8Array {
  const bytes = new Uint8Array(IPV6_HEADER + ECHO_HEADER);
  const view = new DataView(bytes.buffer);
  bytes[0] = 0x60;
  view.setUint16(4, ECHO_HEADER);
  bytes[6] = ICMPV6;
  bytes[7] = 64;
  view.setBigUint64(8, from >> 64n);
  view.setBigUint64(16, BigInt.asUintN(64, from));
  view.setBigUint64(24, to >> 64n);
  view.setBigUint64(32, BigInt.asUintN(64, to));
  bytes[IPV6_HEADER] = ECHO_REQUEST;
  view.setUint16(AT_IDENTIFIER, IDENTIFIER);
  view.setUint16(AT_SEQUENCE, sequence);
  // The pseudo-header's length and next header, then addresses and message (RFC 8200 §8.1).
  let sum = ECHO_HEADER + ICMPV6;
  for (let at = 8; at < bytes.length; at += 2) sum += view.getUint16(at);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  view.setUint16(AT_CHECKSUM, ~sum & 0xffff);
  return bytes;
}

/** The sequence of the answer to a {@link writeEcho}; undefined: it is none. */
export function readEchoReply(bytes: Uint8Array): number | undefined {
  if (bytes.length < IPV6_HEADER + ECHO_HEADER || bytes[0]! >>> 4 !== 6) return undefined;
  if (bytes[6] !== ICMPV6 || bytes[IPV6_HEADER] !== ECHO_REPLY) return undefined;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  return view.getUint16(AT_IDENTIFIER) === IDENTIFIER ? view.getUint16(AT_SEQUENCE) : undefined;
}
