// SQLite through the runtime's own module: opening a file, one connection, errors sorted into
// StoreError. The only file that knows SQLite; no query of the product is written here.
//
// Every commit is on the disk before it is answered (WAL with synchronous=FULL): an address that a
// client was promised must not go to another one after a power failure.

import { closeSync, openSync, statSync } from 'node:fs';
import { DatabaseSync, type SQLInputValue, type StatementSync } from 'node:sqlite';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  type CompiledQuery,
  type DatabaseConnection,
  type Dialect,
  type Driver,
  type Kysely,
  type QueryResult,
  SqliteAdapter,
  SqliteIntrospector,
  SqliteQueryCompiler,
} from 'kysely';
import { isDense } from './dense.ts';
import { StoreError, type StoreErrorKind } from './error.ts';
import { Store } from './store.ts';

export interface SqliteOptions {
  readonly file: string;
  /** Make the file when it is missing. A server that lost its database must not start empty. */
  readonly create: boolean;
  /** How long a write waits for another process's write; default 5000. */
  readonly patienceMs?: number | undefined;
  /** See {@link Store.open}. */
  readonly changesKept?: number | undefined;
}

/** Opens (and migrates) the database; rejects with StoreError. Close it with `store.close()`. */
export async function openSqliteStore(options: SqliteOptions): Promise<Store> {
  const driver = new SqliteDriver(options);
  const dialect: Dialect = {
    createAdapter: () => new SqliteAdapter(),
    createDriver: () => driver,
    createIntrospector: (db: Kysely<unknown>) => new SqliteIntrospector(db),
    createQueryCompiler: () => new SqliteQueryCompiler(),
  };
  // AUTOINCREMENT rather than a bare rowid: the number of a removed row is never used again.
  return Store.open(
    { dialect, identity: (column) => column.primaryKey().autoIncrement() },
    options.changesKept,
  );
}

const DEFAULT_PATIENCE_MS = 5000;

/** SQLite's own waiting blocks the event loop, so it is kept short and repeated from outside. */
const BLOCKING_WAIT_MS = 20;

const STATEMENTS_KEPT = 256;

class SqliteDriver implements Driver {
  readonly #options: SqliteOptions;
  #db: DatabaseSync | undefined;
  #connection: SqliteConnection | undefined;
  #inode: bigint | undefined;
  /** Settles when the present user of the one connection has released it. */
  #queue: Promise<void> = Promise.resolve();
  #release: (() => void) | undefined;

  constructor(options: SqliteOptions) {
    this.#options = options;
  }

  async init(): Promise<void> {
    const { file, create } = this.#options;
    prepareFile(file, create);
    try {
      this.#db = new DatabaseSync(file, { timeout: BLOCKING_WAIT_MS });
      this.#connection = new SqliteConnection(this.#db);
      const db = this.#db;
      await this.#retryWhileLocked(() =>
        db.exec('pragma journal_mode = wal; pragma synchronous = full; pragma foreign_keys = on'),
      );
      this.#inode = inodeOf(file);
    } catch (error) {
      if (this.#db?.isOpen) this.#db.close();
      throw storeError(error, file);
    }
  }

  async acquireConnection(): Promise<DatabaseConnection> {
    const before = this.#queue;
    let release = () => {};
    this.#queue = new Promise((resolve) => {
      release = resolve;
    });
    await before;
    this.#release = release;
    return this.#connection!;
  }

  async releaseConnection(): Promise<void> {
    this.#release?.();
  }

  /** The write lock at once: a lock taken halfway could fail where nothing can be repeated. */
  async beginTransaction(): Promise<void> {
    const { file } = this.#options;
    if (inodeOf(file) !== this.#inode)
      throw new StoreError('lost', `${file} was removed or replaced while it was in use`);
    await this.#retryWhileLocked(() => this.#db!.exec('begin immediate'));
  }

  async commitTransaction(): Promise<void> {
    this.#exec('commit');
  }

  async rollbackTransaction(): Promise<void> {
    // A full disk makes SQLite roll back by itself.
    if (this.#db?.isTransaction) this.#exec('rollback');
  }

  async destroy(): Promise<void> {
    if (this.#db?.isOpen) this.#db.close();
  }

  #exec(sql: string): void {
    try {
      this.#db!.exec(sql);
    } catch (error) {
      throw storeError(error, this.#options.file);
    }
  }

  async #retryWhileLocked(act: () => void): Promise<void> {
    const { file, patienceMs = DEFAULT_PATIENCE_MS } = this.#options;
    const deadlineMs = performance.now() + patienceMs;
    for (;;) {
      try {
        return act();
      } catch (error) {
        const sorted = storeError(error, file);
        if (sorted.kind !== 'locked' || performance.now() > deadlineMs) throw sorted;
      }
      // A random pause, so that waiting processes do not knock in step.
      await sleep(1 + Math.random() * 10);
    }
  }
}

class SqliteConnection implements DatabaseConnection {
  readonly #db: DatabaseSync;
  readonly #statements = new Map<string, StatementSync>();

  constructor(db: DatabaseSync) {
    this.#db = db;
  }

  async executeQuery<Row>(query: CompiledQuery): Promise<QueryResult<Row>> {
    const parameters = query.parameters as SQLInputValue[];
    try {
      const statement = this.#prepare(query.sql, isDense(query));
      if (statement.columns().length > 0) return { rows: statement.all(...parameters) as Row[] };
      const { changes, lastInsertRowid } = statement.run(...parameters);
      return {
        rows: [],
        numAffectedRows: BigInt(changes),
        insertId: BigInt(lastInsertRowid),
      };
    } catch (error) {
      throw storeError(error, 'the database');
    }
  }

  async *streamQuery<Row>(query: CompiledQuery): AsyncIterableIterator<QueryResult<Row>> {
    yield await this.executeQuery<Row>(query);
  }

  #prepare(sql: string, dense: boolean): StatementSync {
    const key = dense ? `dense: ${sql}` : sql;
    let statement = this.#statements.get(key);
    if (!statement) {
      if (this.#statements.size >= STATEMENTS_KEPT) this.#statements.clear();
      statement = this.#db.prepare(sql);
      if (dense) statement.setReturnArrays(true);
      this.#statements.set(key, statement);
    }
    return statement;
  }
}

/** SQLite would make the file readable by everybody; its side files take the mode from it. */
function prepareFile(file: string, create: boolean): void {
  if (!create && inodeOf(file) === undefined)
    throw new StoreError('missing', `there is no database at ${file}`);
  if (!create) return;
  try {
    closeSync(openSync(file, 'a', 0o600));
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new StoreError('io', `${file}: ${reason}`, { cause: error });
  }
}

function inodeOf(file: string): bigint | undefined {
  return statSync(file, { bigint: true, throwIfNoEntry: false })?.ino;
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

function storeError(error: unknown, file: string): StoreError {
  if (error instanceof StoreError) return error;
  const { code, errcode, message } = error as { code?: string; errcode?: number; message?: string };
  const kind =
    code === 'ERR_INVALID_STATE' ? 'closed' : (KINDS[(errcode ?? 0) & 0xff] ?? 'internal');
  return new StoreError(kind, `${file}: ${message ?? String(error)}`, { cause: error });
}
