// What the product does with tunnels of IPv4 in IPv6 (v4v6), for hosts on networks without IPv4. Each
// belongs to a user, beside the user's tunnel of IPv6. Knows the store and what is offered; that the
// maps follow, and that a failing store becomes a refusal, is the broker's business.

import type { Ipv4Address, Ipv6Endpoint } from '../address.ts';
import type { Ipv4Tunnel } from '../store/ipv4-tunnels.ts';
import type { Store } from '../store/store.ts';
import type { AttachRefusal, OpenRefusal } from '../store/tunnel-acts.ts';
import { keepaliveSecondsFor, USER_LIFETIME_SECONDS } from './lifetime.ts';

export interface Ipv4OpenRequest {
  /** Undefined: anonymous, which is refused: a forged source would be a victim's. */
  readonly userId: number | undefined;
  readonly encapsulation: 'v4v6';
  /** The packet's source; the port means nothing. */
  readonly client: Ipv6Endpoint;
  readonly wantsKeepaliveSeconds?: number;
}

/** A tunnel of IPv4 as its client sees it. */
export interface Ipv4TunnelView {
  readonly tunnelId: number;
  /** The user's. */
  readonly name: string;
  readonly slot: number;
  readonly encapsulation: 'v4v6';
  /** `port` is 0. */
  readonly endpoint: Ipv6Endpoint;
  /** The server's address in the link, which answers keepalives. */
  readonly gateway4: Ipv4Address;
  /** The client's address in the link. */
  readonly client4: Ipv4Address;
  /** 30: a link of its own; 32: one address, and the gateway is everybody's. */
  readonly length4: number;
  readonly lifetimeSeconds: number;
  readonly keepaliveSeconds: number;
}

interface Terms {
  readonly keepaliveSeconds: number;
  readonly leaseMs: number | undefined;
}

type Opened = { readonly ok: true; readonly tunnel: Ipv4Tunnel };

/** Finds the user's tunnel or makes one. Rejects with StoreError. */
export async function openIpv4(
  store: Store,
  userId: number,
  { client, wantsKeepaliveSeconds }: Ipv4OpenRequest,
  { keepaliveSeconds, leaseMs }: Terms,
  nowMs: number,
): Promise<Opened | { readonly ok: false; readonly refusal: OpenRefusal | AttachRefusal }> {
  const occupant = await store.ipv4Tunnel({ client: client.address });
  // Only for a timely answer: attaching decides.
  if (occupant && occupant.user.id !== userId) return { ok: false, refusal: 'address-in-use' };
  const pools = await store.pools();
  return store.openIpv4Tunnel(
    {
      userId,
      linkPools: pools.filter(({ purpose }) => purpose === 'ipv4-link'),
      keepaliveSeconds: keepaliveSecondsFor(wantsKeepaliveSeconds, keepaliveSeconds, true),
      lifetimeSeconds: USER_LIFETIME_SECONDS,
      leaseMs,
    },
    nowMs,
  );
}

export function ipv4ViewOf(tunnel: Ipv4Tunnel, endpoint: Ipv6Endpoint): Ipv4TunnelView {
  const { link } = tunnel;
  const single = link.length === 32;
  return {
    tunnelId: tunnel.id,
    name: tunnel.user.name,
    slot: tunnel.slot,
    encapsulation: 'v4v6',
    endpoint,
    gateway4: single ? tunnel.pool.address : link.address + 1,
    client4: single ? link.address : link.address + 2,
    length4: link.length,
    lifetimeSeconds: tunnel.lifetimeSeconds,
    keepaliveSeconds: tunnel.keepaliveSeconds,
  };
}
