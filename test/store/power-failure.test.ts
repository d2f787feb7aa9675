// What a power failure leaves is what the disk was waited for. A disk is played here that keeps, at each
// fdatasync, the files as they were when it began; whatever the store has promised must be in the last
// of these copies whose fdatasync had returned by then. (kill -9 alone loses nothing that was written.)

import assert from 'node:assert/strict';
import fs, { copyFileSync, mkdtempSync, readlinkSync, rmSync } from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { after, mock, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { formatIpv6Prefix } from '../../src/address.ts';
import type { StoreError } from '../../src/store/error.ts';
import { addDelegations, addLinks, addUser, NOW, opened, request } from './requests.ts';

const directory = mkdtempSync(join(tmpdir(), 'sixway-power-'));
after(() => rmSync(directory, { recursive: true }));

/** What becomes of the next fdatasync of a WAL; by default it takes a moment and goes well. */
let disk: (done: (error: Error | null) => void) => void = (done) => setTimeout(done, 3, null);
/** Of how many copies the disk can be sure. */
let copies = 0;
let durable = 0;

const fdatasync = fs.fdatasync;
mock.method(fs, 'fdatasync', (fd: number, done: (error: Error | null) => void) => {
  const path = readlinkSync(`/proc/self/fd/${fd}`);
  if (!path.endsWith('-wal')) return fdatasync(fd, done);
  const copy = ++copies;
  copyFileSync(path, `${copyAt(copy)}-wal`);
  copyFileSync(path.slice(0, -'-wal'.length), copyAt(copy));
  disk((error) => {
    if (!error) durable = copy;
    done(error);
  });
});
syncBuiltinESMExports();
// Only now, so that it finds this fdatasync.
const { openSqliteStore } = await import('../../src/store/sqlite.ts');

function copyAt(number: number): string {
  return join(directory, `copy-${number}.db`);
}

/** A store with pools and so many users. */
async function storeWith(name: string, users: number) {
  const store = await openSqliteStore({ file: join(directory, name), create: true });
  const links = await addLinks(store);
  const delegations = await addDelegations(store);
  const names = Array.from({ length: users }, (_, index) => `user ${index}`);
  const userIds = await Promise.all(names.map((each) => addUser(store, each)));
  const open = async (userId: number) =>
    opened(
      await store.openTunnel(
        request([links], { userId, delegationPools: [delegations], requestedPrefixLength: 56 }),
        NOW,
      ),
    );
  return { store, userIds, open };
}

test('a promise is in what the disk was waited for, however many are made at once', async () => {
  const { store, userIds, open } = await storeWith('many.db', 300);
  const promised: { readonly userId: number; readonly link: string; readonly copy: number }[] = [];
  const logins = userIds.map(async (userId, index) => {
    await sleep(4 * index);
    const { link } = await open(userId);
    promised.push({ userId, link: formatIpv6Prefix(link), copy: durable });
  });
  await Promise.all(logins);
  await store.close();
  const used = [...new Set(promised.map(({ copy }) => copy))];
  assert.ok(used.length > 5 && used.length < promised.length, `${used.length} commits`);
  for (const copy of used) {
    const db = new DatabaseSync(copyAt(copy));
    const held = db.prepare(
      `select position from leases join tunnels on tunnels.id = tunnel_id
        where user_id = ? and purpose = 'link'`,
    );
    for (const { userId, link } of promised.filter((each) => each.copy === copy)) {
      const position = Number(held.get(userId)?.position);
      assert.equal(
        `2001:db8:0:${position.toString(16)}::/64`,
        link,
        `user ${userId} after a failure`,
      );
    }
    db.close();
  }
});

test('what is committed and not on the disk is not promised', async (t) => {
  const { store, userIds, open } = await storeWith('slow.db', 1);
  t.after(() => store.close());
  const [userId = 0] = userIds;
  const { promise: asked, resolve: ask } = Promise.withResolvers<() => void>();
  t.after(withDisk((done) => ask(() => done(null))));
  let fulfilled = false;
  const login = open(userId).then((tunnel) => {
    fulfilled = true;
    return tunnel;
  });
  const finish = await asked;
  await sleep(30);
  const committed = await store.tunnel({ userId });
  const wasFulfilled = fulfilled;
  finish();
  assert.ok(committed);
  assert.equal(wasFulfilled, false);
  assert.equal((await login).user?.id, userId);
});

test('a disk that fails is not promised by either', async (t) => {
  const { store, userIds, open } = await storeWith('broken.db', 1);
  t.after(() => store.close());
  t.after(withDisk((done) => done(Object.assign(new Error('i/o error'), { code: 'EIO' }))));
  await assert.rejects(open(userIds[0]!), (error: StoreError) => error.kind === 'io');
});

/** Returns what brings back the one before. */
function withDisk(other: typeof disk): () => void {
  const before = disk;
  disk = other;
  return () => {
    disk = before;
  };
}
