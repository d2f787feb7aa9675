// Transactions that share a commit: what they may see of each other, what becomes of the others when one
// fails, that none is done before it is on the disk, and that the WAL does not grow without end.

import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import type { StoreError } from '../../src/store/error.ts';
import { openSqliteStore } from '../../src/store/sqlite.ts';
import { Commits } from '../../src/store/sqlite-commits.ts';
import { addLinks, addUser, at, NOW, request } from './requests.ts';

describe('shared commits', () => {
  let directory: string;
  let file: string;
  let commits: Commits;
  let reading: DatabaseSync;
  /** What the disk is asked for and has not done yet. */
  let syncs: PromiseWithResolvers<void>[];
  /** Whether the disk does at once what it is asked for. */
  let isFast: boolean;

  beforeEach(async () => {
    directory = mkdtempSync(join(tmpdir(), 'sixway-commits-'));
    file = join(directory, 'test.db');
    syncs = [];
    isFast = false;
    commits = new Commits(file, new DatabaseSync(file), 1000, () => {
      const asked = Promise.withResolvers<void>();
      if (isFast) asked.resolve();
      else syncs.push(asked);
      return asked.promise;
    });
    await commits.configure();
    const made = transaction('create table notes (text not null)');
    await until(() => syncs.length === 1);
    syncs.shift()!.resolve();
    await made;
    reading = new DatabaseSync(file, { readOnly: true });
  });

  afterEach(async () => {
    reading.close();
    isFast = true;
    for (const asked of syncs) asked.resolve();
    await commits.close();
    rmSync(directory, { recursive: true });
  });

  async function transaction(sql: string): Promise<void> {
    const endTurn = await commits.takeTurn();
    let committed: ReturnType<Commits['commit']> | undefined;
    try {
      await commits.begin();
      try {
        await commits.connection.executeQuery({ sql, parameters: [] } as never);
        committed = commits.commit();
      } catch (error) {
        commits.rollBack();
        throw error;
      }
    } finally {
      endTurn();
    }
    await committed.onDisk;
  }

  const note = (text: string) => transaction(`insert into notes values (${text})`);
  const seen = () =>
    reading
      .prepare('select text from notes')
      .all()
      .map(({ text }) => text);

  async function until(holds: () => boolean): Promise<void> {
    for (let turns = 0; !holds(); turns++) {
      assert.ok(turns < 1000, 'it does not come about');
      await turn();
    }
  }

  async function isDone(promise: Promise<unknown>): Promise<boolean> {
    let done = false;
    const mark = () => {
      done = true;
    };
    promise.then(mark, mark);
    for (let turns = 0; turns < 10; turns++) await turn();
    return done;
  }

  it('does not call a transaction done before it is on the disk', async () => {
    const first = note("'a'");
    await until(() => syncs.length === 1);
    assert.deepEqual(seen(), ['a']);
    assert.equal(await isDone(first), false);
    syncs.shift()!.resolve();
    await first;
  });

  it('commits together what comes while the disk is busy, and syncs it once', async () => {
    const first = note("'a'");
    await until(() => syncs.length === 1);
    const others = ["'b'", "'c'", "'d'"].map(note);
    // They are not the first one's: its sync may have begun before they were written.
    assert.equal(await isDone(others[0]!), false);
    assert.deepEqual(seen(), ['a']);
    syncs.shift()!.resolve();
    await first;
    await until(() => syncs.length === 1);
    assert.deepEqual(seen(), ['a', 'b', 'c', 'd']);
    assert.equal(await isDone(others[2]!), false);
    syncs.shift()!.resolve();
    await Promise.all(others);
    assert.equal(syncs.length, 0);
  });

  it('undoes one that fails, alone and at once', async () => {
    const all = [note("'a'"), note('null'), note("'b'")] as const;
    await assert.rejects(all[1], (error: StoreError) => error.kind === 'conflict');
    await until(() => syncs.length === 1);
    syncs.shift()!.resolve();
    await Promise.all([all[0], all[2]]);
    assert.deepEqual(seen(), ['a', 'b']);
  });

  it('says so to all of them when the disk fails', async () => {
    const all = [note("'a'"), note("'b'")];
    for (const each of all) each.catch(() => {});
    await until(() => syncs.length === 1);
    syncs.shift()!.reject(new Error('EIO'));
    for (const each of all) await assert.rejects(each, (error: StoreError) => error.kind === 'io');
    const later = note("'c'");
    await until(() => syncs.length === 1);
    syncs.shift()!.resolve();
    await later;
  });

  it('asks the disk for nothing when nothing was written', async () => {
    await transaction('select 1');
    assert.equal(syncs.length, 0);
  });

  it('lets what is under way end when it is closed', async () => {
    const first = note("'a'");
    await until(() => syncs.length === 1);
    const second = note("'b'");
    isFast = true;
    const closed = commits.close();
    syncs.shift()!.resolve();
    await Promise.all([first, second, closed]);
    assert.deepEqual(seen(), ['a', 'b']);
  });
});

describe('the WAL', () => {
  it('begins anew under load that never ends', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'sixway-commits-'));
    const file = join(directory, 'sixway.db');
    const store = await openSqliteStore({ file, create: true });
    const links = [await addLinks(store)];
    const userIds = await Promise.all(
      Array.from({ length: 200 }, (_, i) => addUser(store, `user ${i}`)),
    );
    let written = 0;
    await Promise.all(
      userIds.map(async (userId, index) => {
        const client = at('192.0.2.1', index + 1);
        const opened = await store.openTunnel(request(links, { userId, client }), NOW);
        assert.ok(opened.ok);
        const tunnelId = opened.tunnel.id;
        for (let round = 0; round < 200; round++) {
          const asked = { tunnelId, userId, encapsulation: 'v6udpv4', proxy: false } as const;
          const place = at('192.0.2.1', 1 + index + 200 * (round % 2));
          const rest = {
            displaces: 'any',
            maxAtAddress: undefined,
            expiresAtMs: undefined,
          } as const;
          assert.ok((await store.attachTunnel({ ...asked, ...rest, client: place }, NOW)).ok);
          written++;
        }
      }),
    );
    assert.equal(written, 40_000);
    const megabytes = statSync(`${file}-wal`).size / 1e6;
    assert.ok(megabytes < 32, `${megabytes} MB of WAL`);
    await store.close();
    rmSync(directory, { recursive: true });
  });
});
