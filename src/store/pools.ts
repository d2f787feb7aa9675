// Pools as rows: adding, reading, and how full they are. Whether a prefix is fit to be one is the
// broker's business; positions are handed out in leases.ts.

import {
  formatPrefix,
  type IpPrefix,
  type Ipv4Prefix,
  type Ipv6Prefix,
  parseIpv4Prefix,
  parseIpv6Prefix,
  positionCount,
  prefixesOverlap,
} from '../address.ts';
import type { Act } from './changes.ts';
import { StoreError } from './error.ts';
import { prepared } from './prepared.ts';
import type { PoolPurpose, Reader } from './schema.ts';

interface AnyPool {
  readonly id: number;
  /** The length of the prefixes that it is cut into. */
  readonly positionLength: number;
  readonly positionCount: number;
  /** The slot (link pools) or owner index (delegation pool) of position 0. */
  readonly firstIndex: number;
  readonly createdAtMs: number;
}

export interface Ipv6Pool extends AnyPool {
  readonly purpose: 'link' | 'delegation';
  readonly prefix: Ipv6Prefix;
}

export interface Ipv4Pool extends AnyPool {
  readonly purpose: 'ipv4-link';
  readonly prefix: Ipv4Prefix;
}

export type Pool = Ipv6Pool | Ipv4Pool;

export type PoolUsage = Pool & { readonly leased: number };

export type NewPool = Pick<Ipv6Pool, 'purpose' | 'prefix' | 'positionLength'> | NewIpv4Pool;
type NewIpv4Pool = Pick<Ipv4Pool, 'purpose' | 'prefix' | 'positionLength'>;

export type AddPoolResult =
  | { readonly ok: true; readonly pool: Pool }
  | { readonly ok: false; readonly refusal: 'overlaps-pool'; readonly with: IpPrefix }
  | { readonly ok: false; readonly refusal: 'over-capacity'; readonly free: number };

/**
 * `capacity`: how many indices there are for all pools of this purpose together. The pool gets the
 * indices after the last pool's. Position 0 of a link pool is the server's own and is never handed
 * out.
 */
export async function addPool(
  { tx, nowMs, changed }: Act,
  asked: NewPool,
  capacity: number,
): Promise<AddPoolResult> {
  const pools = await readPools(tx);
  const overlapped = pools.find((pool) => prefixesOverlap(pool.prefix, asked.prefix));
  if (overlapped) return { ok: false, refusal: 'overlaps-pool', with: overlapped.prefix };
  const firstIndex = Math.max(
    0,
    ...pools
      .filter((pool) => pool.purpose === asked.purpose)
      .map((pool) => pool.firstIndex + pool.positionCount),
  );
  const free = capacity - firstIndex;
  if (positionCount(asked.prefix, asked.positionLength) > free)
    return { ok: false, refusal: 'over-capacity', free };
  const row = await tx
    .insertInto('pools')
    .values({
      purpose: asked.purpose,
      prefix: formatPrefix(asked.prefix),
      position_length: asked.positionLength,
      first_index: firstIndex,
      next_position: asked.purpose === 'delegation' ? 0 : 1,
      created_at_ms: nowMs,
    })
    .returningAll()
    .executeTakeFirstOrThrow();
  changed('pool', row.id);
  return { ok: true, pool: toPool(row) };
}

/** In the order in which they were added. */
export async function readPools(db: Reader): Promise<readonly Pool[]> {
  return (await allPools(db)).rows.map(toPool);
}

const allPools = prepared((db) => db.selectFrom('pools').selectAll().orderBy('id'));

export async function readPoolUsage(db: Reader): Promise<readonly PoolUsage[]> {
  const rows = await db
    .selectFrom('pools')
    .selectAll()
    .select((pool) =>
      pool
        .selectFrom('leases')
        .select((leases) => leases.fn.count<number>('leases.tunnel_id').as('leased'))
        .whereRef('leases.pool_id', '=', 'pools.id')
        .as('leased'),
    )
    .orderBy('id')
    .execute();
  return rows.map((row) => ({ ...toPool(row), leased: Number(row.leased ?? 0) }));
}

/** Pools' prefixes are few, and read with every tunnel. */
const parsed = new Map<string, Ipv6Prefix>();
const PARSED_KEPT = 1024;

export function parseStoredPrefix(text: string): Ipv6Prefix {
  let prefix = parsed.get(text);
  if (!prefix) {
    prefix = parseIpv6Prefix(text) ?? corrupt(text);
    if (parsed.size === PARSED_KEPT) parsed.clear();
    parsed.set(text, prefix);
  }
  return prefix;
}

export function parseStoredIpv4Prefix(text: string): Ipv4Prefix {
  return parseIpv4Prefix(text) ?? corrupt(text);
}

function corrupt(text: string): never {
  throw new StoreError('corrupt', `"${text}" in the database is not a prefix`);
}

function toPool(row: {
  id: number;
  purpose: PoolPurpose;
  prefix: string;
  position_length: number;
  first_index: number;
  created_at_ms: number;
}): Pool {
  const rest = {
    id: row.id,
    positionLength: row.position_length,
    firstIndex: row.first_index,
    createdAtMs: row.created_at_ms,
  };
  if (row.purpose === 'ipv4-link') {
    const prefix = parseStoredIpv4Prefix(row.prefix);
    const count = positionCount(prefix, row.position_length);
    return { ...rest, purpose: row.purpose, prefix, positionCount: count };
  }
  const prefix = parseStoredPrefix(row.prefix);
  const count = positionCount(prefix, row.position_length);
  return { ...rest, purpose: row.purpose, prefix, positionCount: count };
}
