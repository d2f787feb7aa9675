// Users by the thousand, for filling a store before a measurement and emptying it afterwards: a few
// statements for all of them together, as part of one transaction. Leaves the same rows and the same
// notes in the change feed as one user at a time would.

import type { Act } from './changes.ts';
import { slotKind } from './tunnel-acts.ts';

/** A user's name and what is kept of the secret, as for one user. */
export interface NamedSecret {
  readonly name: string;
  readonly sealedHa1: string;
  readonly sealedScram: string | undefined;
}

/** Adds users, and gives those who exist this secret and group. */
export async function putUsers(
  { tx, nowMs, changed }: Act,
  users: readonly NamedSecret[],
  groupId: number | undefined,
): Promise<void> {
  if (users.length === 0) return;
  const rows = await tx
    .insertInto('users')
    .values(
      users.map(({ name, sealedHa1, sealedScram }) => ({
        name,
        sealed_ha1: sealedHa1,
        sealed_scram: sealedScram ?? null,
        group_id: groupId ?? null,
        created_at_ms: nowMs,
      })),
    )
    .onConflict((conflict) =>
      conflict.column('name').doUpdateSet((row) => ({
        sealed_ha1: row.ref('excluded.sealed_ha1'),
        sealed_scram: row.ref('excluded.sealed_scram'),
        group_id: row.ref('excluded.group_id'),
      })),
    )
    .returning('id')
    .execute();
  for (const { id } of rows) changed('user', id);
}

/**
 * Removes up to `limit` users whose names are `prefix` and nothing but digits, after the name `after`,
 * and closes their tunnels. Answers how many, and the last name that was looked at; undefined: there
 * are no more.
 */
export async function removeNumberedUsers(
  { tx, nowMs, changed }: Act,
  prefix: string,
  after: string,
  limit: number,
): Promise<{ readonly removed: number; readonly last: string | undefined }> {
  const found = await tx
    .selectFrom('users')
    .select(['id', 'name'])
    .where('name', '>', after === '' ? prefix : after)
    // What comes after the digits in ASCII.
    .where('name', '<', `${prefix}:`)
    .orderBy('name')
    .limit(limit)
    .execute();
  const userIds = found
    .filter(({ name }) => /^[0-9]+$/.test(name.slice(prefix.length)))
    .map(({ id }) => id);
  const last = found.at(-1)?.name;
  if (userIds.length === 0) return { removed: 0, last };
  const tunnels = await tx
    .selectFrom('tunnels')
    .select(['id', 'slot', 'family'])
    .where('user_id', 'in', userIds)
    .execute();
  for (const tunnel of tunnels) changed(slotKind(tunnel), tunnel.slot);
  if (tunnels.length > 0) {
    const tunnelIds = tunnels.map(({ id }) => id);
    const delegations = await tx
      .selectFrom('leases')
      .innerJoin('pools', 'pools.id', 'leases.pool_id')
      .select(['leases.position', 'pools.first_index'])
      .where('leases.tunnel_id', 'in', tunnelIds)
      .where('leases.purpose', '=', 'delegation')
      .execute();
    for (const row of delegations) changed('owner', row.first_index + row.position);
    await tx.deleteFrom('attachments').where('tunnel_id', 'in', tunnelIds).execute();
    await tx
      .updateTable('leases')
      .set({ tunnel_id: null, expires_at_ms: null, freed_at_ms: nowMs })
      .where('tunnel_id', 'in', tunnelIds)
      .execute();
    await tx.deleteFrom('tunnels').where('id', 'in', tunnelIds).execute();
  }
  await tx.deleteFrom('users').where('id', 'in', userIds).execute();
  for (const id of userIds) changed('user', id);
  return { removed: userIds.length, last };
}
