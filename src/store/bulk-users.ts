// Users by the thousand, for filling a store before a measurement and emptying it afterwards: a few
// statements for all of them together, as part of one transaction. Leaves the same rows and the same
// notes in the change feed as one user at a time would.

import type { Act } from './changes.ts';
import { readHeld } from './leases.ts';
import { noteAttachmentEnd, noteFreed } from './past.ts';
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
  act: Act,
  prefix: string,
  after: string,
  limit: number,
): Promise<{ readonly removed: number; readonly last: string | undefined }> {
  const { tx, changed } = act;
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
  await closeTunnelsOf(act, userIds);
  await tx.deleteFrom('users').where('id', 'in', userIds).execute();
  for (const id of userIds) changed('user', id);
  return { removed: userIds.length, last };
}

async function closeTunnelsOf(act: Act, userIds: readonly number[]): Promise<void> {
  const { tx, nowMs, changed } = act;
  const rows = await tx
    .selectFrom('tunnels')
    .innerJoin('users', 'users.id', 'tunnels.user_id')
    .leftJoin('attachments', 'attachments.tunnel_id', 'tunnels.id')
    .select([
      'tunnels.id',
      'tunnels.slot',
      'tunnels.family',
      'tunnels.created_at_ms',
      'tunnels.last_login_at_ms',
      'users.id as user_id',
      'users.name',
      'attachments.encapsulation',
      'attachments.client_address',
      'attachments.client_port',
      'attachments.attached_at_ms',
    ])
    .where('tunnels.user_id', 'in', userIds)
    .execute();
  if (rows.length === 0) return;
  const tunnelIds = rows.map(({ id }) => id);
  const held = Map.groupBy(await readHeld(tx, tunnelIds), ({ tunnelId }) => tunnelId);
  for (const row of rows) {
    changed(slotKind(row), row.slot);
    const tunnel = {
      id: row.id,
      user: { id: row.user_id, name: row.name },
      createdAtMs: row.created_at_ms,
      lastLoginAtMs: row.last_login_at_ms ?? undefined,
    };
    const leases = held.get(row.id) ?? [];
    for (const { ownerIndex } of leases) if (ownerIndex !== undefined) changed('owner', ownerIndex);
    await noteFreed(act, tunnel, leases);
    if (row.encapsulation !== null)
      await noteAttachmentEnd(act, tunnel, {
        encapsulation: row.encapsulation,
        address: row.client_address!,
        port: row.client_port!,
        attachedAtMs: row.attached_at_ms!,
      });
  }
  await tx.deleteFrom('attachments').where('tunnel_id', 'in', tunnelIds).execute();
  await tx
    .updateTable('leases')
    .set({ tunnel_id: null, expires_at_ms: null, freed_at_ms: nowMs })
    .where('tunnel_id', 'in', tunnelIds)
    .execute();
  await tx.deleteFrom('tunnels').where('id', 'in', tunnelIds).execute();
}
