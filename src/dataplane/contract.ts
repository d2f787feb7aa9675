// What is said to and by the data plane, as plain values: where a tunnel is attached, where pools
// lead, what was counted. Types, and the values that hold when nothing is said.

import type { Ipv4Address, Ipv4Endpoint, Ipv4Prefix, Ipv6Address, Ipv6Prefix } from '../address.ts';
import type { FaultName, OutcomeName } from './layout.gen.ts';

/** How a tunnel's packets travel over IPv4: in UDP (RFC 5572, 4.5.2) or as protocol 41 (RFC 4213). */
export type Encapsulation = 'v6udpv4' | 'v6v4';

/** Bits a second of inner packets, from (in) and to (out) the client; 0: no limit. */
export interface RateLimits {
  readonly inBitsPerSecond: number;
  readonly outBitsPerSecond: number;
}

/** What a tunnel may do, whatever it carries. */
export interface Permissions {
  /** Absent: no limit. */
  readonly rates?: RateLimits;
  /** May connect to the filtered ports. */
  readonly unfiltered?: boolean;
}

/**
 * Of a slot without a client: nobody's; a tunnel's whose client is not there; one's that an
 * administrator has closed.
 */
export type Standing = 'vacant' | 'down' | 'disabled';

/** Where a tunnel's client is, and what it may use there. */
export interface Attachment extends Permissions {
  readonly encapsulation: Encapsulation;
  /** `port` is 0 for v6v4. */
  readonly client: Ipv4Endpoint;
  /** The low 64 bits that the client's address in its link must have; 0n: any but the gateway's. */
  readonly interfaceId: bigint;
  /** The largest inner packet, either way, in octets; 0: {@link AttachOptions.mtu}. */
  readonly mtu: number;
  /** Send nothing before the first valid packet from `client`: for endpoints nobody has proved. */
  readonly silentUntilHeard?: boolean;
}

/** Where the client of a tunnel for IPv4 over IPv6 (RFC 2473) is. */
export interface AttachmentV4v6 extends Permissions {
  readonly client: Ipv6Address;
  /** The largest inner packet, either way, in octets; absent or 0: what the device carries. */
  readonly mtu?: number;
}

/** What a slot of v4v6 tunnels is to say. */
export type DesiredV4v6 = AttachmentV4v6 | Standing;

/** Where a pool's positions lead: links to slots of tunnels, delegations to indices of owners. */
export interface PoolMapping {
  readonly purpose: 'link' | 'delegation';
  readonly prefix: Ipv6Prefix;
  /** The length of one position's prefix: 64 for links, prefix.length … 64 for delegations. */
  readonly positionLength: number;
  readonly firstIndex: number;
}

/**
 * A pool of IPv4 addresses for the inside of v4v6 tunnels: positions lead to slots of v4v6 tunnels. Of
 * a /30 the second address is the gateway's and the third the client's; a /32 is the client's, and the
 * pool's first address everybody's gateway, so that nobody can have position 0.
 */
export interface Ipv4PoolMapping {
  readonly purpose: 'ipv4-link';
  readonly prefix: Ipv4Prefix;
  readonly positionLength: 30 | 32;
  readonly firstIndex: number;
}

export type AnyPoolMapping = PoolMapping | Ipv4PoolMapping;

/** Counts since the slot's counters were last reset; inner octets, without the outer headers. */
export interface TunnelCounters {
  inPackets: bigint;
  inBytes: bigint;
  outPackets: bigint;
  outBytes: bigint;
  /** Unix milliseconds, to about 0.2 s; absent: never. */
  inLastSeenMs?: number;
  outLastSeenMs?: number;
}

/** What was dropped of a tunnel's packets since its counters were last reset. */
export interface TunnelFaults {
  readonly packets: Readonly<Record<FaultName, number>>;
  /** Unix milliseconds, to about 0.2 s; absent: nothing was dropped. */
  readonly last?: { readonly outcome: OutcomeName; readonly atMs: number };
}

/** The last packet from an endpoint that led to no tunnel of that endpoint. */
export interface Stray {
  /** Inner. */
  readonly source: Ipv6Address;
  readonly outcome: OutcomeName;
  readonly atMs: number;
  /** Of this endpoint lately; 65,535 at most. */
  readonly packets: number;
}

