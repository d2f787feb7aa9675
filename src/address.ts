// Addresses and prefixes of IPv4 and IPv6 as values, and the arithmetic on them.
// An IPv4 address is a number (0 … 2^32-1), an IPv6 address a bigint (0 … 2^128-1), both in the
// order in which they are written, so `typeof` tells the family. Knows nothing of packets,
// sockets or pools.

export type Ipv4Address = number;
export type Ipv6Address = bigint;
export type IpAddress = Ipv4Address | Ipv6Address;

/** A transport address: where a datagram came from or goes to. `port` is 0 … 65535. */
export interface Endpoint {
  readonly address: IpAddress;
  readonly port: number;
}

/** An {@link Endpoint} on IPv4; `port` is 0 for encapsulations without ports (protocol 41). */
export interface Ipv4Endpoint {
  readonly address: Ipv4Address;
  readonly port: number;
}

/** An {@link Endpoint} on IPv6; `port` is 0 for encapsulations without ports (RFC 2473). */
export interface Ipv6Endpoint {
  readonly address: Ipv6Address;
  readonly port: number;
}

/** `address` has no bits set beyond `length` (0 … 128). */
export interface Ipv6Prefix {
  readonly address: Ipv6Address;
  readonly length: number;
}

/** `address` has no bits set beyond `length` (0 … 32). */
export interface Ipv4Prefix {
  readonly address: Ipv4Address;
  readonly length: number;
}

export type IpPrefix = Ipv4Prefix | Ipv6Prefix;

const MAX_IPV6 = (1n << 128n) - 1n;

const ZERO = 0x30;
/** As a digit. */
const DOT = 0x2e - ZERO;

/** Strict dotted quad: four decimal numbers without leading zeros. */
export function parseIpv4(text: string): Ipv4Address | undefined {
  // Digit by digit: a server reads a million of them when it starts.
  let value = 0;
  let parts = 0;
  let part = -1;
  for (let i = 0; i <= text.length; i++) {
    const digit = i === text.length ? DOT : text.charCodeAt(i) - ZERO;
    if (digit === DOT) {
      if (part < 0) return undefined;
      value = value * 256 + part;
      parts++;
      part = -1;
    } else {
      if (digit < 0 || digit > 9 || part === 0) return undefined;
      part = part < 0 ? digit : part * 10 + digit;
      if (part > 255) return undefined;
    }
  }
  return parts === 4 ? value : undefined;
}

/** The same for the same address and port only; a number where it can be, since maps like those. */
export function endpointKey({ address, port }: Endpoint): number | string {
  return typeof address === 'number' ? address * 65_536 + port : `${address} ${port}`;
}

export function formatIpv4(address: Ipv4Address): string {
  return `${address >>> 24}.${(address >>> 16) & 255}.${(address >>> 8) & 255}.${address & 255}`;
}

const EXPANDED = /^(?:[0-9a-fA-F]{4}:){7}[0-9a-fA-F]{4}$/;

/** RFC 4291 text, including `::` and a dotted quad at the end; no zone, no brackets. */
export function parseIpv6(text: string): Ipv6Address | undefined {
  // What TSP servers and clients write, and by far the most of what is read.
  if (text.length === 39 && EXPANDED.test(text)) return BigInt(`0x${text.replaceAll(':', '')}`);
  const halves = text.split('::');
  if (halves.length > 2) return undefined;
  const head = parseGroups(halves[0] ?? '', halves.length === 1);
  const tail = halves.length === 2 ? parseGroups(halves[1] ?? '', true) : [];
  if (!head || !tail) return undefined;
  const missing = 8 - head.length - tail.length;
  if (halves.length === 1 ? missing !== 0 : missing < 1) return undefined;
  const groups = [...head, ...new Array<number>(missing).fill(0), ...tail];
  return groups.reduce((value, group) => (value << 16n) | BigInt(group), 0n);
}

function parseGroups(text: string, mayEndDotted: boolean): number[] | undefined {
  if (text === '') return [];
  const parts = text.split(':');
  const groups: number[] = [];
  for (const [index, part] of parts.entries()) {
    if (mayEndDotted && index === parts.length - 1 && part.includes('.')) {
      const dotted = parseIpv4(part);
      if (dotted === undefined) return undefined;
      groups.push(dotted >>> 16, dotted & 0xffff);
    } else if (/^[0-9a-fA-F]{1,4}$/.test(part)) {
      groups.push(Number.parseInt(part, 16));
    } else {
      return undefined;
    }
  }
  return groups;
}

/** RFC 5952: lower case, no leading zeros, the longest run of zero groups (two or more) as `::`. */
export function formatIpv6(address: Ipv6Address): string {
  const groups = groupsOf(address);
  let start = -1;
  let length = 1;
  for (let i = 0; i < 8; i++) {
    let end = i;
    while (end < 8 && groups[end] === 0) end++;
    if (end - i > length) [start, length] = [i, end - i];
    if (end > i) i = end;
  }
  const text = (from: number, to: number) =>
    groups
      .slice(from, to)
      .map((group) => group.toString(16))
      .join(':');
  return start < 0 ? text(0, 8) : `${text(0, start)}::${text(start + length, 8)}`;
}

