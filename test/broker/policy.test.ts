// What holds for a tunnel when it, its user's group, or neither says something; and that the kernel
// hears of it, whoever changed it.

import assert from 'node:assert/strict';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { effectivePolicy } from '../../src/broker/policy.ts';
import type { TunnelPolicy } from '../../src/store/policies.ts';
import { Fixture, refusedAs } from './fixture.ts';

const SILENT: TunnelPolicy = {
  mtu: undefined,
  inBitsPerSecond: undefined,
  outBitsPerSecond: undefined,
  ports: undefined,
};
const GROUP: TunnelPolicy = {
  mtu: 1400,
  inBitsPerSecond: 1e6,
  outBitsPerSecond: 0,
  ports: 'open',
};

describe('what holds for a tunnel', () => {
  const group = { name: 'staff', policy: GROUP };

  it('is the default when nobody says anything', () => {
    const nothing = {
      mtu: 0,
      rates: { inBitsPerSecond: 0, outBitsPerSecond: 0 },
      unfiltered: false,
    };
    assert.deepEqual(effectivePolicy({ policy: SILENT, group: undefined }), nothing);
    const silent = { name: 'staff', policy: SILENT };
    assert.deepEqual(effectivePolicy({ policy: SILENT, group: silent }), nothing);
  });

  it('is what the group says', () => {
    assert.deepEqual(effectivePolicy({ policy: SILENT, group }), {
      mtu: 1400,
      rates: { inBitsPerSecond: 1e6, outBitsPerSecond: 0 },
      unfiltered: true,
    });
  });

  it('is its own word before the group’s, no limit and closed ports too', () => {
    const policy: TunnelPolicy = {
      mtu: 1300,
      inBitsPerSecond: 0,
      outBitsPerSecond: 8000,
      ports: 'closed',
    };
    assert.deepEqual(effectivePolicy({ policy, group }), {
      mtu: 1300,
      rates: { inBitsPerSecond: 0, outBitsPerSecond: 8000 },
      unfiltered: false,
    });
  });
});

describe('the kernel hears', () => {
  let fixture: Fixture;

  beforeEach(async () => {
    fixture = await Fixture.make();
  });

  afterEach(async () => {
    await fixture.remove();
  });

  async function login(name: string) {
    const userId = await fixture.addUser(name);
    return { userId, ...(await fixture.login({ userId })) };
  }

  async function policyInKernel(slot: number) {
    await fixture.broker.followChanges();
    const { mtu, rates, unfiltered = false } = fixture.dataplane.attachment(slot)!;
    return { mtu, in: rates?.inBitsPerSecond, unfiltered };
  }

  it('of a change of the tunnel, of the group, and of who is in it', async () => {
    const { store, nowMs } = fixture;
    const { userId, slot, tunnelId } = await login('ada');
    const staff = await store.addGroup('staff', { mtu: 1400, inBitsPerSecond: 1e6 }, nowMs);
    assert.ok(staff !== 'name-taken');
    assert.deepEqual(await policyInKernel(slot), { mtu: 0, in: undefined, unfiltered: false });
    await store.setUserGroup(userId, staff.id, nowMs);
    assert.deepEqual(await policyInKernel(slot), { mtu: 1400, in: 1e6, unfiltered: false });
    await store.setGroupPolicy(staff.id, { inBitsPerSecond: undefined, ports: 'open' }, nowMs);
    assert.deepEqual(await policyInKernel(slot), { mtu: 1400, in: undefined, unfiltered: true });
    await store.setTunnelPolicy(tunnelId, { ports: 'closed', mtu: 1300 }, nowMs);
    assert.deepEqual(await policyInKernel(slot), { mtu: 1300, in: undefined, unfiltered: false });
    const { reconciled } = await fixture.restart();
    assert.deepEqual(reconciled, { put: 0, removed: 0, kept: 1 });
    await store.setUserGroup(userId, undefined, nowMs);
    await store.setTunnelPolicy(tunnelId, { mtu: undefined }, nowMs);
    assert.deepEqual(await policyInKernel(slot), { mtu: 0, in: undefined, unfiltered: false });
  });

  it('whose a slot is, with a client or without, and when it is closed', async () => {
    const { store, accounts, dataplane, broker } = fixture;
    const userId = await fixture.addUser('ada');
    const standing = async (slot: number) => {
      await broker.followChanges();
      return dataplane.standing(slot);
    };
    const offer = await fixture.open({ userId });
    assert.equal(await standing(offer.slot), 'down');
    assert.equal(await standing(offer.slot + 1), 'vacant');
    await broker.accept(offer.offerId);
    assert.equal(await standing(offer.slot), 'attached');
    await accounts.disable('ada');
    assert.equal(await standing(offer.slot), 'disabled');
    await accounts.enable('ada');
    assert.equal(await standing(offer.slot), 'down');
    await store.setTunnelState(offer.tunnelId, 'disabled', fixture.nowMs);
    assert.equal(await standing(offer.slot), 'disabled');
    await refusedAs(fixture.tryOpen({ userId }), 'tunnel-disabled');
    dataplane.remove(offer.slot);
    await fixture.restart();
    assert.equal(dataplane.standing(offer.slot), 'disabled');
    await store.closeTunnel(offer.tunnelId, fixture.nowMs);
    await fixture.broker.followChanges();
    assert.equal(dataplane.standing(offer.slot), 'vacant');
  });

  it('nothing that would keep a silent client’s tunnel up', async () => {
    const { store } = fixture;
    const { slot, tunnelId } = await login('ada');
    fixture.nowMs += 119_000;
    await store.setTunnelPolicy(tunnelId, { mtu: 1400 }, fixture.nowMs);
    await fixture.accounts.setSecret('ada');
    await fixture.broker.followChanges();
    fixture.nowMs += 1000;
    await fixture.broker.expire(fixture.nowMs);
    assert.equal(fixture.dataplane.standing(slot), 'down');
  });
});
