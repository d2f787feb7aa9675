// What the operator has to say to everybody, for a while.

import { type AuditEntry, appendAudit } from './audit-log.ts';
import type { AnnouncementKind } from './desk-tables.ts';
import type { StoreAccess } from './people-access.ts';
import type { Reader } from './schema.ts';

export interface NewAnnouncement {
  readonly kind: AnnouncementKind;
  /** By the language's tag; one at least. */
  readonly texts: Readonly<Record<string, string>>;
  readonly fromMs: number;
  /** Undefined: until it is removed. */
  readonly untilMs: number | undefined;
}

export interface Announcement extends NewAnnouncement {
  readonly id: number;
  readonly createdAtMs: number;
}

export class Announcements {
  readonly #access: StoreAccess;

  constructor(access: StoreAccess) {
    this.#access = access;
  }

  /** What is to be shown, the latest first. */
  async current(nowMs: number): Promise<readonly Announcement[]> {
    const rows = await all(this.#access.reading())
      .where('from_ms', '<=', nowMs)
      .where((row) => row.or([row('until_ms', 'is', null), row('until_ms', '>', nowMs)]))
      .execute();
    return rows.map(toAnnouncement);
  }

  /** Those that are over, too; the latest first. */
  async all(limit: number): Promise<readonly Announcement[]> {
    const rows = await all(this.#access.reading()).limit(limit).execute();
    return rows.map(toAnnouncement);
  }

  async find(id: number): Promise<Announcement | undefined> {
    const row = await all(this.#access.reading()).where('id', '=', id).executeTakeFirst();
    return row && toAnnouncement(row);
  }

  async add(
    asked: NewAnnouncement,
    audit: (id: number) => AuditEntry,
    nowMs: number,
  ): Promise<Announcement> {
    return this.#access.act(nowMs, async (act) => {
      const row = await act.tx
        .insertInto('announcements')
        .values({ ...columns(asked), created_at_ms: nowMs })
        .returningAll()
        .executeTakeFirstOrThrow();
      await appendAudit(act, audit(row.id));
      return toAnnouncement(row);
    });
  }

  /** False: there is no such announcement. */
  async set(id: number, asked: NewAnnouncement, audit: AuditEntry, nowMs: number) {
    return this.#access.act(nowMs, async (act) => {
      const { numUpdatedRows } = await act.tx
        .updateTable('announcements')
        .set(columns(asked))
        .where('id', '=', id)
        .executeTakeFirst();
      if (numUpdatedRows === 1n) await appendAudit(act, audit);
      return numUpdatedRows === 1n;
    });
  }

  /** False: there is no such announcement. */
  async remove(id: number, audit: AuditEntry, nowMs: number): Promise<boolean> {
    return this.#access.act(nowMs, async (act) => {
      const { numDeletedRows } = await act.tx
        .deleteFrom('announcements')
        .where('id', '=', id)
        .executeTakeFirst();
      if (numDeletedRows === 1n) await appendAudit(act, audit);
      return numDeletedRows === 1n;
    });
  }
}

function all(db: Reader) {
  return db
    .selectFrom('announcements')
    .selectAll()
    .orderBy('from_ms', 'desc')
    .orderBy('id', 'desc');
}

type Row = Awaited<ReturnType<ReturnType<typeof all>['execute']>>[number];

function columns({ kind, texts, fromMs, untilMs }: NewAnnouncement) {
  return { kind, texts: JSON.stringify(texts), from_ms: fromMs, until_ms: untilMs ?? null };
}

function toAnnouncement(row: Row): Announcement {
  return {
    id: row.id,
    kind: row.kind,
    texts: JSON.parse(row.texts),
    fromMs: row.from_ms,
    untilMs: row.until_ms ?? undefined,
    createdAtMs: row.created_at_ms,
  };
}
