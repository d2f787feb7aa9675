// Users by the thousand: the same rows and changes as one at a time would leave.

import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'node:test';
import type { Store } from '../../src/store/store.ts';
import { openStore } from './open-store.ts';
import { addDelegations, addLinks, addUser, at, NOW, opened, request, sealed } from './requests.ts';

let directory: string;
let store: Store;

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), 'sixway-bulk-'));
  store = await openStore(`sqlite:${join(directory, 'sixway.db')}`);
});

afterEach(async () => {
  await store.close();
  rmSync(directory, { recursive: true });
});

describe('users by the thousand', () => {
  const many = (names: readonly string[], secret: string) =>
    names.map((name) => ({ name, ...sealed(`${secret} ${name}`) }));

  it('adds those who are missing, and gives the others secret and group', async () => {
    const ada = await addUser(store, 'b-01');
    const group = await store.addGroup('bench', {}, NOW);
    assert.ok(group !== 'name-taken');
    const before = await store.latestChangeId();
    const names = Array.from({ length: 1500 }, (_, i) => `b-${String(i).padStart(2, '0')}`);
    await store.putUsers(many(names, 'one'), group.id, NOW);
    await store.putUsers(many(names, 'two'), group.id, NOW);
    const found = await store.usersAfter('', 10_000);
    assert.equal(found.length, 1500);
    assert.ok(found.every(({ groupId }) => groupId === group.id));
    assert.equal((await store.user('b-01'))?.id, ada);
    assert.equal((await store.user('b-01'))?.sealedHa1, 'two b-01');
    const fed = await store.changesSince(before, 10_000);
    assert.ok(fed.complete);
    assert.equal(fed.changes.length, 3000);
    assert.deepEqual(
      new Set(fed.changes.map(({ subject }) => subject)),
      new Set(found.map(({ id }) => id)),
    );
  });

  it('removes those that are a prefix and digits, with what their tunnels hold', async () => {
    const links = await addLinks(store);
    const delegations = await addDelegations(store);
    await store.putUsers(many(['b-1', 'b-2', 'b-3', 'b-3x', 'b-x', 'c-1'], ''), undefined, NOW);
    const { id } = (await store.user('b-2'))!;
    const tunnel = opened(
      await store.openTunnel(
        request([links], {
          userId: id,
          delegationPools: [{ ...delegations, positionCount: 16 }],
          requestedPrefixLength: 56,
        }),
        NOW,
      ),
    );
    const attach = { tunnelId: tunnel.id, userId: id, client: at('192.0.2.1', 4000) };
    await store.attachTunnel(
      {
        ...attach,
        encapsulation: 'v6udpv4',
        proxy: false,
        displaces: 'any',
        maxAtAddress: undefined,
        expiresAtMs: undefined,
      },
      NOW,
    );
    const before = await store.latestChangeId();
    const first = await store.removeNumberedUsers('b-', '', 2, NOW);
    assert.deepEqual(first, { removed: 2, last: 'b-2' });
    assert.deepEqual(await store.removeNumberedUsers('b-', 'b-2', 9, NOW), {
      removed: 1,
      last: 'b-3x',
    });
    const after = await store.removeNumberedUsers('b-', 'b-3x', 9, NOW);
    assert.deepEqual(after, { removed: 0, last: undefined });
    const left = await store.usersAfter('', 9);
    assert.deepEqual(
      left.map(({ name }) => name),
      ['b-3x', 'b-x', 'c-1'],
    );
    assert.equal(await store.tunnel({ tunnelId: tunnel.id }), undefined);
    assert.deepEqual(
      (await store.poolUsage()).map(({ leased }) => leased),
      [0, 0],
    );
    const fed = await store.changesSince(before);
    assert.ok(fed.complete);
    assert.deepEqual(
      fed.changes.map(({ kind }) => kind),
      ['slot', 'owner', 'user', 'user', 'user'],
    );
  });
});
