// SQLite through the runtime's own module: opening a file, one connection that writes and one that
// reads, errors sorted into StoreError. No query of the product is written here.
//
// What is read outside of a transaction is what was committed; when a transaction's promise is
// fulfilled it is on the disk (sqlite-commits.ts): an address that a client was promised must not go
// to another one after a power failure.

import { closeSync, openSync, statSync } from 'node:fs';
import { DatabaseSync } from 'node:sqlite';
import {
  type ColumnDefinitionBuilder,
  type CreateTableBuilder,
  type Driver,
  Kysely,
  SqliteAdapter,
  SqliteIntrospector,
  SqliteQueryCompiler,
  sql,
} from 'kysely';
import type { Backend } from './backend.ts';
import { StoreError } from './error.ts';
import { runPreparedOn } from './prepared.ts';
import type { Reader, Tables, Writer } from './schema.ts';
import { Commits } from './sqlite-commits.ts';
import { SqliteConnection, storeError } from './sqlite-connection.ts';
import { Store } from './store.ts';

export interface SqliteOptions {
  readonly file: string;
  /** Make the file when it is missing. A server that lost its database must not start empty. */
  readonly create: boolean;
  /** How long a write waits for another process's write; default 5000. */
  readonly patienceMs?: number | undefined;
  /** See {@link Store.open}. */
  readonly changesKept?: number | undefined;
  /** See {@link Store.open}. */
  readonly keepsPast?: boolean | undefined;
}

/** Opens (and migrates) the database; rejects with StoreError. Close it with `store.close()`. */
export async function openSqliteStore(options: SqliteOptions): Promise<Store> {
  const { file, create, patienceMs = DEFAULT_PATIENCE_MS } = options;
  prepareFile(file, create);
  const opened = new AsyncDisposableStack();
  try {
    const writing = new DatabaseSync(file, { timeout: BLOCKING_WAIT_MS });
    const commits = opened.adopt(new Commits(file, writing, patienceMs), (each) => each.close());
    await commits.configure();
    const reading = new DatabaseSync(file, { readOnly: true, timeout: BLOCKING_WAIT_MS });
    opened.defer(() => reading.close());
    const backend = new SqliteBackend(file, commits, reading, opened);
    return await Store.open(backend, options.changesKept, options.keepsPast);
  } catch (error) {
    await opened.disposeAsync();
    throw storeError(error, file);
  }
}

const DEFAULT_PATIENCE_MS = 5000;

/** SQLite's own waiting blocks the event loop, so it is kept short and repeated from outside. */
const BLOCKING_WAIT_MS = 20;

class SqliteBackend implements Backend {
  readonly reading: Reader;
  /** Over the connection that {@link Commits} hands out: for whoever has the turn, and nobody else. */
  readonly #writing: Writer;
  readonly #commits: Commits;
  readonly #opened: AsyncDisposableStack;

  constructor(file: string, commits: Commits, reading: DatabaseSync, opened: AsyncDisposableStack) {
    this.#commits = commits;
    this.#opened = opened;
    this.#writing = Object.assign(kyselyOver(commits.connection), { mayWrite: true as const });
    this.reading = kyselyOver(new SqliteConnection(reading, file));
  }

  async transaction<T>(act: (tx: Writer) => Promise<T>): Promise<T> {
    const endTurn = await this.#commits.takeTurn();
    let result: T;
    let committed: ReturnType<Commits['commit']>;
    try {
      await this.#commits.begin();
      try {
        result = await act(this.#writing);
      } catch (error) {
        this.#commits.rollBack();
        throw error;
      }
      committed = this.#commits.commit();
    } finally {
      endTurn();
    }
    await committed.onDisk;
    return result;
  }

  /** AUTOINCREMENT rather than a bare rowid: the number of a removed row is never used again. */
  identity(column: ColumnDefinitionBuilder): ColumnDefinitionBuilder {
    return column.primaryKey().autoIncrement();
  }

  keptByKey<T extends string>(table: CreateTableBuilder<T>): CreateTableBuilder<T> {
    return table.modifyEnd(sql`without rowid`);
  }

  async close(): Promise<void> {
    await this.#opened.disposeAsync();
  }
}

/** No driver of its own begins a transaction here, and there is nothing to wait for. */
function kyselyOver(connection: SqliteConnection): Kysely<Tables> {
  const unused = async () => {
    throw new StoreError('internal', 'a transaction was begun beside the store');
  };
  const driver: Driver = {
    init: async () => {},
    acquireConnection: async () => connection,
    releaseConnection: async () => {},
    beginTransaction: unused,
    commitTransaction: unused,
    rollbackTransaction: unused,
    destroy: async () => {},
  };
  const db = new Kysely<Tables>({
    dialect: {
      createAdapter: () => new SqliteAdapter(),
      createDriver: () => driver,
      createIntrospector: (each: Kysely<unknown>) => new SqliteIntrospector(each),
      createQueryCompiler: () => new SqliteQueryCompiler(),
    },
  });
  runPreparedOn(db, connection);
  return db;
}

/** SQLite would make the file readable by everybody; its side files take the mode from it. */
function prepareFile(file: string, create: boolean): void {
  if (!create && statSync(file, { throwIfNoEntry: false }) === undefined)
    throw new StoreError('missing', `there is no database at ${file}`);
  if (!create) return;
  try {
    closeSync(openSync(file, 'a', 0o600));
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new StoreError('io', `${file}: ${reason}`, { cause: error });
  }
}
