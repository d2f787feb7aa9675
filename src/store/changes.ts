// The change feed: a numbered list of what has to be looked at again, written in the transaction
// that changed it. A follower reads on from the number it has seen. Knows nothing of what a subject
// means; rows are pruned, so a follower that was away too long is told to look at everything.

import { prepared } from './prepared.ts';
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
  /** Whether what ends is written down (past.ts). */
  readonly keepsPast: boolean;
  /** Noted in the feed when the act is done. */
  readonly changed: (kind: ChangeKind, subject: number) => void;
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
export async function appendChanges(
  tx: Writer,
  changes: readonly Omit<Change, 'id'>[],
  nowMs: number,
  kept: number,
): Promise<void> {
  if (changes.length === 0) return;
  await takeNumbers(tx, changes.length);
  const lastId = await latestChangeId(tx);
  const before = lastId - changes.length;
  let id = before;
  for (const { kind, subject } of changes) await insertChange(tx, ++id, kind, subject, nowMs);
  if (Math.floor(before / PRUNE_EVERY) < Math.floor(lastId / PRUNE_EVERY))
    await tx
      .deleteFrom('changes')
      .where('id', '<=', lastId - kept)
      .execute();
}

const takeNumbers = prepared((tx, count: number) =>
  tx.updateTable('feed').set((feed) => ({ last_id: feed('last_id', '+', count) })),
);

const insertChange = prepared((tx, id: number, kind: ChangeKind, subject: number, nowMs: number) =>
  tx.insertInto('changes').values({ id, kind, subject, at_ms: nowMs }),
);

export async function latestChangeId(db: Reader): Promise<number> {
  return (await lastNumber(db)).rows[0]!.last_id;
}

const lastNumber = prepared((db) => db.selectFrom('feed').select('last_id'));

/** The oldest `limit` changes after `id`. */
export async function readChanges(db: Reader, id: number, limit: number): Promise<ChangesSince> {
  // The number first: what is committed between the two reads is then in the second one, and cannot
  // look like something that was pruned.
  const latestId = await latestChangeId(db);
  if (latestId === id) return { complete: true, changes: [] };
  const { rows: changes } = await changesAfter(db, id, limit);
  // The numbers have no holes, so a first one that does not follow on means pruned ones.
  return changes[0]?.id === id + 1 ? { complete: true, changes } : { complete: false, latestId };
}

const changesAfter = prepared((db, id: number, limit: number) =>
  db
    .selectFrom('changes')
    .select(['id', 'kind', 'subject'])
    .where('id', '>', id)
    .orderBy('id')
    .limit(limit),
);
