// Invitations: whoever has the code may sign up, once.

import { type AuditEntry, appendAudit } from './audit-log.ts';
import type { Act } from './changes.ts';
import { queueMail } from './mail-queue.ts';
import type { StoreAccess } from './people-access.ts';
import type { Role } from './people-tables.ts';
import type { Reader } from './schema.ts';

/** One that can still be used. */
export interface Invitation {
  readonly id: number;
  /** Undefined: whoever has the code. */
  readonly email: string | undefined;
  readonly role: Role;
  /** The user that the invited person becomes; undefined: they choose a name. */
  readonly user: { readonly id: number; readonly name: string } | undefined;
  readonly createdAtMs: number;
  readonly expiresAtMs: number;
}

export interface NewInvitation {
  readonly codeHash: string;
  readonly email: string | undefined;
  readonly role: Role;
  readonly userId: number | undefined;
  readonly invitedBy: number | undefined;
  readonly expiresAtMs: number;
}

export class Invitations {
  readonly #access: StoreAccess;

  constructor(access: StoreAccess) {
    this.#access = access;
  }

  async add(
    asked: NewInvitation,
    mail: string | undefined,
    audit: AuditEntry,
    nowMs: number,
  ): Promise<void> {
    await this.#access.act(nowMs, async (act) => {
      await act.tx
        .insertInto('invitations')
        .values({
          code_hash: asked.codeHash,
          email: asked.email ?? null,
          role: asked.role,
          user_id: asked.userId ?? null,
          invited_by: asked.invitedBy ?? null,
          created_at_ms: nowMs,
          expires_at_ms: asked.expiresAtMs,
        })
        .execute();
      await queueMail(act, mail);
      await appendAudit(act, audit);
    });
  }

  async find(codeHash: string, nowMs: number): Promise<Invitation | undefined> {
    return readInvitation(this.#access.reading(), { codeHash }, nowMs);
  }

  /** All that can still be used, the latest first. */
  async open(nowMs: number): Promise<readonly Invitation[]> {
    const rows = await openInvitations(this.#access.reading(), nowMs)
      .orderBy('invitations.id', 'desc')
      .execute();
    return rows.map(toInvitation);
  }

  /** False: there is none to withdraw. */
  async withdraw(id: number, audit: AuditEntry, nowMs: number): Promise<boolean> {
    return this.#access.act(nowMs, async (act) => {
      const { numDeletedRows } = await act.tx
        .deleteFrom('invitations')
        .where('id', '=', id)
        .where('used_at_ms', 'is', null)
        .executeTakeFirst();
      if (numDeletedRows === 1n) await appendAudit(act, audit);
      return numDeletedRows === 1n;
    });
  }
}

export async function readInvitation(
  db: Reader,
  key: { readonly id: number } | { readonly codeHash: string },
  nowMs: number,
): Promise<Invitation | undefined> {
  const rows = openInvitations(db, nowMs);
  const row = await ('id' in key
    ? rows.where('invitations.id', '=', key.id)
    : rows.where('code_hash', '=', key.codeHash)
  ).executeTakeFirst();
  return row && toInvitation(row);
}

export async function spendInvitation({ tx, nowMs }: Act, id: number, personId: number) {
  await tx
    .updateTable('invitations')
    .set({ used_by: personId, used_at_ms: nowMs })
    .where('id', '=', id)
    .execute();
}

function openInvitations(db: Reader, nowMs: number) {
  return db
    .selectFrom('invitations')
    .leftJoin('users', 'users.id', 'invitations.user_id')
    .selectAll('invitations')
    .select('users.name as user_name')
    .where('used_at_ms', 'is', null)
    .where('expires_at_ms', '>', nowMs);
}

function toInvitation(row: {
  id: number;
  email: string | null;
  role: Role;
  user_id: number | null;
  user_name: string | null;
  created_at_ms: number;
  expires_at_ms: number;
}): Invitation {
  return {
    id: row.id,
    email: row.email ?? undefined,
    role: row.role,
    user: row.user_id === null ? undefined : { id: row.user_id, name: row.user_name ?? '' },
    createdAtMs: row.created_at_ms,
    expiresAtMs: row.expires_at_ms,
  };
}
