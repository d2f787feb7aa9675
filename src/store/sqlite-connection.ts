// Statements on one connection to SQLite, prepared once, and its errors sorted into StoreError.

import type { DatabaseSync, SQLInputValue, StatementSync } from 'node:sqlite';
import type { CompiledQuery, DatabaseConnection, QueryResult } from 'kysely';
import { isDense } from './dense.ts';
import { StoreError, type StoreErrorKind } from './error.ts';

const STATEMENTS_KEPT = 256;

interface Prepared {
  readonly statement: StatementSync;
  /** Of the rows that it returns; empty: it returns none. */
  columns: readonly string[];
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
      const prepared = this.#prepare(query.sql);
      const { statement, writes } = prepared;
      if (writes) this.writes++;
      if (prepared.columns.length > 0) {
        const rows = statement.all(...parameters) as readonly unknown[] as readonly unknown[][];
        if (isDense(query)) return { rows: rows as Row[] };
        // SQLite notices that another process has changed a table when the statement runs.
        if (rows[0] && rows[0].length !== prepared.columns.length)
          prepared.columns = namesOf(statement);
        return { rows: rows.map((values) => toRow(prepared.columns, values) as Row) };
      }
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

  #prepare(sql: string): Prepared {
    let prepared = this.#statements.get(sql);
    if (!prepared) {
      if (this.#statements.size >= STATEMENTS_KEPT) this.#statements.clear();
      const statement = this.#db.prepare(sql);
      statement.setReturnArrays(true);
      const columns = namesOf(statement);
      prepared = { statement, columns, writes: !sql.startsWith('select') };
      this.#statements.set(sql, prepared);
    }
    return prepared;
  }
}

function namesOf(statement: StatementSync): readonly string[] {
  return statement.columns().map(({ name }) => name);
}

/** The runtime's own objects take longer to make, and to read: each is a table of its own. */
function toRow(columns: readonly string[], values: readonly unknown[]): Record<string, unknown> {
  const row: Record<string, unknown> = {};
  for (let i = 0; i < columns.length; i++) row[columns[i]!] = values[i];
  return row;
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
