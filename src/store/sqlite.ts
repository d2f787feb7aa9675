// SQLite through the runtime's own module: opening a file, one connection that writes and one that
// reads, errors sorted into StoreError. No query of the product is written here.
//
// What is read outside of a transaction is what was committed; when a transaction's promise is
// fulfilled it is on the disk (sqlite-commits.ts): an address that a client was promised must not go
// to another one after a power failure.

import { closeSync, openSync, statSync } from 'node:fs';
import { DatabaseSync } from 'node:sqlite';
import {
  type DatabaseConnection,
  type Dialect,
  type Driver,
  type Kysely,
  SqliteAdapter,
  SqliteIntrospector,
  SqliteQueryCompiler,
} from 'kysely';
import { StoreError } from './error.ts';
import { Commits, type Turn } from './sqlite-commits.ts';
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
}

/** Opens (and migrates) the database; rejects with StoreError. Close it with `store.close()`. */
export async function openSqliteStore(options: SqliteOptions): Promise<Store> {
  const dialect = (driver: Driver): Dialect => ({
    createAdapter: () => new SqliteAdapter(),
    createDriver: () => driver,
    createIntrospector: (db: Kysely<unknown>) => new SqliteIntrospector(db),
    createQueryCompiler: () => new SqliteQueryCompiler(),
  });
  return Store.open(
    {
      writing: dialect(new WritingDriver(options)),
      reading: dialect(new ReadingDriver(options.file)),
      // AUTOINCREMENT rather than a bare rowid: the number of a removed row is never used again.
      identity: (column) => column.primaryKey().autoIncrement(),
    },
    options.changesKept,
  );
}

const DEFAULT_PATIENCE_MS = 5000;

/** SQLite's own waiting blocks the event loop, so it is kept short and repeated from outside. */
const BLOCKING_WAIT_MS = 20;

class WritingDriver implements Driver {
  readonly #options: SqliteOptions;
  #commits: Commits | undefined;

  constructor(options: SqliteOptions) {
    this.#options = options;
  }

  async init(): Promise<void> {
    const { file, create, patienceMs = DEFAULT_PATIENCE_MS } = this.#options;
    prepareFile(file, create);
    let db: DatabaseSync | undefined;
    try {
      db = new DatabaseSync(file, { timeout: BLOCKING_WAIT_MS });
      this.#commits = new Commits(file, db, patienceMs);
      await this.#commits.configure();
    } catch (error) {
      if (db?.isOpen) db.close();
      throw storeError(error, file);
    }
  }

  async acquireConnection(): Promise<Turn> {
    return this.#commits!.takeTurn();
  }

  async releaseConnection(turn: Turn): Promise<void> {
    turn.end();
  }

  async beginTransaction(turn: Turn): Promise<void> {
    await this.#commits!.begin(turn);
  }

  async commitTransaction(turn: Turn): Promise<void> {
    await this.#commits!.commit(turn);
  }

  async rollbackTransaction(turn: Turn): Promise<void> {
    this.#commits!.rollBack(turn);
  }

  async destroy(): Promise<void> {
    await this.#commits?.close();
  }
}

/** Opens when the first thing is read: the writing driver has made the file by then. */
class ReadingDriver implements Driver {
  readonly #file: string;
  #db: DatabaseSync | undefined;
  #connection: SqliteConnection | undefined;

  constructor(file: string) {
    this.#file = file;
  }

  async init(): Promise<void> {
    try {
      this.#db = new DatabaseSync(this.#file, { readOnly: true, timeout: BLOCKING_WAIT_MS });
    } catch (error) {
      throw storeError(error, this.#file);
    }
    this.#connection = new SqliteConnection(this.#db, this.#file);
  }

  async acquireConnection(): Promise<DatabaseConnection> {
    return this.#connection!;
  }

  async releaseConnection(): Promise<void> {}

  async beginTransaction(): Promise<void> {
    throw new StoreError('internal', 'a transaction was begun where things are only read');
  }

  async commitTransaction(): Promise<void> {}

  async rollbackTransaction(): Promise<void> {}

  async destroy(): Promise<void> {
    if (this.#db?.isOpen) this.#db.close();
  }
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
