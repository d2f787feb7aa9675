// All that is known of a tunnel at a moment: what the store says, what the kernel counted and dropped,
// and which packets seem to be its client's but did not lead to it. Reads; what it means is in
// diagnosis.ts.

import { type Endpoint, type IpAddress, type Ipv6Prefix, prefixContains } from '../address.ts';
import type { Dataplane, StrayAt, TunnelCounters, TunnelFaults } from '../dataplane/dataplane.ts';
import type { Ipv4Tunnel } from '../store/ipv4-tunnels.ts';
import type { Encapsulation } from '../store/schema.ts';
import type { Tunnel } from '../store/tunnels.ts';
import { silenceOf } from './lifetime.ts';
import { effectivePolicy } from './policy.ts';

export interface TunnelStatus {
  readonly tunnelId: number;
  readonly slot: number;
  readonly family: 'ipv6' | 'ipv4';
  readonly user: { readonly id: number; readonly name: string } | undefined;
  readonly state: 'attached' | 'detached' | 'disabled';
  /** Which of them an administrator has disabled. */
  readonly disabled: 'tunnel' | 'user' | undefined;
  readonly encapsulation: Encapsulation | 'v4v6' | undefined;
  /** Where its client is; the port is 0 where the encapsulation has none. */
  readonly endpoint: Endpoint | undefined;
  readonly attachedAtMs: number | undefined;
  readonly createdAtMs: number;
  readonly lastLoginAtMs: number | undefined;
  /** When the addresses go back; undefined: they do not. */
  readonly expiresAtMs: number | undefined;
  readonly keepaliveSeconds: number;
  /** Largest inner packet, in octets. */
  readonly mtu: number;
  readonly prefix: Ipv6Prefix | undefined;
  /** Undefined: the kernel cannot be asked. */
  readonly counters: TunnelCounters | undefined;
  readonly faults: TunnelFaults | undefined;
  /** Silent for so long that it will be detached. */
  readonly idle: boolean;
  /**
   * Whether there is a NAT on the way. A client takes UDP where it finds one (RFC 5572, 3.2), or where it
   * was told to; protocol 41 passes few.
   */
  readonly nat: 'likely' | 'unlikely' | undefined;
  /** From the client's endpoint, or with the tunnel's addresses from elsewhere; latest first. */
  readonly strays: readonly StrayAt[];
}

/** Strays that are told of: there can be many behind one address. */
const STRAYS_MOST = 8;

/** `dataplane` is absent when nothing is loaded; `strays`: of everybody, if known. */
export function statusOf(
  tunnel: Tunnel | Ipv4Tunnel,
  dataplane: Dataplane | undefined,
  defaultMtu: number,
  nowMs: number,
  strays: readonly StrayAt[] = [],
): TunnelStatus {
  const { slot, family, attachment, user, state, userDisabled } = tunnel;
  const ipv4 = family === 'ipv4';
  const counters = ipv4 ? dataplane?.countersV4v6(slot) : dataplane?.counters(slot);
  const disabled = state === 'disabled' ? 'tunnel' : userDisabled ? 'user' : undefined;
  const encapsulation = attachment && (ipv4 ? 'v4v6' : tunnel.attachment?.encapsulation);
  return {
    tunnelId: tunnel.id,
    slot,
    family,
    user,
    state: disabled ? 'disabled' : attachment ? 'attached' : 'detached',
    disabled,
    encapsulation,
    endpoint: endpointOf(tunnel),
    attachedAtMs: attachment?.attachedAtMs,
    createdAtMs: tunnel.createdAtMs,
    lastLoginAtMs: tunnel.lastLoginAtMs,
    expiresAtMs: tunnel.expiresAtMs,
    keepaliveSeconds: tunnel.keepaliveSeconds,
    mtu: effectivePolicy(tunnel).mtu || defaultMtu,
    prefix: ipv4 ? undefined : tunnel.delegation,
    counters,
    faults: ipv4 ? dataplane?.faultsV4v6(slot) : dataplane?.faults(slot),
    idle: attachment !== undefined && isIdle(tunnel, counters, nowMs),
    nat: encapsulation && natOf(encapsulation),
    strays: ipv4 ? [] : straysOf(tunnel, strays),
  };
}

function endpointOf(tunnel: Tunnel | Ipv4Tunnel): Endpoint | undefined {
  if (tunnel.family === 'ipv6') return tunnel.attachment?.client;
  return tunnel.attachment && { address: tunnel.attachment.client, port: 0 };
}

function isIdle(
  tunnel: Tunnel | Ipv4Tunnel,
  counters: TunnelCounters | undefined,
  nowMs: number,
): boolean {
  if (!counters) return false;
  const { user, keepaliveSeconds, lastLoginAtMs = 0 } = tunnel;
  const isStatic = tunnel.family === 'ipv6' && tunnel.staticClient !== undefined;
  const { heardMs } = silenceOf({ anonymous: user === undefined, keepaliveSeconds, isStatic });
  return Math.max(counters.inLastSeenMs ?? 0, lastLoginAtMs) + heardMs < nowMs;
}

function natOf(encapsulation: Encapsulation | 'v4v6'): TunnelStatus['nat'] {
  if (encapsulation === 'v4v6') return undefined;
  return encapsulation === 'v6udpv4' ? 'likely' : 'unlikely';
}

/** Not what else comes from the client's address: others may be behind it. */
function straysOf(tunnel: Tunnel, all: readonly StrayAt[]): readonly StrayAt[] {
  const { link, delegation, attachment } = tunnel;
  const isOurs = ({ source, client }: StrayAt) =>
    (attachment !== undefined && isSameEndpoint(client, attachment.client)) ||
    prefixContains(link, source) ||
    (delegation !== undefined && prefixContains(delegation, source));
  return all
    .filter(isOurs)
    .toSorted((a, b) => b.atMs - a.atMs)
    .slice(0, STRAYS_MOST);
}

/** Strays of one address, latest first. */
export function straysAt(all: readonly StrayAt[], address: IpAddress): readonly StrayAt[] {
  return all
    .filter(({ client }) => client.address === address)
    .toSorted((a, b) => b.atMs - a.atMs)
    .slice(0, STRAYS_MOST * 4);
}

export function isSameEndpoint(a: Endpoint, b: Endpoint): boolean {
  return a.address === b.address && a.port === b.port;
}
