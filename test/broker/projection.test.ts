// The way from the store to the kernel's maps: what others change, what was missed, what a crash left.

import assert from 'node:assert/strict';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { formatIpv6Prefix } from '../../src/address.ts';
import type { OpenRequest } from '../../src/broker/broker.ts';
import { IdleWatch } from '../../src/broker/idle-watch.ts';
import { Projection } from '../../src/broker/projection.ts';
import { openSqliteStore } from '../../src/store/sqlite.ts';
import { AWAY, Fixture, HOME, prefix, refusedAs } from './fixture.ts';

describe('the maps follow the store', () => {
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

  describe('following what others change', () => {
    it('stops a disabled user’s traffic and a removed user’s prefix', async () => {
      const userId = await fixture.addUser('ada');
      const offer = await login({ userId, prefixLength: 56 });
      await fixture.accounts.disable('ada');
      await fixture.broker.followChanges();
      assert.equal(fixture.dataplane.attachment(offer.slot), undefined);
      assert.equal(fixture.ownersInKernel().size, 1);
      await fixture.accounts.remove('ada');
      await fixture.broker.followChanges();
      assert.equal(fixture.ownersInKernel().size, 0);
    });

    it('closes and disables tunnels by order of an operator', async () => {
      const userId = await fixture.addUser('ada');
      const ada = await login({ userId });
      await fixture.store.setTunnelState(ada.tunnelId, 'disabled', fixture.nowMs);
      await fixture.broker.followChanges();
      assert.equal(fixture.dataplane.attachment(ada.slot), undefined);
      await refusedAs(tryOpen({ userId }), 'tunnel-disabled');
      const bob = await login({ userId: await fixture.addUser('bob') });
      await fixture.store.closeTunnel(bob.tunnelId, fixture.nowMs);
      await fixture.broker.followChanges();
      assert.equal(fixture.dataplane.attachment(bob.slot), undefined);
    });

    it('takes a pool into the maps that was added while it runs', async () => {
      await fixture.addPool('link', '2001:db8:7::/60', 64);
      await fixture.broker.followChanges();
      assert.deepEqual(
        fixture.dataplane
          .pools()
          .map(({ prefix, firstIndex }) => [formatIpv6Prefix(prefix), firstIndex]),
        [
          ['2001:db8::/56', 0],
          ['2001:db8:8000::/48', 0],
          ['2001:db8:7::/60', 256],
        ],
      );
    });

    it('complains of a pool that does not fit and keeps the others working', async () => {
      await fixture.store.addPool(
        {
          purpose: 'link',
          prefix: prefix('2001:db8:9::/48'),
          positionLength: 64,
        },
        1 << 20,
        fixture.nowMs,
      );
      await login({ userId: await fixture.addUser('ada') });
      assert.match(fixture.complaints.join('\n'), /does not take the pools/);
      assert.equal(fixture.dataplane.pools().length, 2);
    });
  });

  it('compares everything when it missed more changes than are kept', async () => {
    const { slot } = await login({ userId: await fixture.addUser('ada') });
    const other = await openSqliteStore({ file: fixture.file, create: false, changesKept: 10 });
    const ada = (await other.user('ada'))!;
    await other.setUserDisabled(ada.id, true, fixture.nowMs);
    for (let i = 0; i < 1100; i++) await other.setUserSecret(ada.id, ada, fixture.nowMs);
    await other.close();
    await fixture.broker.followChanges();
    assert.equal(fixture.dataplane.attachment(slot), undefined);
    assert.equal(fixture.complaints.length, 1, 'compared once');
    await login({ userId: await fixture.addUser('bob') });
  });

  it('does not let an older reading of the store follow a newer one into the maps', async () => {
    const { store, dataplane } = fixture;
    const { tunnelId, slot } = await login({ userId: await fixture.addUser('ada') });
    const events: string[] = [];
    const slow = intercepted(store, 'slot', async (read, asked) => {
      const tunnel = await read(asked);
      if (!events.includes('read')) {
        events.push('read');
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
      return tunnel;
    });
    const watched = intercepted(dataplane, 'put', (put, ...args) => {
      events.push('put');
      put(...args);
    });
    const { nowMs } = fixture;
    const idle = { ipv6: new IdleWatch(dataplane.capacity.tunnels), ipv4: new IdleWatch(1) };
    const projection = new Projection(
      slow,
      watched,
      idle,
      () => nowMs,
      () => {},
    );
    const first = projection.follow();
    await new Promise((resolve) => setTimeout(resolve, 20));
    await store.takeDownTunnel(tunnelId, nowMs);
    const second = projection.follow().then(() => events.push('followed'));
    await Promise.all([first, second]);
    assert.deepEqual(events, ['read', 'put', 'followed']);
    assert.equal(dataplane.attachment(slot), undefined);
  });

  describe('after a crash', () => {
    it('puts what was committed but not yet in the maps', async () => {
      const userId = await fixture.addUser('ada');
      const offer = await open({ userId, prefixLength: 56 });
      await fixture.store.attachTunnel(
        {
          tunnelId: offer.tunnelId,
          userId,
          encapsulation: 'v6udpv4',
          client: HOME,
          proxy: false,
          displaces: 'any',
          maxAtAddress: undefined,
          expiresAtMs: undefined,
        },
        fixture.nowMs,
      );
      fixture.dataplane.setOwner(0, undefined);
      const broker = await fixture.restart();
      assert.deepEqual(broker.reconciled, { put: 1, removed: 0, kept: 0 });
      assert.deepEqual(fixture.dataplane.attachment(offer.slot)?.client, HOME);
      assert.deepEqual(fixture.ownersInKernel(), new Map([[0, offer.slot]]));
    });

    it('removes from the maps what the store does not know', async () => {
      const kept = await login({ userId: await fixture.addUser('ada') });
      const gone = await login({ client: AWAY });
      await fixture.store.closeTunnel(gone.tunnelId, fixture.nowMs);
      fixture.dataplane.setOwner(17, gone.slot);
      const broker = await fixture.restart();
      assert.deepEqual(broker.reconciled, { put: 0, removed: 1, kept: 1 });
      assert.equal(fixture.dataplane.attachment(gone.slot), undefined);
      assert.notEqual(fixture.dataplane.attachment(kept.slot), undefined);
      assert.equal(fixture.ownersInKernel().size, 0);
    });
  });
});

/** The same object, but for one method, which is wrapped. */
function intercepted<T extends object, K extends keyof T>(
  object: T,
  method: K,
  wrapper: T[K] extends (...args: infer A) => infer R
    ? (original: (...args: A) => R, ...args: A) => R
    : never,
): T {
  return new Proxy(object, {
    get: (target, name) => {
      const value: unknown = Reflect.get(target, name, target);
      if (typeof value !== 'function') return value;
      const bound = value.bind(target);
      return name === method ? (...args: never[]) => wrapper(bound as never, ...args) : bound;
    },
  });
}
