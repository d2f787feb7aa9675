// What the store says when its file is missing, foreign, newer, damaged, locked, lost or the disk is
// full; and what is left after a process was killed while it wrote.

import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, renameSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { StoreError, type StoreErrorKind } from '../../src/store/error.ts';
import { openSqliteStore } from '../../src/store/sqlite.ts';
import { addLinks, addUser, NOW, opened, request } from './requests.ts';

describe('the SQLite store in trouble', () => {
  let directory: string;
  let file: string;

  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'sixway-store-'));
    file = join(directory, 'sixway.db');
  });

  afterEach(() => {
    rmSync(directory, { recursive: true });
  });

  const open = (patienceMs = 100) => openSqliteStore({ file, create: false, patienceMs });
  const create = () => openSqliteStore({ file, create: true, patienceMs: 100 });
  const fails = (act: () => Promise<unknown>, kind: StoreErrorKind) =>
    assert.rejects(act, (error: unknown) => {
      assert.ok(error instanceof StoreError, String(error));
      assert.equal(error.kind, kind, error.message);
      return true;
    });

  it('does not start empty when the file is missing', async () => {
    await fails(open, 'missing');
    assert.equal(statSync(file, { throwIfNoEntry: false }), undefined);
  });

  it('says that a directory is missing', async () => {
    file = join(directory, 'no', 'such', 'directory', 'sixway.db');
    await fails(create, 'io');
  });

  it('lets only its owner read the file and its side files', async () => {
    const store = await create();
    await addUser(store, 'ada');
    for (const suffix of ['', '-wal', '-shm'])
      assert.equal(statSync(file + suffix).mode & 0o777, 0o600, suffix);
    await store.close();
  });

  it('refuses a file that is no database', async () => {
    writeFileSync(file, 'Dear diary, today I wrote a database engine of my own.\n'.repeat(100));
    await fails(open, 'foreign');
  });

  it('refuses another program’s database and adds nothing to it', async () => {
    const db = new DatabaseSync(file);
    db.exec('create table songs (title text)');
    db.close();
    await fails(create, 'foreign');
    const after = new DatabaseSync(file);
    const tables = after.prepare('select name from sqlite_schema').all();
    after.close();
    assert.deepEqual(
      tables.map((table) => table.name),
      ['songs'],
    );
  });

  it('refuses a database of a newer version', async () => {
    await (await create()).close();
    const db = new DatabaseSync(file);
    db.exec('update schema_version set version = version + 1');
    db.close();
    await fails(open, 'newer');
  });

  it('opens a database again with all that was in it', async () => {
    const first = await create();
    const userId = await addUser(first, 'ada');
    const pool = await addLinks(first);
    const tunnel = opened(await first.openTunnel(request([pool], { userId }), NOW));
    await first.close();
    const second = await open();
    assert.deepEqual(await second.tunnel({ userId }), tunnel);
    await second.close();
  });

  it('is made once when several processes meet on a fresh file', async () => {
    const stores = await Promise.all(
      Array.from({ length: 4 }, () => openSqliteStore({ file, create: true })),
    );
    await addUser(stores[0]!, 'ada');
    for (const store of stores) {
      assert.equal((await store.user('ada'))?.name, 'ada');
      await store.close();
    }
  });

  it('gives up on a locked database after its patience, and works again after', async () => {
    const store = await create();
    const other = new DatabaseSync(file);
    other.exec('begin immediate');
    await fails(() => addUser(store, 'ada'), 'locked');
    assert.equal(await store.user('ada'), undefined);
    other.exec('rollback');
    other.close();
    await addUser(store, 'ada');
    await store.close();
  });

  it('lets the event loop run while it waits for another process’s lock', async () => {
    const store = await openSqliteStore({ file, create: true, patienceMs: 5000 });
    const other = new DatabaseSync(file);
    other.exec('begin immediate');
    setTimeout(() => other.exec('commit'), 200);
    await addUser(store, 'ada');
    other.close();
    await store.close();
  });

  it('notices before it writes that its file was removed or replaced', async () => {
    const store = await create();
    await addUser(store, 'ada');
    renameSync(file, `${file}.away`);
    await fails(() => addUser(store, 'bob'), 'lost');
    await (await create()).close();
    await fails(() => addUser(store, 'bob'), 'lost');
    await store.close();
  });

  it('tells damage', async () => {
    const store = await create();
    const pool = await addLinks(store);
    for (let i = 0; i < 200; i++) {
      const userId = await addUser(store, `somebody with a long name, number ${i}`);
      opened(await store.openTunnel(request([pool], { userId }), NOW));
    }
    await store.close();
    const db = new DatabaseSync(file);
    const { size } = db.prepare('select page_size as size from pragma_page_size').get() as {
      size: number;
    };
    db.close();
    const pages = statSync(file).size / size;
    truncateSync(file, size * Math.floor(pages / 2));
    await fails(async () => {
      const damaged = await open();
      try {
        await damaged.usersAfter('', 1000);
        await damaged.tunnelsAfter(0, 1000);
        await addUser(damaged, 'one more');
      } finally {
        await damaged.close();
      }
    }, 'corrupt');
  });

  it('says that it was closed', async () => {
    const store = await create();
    await store.close();
    await fails(() => store.user('ada'), 'closed');
    await store.close();
  });

  it('says that the disk is full, keeps what it promised, and goes on when there is room', async () => {
    const mount = join(directory, 'small');
    execFileSync('mkdir', [mount]);
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=2m', 'sixway-test', mount]);
    try {
      file = join(mount, 'sixway.db');
      const store = await create();
      const ballast = join(mount, 'ballast');
      const names: string[] = [];
      writeFileSync(ballast, Buffer.alloc(1024 * 1024));
      await fails(async () => {
        for (let i = 0; i < 100_000; i++) {
          const name = `user ${i} ${'x'.repeat(200)}`;
          await addUser(store, name);
          names.push(name);
        }
      }, 'full');
      assert.ok(names.length > 10);
      rmSync(ballast);
      await addUser(store, 'zoe');
      await store.close();
      const again = await open();
      const found = (await again.usersAfter('', 1_000_000)).map((user) => user.name);
      await again.close();
      assert.deepEqual(new Set(found), new Set([...names, 'zoe']));
    } finally {
      // Lazily, since a failure above leaves the store open.
      execFileSync('umount', ['-l', mount]);
    }
  });

  it('loses no answered login and leaks no position when it is killed while writing', async () => {
    const store = await create();
    await addLinks(store);
    await store.close();
    const answered = new Set<string>();
    for (let round = 0; round < 5; round++) {
      const worker = spawn(
        process.execPath,
        [join(import.meta.dirname, 'hammer-worker.ts'), `sqlite:${file}`, `r${round}`, '100000'],
        { stdio: ['ignore', 'pipe', 'inherit'] },
      );
      let output = '';
      worker.stdout.setEncoding('utf8').on('data', (text: string) => {
        output += text;
      });
      const closed = once(worker, 'close');
      await Promise.race([once(worker.stdout, 'data'), closed]);
      setTimeout(() => worker.kill('SIGKILL'), 40 + round * 17);
      await closed;
      // The last line may be half a line.
      for (const line of output.split('\n').slice(0, -1)) answered.add(line);
    }
    const again = await open(60_000);
    const tunnels = await again.tunnelsAfter(0, 1_000_000);
    const found = new Set(tunnels.map((tunnel) => `${tunnel.user?.name} ${tunnel.slot}`));
    for (const line of answered) assert.ok(found.has(line), `${line} was answered and is gone`);
    assert.equal(new Set(tunnels.map((tunnel) => tunnel.slot)).size, tunnels.length);
    const [usage] = await again.poolUsage();
    assert.equal(usage?.leased, tunnels.length);
    await again.close();
    const db = new DatabaseSync(file);
    assert.deepEqual(
      db
        .prepare('pragma integrity_check')
        .all()
        .map((row) => row.integrity_check),
      ['ok'],
    );
    assert.deepEqual(db.prepare('pragma foreign_key_check').all(), []);
    const next = db.prepare('select next_position as next from pools').get() as { next: number };
    assert.equal(next.next, tunnels.length + 1, 'a position was passed over');
    db.close();
  });
});
