// Statements on one connection to SQLite, prepared once, and its errors sorted into StoreError.

import type { DatabaseSync, SQLInputValue, StatementSync } from 'node:sqlite';
import type { CompiledQuery, DatabaseConnection, QueryResult } from 'kysely';
import { isDense } from './dense.ts';
import { StoreError, type StoreErrorKind } from './error.ts';

const STATEMENTS_KEPT = 256;

interface Prepared {
  readonly statement: StatementSync;
  readonly returnsRows: boolean;
  readonly writes: boolean;
}

export class SqliteConnection implements DatabaseConnection {
  readonly #db: DatabaseSync;
  readonly #file: string;
  readonly #statements = new Map<string, Prepared>();
  /** How many statements were run that may have written something. */
  writes = 0;

  constructor(db: DatabaseSync, file: string) {
    this.#db = db;
    this.#file = file;
  }

  async executeQuery<Row>(query: CompiledQuery): Promise<QueryResult<Row>> {
    const parameters = query.parameters as SQLInputValue[];
    try {
      const { statement, returnsRows, writes } = this.#prepare(query.sql, isDense(query));
      if (writes) this.writes++;
      if (returnsRows) return { rows: statement.all(...parameters) as Row[] };
      const { changes, lastInsertRowid } = statement.run(...parameters);
      return {
        rows: [],
        numAffectedRows: BigInt(changes),
        insertId: BigInt(lastInsertRowid),
      };
    } catch (error) {
      throw storeError(error, this.#file);
    }
  }

  async *streamQuery<Row>(query: CompiledQuery): AsyncIterableIterator<QueryResult<Row>> {
    yield await this.executeQuery<Row>(query);
  }

  #prepare(sql: string, dense: boolean): Prepared {
    const key = dense ? `dense: ${sql}` : sql;
    let prepared = this.#statements.get(key);
    if (!prepared) {
      if (this.#statements.size >= STATEMENTS_KEPT) this.#statements.clear();
      const statement = this.#db.prepare(sql);
      if (dense) statement.setReturnArrays(true);
      const returnsRows = statement.columns().length > 0;
      prepared = { statement, returnsRows, writes: !sql.startsWith('select') };
      this.#statements.set(key, prepared);
    }
    return prepared;
  }
}

/** SQLite's primary result codes (sqlite.org/rescode.html) by what they mean to an operator. */
const KINDS: Readonly<Record<number, StoreErrorKind>> = {
  3: 'io', // PERM
  5: 'locked', // BUSY
  6: 'locked', // LOCKED
  8: 'readonly', // READONLY
  10: 'io', // IOERR
  11: 'corrupt', // CORRUPT
  13: 'full', // FULL
  14: 'io', // CANTOPEN
  19: 'conflict', // CONSTRAINT
  26: 'foreign', // NOTADB
};

export function storeError(error: unknown, file: string): StoreError {
  if (error instanceof StoreError) return error;
  const { code, errcode, message } = error as { code?: string; errcode?: number; message?: string };
  const kind =
    code === 'ERR_INVALID_STATE' ? 'closed' : (KINDS[(errcode ?? 0) & 0xff] ?? 'internal');
  return new StoreError(kind, `${file}: ${message ?? String(error)}`, { cause: error });
}
