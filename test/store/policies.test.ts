// What tunnels and groups of users say of MTU, rates and ports: kept, read back, told to followers.

import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'node:test';
import type { Store } from '../../src/store/store.ts';
import type { Tunnel } from '../../src/store/tunnels.ts';
import { openStore } from './open-store.ts';
import { addLinks, addUser, NOW, opened, request } from './requests.ts';

let directory: string;
let store: Store;

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), 'sixway-policies-'));
  store = await openStore(`sqlite:${join(directory, 'sixway.db')}`);
});

afterEach(async () => {
  await store.close();
  rmSync(directory, { recursive: true });
});

describe('what tunnels and groups say of themselves', () => {
  const SILENT = {
    mtu: undefined,
    inBitsPerSecond: undefined,
    outBitsPerSecond: undefined,
    ports: undefined,
  };

  async function made(name: string): Promise<Tunnel> {
    const [pool = await addLinks(store)] = await store.pools();
    const userId = await addUser(store, name);
    return opened(await store.openTunnel(request([pool], { userId }), NOW));
  }

  it('is nothing at first, then what was set, and what is left out stays', async () => {
    const { id, slot, policy, group } = await made('ada');
    assert.deepEqual([policy, group], [SILENT, undefined]);
    await store.setTunnelPolicy(id, { mtu: 1400, inBitsPerSecond: 0, ports: 'open' }, NOW);
    await store.setTunnelPolicy(id, { mtu: undefined, outBitsPerSecond: 5e9 }, NOW);
    const expected = { ...SILENT, inBitsPerSecond: 0, outBitsPerSecond: 5e9, ports: 'open' };
    assert.deepEqual((await store.tunnel({ tunnelId: id }))?.policy, expected);
    assert.deepEqual((await store.slot(slot))?.policy, expected);
    assert.equal(await store.setTunnelPolicy(id + 1, { mtu: 1400 }, NOW), false);
  });

  it('comes from the one group that a user is in', async () => {
    const { id, slot, user } = await made('ada');
    const staff = await store.addGroup('staff', { mtu: 1400 }, NOW);
    assert.ok(staff !== 'name-taken');
    assert.equal(await store.addGroup('staff', {}, NOW), 'name-taken');
    assert.equal(await store.setUserGroup(user!.id, staff.id, NOW), true);
    assert.equal(await store.setGroupPolicy(staff.id, { ports: 'open' }, NOW), true);
    const policy = { ...SILENT, mtu: 1400, ports: 'open' };
    const group = { name: 'staff', policy };
    assert.deepEqual((await store.tunnel({ tunnelId: id }))?.group, group);
    assert.deepEqual((await store.slot(slot))?.group, group);
    assert.equal((await store.user('ada'))?.groupId, staff.id);
    assert.deepEqual(await store.groups(), [{ ...staff, policy, users: 1 }]);
    assert.equal(await store.setUserGroup(user!.id, undefined, NOW), true);
    assert.equal((await store.slot(slot))?.group, undefined);
  });

  it('has a group removed only when nobody is in it', async () => {
    const { user } = await made('ada');
    const staff = await store.addGroup('staff', {}, NOW);
    assert.ok(staff !== 'name-taken');
    await store.setUserGroup(user!.id, staff.id, NOW);
    assert.equal(await store.removeGroup(staff.id, NOW), 'in-use');
    await store.removeUser(user!.id, NOW);
    assert.equal(await store.removeGroup(staff.id, NOW), 'removed');
    assert.equal(await store.removeGroup(staff.id, NOW), 'no-such-group');
    assert.equal(await store.setGroupPolicy(staff.id, {}, NOW), false);
  });

  it('tells followers which slots to look at', async () => {
    const [ada, bob] = [await made('ada'), await made('bob')];
    const staff = await store.addGroup('staff', {}, NOW);
    assert.ok(staff !== 'name-taken');
    for (const { user } of [ada, bob]) await store.setUserGroup(user!.id, staff.id, NOW);
    const before = await store.latestChangeId();
    await store.setTunnelPolicy(ada.id, { mtu: 1400 }, NOW);
    await store.setGroupPolicy(staff.id, { mtu: 1300 }, NOW);
    await store.setUserGroup(bob.user!.id, undefined, NOW);
    const since = await store.changesSince(before);
    assert.deepEqual(since.complete && since.changes.map(({ kind, subject }) => [kind, subject]), [
      ['slot', ada.slot],
      ['group', staff.id],
      ['user', bob.user!.id],
    ]);
    const touched = async (whose: { userId: number } | { groupId: number }) =>
      (await store.touchedSlotsAfter(whose, 0, 10)).map(({ slot }) => slot);
    assert.deepEqual(await touched({ groupId: staff.id }), [ada.slot]);
    assert.deepEqual(await touched({ userId: bob.user!.id }), [bob.slot]);
  });
});
