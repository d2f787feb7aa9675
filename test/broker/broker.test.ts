// The broker on a real database and the kernel's real maps.

import assert from 'node:assert/strict';
import { DatabaseSync } from 'node:sqlite';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { formatIpv6, formatIpv6Prefix } from '../../src/address.ts';
import { Accounts } from '../../src/broker/accounts.ts';
import { Broker, type OpenRequest, type TunnelOffer } from '../../src/broker/broker.ts';
import { openSqliteStore } from '../../src/store/sqlite.ts';
import { AWAY, at, Fixture, HOME, POLICY, prefix, REALM, refusedAs } from './fixture.ts';

describe('the broker', () => {
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

  describe('logging in', () => {
    const fail = (source: typeof HOME, times: number) => {
      for (let i = 0; i < times; i++) fixture.broker.recordAuthentication('ada', source, false);
    };

    it('knows no credential for a while where wrong secrets came from, and only there', async () => {
      await fixture.addUser('ada');
      fail(HOME, 5);
      assert.equal(await fixture.broker.credential('ada', HOME), undefined);
      assert.notEqual(await fixture.broker.credential('ada', AWAY), undefined);
      fixture.nowMs += 2000;
      assert.notEqual(await fixture.broker.credential('ada', HOME), undefined);
    });

    it('never refuses a user at the address of the user’s tunnel, even just after a start', async () => {
      const userId = await fixture.addUser('ada');
      await login({ userId });
      await fixture.restart();
      fail(HOME, 50);
      fail(AWAY, 50);
      assert.notEqual(await fixture.broker.credential('ada', HOME), undefined);
      assert.equal(await fixture.broker.credential('ada', AWAY), undefined);
    });

    it('tells the salt whether logins are held back or not, so that nothing can be learnt', async () => {
      await fixture.addUser('ada');
      const before = await fixture.broker.scramOf('ada');
      fail(HOME, 50);
      assert.deepEqual(await fixture.broker.scramOf('ada'), before);
      assert.equal(before?.salt.length, 16);
      assert.equal(await fixture.broker.scramOf('nobody'), undefined);
    });

    it('never refuses a user where a login of theirs was accepted', async () => {
      await fixture.addUser('ada');
      fixture.broker.recordAuthentication('ada', HOME, true);
      fail(HOME, 50);
      assert.notEqual(await fixture.broker.credential('ada', HOME), undefined);
    });

    it('tells when a wait begins and of each login that is refused, known name or not', async () => {
      await fixture.addUser('ada');
      fail(HOME, 6);
      await fixture.broker.credential('ada', HOME);
      for (let i = 0; i < 5; i++) fixture.broker.recordAuthentication('nobody', HOME, false);
      await fixture.broker.credential('nobody', HOME);
      assert.deepEqual(
        fixture.lockouts.map((event) => [event.type, event.username]),
        [
          ['held-back', 'ada'],
          ['refused', 'ada'],
          ['held-back', 'nobody'],
          ['refused', 'nobody'],
        ],
      );
    });
  });

  describe('opening', () => {
    it('offers a user ::2 of a link whose ::1 is the gateway, and the prefix asked for', async () => {
      const userId = await fixture.addUser('ada');
      const offer = await open({ userId, prefixLength: 56 });
      assert.equal(formatIpv6(offer.gateway), '2001:db8:0:1::1');
      assert.equal(formatIpv6(offer.client), '2001:db8:0:1::2');
      assert.equal(formatIpv6Prefix(offer.prefix!), '2001:db8:8000::/56');
      assert.deepEqual(
        [offer.keepaliveSeconds, offer.lifetimeSeconds, offer.name],
        [30, 604_800, 'ada'],
      );
    });

    it('lets nothing flow before the client accepts', async () => {
      const userId = await fixture.addUser('ada');
      const offer = await open({ userId, prefixLength: 56 });
      assert.equal(fixture.dataplane.attachment(offer.slot), undefined);
    });

    it('is on the disk when it is answered', async () => {
      const userId = await fixture.addUser('ada');
      const offer = await open({ userId, prefixLength: 56 });
      const other = await openSqliteStore({ file: fixture.file, create: false });
      const tunnel = await other.tunnel({ userId });
      await other.close();
      assert.equal(tunnel?.id, offer.tunnelId);
      assert.deepEqual(tunnel?.delegation, offer.prefix);
    });

    it('gives a host no prefix, and keeps the one that its user has', async () => {
      const userId = await fixture.addUser('ada');
      const router = await open({ userId, prefixLength: 56 });
      const host = await open({ userId });
      assert.equal(host.prefix, undefined);
      const again = await open({ userId, prefixLength: 60 });
      assert.deepEqual(again.prefix, router.prefix);
    });

    it('gives anonymous clients an unpredictable address, never a prefix', async () => {
      const first = await open({ client: at('192.0.2.1', 1) });
      const second = await open({ client: at('192.0.2.1', 2) });
      const low = (offer: TunnelOffer) => offer.client & 0xffff_ffff_ffff_ffffn;
      assert.notEqual(low(first), low(second));
      assert.ok(low(first) > 0xffffn && low(second) > 0xffffn);
      assert.equal(first.lifetimeSeconds, 600);
      await refusedAs(tryOpen({ prefixLength: 56 }), 'prefix-for-anonymous');
    });

    it('gives the smaller prefix when there is none of the length asked for', async () => {
      await fixture.addPool('delegation', '2001:db8:9000::/56', 60);
      const lengthFor = async (name: string, prefixLength: number) =>
        (await open({ userId: await fixture.addUser(name), prefixLength })).prefix?.length;
      assert.equal(await lengthFor('a', 48), 56);
      assert.equal(await lengthFor('b', 57), 60);
      assert.equal(await lengthFor('c', 60), 60);
      await refusedAs(
        tryOpen({ userId: await fixture.addUser('d'), prefixLength: 61 }),
        'prefix-length-unavailable',
      );
    });

    it('lets a client have keepalives more often than the policy, never more rarely', async () => {
      const userId = await fixture.addUser('ada');
      const seconds = async (wantsKeepaliveSeconds: number) =>
        (await open({ userId, wantsKeepaliveSeconds })).keepaliveSeconds;
      assert.deepEqual([await seconds(0), await seconds(12), await seconds(600)], [5, 12, 30]);
      assert.equal((await open({ wantsKeepaliveSeconds: 600 })).keepaliveSeconds, 15);
    });

    it('takes another machine’s address only from users who are trusted with it', async () => {
      const userId = await fixture.addUser('ada');
      const asked = { userId, encapsulation: 'v6v4', client: AWAY, proxy: true } as const;
      await refusedAs(tryOpen(asked), 'proxy-not-allowed');
      await refusedAs(tryOpen({ ...asked, userId: undefined }), 'proxy-not-allowed');
      assert.equal(await fixture.store.tunnel({ userId }), undefined);
      await fixture.accounts.setProxyTrust('ada', true);
      const { slot } = await login(asked);
      assert.deepEqual(fixture.dataplane.attachment(slot)?.client, at('198.51.100.1'));
      const offer = await open({ ...asked, client: HOME });
      await fixture.accounts.setProxyTrust('ada', false);
      await refusedAs(fixture.broker.accept(offer.offerId), 'proxy-not-allowed');
      await refusedAs(tryOpen(asked), 'proxy-not-allowed');
      await login({ userId });
    });

    it('keeps the name servers that the client asked for last', async () => {
      const userId = await fixture.addUser('ada');
      const nameServers = ['ns1.example', '2001:db8::53'];
      const first = await open({ userId, prefixLength: 56, nameServers });
      assert.deepEqual(first.nameServers, nameServers);
      await login({ userId, prefixLength: 56, nameServers });
      const described = await fixture.broker.describe({ userId, client: HOME });
      assert.deepEqual(described.ok && described.tunnel.nameServers, nameServers);
      assert.deepEqual((await login({ userId, prefixLength: 56 })).nameServers, []);
      assert.deepEqual((await fixture.store.tunnel({ userId }))?.nameServers, []);
    });

    it('refuses a disabled and a removed user', async () => {
      const userId = await fixture.addUser('ada');
      await fixture.accounts.disable('ada');
      await refusedAs(tryOpen({ userId }), 'user-disabled');
      await fixture.accounts.remove('ada');
      await refusedAs(tryOpen({ userId }), 'user-disabled');
    });
  });

  describe('accepting', () => {
    it('puts endpoint and prefix into the kernel’s maps', async () => {
      const userId = await fixture.addUser('ada');
      const offer = await login({ userId, prefixLength: 56 });
      assert.deepEqual(fixture.dataplane.attachment(offer.slot), {
        encapsulation: 'v6udpv4',
        client: HOME,
        interfaceId: 2n,
        mtu: 0,
      });
      assert.deepEqual(fixture.ownersInKernel(), new Map([[0, offer.slot]]));
    });

    it('keeps an anonymous client’s tunnel silent until it is heard', async () => {
      const offer = await login({});
      const attachment = fixture.dataplane.attachment(offer.slot);
      assert.equal(attachment?.silentUntilHeard, true);
      assert.equal(attachment?.interfaceId, offer.client & 0xffff_ffff_ffff_ffffn);
    });

    it('knows no port for protocol 41', async () => {
      const userId = await fixture.addUser('ada');
      const offer = await login({ userId, encapsulation: 'v6v4' });
      assert.deepEqual(fixture.dataplane.attachment(offer.slot)?.client, at('192.0.2.1', 0));
    });

    it('moves a tunnel to a new endpoint and another encapsulation, with its addresses', async () => {
      const userId = await fixture.addUser('ada');
      const first = await login({ userId, prefixLength: 56 });
      const second = await login({
        userId,
        prefixLength: 56,
        encapsulation: 'v6v4',
        client: AWAY,
      });
      assert.deepEqual(
        [second.slot, second.client, second.prefix],
        [first.slot, first.client, first.prefix],
      );
      assert.deepEqual(fixture.dataplane.attachment(first.slot)?.client, at('198.51.100.1', 0));
    });

    it('leaves the tunnel where it is until the new place is accepted', async () => {
      const userId = await fixture.addUser('ada');
      const { slot } = await login({ userId });
      await open({ userId, client: AWAY });
      assert.deepEqual(fixture.dataplane.attachment(slot)?.client, HOME);
    });

    it('gives a UDP endpoint to the user who proved it last', async () => {
      const ada = await login({ userId: await fixture.addUser('ada') });
      const bob = await login({ userId: await fixture.addUser('bob') });
      assert.equal(fixture.dataplane.attachment(ada.slot), undefined);
      assert.deepEqual(fixture.dataplane.attachment(bob.slot)?.client, HOME);
    });

    it('refuses protocol 41 at an address that another user’s tunnel uses', async () => {
      const v6v4 = { encapsulation: 'v6v4' } as const;
      const ada = await login({ userId: await fixture.addUser('ada'), ...v6v4 });
      const bob = await fixture.addUser('bob');
      await refusedAs(tryOpen({ userId: bob, ...v6v4 }), 'address-in-use');
      assert.notEqual(fixture.dataplane.attachment(ada.slot), undefined);
      await login({ userId: bob, client: HOME });
    });

    it('decides about the address again when two open before one accepts', async () => {
      const v6v4 = { encapsulation: 'v6v4' } as const;
      const ada = await open({ userId: await fixture.addUser('ada'), ...v6v4 });
      const bob = await open({ userId: await fixture.addUser('bob'), ...v6v4 });
      assert.equal((await fixture.broker.accept(ada.offerId)).ok, true);
      await refusedAs(fixture.broker.accept(bob.offerId), 'address-in-use');
    });

    it('lets no anonymous client push a user out, and no user be kept out by one', async () => {
      const userId = await fixture.addUser('ada');
      await login({ userId });
      await refusedAs(tryOpen({}), 'address-in-use');
      await login({ encapsulation: 'v6v4', client: AWAY });
      await login({ userId, encapsulation: 'v6v4', client: AWAY });
    });

    it('gives an anonymous client at the same endpoint its tunnel again', async () => {
      const first = await login({});
      const second = await login({});
      assert.deepEqual([second.slot, second.client], [first.slot, first.client]);
    });

    it('refuses an offer that was rejected, that ran out, or that never was', async () => {
      const userId = await fixture.addUser('ada');
      const rejected = await open({ userId });
      await fixture.broker.reject(rejected.offerId);
      await refusedAs(fixture.broker.accept(rejected.offerId), 'no-such-tunnel');
      const late = await open({});
      fixture.nowMs += 121_000;
      await fixture.broker.expire(fixture.nowMs);
      await refusedAs(fixture.broker.accept(late.offerId), 'no-such-tunnel');
      await refusedAs(fixture.broker.accept(4711), 'no-such-tunnel');
    });

    it('refuses a user who was disabled since the offer', async () => {
      const offer = await open({ userId: await fixture.addUser('ada') });
      await fixture.accounts.disable('ada');
      await refusedAs(fixture.broker.accept(offer.offerId), 'user-disabled');
      assert.equal(fixture.dataplane.attachment(offer.slot), undefined);
    });

    it('starts the counters of a slot’s next tunnel from nothing', async () => {
      await fixture.remove();
      fixture = await Fixture.make({ links: '2001:db8::/63' });
      const { slot } = await login({});
      await fixture.broker.close({ userId: undefined, client: HOME });
      fixture.countInKernel(slot, 99);
      assert.equal(fixture.dataplane.counters(slot).inPackets, 99n);
      fixture.nowMs += 1000;
      assert.equal((await login({ client: AWAY })).slot, slot);
      assert.equal(fixture.dataplane.counters(slot).inPackets, 0n);
    });
  });

  describe('many tunnels at one address', () => {
    const users: number[] = [];

    beforeEach(async () => {
      await fixture.remove();
      fixture = await Fixture.make({ policy: { maxTunnelsPerAddress: 2 } });
      users.length = 0;
      for (const name of ['ada', 'bob', 'cleo']) users.push(await fixture.addUser(name));
    });

    const port = (number: number) => ({ ...HOME, port: number });

    it('are refused beyond the limit, whatever the encapsulation, until there is room', async () => {
      await login({ userId: users[0]!, client: port(1) });
      await login({ userId: users[1]!, encapsulation: 'v6v4' });
      await refusedAs(tryOpen({ userId: users[2]!, client: port(3) }), 'too-many-from-address');
      await login({ userId: users[2]!, client: AWAY });
      await fixture.broker.close({ userId: users[0]!, client: HOME });
      await login({ userId: users[2]!, client: port(3) });
    });

    it('count from the offer on, and each tunnel once', async () => {
      await open({ userId: users[0]!, client: port(1) });
      await open({ userId: users[0]!, client: port(2) });
      await login({ userId: users[0]!, client: port(3) });
      const offer = await open({ userId: users[1]!, client: port(4) });
      await refusedAs(tryOpen({ userId: users[2]!, client: port(5) }), 'too-many-from-address');
      await fixture.broker.reject(offer.offerId);
      await open({ userId: users[2]!, client: port(5) });
    });

    it('are counted again at the accept, since others may have come in between', async () => {
      const early = await open({ userId: users[0]!, client: port(1) });
      for (const [i, userId] of users.slice(1).entries()) {
        await login({ userId, client: AWAY });
        const { id: tunnelId } = (await fixture.store.tunnel({ userId }))!;
        const moved = await fixture.store.attachTunnel(
          {
            tunnelId,
            userId,
            encapsulation: 'v6udpv4',
            client: port(10 + i),
            proxy: false,
            displaces: 'none',
            maxAtAddress: undefined,
            expiresAtMs: undefined,
          },
          fixture.nowMs,
        );
        assert.equal(moved.ok, true);
      }
      await refusedAs(fixture.broker.accept(early.offerId), 'too-many-from-address');
      assert.equal(fixture.dataplane.attachment(early.slot), undefined);
    });

    it('let a tunnel that is there come back, to another port too', async () => {
      await login({ userId: users[0]!, client: port(1) });
      await login({ userId: users[1]!, client: port(2) });
      await login({ userId: users[1]!, client: port(3) });
      await login({ userId: users[0]!, client: port(3) });
    });

    it('keep no user out because of anonymous ones, which anybody could forge', async () => {
      await login({ client: port(1) });
      await open({ client: port(2) });
      await refusedAs(tryOpen({ client: port(3) }), 'too-many-from-address');
      await login({ userId: users[0]!, client: port(4) });
      await login({ userId: users[1]!, client: port(5) });
      await login({ client: port(1) });
    });
  });

  describe('rejecting and closing', () => {
    it('frees what an anonymous offer held, and leaves an accepted one alone', async () => {
      const offer = await open({});
      await fixture.broker.reject(offer.offerId);
      assert.equal(await fixture.store.tunnel({ tunnelId: offer.tunnelId }), undefined);
      const up = await login({});
      const again = await open({});
      await fixture.broker.reject(again.offerId);
      assert.notEqual(fixture.dataplane.attachment(up.slot), undefined);
    });

    it('takes a user’s tunnel down and keeps the addresses for the next login', async () => {
      const userId = await fixture.addUser('ada');
      const before = await login({ userId, prefixLength: 56 });
      assert.deepEqual(await fixture.broker.close({ userId, client: HOME }), { ok: true });
      assert.equal(fixture.dataplane.attachment(before.slot), undefined);
      await refusedAs(fixture.broker.close({ userId, client: HOME }), 'no-such-tunnel');
      const after = await login({ userId, prefixLength: 56 });
      assert.deepEqual([after.client, after.prefix], [before.client, before.prefix]);
    });

    it('lets an anonymous client close its own tunnel only', async () => {
      const userId = await fixture.addUser('ada');
      await login({ userId });
      const guest = await login({ client: AWAY });
      await refusedAs(fixture.broker.close({ userId: undefined, client: HOME }), 'no-such-tunnel');
      await fixture.broker.close({ userId: undefined, client: AWAY });
      assert.equal(fixture.dataplane.attachment(guest.slot), undefined);
      assert.equal(await fixture.store.tunnel({ tunnelId: guest.tunnelId }), undefined);
    });

    it('describes the tunnel to its owner only', async () => {
      const userId = await fixture.addUser('ada');
      const offer = await login({ userId, prefixLength: 56 });
      const described = await fixture.broker.describe({ userId, client: AWAY });
      assert.ok(described.ok);
      assert.deepEqual(described.tunnel.endpoint, HOME);
      assert.deepEqual(described.tunnel.prefix, offer.prefix);
      const bob = await fixture.addUser('bob');
      for (const other of [bob, undefined])
        await refusedAs(fixture.broker.describe({ userId: other, client: HOME }), 'no-such-tunnel');
    });
  });

  it('refuses what the kernel’s maps have no room for, and says so', async () => {
    await fixture.remove();
    fixture = await Fixture.make({ links: '2001:db8::/63' });
    await fixture.store.addPool(
      { purpose: 'link', prefix: prefix('2001:db8:9::/48'), positionLength: 64 },
      1 << 20,
      fixture.nowMs,
    );
    for (let i = 0; i < 1022; i++) {
      const client = at('203.0.113.1', i);
      const offer = await open({ client });
      assert.ok(offer.slot < 1024);
    }
    const offer = await open({ client: AWAY });
    assert.equal(offer.slot, 1024);
    await refusedAs(fixture.broker.accept(offer.offerId), 'internal');
    assert.match(fixture.complaints.join('\n'), /does not take slot 1024/);
  });

  it('does not start with another key than the secrets were sealed with', async () => {
    const accounts = new Accounts(fixture.store, new Uint8Array(32).fill(8), REALM);
    await assert.rejects(
      Broker.start({
        store: fixture.store,
        dataplane: fixture.dataplane,
        accounts,
        policy: POLICY,
        log: () => {},
      }),
      /key/,
    );
  });

  it('refuses as busy while another process holds the database', async () => {
    const impatient = await openSqliteStore({ file: fixture.file, create: false, patienceMs: 50 });
    const broker = await Broker.start({
      store: impatient,
      dataplane: fixture.dataplane,
      accounts: fixture.accounts,
      policy: POLICY,
      log: () => {},
      background: false,
    });
    const other = new DatabaseSync(fixture.file);
    other.exec('begin immediate');
    await refusedAs(
      broker.open({ userId: undefined, encapsulation: 'v6udpv4', client: HOME }),
      'busy',
    );
    other.exec('rollback');
    other.close();
    await impatient.close();
    await refusedAs(
      broker.open({ userId: undefined, encapsulation: 'v6udpv4', client: HOME }),
      'internal',
    );
  });

  it('refuses when the links are used up, and goes on when one is free', async () => {
    await fixture.remove();
    fixture = await Fixture.make({ links: '2001:db8::/62' });
    const offers: TunnelOffer[] = [];
    for (let port = 1; port <= 3; port++)
      offers.push(await login({ client: at('192.0.2.1', port) }));
    await refusedAs(tryOpen({ client: at('192.0.2.1', 4) }), 'no-free-tunnel');
    await fixture.broker.close({ userId: undefined, client: at('192.0.2.1', 2) });
    const next = await login({ client: at('192.0.2.1', 4) });
    assert.equal(next.slot, offers[1]!.slot);
    assert.notEqual(next.client, offers[1]!.client);
  });

  it('answers a hundred logins at once, each with addresses of its own', async () => {
    const userIds: number[] = [];
    for (let i = 0; i < 100; i++) userIds.push(await fixture.addUser(`user ${i}`));
    const offers = await Promise.all(
      userIds.map((userId, i) =>
        login({ userId, prefixLength: 56, client: at('192.0.2.1', 1000 + i) }),
      ),
    );
    assert.equal(new Set(offers.map((offer) => offer.slot)).size, 100);
    assert.equal(new Set(offers.map((offer) => formatIpv6Prefix(offer.prefix!))).size, 100);
    for (const [i, offer] of offers.entries())
      assert.equal(fixture.dataplane.attachment(offer.slot)?.client.port, 1000 + i);
  });

  it('follows and expires by itself when it runs in the background', async () => {
    await fixture.remove();
    fixture = await Fixture.make({ background: true });
    const { slot } = await login({ userId: await fixture.addUser('ada') });
    await fixture.accounts.disable('ada');
    const deadlineMs = Date.now() + 3000;
    while (fixture.dataplane.attachment(slot) && Date.now() < deadlineMs)
      await new Promise((resolve) => setTimeout(resolve, 20));
    assert.equal(fixture.dataplane.attachment(slot), undefined);
  });
});
