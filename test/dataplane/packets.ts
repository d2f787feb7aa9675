// Builds packets octet by octet, from the inside out, with right lengths and checksums unless told
// otherwise; and checks those of packets that came out. Ethernet headers are all zero but the type.

import { parseIpv4, parseIpv6 } from '../../src/address.ts';

export function bytes(...parts: (Uint8Array | number[])[]): Uint8Array {
  return Uint8Array.from(parts.flatMap((part) => [...part]));
}

export function ethernet(type: 'ipv4' | 'ipv6', packet: Uint8Array): Uint8Array {
  return bytes(new Array(12).fill(0), type === 'ipv4' ? [0x08, 0x00] : [0x86, 0xdd], packet);
}

export interface Ipv4Fields {
  from: string;
  to: string;
  protocol: number;
  tos?: number;
  identification?: number;
  ttl?: number;
  /** The third word's lower half: flags and offset. */
  fragment?: number;
  /** A multiple of four octets. */
  options?: number[];
  totalLength?: number;
}

export function ipv4(fields: Ipv4Fields, payload: Uint8Array): Uint8Array {
  const { from, to, protocol, tos = 0, identification = 0, ttl = 64, fragment = 0 } = fields;
  const options = fields.options ?? [];
  const headerLength = 20 + options.length;
  const header = bytes(
    [0x40 | (headerLength / 4), tos],
    word(fields.totalLength ?? headerLength + payload.length),
    word(identification),
    word(fragment),
    [ttl, protocol, 0, 0],
    address4(from),
    address4(to),
    options,
  );
  header.set(word(checksum(header)), 10);
  return bytes(header, payload);
}

export function udp(
  ports: { from: number; to: number; length?: number },
  payload: Uint8Array,
): Uint8Array {
  return bytes(
    word(ports.from),
    word(ports.to),
    word(ports.length ?? 8 + payload.length),
    [0, 0],
    payload,
  );
}

/** A TCP segment; the checksum is 0. */
export function tcp(
  fields: { from: number; to: number; flags: number; options?: number[] },
  payload: Uint8Array = new Uint8Array(),
): Uint8Array {
  const { from, to, flags, options = [] } = fields;
  return bytes(
    word(from),
    word(to),
    new Array(8).fill(0),
    [0x50 + (options.length / 4) * 16, flags],
    new Array(6).fill(0),
    options,
    payload,
  );
}

/** The same segment with its checksum filled in, for addresses of either family. */
export function withTcpChecksum(
  { from, to }: { from: string; to: string },
  segment: Uint8Array,
): Uint8Array {
  const address = from.includes(':') ? address6 : address4;
  const pseudo = bytes(address(from), address(to), [0, 6], word(segment.length));
  const filled = Uint8Array.from(segment);
  filled.set([0, 0], 16);
  filled.set(word(checksum(bytes(pseudo, filled))), 16);
  return filled;
}

export interface Ipv6Fields {
  from: string;
  to: string;
  nextHeader?: number;
  trafficClass?: number;
  hopLimit?: number;
  payloadLength?: number;
}

export function ipv6(fields: Ipv6Fields, payload: Uint8Array): Uint8Array {
  const { from, to, nextHeader = 59, trafficClass = 0, hopLimit = 64 } = fields;
  return bytes(
    [0x60 | (trafficClass >> 4), (trafficClass & 15) << 4, 0, 0],
    word(fields.payloadLength ?? payload.length),
    [nextHeader, hopLimit],
    address6(from),
    address6(to),
    payload,
  );
}

/** An echo request or reply in its IPv6 header. */
export function echo(
  type: 'request' | 'reply',
  fields: { from: string; to: string; hopLimit?: number; trafficClass?: number },
  content: { identifier: number; sequence: number; payload?: Uint8Array },
): Uint8Array {
  const message = bytes(
    [type === 'request' ? 128 : 129, 0, 0, 0],
    word(content.identifier),
    word(content.sequence),
    content.payload ?? filler(16),
  );
  return icmpv6(fields, message);
}

/** An ICMPv6 message, whose checksum it fills in, in its IPv6 header. */
export function icmpv6(fields: Ipv6Fields, message: Uint8Array): Uint8Array {
  const filled = Uint8Array.from(message);
  filled.set(
    word(checksum(bytes(pseudoHeader(fields.from, fields.to, message.length), filled))),
    2,
  );
  return ipv6({ ...fields, nextHeader: 58 }, filled);
}

/** Octets that are all different for a while. */
export function filler(length: number): Uint8Array {
  return Uint8Array.from({ length }, (_, index) => (index * 7 + 3) & 0xff);
}

/** The same packet with identification 0, after checking that the IPv4 checksum was right. */
export function withoutIdentification(packet: Uint8Array, at = 14): Uint8Array {
  const header = packet.slice(at, at + 20);
  if (checksum(header) !== 0) throw new Error('the IPv4 header checksum is wrong');
  header.set([0, 0], 4);
  header.set([0, 0], 10);
  header.set(word(checksum(header)), 10);
  return bytes(packet.slice(0, at), header, packet.slice(at + 20));
}

/** RFC 1071; 0 over what includes its own right checksum. */
export function checksum(octets: Uint8Array): number {
  let sum = 0;
  for (let i = 0; i < octets.length; i += 2) sum += ((octets[i] ?? 0) << 8) | (octets[i + 1] ?? 0);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff;
}

function pseudoHeader(from: string, to: string, length: number): Uint8Array {
  return bytes(address6(from), address6(to), [0, 0], word(length), [0, 0, 0, 58]);
}

function word(value: number): number[] {
  return [(value >> 8) & 0xff, value & 0xff];
}

function address4(text: string): number[] {
  const value = parseIpv4(text) ?? 0;
  return [24, 16, 8, 0].map((shift) => (value >>> shift) & 0xff);
}

function address6(text: string): number[] {
  const value = parseIpv6(text) ?? 0n;
  return Array.from({ length: 16 }, (_, index) =>
    Number((value >> BigInt(120 - 8 * index)) & 0xffn),
  );
}
