// What programs sign in with, found by its hash.

import { type AuditEntry, appendAudit } from './audit-log.ts';
import type { StoreAccess } from './people-access.ts';

export interface ApiToken {
  readonly id: number;
  readonly personId: number;
  readonly name: string;
  readonly scopes: readonly string[];
  readonly createdAtMs: number;
  /** To the minute. */
  readonly lastUsedAtMs: number | undefined;
  readonly expiresAtMs: number | undefined;
}

export interface NewApiToken {
  readonly personId: number;
  readonly name: string;
  readonly tokenHash: string;
  readonly scopes: readonly string[];
  readonly expiresAtMs: number | undefined;
}

export class ApiTokens {
  readonly #access: StoreAccess;

  constructor(access: StoreAccess) {
    this.#access = access;
  }

  /** Undefined also when it has expired. */
  async find(tokenHash: string, nowMs: number): Promise<ApiToken | undefined> {
    const row = await this.#access
      .reading()
      .selectFrom('api_tokens')
      .selectAll()
      .where('token_hash', '=', tokenHash)
      .where((where) =>
        where.or([where('expires_at_ms', 'is', null), where('expires_at_ms', '>', nowMs)]),
      )
      .executeTakeFirst();
    return row && toToken(row);
  }

  /** The latest first, those that have expired too. */
  async of(personId: number): Promise<readonly ApiToken[]> {
    const rows = await this.#access
      .reading()
      .selectFrom('api_tokens')
      .selectAll()
      .where('person_id', '=', personId)
      .orderBy('id', 'desc')
      .execute();
    return rows.map(toToken);
  }

  /** `too-many`: the person has `max` already. */
  async add(
    asked: NewApiToken,
    max: number,
    audit: AuditEntry,
    nowMs: number,
  ): Promise<'added' | 'too-many'> {
    return this.#access.act(nowMs, async (act) => {
      const { count } = await act.tx
        .selectFrom('api_tokens')
        .select((select) => select.fn.countAll<number>().as('count'))
        .where('person_id', '=', asked.personId)
        .executeTakeFirstOrThrow();
      if (count >= max) return 'too-many';
      await act.tx
        .insertInto('api_tokens')
        .values({
          person_id: asked.personId,
          name: asked.name,
          token_hash: asked.tokenHash,
          scopes: asked.scopes.join(' '),
          created_at_ms: nowMs,
          expires_at_ms: asked.expiresAtMs ?? null,
        })
        .execute();
      await appendAudit(act, audit);
      return 'added';
    });
  }

  /** False: the person has no such token. */
  async remove(personId: number, id: number, audit: AuditEntry, nowMs: number): Promise<boolean> {
    return this.#access.act(nowMs, async (act) => {
      const { numDeletedRows } = await act.tx
        .deleteFrom('api_tokens')
        .where('person_id', '=', personId)
        .where('id', '=', id)
        .executeTakeFirst();
      if (numDeletedRows > 0n) await appendAudit(act, audit);
      return numDeletedRows > 0n;
    });
  }

  async touch(id: number, nowMs: number): Promise<void> {
    await this.#access.act(nowMs, async ({ tx }) => {
      await tx
        .updateTable('api_tokens')
        .set({ last_used_at_ms: nowMs })
        .where('id', '=', id)
        .execute();
    });
  }
}

function toToken(row: {
  id: number;
  person_id: number;
  name: string;
  scopes: string;
  created_at_ms: number;
  last_used_at_ms: number | null;
  expires_at_ms: number | null;
}): ApiToken {
  return {
    id: row.id,
    personId: row.person_id,
    name: row.name,
    scopes: row.scopes.split(' ').filter((scope) => scope !== ''),
    createdAtMs: row.created_at_ms,
    lastUsedAtMs: row.last_used_at_ms ?? undefined,
    expiresAtMs: row.expires_at_ms ?? undefined,
  };
}
