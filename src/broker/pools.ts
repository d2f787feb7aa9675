// Checks a pool before it goes into the store. Works without a running broker: the command line adds
// pools to the store, and the broker follows.

import { type Ipv6Prefix, parseIpv6Prefix, prefixContains } from '../address.ts';
import type { Capacity } from '../dataplane/contract.ts';
import { MAX_POOLS } from '../dataplane/layout.gen.ts';
import type { PoolPurpose } from '../store/schema.ts';
import type { Pool, Store } from '../store/store.ts';

export interface PoolWish {
  readonly purpose: PoolPurpose;
  readonly prefix: Ipv6Prefix;
  /** What users get: 64 for links, prefix.length … 64 for delegations. */
  readonly positionLength: number;
}

export type PoolRefusal =
  /** Neither global unicast nor unique local, or a range that other mechanisms own. */
  | 'prefix-unusable'
  /** Links are /64 and the first one is the server's; delegations end at /64. */
  | 'length-unusable'
  | 'too-many-pools'
  | 'overlaps-pool'
  /** There are fewer indices left in the kernel's maps than the pool has positions. */
  | 'over-capacity';

export type AddedPool =
  | { readonly ok: true; readonly pool: Pool }
  | { readonly ok: false; readonly refusal: 'overlaps-pool'; readonly with: Ipv6Prefix }
  | { readonly ok: false; readonly refusal: 'over-capacity'; readonly free: number }
  | {
      readonly ok: false;
      readonly refusal: Exclude<PoolRefusal, 'overlaps-pool' | 'over-capacity'>;
    };

/** `capacity`: of the data plane. May reject with StoreError. */
export async function addPool(
  store: Store,
  wish: PoolWish,
  capacity: Capacity,
  nowMs: number,
): Promise<AddedPool> {
  const { purpose, prefix, positionLength } = wish;
  if (!isUsable(prefix)) return { ok: false, refusal: 'prefix-unusable' };
  const lengthFits =
    purpose === 'link'
      ? positionLength === 64 && prefix.length < 64
      : positionLength <= 64 && prefix.length <= positionLength;
  if (!lengthFits) return { ok: false, refusal: 'length-unusable' };
  if ((await store.pools()).length >= MAX_POOLS) return { ok: false, refusal: 'too-many-pools' };
  return store.addPool(wish, purpose === 'link' ? capacity.tunnels : capacity.owners, nowMs);
}

const UNICAST = ['2000::/3', 'fc00::/7'].map((text) => parseIpv6Prefix(text)!);
/** 6to4 and Teredo: their addresses mean other tunnels, and packets could run in circles (RFC 6324). */
const OTHER_TUNNELS = ['2002::/16', '2001::/32'].map((text) => parseIpv6Prefix(text)!);

function isUsable(prefix: Ipv6Prefix): boolean {
  const inside = (range: Ipv6Prefix) =>
    prefix.length >= range.length && prefixContains(range, prefix.address);
  return UNICAST.some(inside) && !OTHER_TUNNELS.some(inside);
}
