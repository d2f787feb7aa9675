// The one exception of the store: what went wrong with the database, as a closed set of kinds.
// Expected outcomes of the store's methods (a name that is taken, a full pool) are values instead.
// Knows no database product; each product's own file sorts its errors into these kinds.

export type StoreErrorKind =
  /** There is no database file, and it was not asked to make one. */
  | 'missing'
  /** The file is no database, or the database of another program. */
  | 'foreign'
  /** The schema was written by a newer version of this program. */
  | 'newer'
  /** The database's contents are damaged. */
  | 'corrupt'
  /** The file was removed or replaced while it was open: writes would go nowhere. */
  | 'lost'
  /** Another process held the write lock for longer than the patience allows. */
  | 'locked'
  /** No room on the disk. */
  | 'full'
  /** The file or the disk may not be written to. */
  | 'readonly'
  /** The operating system failed to read, write or open. */
  | 'io'
  /** A uniqueness or reference rule of the schema stopped a write. */
  | 'conflict'
  /** The store was closed before. */
  | 'closed'
  /** A fault of this program: SQL that the database does not take. */
  | 'internal';

/** Thrown (or the reason of a rejected promise) by every method of the store; nothing was written. */
export class StoreError extends Error {
  override readonly name = 'StoreError';
  readonly kind: StoreErrorKind;

  constructor(kind: StoreErrorKind, message: string, options?: ErrorOptions) {
    super(message, options);
    this.kind = kind;
  }
}
