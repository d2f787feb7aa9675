// Delegations that are leased, by owner index: where the data plane leads their packets. Reads only.

import { readDense } from './dense.ts';
import type { Pool } from './pools.ts';
import { prepared } from './prepared.ts';
import type { Reader } from './schema.ts';

/** The packets for owner index `index` belong to `slot`. */
export interface Ownership {
  readonly index: number;
  readonly slot: number;
}

export async function readOwnership(db: Reader, index: number): Promise<Ownership | undefined> {
  const [pool] = (await poolOfOwner(db, index)).rows;
  const [row] = pool ? (await slotOfLease(db, pool.id, index - pool.first_index)).rows : [];
  return row && { index, slot: row.slot };
}

const poolOfOwner = prepared((db, index: number) =>
  db
    .selectFrom('pools')
    .select(['id', 'first_index'])
    .where('purpose', '=', 'delegation')
    .where('first_index', '<=', index)
    .orderBy('first_index', 'desc')
    .limit(1),
);

const slotOfLease = prepared((db, poolId: number, position: number) =>
  db
    .selectFrom('leases')
    .innerJoin('tunnels', 'tunnels.id', 'leases.tunnel_id')
    .select('tunnels.slot')
    .where('leases.pool_id', '=', poolId)
    .where('leases.position', '=', position),
);

/** The leased positions of one delegation pool from `position` up, in order. */
export async function readOwnershipsFrom(
  db: Reader,
  pool: Pool,
  position: number,
  limit: number,
): Promise<readonly Ownership[]> {
  const query = db
    .selectFrom('leases')
    .innerJoin('tunnels', 'tunnels.id', 'leases.tunnel_id')
    .select(['leases.position', 'tunnels.slot'])
    .where('leases.pool_id', '=', pool.id)
    .where('leases.position', '>=', position)
    .orderBy('leases.position')
    .limit(limit);
  const rows = await readDense<readonly [position: number, slot: number]>(db, query);
  return rows.map((row) => ({ index: pool.firstIndex + row[0], slot: row[1] }));
}
