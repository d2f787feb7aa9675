// Where somebody comes from: whether that is IPv6, and whether it is a tunnel of ours.

import { type IpAddress, ipv4PrefixContains, prefixContains } from '../address.ts';
import type { Pool } from '../store/pools.ts';
import type { Store } from '../store/store.ts';

export type Situation = 'ipv4' | 'ipv6' | 'tunnel';

/** Pools are added rarely, and a new one may be noticed late. */
const POOLS_KEPT_MS = 30_000;

export class Visitors {
  readonly #store: Store;
  readonly #clock: () => number;
  #pools: { readonly atMs: number; readonly pools: readonly Pool[] } | undefined;

  constructor(store: Store, clock: () => number = Date.now) {
    this.#store = store;
    this.#clock = clock;
  }

  async situation(address: IpAddress): Promise<Situation> {
    const nowMs = this.#clock();
    if (!this.#pools || this.#pools.atMs + POOLS_KEPT_MS <= nowMs)
      this.#pools = { atMs: nowMs, pools: await this.#store.pools() };
    if (this.#pools.pools.some((pool) => contains(pool, address))) return 'tunnel';
    return typeof address === 'number' ? 'ipv4' : 'ipv6';
  }
}

function contains(pool: Pool, address: IpAddress): boolean {
  if (pool.purpose === 'ipv4-link')
    return typeof address === 'number' && ipv4PrefixContains(pool.prefix, address);
  return typeof address === 'bigint' && prefixContains(pool.prefix, address);
}
