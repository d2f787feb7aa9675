// What a database product must offer the store. Whatever it throws is a StoreError.

import type { ColumnDefinitionBuilder, CreateTableBuilder } from 'kysely';
import type { Reader, Writer } from './schema.ts';

/** How this database numbers the rows of a table; a number is never given twice. */
export type IdentityColumn = (column: ColumnDefinitionBuilder) => ColumnDefinitionBuilder;

export interface Backend {
  /** Shows what was committed, and waits for nobody. */
  readonly reading: Reader;
  readonly identity: IdentityColumn;
  /** Keeps the rows of a table in the order of its primary key, where the database can. */
  readonly keptByKey: <T extends string>(table: CreateTableBuilder<T>) => CreateTableBuilder<T>;
  /**
   * Undone when `act` throws. When fulfilled it is on the disk: several may share the wait, so begin
   * the next before this one is done.
   */
  transaction<T>(act: (tx: Writer) => Promise<T>): Promise<T>;
  /** Lets what is under way end. */
  close(): Promise<void>;
}

/** What a part of the store with tables of its own works on. */
export interface Room {
  reading(): Reader;
  /** See {@link Backend.transaction}. */
  writing<T>(write: (tx: Writer) => Promise<T>): Promise<T>;
}
