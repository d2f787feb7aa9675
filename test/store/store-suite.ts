// What every database under the store must do, as a function over how to make a fresh one.

import assert from 'node:assert/strict';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { formatIpv6Prefix } from '../../src/address.ts';
import type { Pool } from '../../src/store/pools.ts';
import type { Store } from '../../src/store/store.ts';
import type { Tunnel } from '../../src/store/tunnels.ts';
import { openStore } from './open-store.ts';
import {
  addDelegations,
  addLinks,
  addUser,
  at,
  NOW,
  opened,
  prefix,
  request,
  sealed,
} from './requests.ts';

export interface FreshDatabase {
  /** See {@link openStore}. */
  readonly location: string;
  remove(): Promise<void>;
}

export function storeSuite(product: string, fresh: () => Promise<FreshDatabase>): void {
  describe(`the store on ${product}`, () => {
    let database: FreshDatabase;
    let store: Store;

    beforeEach(async () => {
      database = await fresh();
      store = await openStore(database.location);
    });

    afterEach(async () => {
      await store.close();
      await database.remove();
    });

    describe('settings and users', () => {
      it('keeps the first value of a setting', async () => {
        assert.equal(await store.setting('realm'), undefined);
        assert.equal(await store.settingOrInitial('realm', 'one.example'), 'one.example');
        assert.equal(await store.settingOrInitial('realm', 'two.example'), 'one.example');
        assert.equal(await store.setting('realm'), 'one.example');
      });

      it('finds a user by the exact name only', async () => {
        const id = await addUser(store, 'Ada');
        assert.deepEqual(await store.user('Ada'), {
          id,
          name: 'Ada',
          disabledAtMs: undefined,
          proxyTrustedAtMs: undefined,
          groupId: undefined,
          createdAtMs: NOW,
          ...sealed('sealed Ada'),
        });
        assert.equal(await store.user('ada'), undefined);
        assert.equal(await store.user('Ada%'), undefined);
      });

      it('refuses a name twice and keeps the first secret', async () => {
        await addUser(store, 'ada');
        assert.equal(await store.addUser('ada', sealed('another'), NOW), 'name-taken');
        assert.equal((await store.user('ada'))?.sealedHa1, 'sealed ada');
      });

      it('lists users page by page in the order of their names', async () => {
        for (const name of ['cleo', 'ada', 'bob']) await addUser(store, name);
        const first = await store.usersAfter('', 2);
        assert.deepEqual(
          first.map((user) => user.name),
          ['ada', 'bob'],
        );
        assert.deepEqual(
          (await store.usersAfter('bob', 2)).map((user) => user.name),
          ['cleo'],
        );
      });

      it('never gives a removed user’s number to another one', async () => {
        const first = await addUser(store, 'ada');
        assert.equal(await store.removeUser(first, NOW), true);
        assert.equal(await store.removeUser(first, NOW), false);
        assert.notEqual(await addUser(store, 'ada'), first);
      });
    });

    describe('pools', () => {
      it('lays the indices of pools of one purpose end to end', async () => {
        const first = await addLinks(store, '2001:db8::/60');
        const other = await addDelegations(store, '2001:db8:8000::/52', 56);
        const second = await addLinks(store, '2001:db8:1::/60');
        assert.deepEqual([first.firstIndex, other.firstIndex, second.firstIndex], [0, 0, 16]);
        assert.deepEqual(await store.pools(), [first, other, second]);
      });

      it('refuses a pool inside, around or equal to another one', async () => {
        await addLinks(store, '2001:db8::/48');
        for (const text of ['2001:db8::/48', '2001:db8::/40', '2001:db8:0:8000::/56']) {
          const result = await store.addPool(
            { purpose: 'delegation', prefix: prefix(text), positionLength: 60 },
            1e6,
            NOW,
          );
          assert.deepEqual(result, {
            ok: false,
            refusal: 'overlaps-pool',
            with: prefix('2001:db8::/48'),
          });
        }
      });

      it('refuses a pool that has more positions than indices are left', async () => {
        await addLinks(store, '2001:db8::/60', 40);
        const asked = { purpose: 'link', positionLength: 64 } as const;
        assert.deepEqual(
          await store.addPool({ ...asked, prefix: prefix('2001:db8:1::/59') }, 40, NOW),
          { ok: false, refusal: 'over-capacity', free: 24 },
        );
        assert.equal(
          (await store.addPool({ ...asked, prefix: prefix('2001:db8:1::/60') }, 40, NOW)).ok,
          true,
        );
      });
    });

    describe('tunnels', () => {
      it('never hands out the link that is the server’s own', async () => {
        const pool = await addLinks(store);
        const tunnel = opened(await store.openTunnel(request([pool], {}), NOW));
        assert.equal(formatIpv6Prefix(tunnel.link), '2001:db8:0:1::/64');
        assert.equal(tunnel.slot, 1);
      });

      it('gives a user the same link and prefix at every login', async () => {
        const pool = await addLinks(store);
        const delegations = await addDelegations(store);
        const userId = await addUser(store, 'ada');
        const asked = request([pool], { userId, delegationPools: [delegations] });
        const first = opened(await store.openTunnel(asked, NOW));
        const again = opened(
          await store.openTunnel({ ...asked, client: at('198.51.100.7', 9) }, NOW + 1),
        );
        assert.deepEqual(again, first);
        assert.equal(formatIpv6Prefix(first.delegation!), '2001:db8:8000::/56');
      });

      it('adds the delegation when a host comes back as a router', async () => {
        const pool = await addLinks(store);
        const delegations = await addDelegations(store);
        const userId = await addUser(store, 'ada');
        const host = opened(await store.openTunnel(request([pool], { userId }), NOW));
        assert.equal(host.delegation, undefined);
        const router = opened(
          await store.openTunnel(request([pool], { userId, delegationPools: [delegations] }), NOW),
        );
        assert.equal(router.id, host.id);
        assert.notEqual(router.delegation, undefined);
      });

      it('hands out every position of a full pool once, then refuses and leaks nothing', async () => {
        const pool = await addLinks(store, '2001:db8::/62');
        const delegations = await addDelegations(store, '2001:db8:8000::/55', 56);
        const links = new Set<string>();
        for (const name of ['a', 'b']) {
          const userId = await addUser(store, name);
          const asked = request([pool], { userId, delegationPools: [delegations] });
          links.add(formatIpv6Prefix(opened(await store.openTunnel(asked, NOW)).link));
        }
        const userId = await addUser(store, 'c');
        const asked = request([pool], { userId, delegationPools: [delegations] });
        assert.deepEqual(await store.openTunnel(asked, NOW), {
          ok: false,
          refusal: 'no-free-prefix',
        });
        assert.equal(await store.tunnel({ userId }), undefined);
        links.add(
          formatIpv6Prefix(opened(await store.openTunnel(request([pool], { userId }), NOW)).link),
        );
        assert.equal(links.size, 3);
        assert.deepEqual(await store.openTunnel(request([pool], {}), NOW), {
          ok: false,
          refusal: 'no-free-tunnel',
        });
        assert.deepEqual(
          (await store.poolUsage()).map((usage) => usage.leased),
          [3, 2],
        );
      });

      it('goes on to the next pool when the first is full', async () => {
        const small = await addLinks(store, '2001:db8::/63');
        const large = await addLinks(store, '2001:db8:1::/48');
        const slots: number[] = [];
        for (const name of ['a', 'b']) {
          const userId = await addUser(store, name);
          slots.push(opened(await store.openTunnel(request([small, large], { userId }), NOW)).slot);
        }
        assert.deepEqual(slots, [1, large.firstIndex + 1]);
      });

      it('reuses the position that has been free the longest, after all fresh ones', async () => {
        const pool = await addLinks(store, '2001:db8::/61');
        const tunnels: Tunnel[] = [];
        for (let i = 0; i < 6; i++) tunnels.push(await anonymous(pool, i));
        await store.closeTunnel(tunnels[4]!.id, NOW + 1);
        await store.closeTunnel(tunnels[1]!.id, NOW + 2);
        const slots: number[] = [];
        for (let i = 10; i < 13; i++) slots.push((await anonymous(pool, i)).slot);
        assert.deepEqual(slots, [7, tunnels[4]!.slot, tunnels[1]!.slot]);
      });

      it('never gives a closed tunnel’s number to another one', async () => {
        const pool = await addLinks(store);
        const first = await anonymous(pool, 1);
        assert.equal(await store.closeTunnel(first.id, NOW), true);
        assert.equal(await store.closeTunnel(first.id, NOW), false);
        assert.notEqual((await anonymous(pool, 2)).id, first.id);
      });

      it('keeps 64-bit interface identifiers whole', async () => {
        const pool = await addLinks(store);
        for (const interfaceId of [1n << 63n, (1n << 64n) - 1n, 0x0123456789abcdefn]) {
          const tunnel = opened(await store.openTunnel(request([pool], { interfaceId }), NOW));
          assert.equal(tunnel.interfaceId, interfaceId);
        }
      });

      it('refuses a disabled user, a removed user and a disabled tunnel', async () => {
        const pool = await addLinks(store);
        const userId = await addUser(store, 'ada');
        const tunnel = opened(await store.openTunnel(request([pool], { userId }), NOW));
        const refusal = async () => {
          const result = await store.openTunnel(request([pool], { userId }), NOW);
          return result.ok ? 'none' : result.refusal;
        };
        await store.setTunnelState(tunnel.id, 'disabled', NOW);
        assert.equal(await refusal(), 'tunnel-disabled');
        await store.setTunnelState(tunnel.id, 'enabled', NOW);
        assert.equal(await refusal(), 'none');
        await store.setUserDisabled(userId, true, NOW);
        assert.equal(await refusal(), 'user-disabled');
        await store.setUserDisabled(userId, false, NOW);
        assert.equal(await refusal(), 'none');
        await store.removeUser(userId, NOW);
        assert.equal(await refusal(), 'no-such-user');
      });

      async function anonymous(pool: Awaited<ReturnType<typeof addLinks>>, port: number) {
        const tunnel = opened(
          await store.openTunnel(request([pool], { client: at('192.0.2.9', port) }), NOW),
        );
        return tunnel;
      }
    });

    describe('attachments', () => {
      const home = { encapsulation: 'v6udpv4', client: at('192.0.2.1', 40_000) } as const;
      const away = { encapsulation: 'v6udpv4', client: at('198.51.100.1', 40_000) } as const;

      async function attach(
        tunnel: Tunnel,
        where: typeof home | typeof away,
        displaces: 'any' | 'anonymous' | 'none' = 'none',
      ) {
        return store.attachTunnel(
          {
            tunnelId: tunnel.id,
            userId: tunnel.user?.id,
            ...where,
            proxy: false,
            displaces,
            maxAtAddress: undefined,
            expiresAtMs: undefined,
          },
          NOW,
        );
      }

      async function tunnelOf(name: string): Promise<Tunnel> {
        const pools = (await store.pools()).filter((pool) => pool.purpose === 'link');
        const links = pools.length > 0 ? pools : [await addLinks(store)];
        const userId = await addUser(store, name);
        return opened(await store.openTunnel(request(links, { userId }), NOW));
      }

      it('moves a tunnel from one endpoint to the next and leaves the first one free', async () => {
        const ada = await tunnelOf('ada');
        const bob = await tunnelOf('bob');
        assert.equal((await attach(ada, home)).ok, true);
        assert.equal((await attach(ada, away)).ok, true);
        assert.equal((await attach(bob, home)).ok, true);
        assert.deepEqual((await store.tunnel({ tunnelId: ada.id }))?.attachment, {
          ...away,
          attachedAtMs: NOW,
        });
      });

      it('refuses an endpoint where another tunnel is, unless told to displace it', async () => {
        const ada = await tunnelOf('ada');
        const bob = await tunnelOf('bob');
        await attach(ada, home);
        assert.deepEqual(await attach(bob, home), { ok: false, refusal: 'address-in-use' });
        const taken = await attach(bob, home, 'any');
        assert.equal(taken.ok && taken.displacedTunnelId, ada.id);
        assert.equal((await store.tunnel({ tunnelId: ada.id }))?.attachment, undefined);
        assert.equal((await store.tunnel(home))?.id, bob.id);
      });

      it('displaces only an anonymous tunnel when told so', async () => {
        const ada = await tunnelOf('ada');
        const bob = await tunnelOf('bob');
        const guest = opened(await store.openTunnel(request(await store.pools(), away), NOW));
        await attach(ada, home);
        await attach(guest, away);
        assert.equal((await attach(bob, home, 'anonymous')).ok, false);
        assert.equal((await attach(bob, away, 'anonymous')).ok, true);
      });

      it('closes an anonymous tunnel that is displaced, since no login leads back to it', async () => {
        const bob = await tunnelOf('bob');
        const pools = await store.pools();
        const guest = opened(await store.openTunnel(request(pools, {}), NOW));
        await attach(guest, home);
        await attach(bob, home, 'any');
        assert.equal(await store.tunnel({ tunnelId: guest.id }), undefined);
      });

      it('lets nobody attach a tunnel that is not theirs', async () => {
        const ada = await tunnelOf('ada');
        const bob = await tunnelOf('bob');
        for (const userId of [bob.user!.id, undefined]) {
          const result = await store.attachTunnel(
            {
              tunnelId: ada.id,
              userId,
              ...home,
              proxy: false,
              displaces: 'any',
              maxAtAddress: undefined,
              expiresAtMs: undefined,
            },
            NOW,
          );
          assert.deepEqual(result, { ok: false, refusal: 'no-such-tunnel' });
        }
      });

      it('takes the client away when the user is disabled, and the leases stay', async () => {
        const ada = await tunnelOf('ada');
        await attach(ada, home);
        await store.setUserDisabled(ada.user!.id, true, NOW);
        const after = await store.tunnel({ tunnelId: ada.id });
        assert.equal(after?.attachment, undefined);
        assert.deepEqual(after?.link, ada.link);
        assert.deepEqual(await attach(ada, home), { ok: false, refusal: 'user-disabled' });
      });

      it('finds an anonymous client’s tunnel again by its endpoint', async () => {
        const pool = await addLinks(store);
        const guest = opened(await store.openTunnel(request([pool], {}), NOW));
        await attach(guest, home);
        const again = opened(await store.openTunnel(request([pool], { interfaceId: 77n }), NOW));
        assert.equal(again.id, guest.id);
        assert.equal(again.interfaceId, guest.interfaceId);
        const elsewhere = opened(await store.openTunnel(request([pool], away), NOW));
        assert.notEqual(elsewhere.id, guest.id);
      });

      it('closes what has expired and nothing else', async () => {
        const pool = await addLinks(store);
        const ada = await tunnelOf('ada');
        const open = async (leaseMs: number) =>
          opened(await store.openTunnel(request([pool], { leaseMs }), NOW));
        const early = await open(10);
        const late = await open(30);
        assert.deepEqual(await store.closeExpired(NOW + 9, 100), []);
        assert.deepEqual(await store.closeExpired(NOW + 20, 100), [early.id]);
        assert.equal(await store.tunnel({ tunnelId: early.id }), undefined);
        assert.deepEqual(
          (await store.tunnelsAfter(0, 100)).map((tunnel) => tunnel.id),
          [ada.id, late.id],
        );
      });

      it('lists slots and owned delegations page by page', async () => {
        const delegations = await addDelegations(store);
        const links = [await addLinks(store)];
        const expected: { index: number; slot: number }[] = [];
        for (let i = 0; i < 5; i++) {
          const userId = await addUser(store, `user ${i}`);
          const tunnel = opened(
            await store.openTunnel(request(links, { userId, delegationPools: [delegations] }), NOW),
          );
          expected.push({ index: i, slot: tunnel.slot });
          if (i % 2 === 0)
            await attach(tunnel, { ...home, client: at('192.0.2.7', i) } as typeof home);
        }
        const first = await store.slotsFrom(0, 2);
        const rest = await store.slotsFrom(first[1]!.slot + 1, 4);
        assert.deepEqual(
          [...first, ...rest].map((tunnel) => [tunnel.slot, tunnel.attachment?.client.port]),
          expected.map(({ slot }, i) => [slot, i % 2 === 0 ? i : undefined]),
        );
        assert.deepEqual(await store.slot(first[0]!.slot), first[0]);
        assert.deepEqual(await store.ownershipsFrom(delegations, 0, 3), expected.slice(0, 3));
        assert.deepEqual(await store.ownershipsFrom(delegations, 3, 3), expected.slice(3));
        assert.deepEqual(await store.ownership(4), expected[4]);
        assert.equal(await store.ownership(5), undefined);
      });
    });

    describe('a login where the tunnel is already', () => {
      const asked = { encapsulation: 'v6udpv4', client: at('192.0.2.1', 40_000) } as const;

      async function standing(): Promise<{ pool: Pool; tunnel: Tunnel }> {
        const pool = await addLinks(store);
        const userId = await addUser(store, 'ada');
        const tunnel = opened(await store.openTunnel(request([pool], { userId }), NOW));
        await attach(tunnel, NOW);
        return { pool, tunnel };
      }

      function attach(tunnel: Tunnel, nowMs: number) {
        return store.attachTunnel(
          {
            tunnelId: tunnel.id,
            userId: tunnel.user?.id,
            ...asked,
            proxy: false,
            displaces: 'none',
            maxAtAddress: undefined,
            expiresAtMs: undefined,
          },
          nowMs,
        );
      }

      it('tells followers nothing', async () => {
        const { pool, tunnel } = await standing();
        const before = await store.latestChangeId();
        opened(await store.openTunnel(request([pool], { userId: tunnel.user?.id }), NOW + 5));
        assert.equal((await attach(tunnel, NOW + 5)).ok, true);
        assert.equal(await store.latestChangeId(), before);
        const after = await store.tunnel({ tunnelId: tunnel.id });
        assert.equal(after?.lastLoginAtMs, NOW + 5);
        assert.equal(after?.attachment?.attachedAtMs, NOW);
      });

      it('saves it from being taken down for its silence before', async () => {
        const { tunnel } = await standing();
        await attach(tunnel, NOW + 5);
        assert.equal(await store.takeDownUnlessLogin(tunnel.slot, NOW + 4, NOW + 6), false);
        assert.notEqual((await store.slot(tunnel.slot))?.attachment, undefined);
        assert.equal(await store.takeDownUnlessLogin(tunnel.slot, NOW + 5, NOW + 6), true);
        assert.equal((await store.slot(tunnel.slot))?.attachment, undefined);
        assert.equal(await store.takeDownUnlessLogin(tunnel.slot, NOW + 5, NOW + 6), false);
      });
    });

    describe('the change feed', () => {
      it('tells every act in order to a second handle on the same database', async () => {
        const other = await openStore(database.location);
        try {
          const start = await store.latestChangeId();
          const pool = await addLinks(other);
          const delegations = await addDelegations(other);
          const userId = await addUser(other, 'ada');
          const tunnel = opened(
            await other.openTunnel(
              request([pool], { userId, delegationPools: [delegations] }),
              NOW,
            ),
          );
          await other.removeUser(userId, NOW);
          const told = await store.changesSince(start);
          assert.ok(told.complete);
          assert.deepEqual(
            told.changes.map(({ kind, subject }) => [kind, subject]),
            [
              ['pool', pool.id],
              ['pool', delegations.id],
              ['user', userId],
              ['slot', tunnel.slot],
              ['owner', delegations.firstIndex],
              ['owner', delegations.firstIndex],
              ['slot', tunnel.slot],
              ['user', userId],
            ],
          );
          const latest = await store.latestChangeId();
          assert.deepEqual(await store.changesSince(latest), { complete: true, changes: [] });
        } finally {
          await other.close();
        }
      });

      it('tells a follower that was away too long to look at everything', async () => {
        const start = await store.latestChangeId();
        const kept = 100;
        const short = await openStore(database.location, kept);
        try {
          const userId = await addUser(short, 'ada');
          for (let i = 0; i < 1100; i++)
            await short.setUserSecret(userId, sealed(`secret ${i}`), NOW);
          const latestId = await store.latestChangeId();
          assert.deepEqual(await store.changesSince(start), { complete: false, latestId });
          const recent = await store.changesSince(latestId - kept);
          assert.equal(recent.complete && recent.changes.length, kept);
        } finally {
          await short.close();
        }
      });

      it('says nothing of an act that was refused', async () => {
        const pool = await addLinks(store, '2001:db8::/63');
        const delegations = await addDelegations(store);
        const userId = await addUser(store, 'ada');
        const asked = request([pool], { userId, delegationPools: [delegations] });
        opened(await store.openTunnel(request([pool], { client: at('192.0.2.5', 5) }), NOW));
        const before = await store.latestChangeId();
        assert.equal((await store.openTunnel(asked, NOW)).ok, false);
        assert.equal(await store.latestChangeId(), before);
      });
    });
  });
}
