// A tunnel as its user sees it in the portal: addresses, where its client is, and how it stands, out of
// what the store says.

import {
  type Endpoint,
  formatIpv4,
  formatIpv6,
  formatPrefix,
  type Ipv4Address,
} from '../address.ts';
import type { Ipv4Tunnel } from '../store/ipv4-tunnels.ts';
import type { Tunnel } from '../store/tunnels.ts';
import { ipv4ViewOf } from './ipv4-tunnels.ts';
import { effectivePolicy } from './policy.ts';

/** `up`: a client is known, which says nothing about whether it is heard from. */
export type OwnState = 'up' | 'down' | 'paused' | 'disabled' | 'deleted';

export interface OwnTunnel {
  readonly id: number;
  readonly family: 'ipv6' | 'ipv4';
  /** The user's name. */
  readonly name: string;
  readonly state: OwnState;
  /** By which the client is there or, without one, would be. */
  readonly encapsulation: 'v6udpv4' | 'v6v4' | 'v4v6';
  /** Whether the user has set the client's address; else logins say it. */
  readonly isStatic: boolean;
  readonly endpoint: Endpoint | undefined;
  readonly attachedAtMs: number | undefined;
  /** The client's address in the link, and the server's, which answers pings. */
  readonly address: string;
  readonly gateway: string;
  readonly link: string;
  readonly prefix: string | undefined;
  readonly nameServers: readonly string[];
  readonly ownNameServers: boolean;
  readonly keepaliveSeconds: number;
  readonly mtu: number;
  /** Bits a second; 0: no limit. */
  readonly rates: { readonly inBitsPerSecond: number; readonly outBitsPerSecond: number };
  readonly createdAtMs: number;
  readonly lastLoginAtMs: number | undefined;
  /** When the addresses go back if nothing happens; undefined: they do not. */
  readonly expiresAtMs: number | undefined;
  /** For instructions; undefined for IPv4 in IPv6. */
  readonly setup: SetupFacts | undefined;
}

interface SetupFacts {
  readonly gateway: bigint;
  readonly address: bigint;
  readonly linkLength: number;
  readonly prefix: Tunnel['delegation'];
  readonly staticClient: Ipv4Address | undefined;
}

interface Defaults {
  readonly mtu: number;
}

export function ownIpv6Tunnel(tunnel: Tunnel, defaults: Defaults): OwnTunnel {
  const { link, interfaceId, delegation, attachment, staticClient } = tunnel;
  const gateway = link.address | 1n;
  const address = link.address | interfaceId;
  return {
    ...common(tunnel, defaults),
    family: 'ipv6',
    name: tunnel.user?.name ?? '',
    encapsulation: attachment?.encapsulation ?? (staticClient === undefined ? 'v6udpv4' : 'v6v4'),
    isStatic: staticClient !== undefined,
    endpoint: attachment?.client,
    address: formatIpv6(address),
    gateway: formatIpv6(gateway),
    link: formatPrefix(link),
    prefix: delegation && formatPrefix(delegation),
    nameServers: tunnel.nameServers,
    ownNameServers: tunnel.ownNameServers,
    setup: { gateway, address, linkLength: link.length, prefix: delegation, staticClient },
  };
}

export function ownIpv4Tunnel(tunnel: Ipv4Tunnel, defaults: Defaults): OwnTunnel {
  const { attachment } = tunnel;
  const endpoint = attachment && { address: attachment.client, port: 0 };
  const { client4, gateway4 } = ipv4ViewOf(tunnel, endpoint ?? { address: 0n, port: 0 });
  return {
    ...common(tunnel, defaults),
    family: 'ipv4',
    name: tunnel.user.name,
    encapsulation: 'v4v6',
    isStatic: false,
    endpoint,
    address: formatIpv4(client4),
    gateway: formatIpv4(gateway4),
    link: formatPrefix(tunnel.link),
    prefix: undefined,
    nameServers: [],
    ownNameServers: false,
    setup: undefined,
  };
}

function common(tunnel: Tunnel | Ipv4Tunnel, defaults: Defaults) {
  const { mtu, rates } = effectivePolicy(tunnel);
  return {
    id: tunnel.id,
    state: stateOf(tunnel),
    attachedAtMs: tunnel.attachment?.attachedAtMs,
    keepaliveSeconds: tunnel.keepaliveSeconds,
    mtu: mtu || defaults.mtu,
    rates,
    createdAtMs: tunnel.createdAtMs,
    lastLoginAtMs: tunnel.lastLoginAtMs,
    expiresAtMs: tunnel.expiresAtMs,
  };
}

function stateOf({ state, userDisabled, attachment }: Tunnel | Ipv4Tunnel): OwnState {
  if (userDisabled || state === 'disabled') return 'disabled';
  if (state !== 'enabled') return state;
  return attachment ? 'up' : 'down';
}
