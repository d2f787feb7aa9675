// Positions of pools: handing them out and taking them back, inside the caller's transaction.
// Positions nobody ever had come first, then the one that has been free the longest, so that a
// prefix rests as long as possible between two tunnels. Knows nothing of prefixes or policy.

import { StoreError } from './error.ts';
import { prepared } from './prepared.ts';
import type { PoolPurpose, Writer } from './schema.ts';

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

export async function lease(
  tx: Writer,
  claim: Claim,
  tunnelId: number,
  expiresAtMs: number | undefined,
): Promise<void> {
  const { pool, position } = claim;
  const endMs = expiresAtMs ?? null;
  if (!claim.reused) {
    await insertLease(tx, pool.id, position, pool.purpose, tunnelId, endMs);
    return;
  }
  const { numAffectedRows } = await reuseLease(tx, pool.id, position, tunnelId, endMs);
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
  ) =>
    tx.insertInto('leases').values({
      pool_id: poolId,
      position,
      purpose,
      tunnel_id: tunnelId,
      expires_at_ms: endMs,
    }),
);

const reuseLease = prepared(
  (tx, poolId: number, position: number, tunnelId: number, endMs: number | null) =>
    tx
      .updateTable('leases')
      .set({ tunnel_id: tunnelId, expires_at_ms: endMs, freed_at_ms: null })
      .where('pool_id', '=', poolId)
      .where('position', '=', position)
      .where('tunnel_id', 'is', null),
);

/** Frees all that a tunnel holds; answers the indices that no longer lead to it. */
export async function freeLeases(
  tx: Writer,
  tunnelId: number,
  nowMs: number,
): Promise<readonly number[]> {
  const held = await tx
    .selectFrom('leases')
    .innerJoin('pools', 'pools.id', 'leases.pool_id')
    .select(['leases.position', 'pools.first_index'])
    .where('leases.tunnel_id', '=', tunnelId)
    .where('leases.purpose', '=', 'delegation')
    .execute();
  await tx
    .updateTable('leases')
    .set({ tunnel_id: null, expires_at_ms: null, freed_at_ms: nowMs })
    .where('tunnel_id', '=', tunnelId)
    .execute();
  return held.map((row) => row.first_index + row.position);
}
