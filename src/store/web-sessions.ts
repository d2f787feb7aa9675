// Who is signed in where: rows found by the hash of a cookie's token. Policy (how long, what ends
// them) is the broker's.

import { type AuditEntry, appendAudit } from './audit-log.ts';
import type { StoreAccess } from './people-access.ts';
import type { SessionStage } from './people-tables.ts';
import { prepared } from './prepared.ts';

export interface WebSession {
  readonly id: number;
  readonly personId: number;
  readonly stage: SessionStage;
  /** Where it was begun. */
  readonly address: string;
  readonly userAgent: string;
  readonly createdAtMs: number;
  /** To the minute. */
  readonly lastUsedAtMs: number;
  readonly expiresAtMs: number;
}

export interface NewWebSession {
  readonly personId: number;
  readonly tokenHash: string;
  readonly stage: SessionStage;
  readonly address: string;
  readonly userAgent: string;
  readonly expiresAtMs: number;
  /** The session that this one takes the place of. */
  readonly replaces: number | undefined;
}

export class WebSessions {
  readonly #access: StoreAccess;

  constructor(access: StoreAccess) {
    this.#access = access;
  }

  /** Undefined also when it has expired. */
  async find(tokenHash: string, nowMs: number): Promise<WebSession | undefined> {
    const [row] = (await byToken(this.#access.reading(), tokenHash, nowMs)).rows;
    return row && toSession(row);
  }

  async of(personId: number, nowMs: number): Promise<readonly WebSession[]> {
    const rows = await this.#access
      .reading()
      .selectFrom('web_sessions')
      .selectAll()
      .where('person_id', '=', personId)
      .where('stage', '=', 'signed-in')
      .where('expires_at_ms', '>', nowMs)
      .orderBy('last_used_at_ms', 'desc')
      .execute();
    return rows.map(toSession);
  }

  /** `audit`: when somebody is signed in by it. */
  async begin(asked: NewWebSession, audit: AuditEntry | undefined, nowMs: number): Promise<void> {
    await this.#access.act(nowMs, async (act) => {
      if (asked.replaces !== undefined)
        await act.tx.deleteFrom('web_sessions').where('id', '=', asked.replaces).execute();
      await act.tx
        .insertInto('web_sessions')
        .values({
          person_id: asked.personId,
          token_hash: asked.tokenHash,
          stage: asked.stage,
          address: asked.address,
          user_agent: asked.userAgent,
          created_at_ms: nowMs,
          last_used_at_ms: nowMs,
          expires_at_ms: asked.expiresAtMs,
        })
        .execute();
      if (asked.stage !== 'signed-in') return;
      await act.tx
        .updateTable('people')
        .set({ last_sign_in_at_ms: nowMs })
        .where('id', '=', asked.personId)
        .execute();
      if (audit) await appendAudit(act, audit);
    });
  }

  async touch(sessionId: number, expiresAtMs: number, nowMs: number): Promise<void> {
    await this.#access.act(nowMs, async ({ tx }) => {
      await tx
        .updateTable('web_sessions')
        .set({ last_used_at_ms: nowMs, expires_at_ms: expiresAtMs })
        .where('id', '=', sessionId)
        .execute();
    });
  }

  /** One of the person's sessions, or all but `keep`. Answers how many ended. */
  async end(
    personId: number,
    which: { readonly id: number } | { readonly keep: number | undefined },
    audit: AuditEntry,
    nowMs: number,
  ): Promise<number> {
    return this.#access.act(nowMs, async (act) => {
      const all = act.tx.deleteFrom('web_sessions').where('person_id', '=', personId);
      const { numDeletedRows } = await ('id' in which
        ? all.where('id', '=', which.id)
        : all.where('id', '!=', which.keep ?? 0)
      ).executeTakeFirst();
      if (numDeletedRows > 0n) await appendAudit(act, audit);
      return Number(numDeletedRows);
    });
  }
}

const byToken = prepared((db, tokenHash: string, nowMs: number) =>
  db
    .selectFrom('web_sessions')
    .selectAll()
    .where('token_hash', '=', tokenHash)
    .where('expires_at_ms', '>', nowMs),
);

function toSession(row: {
  id: number;
  person_id: number;
  stage: SessionStage;
  address: string;
  user_agent: string;
  created_at_ms: number;
  last_used_at_ms: number;
  expires_at_ms: number;
}): WebSession {
  return {
    id: row.id,
    personId: row.person_id,
    stage: row.stage,
    address: row.address,
    userAgent: row.user_agent,
    createdAtMs: row.created_at_ms,
    lastUsedAtMs: row.last_used_at_ms,
    expiresAtMs: row.expires_at_ms,
  };
}