/** A stray with the endpoint that it came from. */
export type StrayAt = Stray & Pick<Attachment, 'encapsulation' | 'client'>;

/** All that the maps should say. Slots that are not mentioned are vacant. */
export interface DesiredState {
  pools: readonly AnyPoolMapping[];
  tunnels: Iterable<
    | { readonly slot: number; readonly attachment: Attachment }
    | { readonly slot: number; readonly standing: Standing }
  >;
  owners: Iterable<{ index: number; slot: number }>;
  v4v6?: Iterable<{ readonly slot: number } & (AttachmentV4v6 | { readonly standing: Standing })>;
}

export interface Capacity {
  readonly tunnels: number;
  readonly owners: number;
  /** Tunnels that carry IPv4 over IPv6. */
  readonly v4v6?: number;
  /** Tunnels of either kind that may have limited rates at once; absent: all of them. */
  readonly limited?: number;
}

/** Packets a second of signalling that reach user space, bursts of twice that; 0: no limit. */
export interface SignallingLimits {
  /** From one IPv4 address, or one IPv6 /64. */
  readonly perAddress: number;
  /** From one IPv4 /24, or one IPv6 /48: many users may share one. */
  readonly perPrefix: number;
  /** From everybody. A quarter of it is for sources that were not heard of lately. */
  readonly total: number;
}

/** A login takes about ten packets; a household, or an office behind one address, a few of them. */
export const SIGNALLING_LIMITS: SignallingLimits = {
  perAddress: 50,
  perPrefix: 500,
  total: 20_000,
};

/** SMTP: what hijacked machines send spam with. Mail programs use 465 and 587. */
export const FILTERED_PORTS: readonly number[] = [25];

/** As many as the kernel itself sends by default (net.ipv4.icmp_msgs_per_sec). */
export const ERRORS_PER_SECOND = 1000;

/**
 * complete: inner packets take the way of any other through the kernel: firewall, conntrack, captures.
 * fast: where the drivers can (XDP), ordinary packets are forwarded before all that.
 */
export type ForwardingMode = 'complete' | 'fast';

export interface AttachOptions {
  /** The interface with the IPv4 side. */
  readonly uplink: string;
  readonly localAddress: Ipv4Address;
  /** This end of v4v6 tunnels, and where TSP over IPv6 is limited; absent: neither. */
  readonly localAddress6?: Ipv6Address;
  /** The interface with the IPv6 side; absent: the uplink. */
  readonly uplink6?: string;
  readonly port: number;
  /** Name of the tunnel device. */
  readonly device: string;
  /** Inner MTU of the tunnel device, in octets. */
  readonly mtu: number;
  /** false: leave forwarding as it is, whatever it is. */
  readonly manageSysctls?: boolean;
  /** Absent: {@link SIGNALLING_LIMITS}. */
  readonly signallingLimits?: SignallingLimits;
  /** Absent: {@link FILTERED_PORTS}. */
  readonly filteredPorts?: readonly number[];
  /** Absent: complete. */
  readonly mode?: ForwardingMode;
  /** false: leave the drivers' XDP alone, whatever the mode. */
  readonly xdp?: boolean;
}

/** The programs' settings, as {@link AttachOptions} and the interfaces found there make them. */
export interface ProgramSettings {
  readonly localAddress: Ipv4Address;
  readonly localPort: number;
  readonly uplinkIfindex: number;
  readonly tunnelIfindex: number;
  /** Octets of link layer before the network header. */
  readonly uplinkHeaderLength: number;
  readonly tunnelHeaderLength: number;
  /** The IPv6 side; 0n and zeros: there is none. */
  readonly localAddress6: Ipv6Address;
  readonly uplink6Ifindex: number;
  readonly uplink6HeaderLength: number;
  readonly signallingLimits: SignallingLimits;
  /** The largest inner packet of tunnels that have no MTU of their own. */
  readonly tunnelMtu: number;
  /** TCP ports that tunnels may not connect to unless they are `unfiltered`; four at most. */
  readonly filteredPorts: readonly number[];
  /** The host has routing rules of its own, and every route is looked up by them. */
  readonly hasRoutingRules: boolean;
  /** ICMPv6 errors about packets to nobody; 0: no limit. */
  readonly errorsPerSecond: number;
}

export interface OutcomeCount {
  outcome: OutcomeName;
  packets: bigint;
  bytes: bigint;
}
