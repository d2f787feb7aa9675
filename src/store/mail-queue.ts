// Mails that no mail server has taken yet. Written in the transaction of the act that they tell about,
// so that none is lost and none tells of what did not happen. Opaque here.

import type { Act } from './changes.ts';
import type { StoreAccess } from './people-access.ts';

export interface QueuedMail {
  readonly id: number;
  readonly sealed: string;
  readonly createdAtMs: number;
  /** How often it was tried in vain. */
  readonly tries: number;
}

export async function queueMail({ tx, nowMs }: Act, sealed: string | undefined): Promise<void> {
  if (sealed === undefined) return;
  await tx
    .insertInto('mails')
    .values({ sealed, created_at_ms: nowMs, next_try_at_ms: nowMs, tries: 0 })
    .execute();
}

export class MailQueue {
  readonly #access: StoreAccess;

  constructor(access: StoreAccess) {
    this.#access = access;
  }

  async add(sealed: string, nowMs: number): Promise<void> {
    await this.#access.act(nowMs, (act) => queueMail(act, sealed));
  }

  async count(): Promise<number> {
    const { count } = await this.#access
      .reading()
      .selectFrom('mails')
      .select((select) => select.fn.countAll<number>().as('count'))
      .executeTakeFirstOrThrow();
    return count;
  }

  /** Those whose time has come, the longest due first. */
  async due(nowMs: number, limit: number): Promise<readonly QueuedMail[]> {
    const rows = await this.#access
      .reading()
      .selectFrom('mails')
      .select(['id', 'sealed', 'created_at_ms', 'tries'])
      .where('next_try_at_ms', '<=', nowMs)
      .orderBy('next_try_at_ms')
      .limit(limit)
      .execute();
    return rows.map(({ id, sealed, created_at_ms, tries }) => ({
      id,
      sealed,
      createdAtMs: created_at_ms,
      tries,
    }));
  }

  /** Sent, or given up. */
  async remove(id: number, nowMs: number): Promise<void> {
    await this.#access.act(nowMs, async ({ tx }) => {
      await tx.deleteFrom('mails').where('id', '=', id).execute();
    });
  }

  /** Keeps it from others until then. False: somebody else has it. */
  async claim(id: number, untilMs: number, nowMs: number): Promise<boolean> {
    return this.#access.act(nowMs, async ({ tx }) => {
      const { numUpdatedRows } = await tx
        .updateTable('mails')
        .set({ next_try_at_ms: untilMs })
        .where('id', '=', id)
        .where('next_try_at_ms', '<=', nowMs)
        .executeTakeFirst();
      return numUpdatedRows === 1n;
    });
  }

  /** It was tried in vain. */
  async postpone(id: number, nextTryAtMs: number, nowMs: number): Promise<void> {
    await this.#access.act(nowMs, async ({ tx }) => {
      await tx
        .updateTable('mails')
        .set((set) => ({ next_try_at_ms: nextTryAtMs, tries: set('tries', '+', 1) }))
        .where('id', '=', id)
        .execute();
    });
  }
}
