// Keeps what leads packets to the tunnel device as the pools say: routes of both families, and the
// masquerading of private IPv4 pools. It must not know tunnels or maps.

import { formatPrefix, type Ipv4Prefix } from '../address.ts';
import type { Ipv4PoolMapping, PoolMapping } from './contract.ts';
import { addTunnelRoute, removeTunnelRoute, tunnelRoutes } from './network.ts';
import {
  addTunnelRoute4,
  enableForwarding4,
  isPrivate,
  removeTunnelRoute4,
  setMasquerade,
  tunnelRoutes4,
} from './network4.ts';

export interface TunnelRoutesOptions {
  readonly device: string;
  /** The interface with the IPv6 side, by which v4v6 packets come in. */
  readonly uplink6: string;
  /** The largest IPv4 packet that fits into a tunnel, in octets. */
  readonly mtu4: number;
  readonly manageSysctls: boolean;
}

/** Makes it so. Returns what had to be done, in words. */
export function syncTunnelRoutes(
  options: TunnelRoutesOptions,
  pools: readonly PoolMapping[],
  ipv4Pools: readonly Ipv4PoolMapping[],
): string[] {
  return [...syncIpv6(options, pools), ...syncIpv4(options, ipv4Pools)];
}

function syncIpv6({ device }: TunnelRoutesOptions, pools: readonly PoolMapping[]): string[] {
  const actions: string[] = [];
  const present = tunnelRoutes(device);
  const wanted = pools.map(({ prefix }) => formatPrefix(prefix));
  for (const { prefix } of pools) {
    if (present.includes(formatPrefix(prefix))) continue;
    addTunnelRoute(device, prefix);
    actions.push(`routed ${formatPrefix(prefix)} to ${device}`);
  }
  for (const prefix of present) {
    if (wanted.includes(prefix)) continue;
    removeTunnelRoute(device, prefix);
    actions.push(`removed the route of ${prefix} to ${device}`);
  }
  return actions;
}

function syncIpv4(options: TunnelRoutesOptions, pools: readonly Ipv4PoolMapping[]): string[] {
  const { device, uplink6, mtu4, manageSysctls } = options;
  const actions: string[] = [];
  const present = tunnelRoutes4(device);
  const wanted = pools.map(({ prefix }) => formatPrefix(prefix));
  if (pools.length > 0 && manageSysctls) actions.push(...enableForwarding4(uplink6));
  // Before the routes: nothing is to leave with a private source.
  actions.push(...setMasquerade(device, pools.map(prefixOf).filter(isPrivate)));
  for (const { prefix } of pools) {
    const text = formatPrefix(prefix);
    if (present.some((route) => route.prefix === text && route.mtu === mtu4)) continue;
    addTunnelRoute4(device, prefix, mtu4);
    actions.push(`routed ${text} to ${device}`);
  }
  for (const { prefix } of present) {
    if (wanted.includes(prefix)) continue;
    removeTunnelRoute4(device, prefix);
    actions.push(`removed the route of ${prefix} to ${device}`);
  }
  return actions;
}

function prefixOf({ prefix }: Ipv4PoolMapping): Ipv4Prefix {
  return prefix;
}
