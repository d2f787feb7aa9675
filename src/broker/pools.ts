// Checks a pool before it goes into the store. Works without a running broker: the command line adds
// pools to the store, and the broker follows.

import {
  type IpPrefix,
  type Ipv4Prefix,
  type Ipv6Prefix,
  parseIpv4Prefix,
  parseIpv6Prefix,
  prefixContains,
  prefixesOverlap,
} from '../address.ts';
import { MAX_POOLS } from '../dataplane/layout.gen.ts';
import type { AuditEntry } from '../store/audit-log.ts';
import type { NewPool, Pool } from '../store/pools.ts';
import type { PoolPurpose } from '../store/schema.ts';
import type { Store } from '../store/store.ts';

/** How many positions the data plane has room for, by what they are for. */
export type PoolCapacity = Readonly<Record<PoolPurpose, number>>;

export type PoolRefusal =
  /** Nothing that a host could have, or a range that other mechanisms own. */
  | 'prefix-unusable'
  /** Links are /64 and the first one is the server's; delegations end at /64; IPv4 is /30 or /32. */
  | 'length-unusable'
  | 'too-many-pools'
  | 'overlaps-pool'
  /** There are fewer indices left in the kernel's maps than the pool has positions. */
  | 'over-capacity';

export type AddedPool =
  | { readonly ok: true; readonly pool: Pool }
  | { readonly ok: false; readonly refusal: 'overlaps-pool'; readonly with: IpPrefix }
  | { readonly ok: false; readonly refusal: 'over-capacity'; readonly free: number }
  | {
      readonly ok: false;
      readonly refusal: Exclude<PoolRefusal, 'overlaps-pool' | 'over-capacity'>;
    };

/** May reject with StoreError. */
export async function addPool(
  store: Store,
  wish: NewPool,
  capacity: PoolCapacity,
  nowMs: number,
  audit?: AuditEntry,
): Promise<AddedPool> {
  const usable =
    wish.purpose === 'ipv4-link' ? isUsableIpv4(wish.prefix) : isUsableIpv6(wish.prefix);
  if (!usable) return { ok: false, refusal: 'prefix-unusable' };
  if (!lengthFits(wish)) return { ok: false, refusal: 'length-unusable' };
  if ((await store.pools()).length >= MAX_POOLS) return { ok: false, refusal: 'too-many-pools' };
  return store.addPool(wish, capacity[wish.purpose], nowMs, audit);
}

function lengthFits({ purpose, prefix, positionLength }: NewPool): boolean {
  switch (purpose) {
    case 'link':
      return positionLength === 64 && prefix.length < 64;
    case 'delegation':
      return positionLength <= 64 && prefix.length <= positionLength;
    case 'ipv4-link':
      return (positionLength === 30 || positionLength === 32) && prefix.length < positionLength;
  }
}

const UNICAST = ['2000::/3', 'fc00::/7'].map((text) => parseIpv6Prefix(text)!);
/** 6to4 and Teredo: their addresses mean other tunnels, and packets could run in circles (RFC 6324). */
const OTHER_TUNNELS = ['2002::/16', '2001::/32'].map((text) => parseIpv6Prefix(text)!);

function isUsableIpv6(prefix: Ipv6Prefix): boolean {
  const inside = (range: Ipv6Prefix) =>
    prefix.length >= range.length && prefixContains(range, prefix.address);
  return UNICAST.some(inside) && !OTHER_TUNNELS.some(inside);
}

/** This network, this host, link-local, groups and what is reserved (RFC 6890). */
const NOT_FOR_HOSTS = ['0.0.0.0/8', '127.0.0.0/8', '169.254.0.0/16', '224.0.0.0/3'].map(
  (text) => parseIpv4Prefix(text)!,
);

function isUsableIpv4(prefix: Ipv4Prefix): boolean {
  return !NOT_FOR_HOSTS.some((range) => prefixesOverlap(range, prefix));
}
