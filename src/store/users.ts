// The acts on users that the store's own methods share with those about people. Knows no secret, only
// what the broker sealed of it.

import type { Updateable } from 'kysely';
import type { Act } from './changes.ts';
import { readIpv4Tunnel } from './ipv4-tunnels.ts';
import type { Reader, Tables } from './schema.ts';
import { closeTunnel, takeDownTunnel } from './tunnel-acts.ts';
import { type AnyTunnel, readTunnel } from './tunnels.ts';

export interface User {
  readonly id: number;
  readonly name: string;
  readonly disabledAtMs: number | undefined;
  /** May have tunnels to addresses that are not their own; undefined: not. */
  readonly proxyTrustedAtMs: number | undefined;
  /** The group's number; undefined: in none. */
  readonly groupId: number | undefined;
  readonly createdAtMs: number;
}

/** What is kept of a user's secret, encrypted by the broker; opaque here. */
export interface SealedSecret {
  readonly sealedHa1: string;
  /** Undefined: set before SCRAM was known. */
  readonly sealedScram: string | undefined;
}

export async function insertUser(
  { tx, nowMs, changed }: Act,
  name: string,
  secret: SealedSecret,
  disabled = false,
): Promise<User | 'name-taken'> {
  const row = await tx
    .insertInto('users')
    .values({
      name,
      ...secretColumns(secret),
      disabled_at_ms: disabled ? nowMs : null,
      created_at_ms: nowMs,
    })
    .onConflict((conflict) => conflict.column('name').doNothing())
    .returning('id')
    .executeTakeFirst();
  if (!row) return 'name-taken';
  changed('user', row.id);
  return {
    id: row.id,
    name,
    disabledAtMs: disabled ? nowMs : undefined,
    proxyTrustedAtMs: undefined,
    groupId: undefined,
    createdAtMs: nowMs,
  };
}

/** False: there is no such user. */
export async function setUserColumns(
  { tx, changed }: Act,
  userId: number,
  columns: Updateable<Tables['users']>,
): Promise<boolean> {
  const { numUpdatedRows } = await tx
    .updateTable('users')
    .set(columns)
    .where('id', '=', userId)
    .executeTakeFirst();
  changed('user', userId);
  return numUpdatedRows === 1n;
}

/** Disabling takes the clients away from the user's tunnels too. False: there is no such user. */
export async function setUserDisabled(act: Act, userId: number, disabled: boolean) {
  const { numUpdatedRows } = await act.tx
    .updateTable('users')
    .set({ disabled_at_ms: disabled ? act.nowMs : null })
    .where('id', '=', userId)
    .executeTakeFirst();
  for (const tunnel of disabled ? await tunnelsOf(act.tx, userId) : [])
    await takeDownTunnel(act, tunnel);
  act.changed('user', userId);
  return numUpdatedRows === 1n;
}

/**
 * Closes the user's tunnels: their addresses go to somebody else. The user's person goes too, but
 * staff stay and have no tunnels any more. False: there is no such user.
 */
export async function removeUser(act: Act, userId: number): Promise<boolean> {
  for (const tunnel of await tunnelsOf(act.tx, userId)) await closeTunnel(act, tunnel);
  await act.tx
    .updateTable('people')
    .set({ user_id: null })
    .where('user_id', '=', userId)
    .where('role', '!=', 'user')
    .execute();
  const { numDeletedRows } = await act.tx
    .deleteFrom('users')
    .where('id', '=', userId)
    .executeTakeFirst();
  act.changed('user', userId);
  return numDeletedRows === 1n;
}

async function tunnelsOf(db: Reader, userId: number): Promise<readonly AnyTunnel[]> {
  const tunnels = [await readTunnel(db, { userId }), await readIpv4Tunnel(db, { userId })];
  return tunnels.filter((tunnel) => tunnel !== undefined);
}

export function secretColumns({ sealedHa1, sealedScram }: SealedSecret) {
  return { sealed_ha1: sealedHa1, sealed_scram: sealedScram ?? null };
}

export function toUser(row: {
  id: number;
  name: string;
  disabled_at_ms: number | null;
  proxy_trusted_at_ms: number | null;
  group_id: number | null;
  created_at_ms: number;
}): User {
  return {
    id: row.id,
    name: row.name,
    disabledAtMs: row.disabled_at_ms ?? undefined,
    proxyTrustedAtMs: row.proxy_trusted_at_ms ?? undefined,
    groupId: row.group_id ?? undefined,
    createdAtMs: row.created_at_ms,
  };
}
