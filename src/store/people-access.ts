// How the objects below the store get at the database: the store's own reading side and its acts,
// which note in the change feed what they changed.

import type { Act } from './changes.ts';
import type { Reader } from './schema.ts';

export interface StoreAccess {
  readonly reading: () => Reader;
  /** One transaction, on the disk when fulfilled. */
  readonly act: <T>(nowMs: number, act: (act: Act) => Promise<T>) => Promise<T>;
  /** The same; what is refused leaves nothing behind. */
  readonly actOrUndo: <T extends { readonly ok: boolean }>(
    nowMs: number,
    act: (act: Act) => Promise<T>,
  ) => Promise<T>;
}
