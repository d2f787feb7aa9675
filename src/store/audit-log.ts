// Who did what to whom, when. Entries are written in the transaction of the act that they are about,
// and never changed; only what leads to somebody who was erased is taken out.

import { sql } from 'kysely';
import type { Act } from './changes.ts';
import type { StoreAccess } from './people-access.ts';
import type { Reader } from './schema.ts';

export interface AuditEntry {
  /** Undefined: the command line, or nobody who was signed in. */
  readonly personId?: number | undefined;
  /** Such as `sign-in` or `password-change`. */
  readonly act: string;
  /** Whom or what it was done to, such as `person:12` or `tunnel:7`. */
  readonly subject?: string | undefined;
  readonly details?: Readonly<Record<string, string | number | boolean | null>> | undefined;
  readonly address?: string | undefined;
}

export interface AuditRecord extends AuditEntry {
  readonly id: number;
  readonly atMs: number;
  /** The e-mail address of who did it, while there is such a person. */
  readonly email: string | undefined;
}

/** What is left out matters not. */
export interface AuditFilter {
  /** Who did it; null: the command line, or nobody who was signed in. */
  readonly personId?: number | null | undefined;
  readonly act?: string | undefined;
  /** To any of these. */
  readonly subjects?: readonly string[] | undefined;
  readonly fromMs?: number | undefined;
  readonly untilMs?: number | undefined;
}

export async function appendAudit({ tx, nowMs }: Act, entry: AuditEntry): Promise<void> {
  const { personId, act, subject, details, address } = entry;
  await tx
    .insertInto('audit_log')
    .values({
      at_ms: nowMs,
      person_id: personId ?? null,
      act,
      subject: subject ?? null,
      details: details ? JSON.stringify(details) : null,
      address: address ?? null,
    })
    .execute();
}

/** What remains says that something was done and when, not from where. */
export async function forgetInAudit({ tx }: Act, personId: number): Promise<void> {
  await tx
    .updateTable('audit_log')
    .set({ details: null, address: null })
    .where((where) =>
      where.or([where('person_id', '=', personId), where('subject', '=', personSubject(personId))]),
    )
    .execute();
}

export function personSubject(personId: number): string {
  return `person:${personId}`;
}

export class AuditLog {
  readonly #access: StoreAccess;

  constructor(access: StoreAccess) {
    this.#access = access;
  }

  /** For acts that change nothing else, such as reading what only the abuse desk may read. */
  async append(entry: AuditEntry, nowMs: number): Promise<void> {
    await this.#access.act(nowMs, (act) => appendAudit(act, entry));
  }

  /** The `limit` entries before the id, the latest first; undefined: the latest of all. */
  async before(
    id: number | undefined,
    limit: number,
    { personId, act, subjects, fromMs, untilMs }: AuditFilter = {},
  ): Promise<readonly AuditRecord[]> {
    const rows = await entries(this.#access.reading())
      .where('audit_log.id', '<', id ?? Number.MAX_SAFE_INTEGER)
      .$if(personId === null, (query) => query.where('audit_log.person_id', 'is', null))
      .$if(typeof personId === 'number', (query) =>
        query.where('audit_log.person_id', '=', personId!),
      )
      .$if(act !== undefined, (query) => query.where('audit_log.act', '=', act!))
      .$if(subjects !== undefined, (query) =>
        query.where('audit_log.subject', 'in', subjects ?? []),
      )
      .$if(fromMs !== undefined, (query) => query.where('audit_log.at_ms', '>=', fromMs!))
      .$if(untilMs !== undefined, (query) => query.where('audit_log.at_ms', '<=', untilMs!))
      .limit(limit)
      .execute();
    return rows.map(toRecord);
  }

  /** Every kind of act that there is an entry of, in the order of the alphabet. */
  async acts(): Promise<readonly string[]> {
    // From each to the next one along the index: there are few kinds and many entries.
    const { rows } = await sql<{ act: string }>`
      with recursive kinds (act) as (
        select min(act) from audit_log
        union all
        select (select min(act) from audit_log where act > kinds.act) from kinds
        where kinds.act is not null
      )
      select act from kinds where act is not null
    `.execute(this.#access.reading());
    return rows.map(({ act }) => act);
  }

  /** What a person did and what was done to them, the latest first. */
  async about(personId: number, limit: number): Promise<readonly AuditRecord[]> {
    const rows = await entries(this.#access.reading())
      .where((where) =>
        where.or([
          where('audit_log.person_id', '=', personId),
          where('audit_log.subject', '=', personSubject(personId)),
        ]),
      )
      .limit(limit)
      .execute();
    return rows.map(toRecord);
  }
}

function entries(db: Reader) {
  return db
    .selectFrom('audit_log')
    .leftJoin('people', 'people.id', 'audit_log.person_id')
    .selectAll('audit_log')
    .select('people.email')
    .orderBy('audit_log.id', 'desc');
}

function toRecord(row: {
  id: number;
  at_ms: number;
  person_id: number | null;
  act: string;
  subject: string | null;
  details: string | null;
  address: string | null;
  email: string | null;
}): AuditRecord {
  return {
    id: row.id,
    atMs: row.at_ms,
    personId: row.person_id ?? undefined,
    email: row.email ?? undefined,
    act: row.act,
    subject: row.subject ?? undefined,
    details: row.details === null ? undefined : JSON.parse(row.details),
    address: row.address ?? undefined,
  };
}
