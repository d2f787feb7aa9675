// What ends by itself: silent tunnels, leases, offers' tunnels; and what must not.

import assert from 'node:assert/strict';
import { afterEach, beforeEach, describe, it } from 'node:test';
import type { OpenRequest } from '../../src/broker/broker.ts';
import { AWAY, Fixture, HOME, refusedAs } from './fixture.ts';

const DAY_MS = 86_400_000;

describe('in time', () => {
  let fixture: Fixture;

  beforeEach(async () => {
    fixture = await Fixture.make();
  });

  afterEach(async () => {
    await fixture.remove();
  });

  const tryOpen = (request: Partial<OpenRequest>) => fixture.tryOpen(request);
  const open = (request: Partial<OpenRequest>) => fixture.open(request);
  const login = (request: Partial<OpenRequest>) => fixture.login(request);

  it('takes a silent user’s tunnel down but keeps the addresses', async () => {
    const userId = await fixture.addUser('ada');
    const { slot } = await login({ userId });
    await fixture.broker.expire(fixture.nowMs + 119_999);
    assert.notEqual(fixture.dataplane.attachment(slot), undefined);
    await fixture.broker.expire(fixture.nowMs + 120_000);
    assert.equal(fixture.dataplane.attachment(slot), undefined);
    assert.equal((await fixture.store.tunnel({ userId }))?.slot, slot);
  });

  it('counts a login at the same endpoint as a sign of life', async () => {
    const userId = await fixture.addUser('ada');
    const { slot } = await login({ userId });
    fixture.nowMs += 100_000;
    await login({ userId });
    fixture.nowMs += 100_000;
    await fixture.broker.expire(fixture.nowMs);
    assert.notEqual(fixture.dataplane.attachment(slot), undefined);
  });

  it('does not blame the clients for the time in which the broker was away', async () => {
    const { slot } = await login({ userId: await fixture.addUser('ada') });
    fixture.nowMs += 3_600_000;
    await fixture.restart();
    await fixture.broker.expire(fixture.nowMs);
    assert.notEqual(fixture.dataplane.attachment(slot), undefined);
    await fixture.broker.expire(fixture.nowMs + 120_000);
    assert.equal(fixture.dataplane.attachment(slot), undefined);
  });

  it('closes an anonymous tunnel that never spoke within 24 s, one that did after silence', async () => {
    const { tunnelId, slot } = await login({});
    const spoke = await login({ client: AWAY });
    fixture.hearInKernel(spoke.slot);
    await fixture.broker.expire(fixture.nowMs + 23_999);
    assert.notEqual(fixture.dataplane.attachment(slot), undefined);
    await fixture.broker.expire(fixture.nowMs + 24_000);
    assert.equal(await fixture.store.tunnel({ tunnelId }), undefined);
    assert.equal(fixture.dataplane.attachment(slot), undefined);
    await fixture.broker.expire(fixture.nowMs + 74_000);
    assert.notEqual(await fixture.store.tunnel({ tunnelId: spoke.tunnelId }), undefined);
    await fixture.broker.expire(fixture.nowMs + 80_000);
    assert.equal(await fixture.store.tunnel({ tunnelId: spoke.tunnelId }), undefined);
  });

  it('keeps a user’s addresses for ever when nothing else is set', async () => {
    const userId = await fixture.addUser('ada');
    const before = await login({ userId, prefixLength: 56 });
    await fixture.broker.expire(fixture.nowMs + 120_000);
    await fixture.broker.expire(fixture.nowMs + 10 * 365 * DAY_MS);
    assert.deepEqual((await login({ userId, prefixLength: 56 })).prefix, before.prefix);
  });

  describe('with a lease of three days', () => {
    const withLease = async (days: number) => {
      await fixture.remove();
      fixture = await Fixture.make({ policy: { userLeaseSeconds: days * 86_400 } });
      return fixture.addUser('ada');
    };
    const pass = async (ms: number) => {
      fixture.nowMs += ms;
      await fixture.broker.expire(fixture.nowMs);
    };

    it('gives the addresses back three days after the client was there last', async () => {
      const userId = await withLease(3);
      const { tunnelId, slot } = await login({ userId, prefixLength: 56 });
      await pass(120_000);
      assert.equal(fixture.dataplane.attachment(slot), undefined);
      await pass(3 * DAY_MS - 1);
      assert.equal((await fixture.store.tunnel({ userId }))?.id, tunnelId);
      await pass(1);
      assert.equal(await fixture.store.tunnel({ userId }), undefined);
      assert.equal(fixture.ownersInKernel().size, 0);
    });

    it('takes nothing from a client that is there, without any login, nor right after', async () => {
      const userId = await withLease(3);
      const { tunnelId } = await login({ userId });
      fixture.nowMs += 100 * DAY_MS;
      assert.deepEqual(await fixture.store.closeExpired(fixture.nowMs, 100), []);
      await fixture.broker.close({ userId, client: HOME });
      await pass(3 * DAY_MS - 1);
      assert.equal((await fixture.store.tunnel({ userId }))?.id, tunnelId);
    });

    it('counts from the offer when nobody ever accepts it', async () => {
      const userId = await withLease(3);
      await open({ userId });
      await pass(3 * DAY_MS - 1);
      assert.notEqual(await fixture.store.tunnel({ userId }), undefined);
      await pass(1);
      assert.equal(await fixture.store.tunnel({ userId }), undefined);
    });

    it('does not end what an operator has disabled', async () => {
      const userId = await withLease(3);
      const { tunnelId } = await login({ userId });
      await fixture.store.setTunnelState(tunnelId, 'disabled', fixture.nowMs);
      await pass(10 * DAY_MS);
      await refusedAs(tryOpen({ userId }), 'tunnel-disabled');
      await fixture.store.setTunnelState(tunnelId, 'enabled', fixture.nowMs);
      await pass(3 * DAY_MS);
      assert.equal(await fixture.store.tunnel({ userId }), undefined);
    });

    it('holds for tunnels from before it was set, from the start that sets it', async () => {
      await withLease(0);
      const expiresAtMs = async (name: string) => {
        const { id: userId } = (await fixture.store.user(name))!;
        return (await fixture.store.tunnel({ userId }))?.expiresAtMs;
      };
      const ada = (await fixture.store.user('ada'))!.id;
      await login({ userId: ada });
      await open({ userId: await fixture.addUser('bob'), client: AWAY });
      const guest = await login({ client: AWAY });
      const invited = await open({ client: { ...AWAY, port: 1 } });
      const invitedUntilMs = (await fixture.store.tunnel(invited))?.expiresAtMs;
      await fixture.restartWith({ userLeaseSeconds: 3 * 86_400 });
      assert.equal(await expiresAtMs('ada'), undefined, 'in use');
      assert.equal(await expiresAtMs('bob'), fixture.nowMs + 3 * DAY_MS);
      assert.equal((await fixture.store.tunnel(invited))?.expiresAtMs, invitedUntilMs);
      fixture.nowMs += DAY_MS;
      await fixture.restart();
      assert.equal(await expiresAtMs('bob'), fixture.nowMs + 2 * DAY_MS, 'not begun anew');
      await fixture.restartWith({ userLeaseSeconds: 0 });
      assert.equal(await expiresAtMs('bob'), undefined);
      const { expiresAtMs: guestEnd } = (await fixture.store.tunnel(guest))!;
      assert.equal(guestEnd, fixture.nowMs - DAY_MS + 600_000);
    });
  });

  it('closes an anonymous tunnel that has not logged in again in its lifetime', async () => {
    await fixture.remove();
    fixture = await Fixture.make({ policy: { anonymousLifetimeSeconds: 60 } });
    const { tunnelId, slot } = await login({});
    fixture.hearInKernel(slot);
    fixture.nowMs += 59_000;
    await login({});
    fixture.nowMs += 59_000;
    await fixture.broker.expire(fixture.nowMs);
    assert.notEqual(fixture.dataplane.attachment(slot), undefined);
    fixture.nowMs += 1000;
    await fixture.broker.expire(fixture.nowMs);
    assert.equal(fixture.dataplane.attachment(slot), undefined);
    assert.equal(await fixture.store.tunnel({ tunnelId }), undefined);
  });
});
