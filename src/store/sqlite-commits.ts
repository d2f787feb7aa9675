// Who writes when, and when it is on the disk. Transactions run one after the other on the one
// connection; those that come while the disk is busy are committed together, each undone alone if it
// fails, and the disk is waited for outside of the event loop: a hundred logins cost one wait.
//
// SQLite itself is told not to wait (synchronous=NORMAL): in WAL mode a commit is then whole or not
// there after a power failure, and durable once the WAL is synced, which is done here before any of
// its transactions is called done. Knows no query.

import { close, fdatasync, fsyncSync, openSync, statSync } from 'node:fs';
import { dirname } from 'node:path';
import type { DatabaseSync, StatementSync } from 'node:sqlite';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { StoreError } from './error.ts';
import { Checkpoints } from './sqlite-checkpoints.ts';
import { SqliteConnection, storeError } from './sqlite-connection.ts';

const syncData = promisify(fdatasync);

/** Transactions that are committed together. */
interface Group {
  /** The connection's count when it began. */
  readonly writesBefore: number;
  readonly done: PromiseWithResolvers<void>;
}

export class Commits {
  readonly connection: SqliteConnection;
  readonly #file: string;
  readonly #db: DatabaseSync;
  readonly #patienceMs: number;
  readonly #syncData: (descriptor: number) => Promise<void>;
  readonly #checkpoints: Checkpoints;
  #savepoint: StatementSync | undefined;
  #release: StatementSync | undefined;
  #inode: bigint | undefined;
  #wal: number | undefined;
  /** Settles when the last caller that waits for a turn has had it. */
  #queue: Promise<void> = Promise.resolve();
  /** What is begun and not committed. */
  #group: Group | undefined;
  /** The group that the disk is waited for. */
  #syncing: Promise<void> | undefined;
  #closeIsDue = false;
  #checkpointing: Promise<void> | undefined;

  /** `sync` is fulfilled when what was written to the file is on the disk: fdatasync. */
  constructor(
    file: string,
    db: DatabaseSync,
    patienceMs: number,
    sync: (descriptor: number) => Promise<void> = syncData,
  ) {
    this.#file = file;
    this.#db = db;
    this.#patienceMs = patienceMs;
    this.#syncData = sync;
    this.connection = new SqliteConnection(db, file);
    this.#checkpoints = new Checkpoints(file);
  }

  async configure(): Promise<void> {
    await this.#retryWhileLocked(() =>
      this.#db.exec(`
        pragma journal_mode = wal; pragma synchronous = normal; pragma wal_autocheckpoint = 0;
        pragma foreign_keys = on
      `),
    );
    this.#inode = this.#inodeNow();
  }

  /** The connection is the caller's alone from when this is fulfilled until it calls the answer. */
  async takeTurn(): Promise<() => void> {
    const before = this.#queue;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#queue = promise;
    await before;
    return resolve;
  }

  /** The write lock at once: a lock taken halfway could fail where nothing can be repeated. */
  async begin(): Promise<void> {
    if (!this.#group) {
      if (this.#inodeNow() !== this.#inode)
        throw new StoreError('lost', `${this.#file} was removed or replaced while it was in use`);
      await this.#retryWhileLocked(() => this.#db.exec('begin immediate'));
      const { writes } = this.connection;
      this.#group = { writesBefore: writes, done: Promise.withResolvers() };
      // Those who wait are told; nobody may wait.
      this.#group.done.promise.catch(() => {});
      this.#closeSoon();
    }
    this.#savepoint ??= this.#db.prepare('savepoint act');
    this.#run(this.#savepoint);
  }

  /** Ends the transaction; the answer is fulfilled when it is on the disk. */
  commit(): { readonly onDisk: Promise<void> } {
    this.#release ??= this.#db.prepare('release act');
    this.#run(this.#release);
    return { onDisk: this.#group!.done.promise };
  }

  rollBack(): void {
    // A full disk makes SQLite roll back by itself, and not only this one.
    if (this.#db.isTransaction) this.#db.exec('rollback to act; release act');
    else this.#fail(new StoreError('full', `${this.#file}: the transaction could not be kept`));
  }

  async close(): Promise<void> {
    while (this.#group || this.#syncing) {
      await this.#closeGroup();
      await this.#syncing;
    }
    await this.#checkpointing;
    await this.#checkpoints.close();
    const wal = this.#wal;
    this.#wal = undefined;
    if (wal !== undefined) await promisify(close)(wal);
    if (this.#db.isOpen) this.#db.close();
  }

  /** When all that is at hand is done, and the disk has nothing to do for the group before. */
  #closeSoon(): void {
    if (this.#closeIsDue || this.#syncing) return;
    this.#closeIsDue = true;
    setImmediate(() => {
      this.#closeIsDue = false;
      void this.#closeGroup();
    });
  }

  async #closeGroup(): Promise<void> {
    const endTurn = await this.takeTurn();
    // Another one may have done it meanwhile, or is not through with the disk.
    if (this.#group && !this.#syncing) this.#commitGroup(this.#group);
    endTurn();
  }

  #commitGroup(group: Group): void {
    try {
      this.#db.exec('commit');
    } catch (error) {
      if (this.#db.isTransaction) this.#db.exec('rollback');
      this.#fail(storeError(error, this.#file));
      return;
    }
    this.#group = undefined;
    if (this.connection.writes === group.writesBefore) {
      group.done.resolve();
      return;
    }
    this.#syncing = this.#sync(group);
  }

  async #sync(group: Group): Promise<void> {
    try {
      await this.#syncData(this.#openWal());
      group.done.resolve();
    } catch (error) {
      group.done.reject(new StoreError('io', `${this.#file}: ${error}`, { cause: error }));
    }
    this.#syncing = undefined;
    if (this.#checkpoints.isDueAfter(this.connection.writes))
      this.#checkpointing = this.#checkpoint();
    if (this.#group) this.#closeSoon();
  }

  /** Most of it beside the work, the rest in a pause of it, so that the WAL can begin anew. */
  async #checkpoint(): Promise<void> {
    await this.#checkpoints.run('passive');
    const endTurn = await this.takeTurn();
    await this.#syncing;
    if (this.#group) this.#commitGroup(this.#group);
    await this.#syncing;
    await this.#checkpoints.run('restart');
    endTurn();
  }

  #fail(error: StoreError): void {
    this.#group?.done.reject(error);
    this.#group = undefined;
  }

  /** SQLite keeps one WAL file for as long as the database is open. */
  #openWal(): number {
    if (this.#wal === undefined) {
      this.#wal = openSync(`${this.#file}-wal`, 'r');
      const directory = openSync(dirname(this.#file), 'r');
      fsyncSync(directory);
      close(directory);
    }
    return this.#wal;
  }

  #run(statement: StatementSync): void {
    try {
      statement.run();
    } catch (error) {
      throw storeError(error, this.#file);
    }
  }

  #inodeNow(): bigint | undefined {
    return statSync(this.#file, { bigint: true, throwIfNoEntry: false })?.ino;
  }

  async #retryWhileLocked(act: () => void): Promise<void> {
    const deadlineMs = performance.now() + this.#patienceMs;
    for (;;) {
      try {
        return act();
      } catch (error) {
        const sorted = storeError(error, this.#file);
        if (sorted.kind !== 'locked' || performance.now() > deadlineMs) throw sorted;
      }
      // A random pause, so that waiting processes do not knock in step.
      await sleep(1 + Math.random() * 10);
    }
  }
}
