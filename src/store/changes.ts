// The change feed: a numbered list of what has to be looked at again, written in the transaction
// that changed it. A follower reads on from the number it has seen. Knows nothing of what a subject
// means; rows are pruned, so a follower that was away too long is told to look at everything.

import type { ChangeKind, Reader, Writer } from './schema.ts';

/**
 * `subject` by kind: slot, ipv4-slot: the slot of a tunnel that was made, moved, detached or closed,
 * by what it carries; owner: the index of a delegation that was leased or freed; pool, user, group: the
 * row's id.
 */
export interface Change {
  readonly id: number;
  readonly kind: ChangeKind;
  readonly subject: number;
}

/** One transaction under way, and how it says what it changed. */
export interface Act {
  readonly tx: Writer;
  readonly nowMs: number;
  readonly changed: (kind: ChangeKind, subject: number) => Promise<void>;
}

export type ChangesSince =
  | { readonly complete: true; readonly changes: readonly Change[] }
  /** Some of them were pruned: look at everything, then follow on from `latestId`. */
  | { readonly complete: false; readonly latestId: number };

const PRUNE_EVERY = 1024;

/**
 * Numbers come from a row that the transaction locks, not from a sequence: so they become visible
 * in order, and a follower can never pass one by that is committed later.
 */
export async function appendChange(
  tx: Writer,
  kind: ChangeKind,
  subject: number,
  nowMs: number,
  kept: number,
): Promise<void> {
  const { last_id: id } = await tx
    .updateTable('feed')
    .set((feed) => ({ last_id: feed('last_id', '+', 1) }))
    .returning('last_id')
    .executeTakeFirstOrThrow();
  await tx.insertInto('changes').values({ id, kind, subject, at_ms: nowMs }).execute();
  if (id % PRUNE_EVERY === 0)
    await tx
      .deleteFrom('changes')
      .where('id', '<=', id - kept)
      .execute();
}

/** What {@link appendChange} takes of one change. */
export type Note = readonly [kind: ChangeKind, subject: number];

/** Many changes of one transaction at once, in their order. */
export async function appendChanges(
  tx: Writer,
  notes: readonly Note[],
  nowMs: number,
  kept: number,
): Promise<void> {
  if (notes.length === 0) return;
  const { last_id: last } = await tx
    .updateTable('feed')
    .set((feed) => ({ last_id: feed('last_id', '+', notes.length) }))
    .returning('last_id')
    .executeTakeFirstOrThrow();
  const before = last - notes.length;
  await tx
    .insertInto('changes')
    .values(
      notes.map(([kind, subject], index) => ({
        id: before + index + 1,
        kind,
        subject,
        at_ms: nowMs,
      })),
    )
    .execute();
  if (Math.floor(last / PRUNE_EVERY) === Math.floor(before / PRUNE_EVERY)) return;
  await tx
    .deleteFrom('changes')
    .where('id', '<=', last - kept)
    .execute();
}

export async function latestChangeId(db: Reader): Promise<number> {
  const { last_id } = await db.selectFrom('feed').select('last_id').executeTakeFirstOrThrow();
  return last_id;
}

/** The oldest `limit` changes after `id`. */
export async function readChanges(db: Reader, id: number, limit: number): Promise<ChangesSince> {
  // The number first: what is committed between the two reads is then in the second one, and cannot
  // look like something that was pruned.
  const latestId = await latestChangeId(db);
  if (latestId === id) return { complete: true, changes: [] };
  const changes = await db
    .selectFrom('changes')
    .select(['id', 'kind', 'subject'])
    .where('id', '>', id)
    .orderBy('id')
    .limit(limit)
    .execute();
  // The numbers have no holes, so a first one that does not follow on means pruned ones.
  return changes[0]?.id === id + 1 ? { complete: true, changes } : { complete: false, latestId };
}