/** Eight groups of four digits: the only form that every TSP client reads (RFC 5572 practice). */
export function formatIpv6Expanded(address: Ipv6Address): string {
  const digits = address.toString(16).padStart(32, '0');
  let text = digits.slice(0, 4);
  for (let at = 4; at < 32; at += 4) text += `:${digits.slice(at, at + 4)}`;
  return text;
}

function groupsOf(address: Ipv6Address): number[] {
  const groups: number[] = [];
  for (let shift = 112n; shift >= 0n; shift -= 16n)
    groups.push(Number((address >> shift) & 0xffffn));
  return groups;
}

export function parseIp(text: string): IpAddress | undefined {
  return parseIpv4(text) ?? parseIpv6(text);
}

export function formatIp(address: IpAddress): string {
  return typeof address === 'number' ? formatIpv4(address) : formatIpv6(address);
}

/** `192.0.2.1:3653` or `[2001:db8::1]:3653`. */
export function formatEndpoint(endpoint: Endpoint): string {
  const { address, port } = endpoint;
  return typeof address === 'number'
    ? `${formatIpv4(address)}:${port}`
    : `[${formatIpv6(address)}]:${port}`;
}

/** `2001:db8::/32`; undefined when bits are set beyond the length. */
export function parseIpv6Prefix(text: string): Ipv6Prefix | undefined {
  const [addressText, lengthText, ...rest] = text.split('/');
  if (lengthText === undefined || rest.length > 0) return undefined;
  if (!/^(0|[1-9][0-9]{0,2})$/.test(lengthText) || Number(lengthText) > 128) return undefined;
  const address = parseIpv6(addressText ?? '');
  const length = Number(lengthText);
  if (address === undefined || (address & hostMask(length)) !== 0n) return undefined;
  return { address, length };
}

export function formatIpv6Prefix(prefix: Ipv6Prefix): string {
  return `${formatIpv6(prefix.address)}/${prefix.length}`;
}

/** `100.64.0.0/10`; undefined when bits are set beyond the length. */
export function parseIpv4Prefix(text: string): Ipv4Prefix | undefined {
  const [addressText = '', lengthText = '', ...rest] = text.split('/');
  if (rest.length > 0 || !/^(0|[1-9][0-9]?)$/.test(lengthText)) return undefined;
  const address = parseIpv4(addressText);
  const length = Number(lengthText);
  if (address === undefined || length > 32 || address % 2 ** (32 - length) !== 0) return undefined;
  return { address, length };
}

export function formatPrefix(prefix: IpPrefix): string {
  return `${formatIp(prefix.address)}/${prefix.length}`;
}

export function prefixContains(prefix: Ipv6Prefix, address: Ipv6Address): boolean {
  return (address & ~hostMask(prefix.length) & MAX_IPV6) === prefix.address;
}

export function ipv4PrefixContains(prefix: Ipv4Prefix, address: Ipv4Address): boolean {
  const size = 2 ** (32 - prefix.length);
  return address - (address % size) === prefix.address;
}

/** False for prefixes of two families. */
export function prefixesOverlap(a: IpPrefix, b: IpPrefix): boolean {
  const [wide, narrow] = a.length <= b.length ? [a, b] : [b, a];
  if (isIpv6(wide)) return isIpv6(narrow) && prefixContains(wide, narrow.address);
  return !isIpv6(narrow) && ipv4PrefixContains(wide, narrow.address);
}

function isIpv6(prefix: IpPrefix): prefix is Ipv6Prefix {
  return typeof prefix.address === 'bigint';
}

/** The `position`-th prefix of `length` inside `pool`, counted from 0. */
export function prefixAt(pool: Ipv6Prefix, length: number, position: number): Ipv6Prefix {
  return { address: pool.address | (BigInt(position) << BigInt(128 - length)), length };
}

export function ipv4PrefixAt(pool: Ipv4Prefix, length: number, position: number): Ipv4Prefix {
  return { address: pool.address + position * 2 ** (32 - length), length };
}

/** The inverse of {@link prefixAt}; `address` must be inside `pool`. */
export function positionOf(pool: Ipv6Prefix, length: number, address: Ipv6Address): number {
  return Number((address - pool.address) >> BigInt(128 - length));
}

/** {@link positionOf} in either family, which is that of both. */
export function positionOfAddress(pool: IpPrefix, length: number, address: IpAddress): number {
  return typeof address === 'bigint'
    ? positionOf(pool as Ipv6Prefix, length, address)
    : Math.floor((address - (pool as Ipv4Prefix).address) / 2 ** (32 - length));
}

/** The prefix of `length` that the address is in. */
export function ipPrefixAround(address: IpAddress, length: number): IpPrefix {
  if (typeof address === 'number') {
    return { address: address - (address % 2 ** (32 - length)), length };
  }
  return { address: address & ~hostMask(length) & MAX_IPV6, length };
}

/** The highest address of the prefix. */
export function lastAddressOf({ address, length }: IpPrefix): IpAddress {
  return typeof address === 'bigint'
    ? address | hostMask(length)
    : address + 2 ** (32 - length) - 1;
}

/** How many prefixes of `length` fit into `pool`. */
export function positionCount(pool: IpPrefix, length: number): number {
  return 2 ** (length - pool.length);
}

function hostMask(length: number): bigint {
  return (1n << BigInt(128 - length)) - 1n;
}
