// What is said to and by the data plane, as plain values: where a tunnel is attached, where pools
// lead, what was counted. Types, and the values that hold when nothing is said.

import type { Ipv4Address, Ipv4Endpoint, Ipv6Prefix } from '../address.ts';
import type { OutcomeName } from './layout.gen.ts';

/** How a tunnel's packets travel over IPv4: in UDP (RFC 5572, 4.5.2) or as protocol 41 (RFC 4213). */
export type Encapsulation = 'v6udpv4' | 'v6v4';

/** Where a tunnel's client is, and what it may use there. */
export interface Attachment {
  readonly encapsulation: Encapsulation;
  /** `port` is 0 for v6v4. */
  readonly client: Ipv4Endpoint;
  /** The low 64 bits that the client's address in its link must have; 0n: any but the gateway's. */
  readonly interfaceId: bigint;
  /** The largest inner packet sent to this client, in octets; 0: the device's MTU. */
  readonly mtu: number;
  /** Send nothing before the first valid packet from `client`: for endpoints nobody has proved. */
  readonly silentUntilHeard?: boolean;
}

/** Where a pool's positions lead: links to slots of tunnels, delegations to indices of owners. */
export interface PoolMapping {
  readonly purpose: 'link' | 'delegation';
  readonly prefix: Ipv6Prefix;
  /** The length of one position's prefix: 64 for links, prefix.length … 64 for delegations. */
  readonly positionLength: number;
  readonly firstIndex: number;
}

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

/** All that the maps should say. */
export interface DesiredState {
  pools: readonly PoolMapping[];
  tunnels: Iterable<{ slot: number; attachment: Attachment }>;
  owners: Iterable<{ index: number; slot: number }>;
}

export interface Capacity {
  readonly tunnels: number;
  readonly owners: number;
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

export interface AttachOptions {
  /** The interface with the IPv4 side. */
  readonly uplink: string;
  readonly localAddress: Ipv4Address;
  readonly port: number;
  /** Name of the tunnel device. */
  readonly device: string;
  /** Inner MTU of the tunnel device, in octets. */
  readonly mtu: number;
  /** false: leave forwarding as it is, whatever it is. */
  readonly manageSysctls?: boolean;
  /** Absent: {@link SIGNALLING_LIMITS}. */
  readonly signallingLimits?: SignallingLimits;
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
  readonly signallingLimits: SignallingLimits;
}

export interface OutcomeCount {
  outcome: OutcomeName;
  packets: bigint;
  bytes: bigint;
}
