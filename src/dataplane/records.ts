// What the maps' values mean: between attachments, pools and counters on one side and the layout's
// numbers on the other. Pure; it must not know maps, files or the kernel.

import { formatPrefix, type Ipv4Endpoint, positionCount, prefixesOverlap } from '../address.ts';
import type {
  AnyPoolMapping,
  Attachment,
  Capacity,
  Encapsulation,
  Permissions,
  RateLimits,
  SignallingLimits,
  Standing,
  Stray,
  TunnelCounters,
} from './contract.ts';
import {
  type ConfigLayout,
  ENCAPSULATION_V6UDPV4,
  ENCAPSULATION_V6V4,
  ENDPOINT_ENCAPSULATION_SHIFT,
  ENDPOINT_PORT_SHIFT,
  GATEWAY_INTERFACE_ID,
  MAX_POOLS,
  OUTCOME_NAMES,
  POOL_DELEGATION,
  POOL_IPV4_LINK,
  POOL_LINK,
  type PoolLayout,
  STRAYS_BITS,
  type StrayLayout,
  TICK_SHIFT,
  TUNNEL_ASSIGNED,
  TUNNEL_DISABLED,
  TUNNEL_LIMITED,
  TUNNEL_SILENT_UNTIL_HEARD,
  TUNNEL_UNFILTERED,
  type TunnelLayout,
} from './layout.gen.ts';

/** IPv6 on a link of less is not IPv6 (RFC 8200, 5). */
export const SMALLEST_MTU = 1280;
const LARGEST_MTU = 65535;

/** The 64 bits of layout.h's endpoint; never 0. */
export function endpointValue(
  encapsulation: Encapsulation,
  { address, port }: Ipv4Endpoint,
): bigint {
  const kind = encapsulation === 'v6udpv4' ? ENCAPSULATION_V6UDPV4 : ENCAPSULATION_V6V4;
  return (
    BigInt(address) |
    (BigInt(port) << BigInt(ENDPOINT_PORT_SHIFT)) |
    (BigInt(kind) << BigInt(ENDPOINT_ENCAPSULATION_SHIFT))
  );
}

/** The part of a record that user space decides, and the entry of `rates` that goes with it. */
export interface Decided extends Pick<TunnelLayout, 'endpoint' | 'interfaceId' | 'mtu' | 'flags'> {
  /** There if and only if the flags say TUNNEL_LIMITED. */
  readonly rates?: RateLimits;
}

/** Flags of a slot without a client. */
export const STANDING_FLAGS: Readonly<Record<Standing, number>> = {
  vacant: 0,
  down: TUNNEL_ASSIGNED,
  disabled: TUNNEL_ASSIGNED | TUNNEL_DISABLED,
};

/** The inverse, of any flags. */
export function standingOf(flags: number): Standing {
  if ((flags & TUNNEL_ASSIGNED) === 0) return 'vacant';
  return flags & TUNNEL_DISABLED ? 'disabled' : 'down';
}

/** Throws RangeError for what no record may say. */
export function permissionFlags({ rates, unfiltered }: Permissions): number {
  if (rates) checkRates(rates);
  return (isLimited(rates) ? TUNNEL_LIMITED : 0) | (unfiltered ? TUNNEL_UNFILTERED : 0);
}

export function isLimited(rates: RateLimits | undefined): rates is RateLimits {
  return rates !== undefined && (rates.inBitsPerSecond !== 0 || rates.outBitsPerSecond !== 0);
}

/** Throws RangeError when it cannot be true. */
export function recordOf(attachment: Attachment): Decided {
  const { encapsulation, client, interfaceId, mtu, silentUntilHeard, rates } = attachment;
  if ((encapsulation === 'v6v4') !== (client.port === 0))
    throw new RangeError(`Port ${client.port} does not go with ${encapsulation}`);
  checkMtu(mtu);
  if (interfaceId === BigInt(GATEWAY_INTERFACE_ID))
    throw new RangeError('The interface identifier is the gateway’s');
  return {
    endpoint: endpointValue(encapsulation, client),
    interfaceId,
    mtu,
    flags:
      TUNNEL_ASSIGNED |
      (silentUntilHeard ? TUNNEL_SILENT_UNTIL_HEARD : 0) |
      permissionFlags(attachment),
    ...(isLimited(rates) && { rates }),
  };
}

/** Throws RangeError for what no record may say. */
export function checkMtu(mtu: number): void {
  if (mtu !== 0 && !(mtu >= SMALLEST_MTU && mtu <= LARGEST_MTU))
    throw new RangeError(`A tunnel's MTU is 0 or ${SMALLEST_MTU} … ${LARGEST_MTU}, not ${mtu}`);
}

