// Positions of pools: handing them out and taking them back, inside the caller's transaction.
// Positions nobody ever had come first, then the one that has been free the longest, so that a
// prefix rests as long as possible between two tunnels. Knows nothing of prefixes or policy.

import { type IpPrefix, ipv4PrefixAt, prefixAt } from '../address.ts';
import type { Act } from './changes.ts';
import { StoreError } from './error.ts';
import type { EndedLease } from './past.ts';
import { parseStoredIpv4Prefix, parseStoredPrefix } from './pools.ts';
import { prepared } from './prepared.ts';
import type { PoolPurpose, Reader, Writer } from './schema.ts';

/** What this room must know of a pool to hand out its positions. */
export interface PoolChoice {
  readonly id: number;
  readonly purpose: PoolPurpose;
  /** Positions from here up are never handed out. */
  readonly positionCount: number;
  readonly firstIndex: number;
}

/** A position that is the caller's until its transaction ends, and then whoever's it leased it to. */
export interface Claim {
  readonly pool: PoolChoice;
  readonly position: number;
  readonly reused: boolean;
}

/** The first free position of the first of `pools` that has one. */
export async function claimPosition(
  tx: Writer,
  pools: readonly PoolChoice[],
): Promise<Claim | undefined> {
  for (const pool of pools) {
    // Two statements: a row that is returned from its update costs SQLite more than reading it.
    const { numAffectedRows } = await advancePool(tx, pool.id, pool.positionCount);
    if (numAffectedRows === 1n) {
      const { next_position } = (await nextPosition(tx, pool.id)).rows[0]!;
      return { pool, position: next_position - 1, reused: false };
    }
    const [freed] = (await longestFree(tx, pool.id)).rows;
    if (freed) return { pool, position: freed.position, reused: true };
  }
  return undefined;
}

const advancePool = prepared((tx, poolId: number, positionCount: number) =>
  tx
    .updateTable('pools')
    .set((row) => ({ next_position: row('next_position', '+', 1) }))
    .where('id', '=', poolId)
    .where('next_position', '<', positionCount),
);

const nextPosition = prepared((tx, poolId: number) =>
  tx.selectFrom('pools').select('next_position').where('id', '=', poolId),
);

const longestFree = prepared((tx, poolId: number) =>
  tx
    .selectFrom('leases')
    .select('position')
    .where('pool_id', '=', poolId)
    .where('tunnel_id', 'is', null)
    .orderBy('freed_at_ms')
    .orderBy('position')
    .limit(1),
);

/** `leasedAtMs`: undefined when the tunnel is made at the same time. */
export async function lease(
  tx: Writer,
  claim: Claim,
  tunnelId: number,
  expiresAtMs: number | undefined,
  leasedAtMs: number | undefined,
): Promise<void> {
  const { pool, position } = claim;
  const endMs = expiresAtMs ?? null;
  const beginMs = leasedAtMs ?? null;
  if (!claim.reused) {
    await insertLease(tx, pool.id, position, pool.purpose, tunnelId, endMs, beginMs);
    return;
  }
  const { numAffectedRows } = await reuseLease(tx, pool.id, position, tunnelId, endMs, beginMs);
  if (numAffectedRows !== 1n)
    throw new StoreError('conflict', 'another server took the same free position');
}

const insertLease = prepared(
  (
    tx,
    poolId: number,
    position: number,
    purpose: PoolPurpose,
    tunnelId: number,
    endMs: number | null,
    beginMs: number | null,
  ) =>
    tx.insertInto('leases').values({
      pool_id: poolId,
      position,
      purpose,
      tunnel_id: tunnelId,
      expires_at_ms: endMs,
      leased_at_ms: beginMs,
    }),
);

const reuseLease = prepared(
  (
    tx,
    poolId: number,
    position: number,
    tunnelId: number,
    endMs: number | null,
    beginMs: number | null,
  ) =>
    tx
      .updateTable('leases')
      .set({
        tunnel_id: tunnelId,
        expires_at_ms: endMs,
        freed_at_ms: null,
        leased_at_ms: beginMs,
      })
      .where('pool_id', '=', poolId)
      .where('position', '=', position)
      .where('tunnel_id', 'is', null),
);

/** A lease that ended, with the index that led to its tunnel; undefined: links' lead by themselves. */
export type FreedLease = EndedLease & { readonly ownerIndex: number | undefined };

/** Frees all that a tunnel holds. */
export async function freeLeases(
  { tx, nowMs }: Pick<Act, 'tx' | 'nowMs'>,
  tunnelId: number,
): Promise<readonly FreedLease[]> {
  const held = await readHeld(tx, [tunnelId]);
  await tx
    .updateTable('leases')
    .set({ tunnel_id: null, expires_at_ms: null, freed_at_ms: nowMs })
    .where('tunnel_id', '=', tunnelId)
    .execute();
  return held;
}

/** All that these tunnels hold. */
export async function readHeld(
  db: Reader,
  tunnelIds: readonly number[],
): Promise<readonly (FreedLease & { readonly tunnelId: number })[]> {
  const rows = await db
    .selectFrom('leases')
    .innerJoin('pools', 'pools.id', 'leases.pool_id')
    .select([
      'leases.tunnel_id',
      'leases.position',
      'leases.leased_at_ms',
      'pools.purpose',
      'pools.prefix',
      'pools.position_length',
      'pools.first_index',
    ])
    .where('leases.tunnel_id', 'in', tunnelIds)
    .execute();
  return rows.map((row) => ({
    tunnelId: row.tunnel_id!,
    purpose: row.purpose,
    prefix: leasedPrefix(row),
    leasedAtMs: row.leased_at_ms ?? undefined,
    ownerIndex: row.purpose === 'delegation' ? row.first_index + row.position : undefined,
  }));
}

/** What a position of a pool is. */
export function leasedPrefix(row: {
  readonly purpose: PoolPurpose;
  readonly prefix: string;
  readonly position_length: number;
  readonly position: number;
}): IpPrefix {
  return row.purpose === 'ipv4-link'
    ? ipv4PrefixAt(parseStoredIpv4Prefix(row.prefix), row.position_length, row.position)
    : prefixAt(parseStoredPrefix(row.prefix), row.position_length, row.position);
}
