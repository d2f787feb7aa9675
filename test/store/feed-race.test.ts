// A follower reads the feed while others write it. What is only new must not look like pruned.

import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { openSqliteStore } from '../../src/store/sqlite.ts';

test('a change that is written while the feed is read is not taken for pruned ones', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'sixway-feed-'));
  const store = await openSqliteStore({ file: join(directory, 'feed.db'), create: true });
  try {
    let seen = await store.latestChangeId();
    for (let round = 0; round < 50; round++) {
      const [since] = await Promise.all([
        store.changesSince(seen),
        store.addUser(`user-${round}`, { sealedHa1: 'x', sealedScram: 'x' }, 0),
      ]);
      assert.ok(since.complete, `round ${round}`);
      // Caught up again, so that the next read begins with nothing to read.
      seen = await store.latestChangeId();
    }
  } finally {
    await store.close();
    rmSync(directory, { recursive: true });
  }
});