/** What a cost can say: it is for 1024 octets, in ns and 32 bits. */
export const LOWEST_RATE = 8000;
export const HIGHEST_RATE = 1e12;
const COST_OCTETS = 1024;

function checkRates({ inBitsPerSecond, outBitsPerSecond }: RateLimits): void {
  for (const rate of [inBitsPerSecond, outBitsPerSecond])
    if (rate !== 0 && !(rate >= LOWEST_RATE && rate <= HIGHEST_RATE))
      throw new RangeError(
        `A tunnel's rate is 0 or ${LOWEST_RATE} … ${HIGHEST_RATE} bit/s, not ${rate}`,
      );
}

/** A cost of struct tunnel_rate; and, given a cost, the rate, as closely as the cost says it. */
export function costOfRate(bitsPerSecond: number): number {
  return bitsPerSecond === 0 ? 0 : Math.round((COST_OCTETS * 8 * 1e9) / bitsPerSecond);
}

/** undefined: detached. `rates`: what the map of that name says. */
export function attachmentOf(
  record: TunnelLayout,
  rates: RateLimits | undefined,
): Attachment | undefined {
  const { endpoint, interfaceId, mtu, flags } = record;
  if (endpoint === 0n) return undefined;
  const kind = Number(endpoint >> BigInt(ENDPOINT_ENCAPSULATION_SHIFT));
  return {
    encapsulation: kind === ENCAPSULATION_V6UDPV4 ? 'v6udpv4' : 'v6v4',
    client: {
      address: Number(endpoint & 0xffffffffn),
      port: Number((endpoint >> BigInt(ENDPOINT_PORT_SHIFT)) & 0xffffn),
    },
    interfaceId,
    mtu,
    ...((flags & TUNNEL_SILENT_UNTIL_HEARD) !== 0 && { silentUntilHeard: true }),
    ...((flags & TUNNEL_UNFILTERED) !== 0 && { unfiltered: true }),
    ...(rates && { rates }),
  };
}

export function countersOf(
  record: Omit<TunnelCounters, `${string}Ms`> & { inLastSeen: number; outLastSeen: number },
  nowMs: number,
  monotonicMs: number,
): TunnelCounters {
  const { inPackets, inBytes, outPackets, outBytes, inLastSeen, outLastSeen } = record;
  const counters: TunnelCounters = { inPackets, inBytes, outPackets, outBytes };
  if (inLastSeen !== 0) counters.inLastSeenMs = tickToUnixMs(inLastSeen, nowMs, monotonicMs);
  if (outLastSeen !== 0) counters.outLastSeenMs = tickToUnixMs(outLastSeen, nowMs, monotonicMs);
  return counters;
}

/** Where the stray of an endpoint is; place_of in bpf/limits.h. */
export function strayPlace(endpoint: bigint, hashMultiplier: bigint): number {
  return Number(BigInt.asUintN(64, endpoint * hashMultiplier) >> BigInt(64 - STRAYS_BITS));
}

/** undefined: the place is another endpoint's. */
export function strayOf(
  { endpoint, sourceHigh, sourceLow, lastTick, packets, outcome }: StrayLayout,
  wanted: bigint,
  nowMs: number,
  monotonicMs: number,
): Stray | undefined {
  const name = OUTCOME_NAMES[outcome];
  if (endpoint !== wanted || name === undefined) return undefined;
  return {
    source: (sourceHigh << 64n) | sourceLow,
    outcome: name,
    atMs: tickToUnixMs(lastTick, nowMs, monotonicMs),
    packets,
  };
}

export function monotonicNowMs(): number {
  return Number(process.hrtime.bigint()) / 1e6;
}

/** `monotonicMs`: what CLOCK_MONOTONIC says at `nowMs`. */
export function tickToUnixMs(tick: number, nowMs: number, monotonicMs: number): number {
  const ageMs = monotonicMs - (tick * 2 ** TICK_SHIFT) / 1e6;
  return Math.round(nowMs - Math.max(0, ageMs));
}

/** How programs ask for routes: in the main table only, unless the host has rules of its own. */
export function routeFlagsOf(hasRoutingRules: boolean): number {
  const direct = 1; // BPF_FIB_LOOKUP_DIRECT of linux/bpf.h
  return hasRoutingRules ? 0 : direct;
}

