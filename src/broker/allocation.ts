// Which pools a request may draw from, and whose place it may take. Pure: pools and wishes in,
// choices out. The store hands out the positions.

import type { Pool } from '../store/pools.ts';
import type { Encapsulation } from '../store/schema.ts';
import type { AttachRequest } from '../store/tunnel-acts.ts';

export interface TunnelWish {
  readonly authenticated: boolean;
  /** A router's wish; undefined: a host, which needs its link only. */
  readonly prefixLength: number | undefined;
  /** Whether the tunnel has a delegation already: it stays, whatever length is asked for. */
  readonly hasDelegation: boolean;
}

export type PoolPlan =
  | {
      readonly ok: true;
      readonly linkPools: readonly Pool[];
      /** Empty: no delegation. */
      readonly delegationPools: readonly Pool[];
    }
  | { readonly ok: false; readonly refusal: 'prefix-length-unavailable' | 'prefix-for-anonymous' };

/**
 * A router gets the length it asks for, or else the closest longer one (a smaller prefix) that any
 * pool hands out.
 */
export function planPools(pools: readonly Pool[], wish: TunnelWish): PoolPlan {
  const linkPools = pools.filter((pool) => pool.purpose === 'link');
  const { prefixLength } = wish;
  if (prefixLength === undefined) return { ok: true, linkPools, delegationPools: [] };
  if (!wish.authenticated) return { ok: false, refusal: 'prefix-for-anonymous' };
  if (wish.hasDelegation) return { ok: true, linkPools, delegationPools: [] };
  const possible = pools.filter(
    (pool) => pool.purpose === 'delegation' && pool.positionLength >= prefixLength,
  );
  if (possible.length === 0) return { ok: false, refusal: 'prefix-length-unavailable' };
  const closest = Math.min(...possible.map((pool) => pool.positionLength));
  return {
    ok: true,
    linkPools,
    delegationPools: possible.filter((pool) => pool.positionLength === closest),
  };
}

/**
 * Who has to make room at an endpoint. A UDP port belongs to whoever proved last that it is theirs:
 * the NAT gave it to them. A whole address (protocol 41) stays its user's while it is in use. An
 * anonymous endpoint was never proved, so it never keeps a user out, and never pushes anybody out.
 */
export function displacedBy(
  authenticated: boolean,
  encapsulation: Encapsulation,
): AttachRequest['displaces'] {
  if (!authenticated) return 'none';
  return encapsulation === 'v6udpv4' ? 'any' : 'anonymous';
}