/** What one packet of signalling costs, in ns (0: nothing). Throws RangeError. */
export function costsOf(
  limits: SignallingLimits,
): Pick<ConfigLayout, 'addressCost' | 'prefixCost' | 'strangerCost' | 'knownCost'> {
  const cost = (what: keyof SignallingLimits, share = 1): number => {
    const packetsPerSecond = limits[what];
    if (!Number.isInteger(packetsPerSecond) || packetsPerSecond < 0 || packetsPerSecond > 1e7)
      throw new RangeError(`Signalling cannot be limited to ${packetsPerSecond} packets a second`);
    return packetsPerSecond === 0 ? 0 : Math.min(Math.ceil(1e9 / (packetsPerSecond * share)), 2e9);
  };
  return {
    addressCost: cost('perAddress'),
    prefixCost: cost('perPrefix'),
    strangerCost: cost('total', 1 / 4),
    knownCost: cost('total', 3 / 4),
  };
}

const POOL_KINDS = {
  link: POOL_LINK,
  delegation: POOL_DELEGATION,
  'ipv4-link': POOL_IPV4_LINK,
} as const;

export function poolLayoutOf(pool: AnyPoolMapping): PoolLayout {
  const { purpose, prefix, firstIndex, positionLength } = pool;
  return {
    network:
      purpose === 'ipv4-link' ? BigInt(prefix.address) << 32n : BigInt(prefix.address) >> 64n,
    firstIndex,
    prefixLength: prefix.length,
    positionLength,
    kind: POOL_KINDS[purpose],
  };
}

/** undefined: an unused entry. */
export function poolMappingOf(layout: PoolLayout): AnyPoolMapping | undefined {
  const { network, prefixLength: length, positionLength, firstIndex, kind } = layout;
  switch (kind) {
    case POOL_LINK:
    case POOL_DELEGATION:
      return {
        purpose: kind === POOL_LINK ? 'link' : 'delegation',
        prefix: { address: network << 64n, length },
        positionLength,
        firstIndex,
      };
    case POOL_IPV4_LINK:
      return {
        purpose: 'ipv4-link',
        prefix: { address: Number(network >> 32n), length },
        positionLength: positionLength === 30 ? 30 : 32,
        firstIndex,
      };
    default:
      return undefined;
  }
}

export function samePool(a: AnyPoolMapping, b: AnyPoolMapping): boolean {
  return (
    a.purpose === b.purpose &&
    a.prefix.address === b.prefix.address &&
    a.prefix.length === b.prefix.length &&
    a.positionLength === b.positionLength &&
    a.firstIndex === b.firstIndex
  );
}

/** Throws RangeError for pools that the kernel's lookup could not keep apart or would overrun. */
export function checkPools(pools: readonly AnyPoolMapping[], capacity: Required<Capacity>): void {
  if (pools.length > MAX_POOLS)
    throw new RangeError(`${pools.length} pools are more than the ${MAX_POOLS} there is room for`);
  for (const [index, pool] of pools.entries()) {
    const { purpose, firstIndex } = pool;
    const name = `${purpose} pool ${formatPrefix(pool.prefix)}`;
    checkPositions(pool, name);
    const last = lastIndex(pool);
    const room = {
      link: capacity.tunnels,
      delegation: capacity.owners,
      'ipv4-link': capacity.v4v6,
    };
    if (firstIndex < 0 || last > room[purpose])
      throw new RangeError(
        `The ${name} ends at index ${last}, beyond the capacity of ${room[purpose]}`,
      );
    for (const other of pools.slice(index + 1)) {
      const otherName = formatPrefix(other.prefix);
      if (prefixesOverlap(pool.prefix, other.prefix))
        throw new RangeError(`The ${name} overlaps ${otherName}`);
      if (purpose === other.purpose && firstIndex < lastIndex(other) && other.firstIndex < last)
        throw new RangeError(`The ${name} shares indices with ${otherName}`);
    }
  }
}

function checkPositions(pool: AnyPoolMapping, name: string): void {
  const { purpose, prefix, positionLength } = pool;
  const longest = purpose === 'ipv4-link' ? 32 : 64;
  if (prefix.length < 1 || positionLength > longest || positionLength < prefix.length)
    throw new RangeError(`The ${name} cannot have positions of /${positionLength}`);
  if (purpose === 'link' && positionLength !== 64)
    throw new RangeError(`The ${name}: every link is a /64`);
  if (purpose === 'ipv4-link' && positionLength !== 30 && positionLength !== 32)
    throw new RangeError(`The ${name}: every link is a /30 or a /32`);
}

function lastIndex({ firstIndex, prefix, positionLength }: AnyPoolMapping): number {
  return firstIndex + positionCount(prefix, positionLength);
}
