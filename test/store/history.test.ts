// Who had which address: written when it ends, found at any time, forgotten when it is too old.

import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { afterEach, beforeEach, describe, it, mock } from 'node:test';
import fc from 'fast-check';
import {
  formatPrefix,
  type IpPrefix,
  parseIp,
  parseIpv4Prefix,
  parseIpv6,
  parseIpv6Prefix,
} from '../../src/address.ts';
import type { HistoryStore, Span } from '../../src/store/history.ts';
import type { Page, PageRequest } from '../../src/store/pages.ts';
import { networkKey } from '../../src/store/past.ts';
import type { Pool } from '../../src/store/pools.ts';
import { openSqliteStore } from '../../src/store/sqlite.ts';
import type { Store } from '../../src/store/store.ts';
import type { Tunnel } from '../../src/store/tunnels.ts';
import { addDelegations, addLinks, addUser, at, NOW, opened, request } from './requests.ts';

const HOUR = 3_600_000;
const HOME = at('192.0.2.1', 40_000);
const AWAY = at('198.51.100.1', 50_000);

describe('the past', () => {
  let directory: string;
  let file: string;
  let store: Store;
  let links: Pool;
  let delegations: Pool;

  beforeEach(async () => {
    directory = mkdtempSync(join(tmpdir(), 'sixway-history-'));
    file = join(directory, 'sixway.db');
    store = await openSqliteStore({ file, create: true });
    links = await addLinks(store);
    delegations = await addDelegations(store);
  });

  afterEach(async () => {
    await store.close();
    rmSync(directory, { recursive: true });
  });

  async function open(userId: number | undefined, nowMs: number, prefix = false, on = store) {
    const wants = prefix ? { delegationPools: [delegations] } : {};
    return opened(await on.openTunnel(request([links], { userId, client: HOME, ...wants }), nowMs));
  }

  async function attach(tunnel: Tunnel, client: typeof HOME, nowMs: number, on = store) {
    const done = await on.attachTunnel(
      {
        tunnelId: tunnel.id,
        userId: tunnel.user?.id,
        encapsulation: 'v6udpv4',
        client,
        proxy: false,
        displaces: 'any',
        maxAtAddress: undefined,
        expiresAtMs: undefined,
      },
      nowMs,
    );
    assert.ok(done.ok);
  }

  /** Page by page, three rows each, so that every cursor is used. */
  async function all<T>(read: (page: PageRequest) => Promise<Page<T>>): Promise<readonly T[]> {
    const found: T[] = [];
    for (let after: string | undefined; ; ) {
      const page = await read({ after, limit: 3 });
      assert.ok(page.items.length <= 3);
      found.push(...page.items);
      if (page.next === undefined) return found;
      after = page.next;
    }
  }

  const moment = (atMs: number): Span => ({ fromMs: atMs, untilMs: atMs });

  function prefixOf(text: string): IpPrefix {
    if (text.includes('/')) return parseIpv6Prefix(text) ?? parseIpv4Prefix(text)!;
    const address = parseIp(text)!;
    return typeof address === 'bigint' ? { address, length: 128 } : { address, length: 32 };
  }

  async function holders(text: string, span: Span, history: HistoryStore = store.history) {
    const found = await all((page) => history.holders(prefixOf(text), span, page));
    return found.map(({ user, prefix, fromMs, untilMs }) => [
      user?.name,
      formatPrefix(prefix),
      fromMs - NOW,
      untilMs === undefined ? undefined : untilMs - NOW,
    ]);
  }

  async function clients(text: string, port: number | undefined, span: Span) {
    const found = await all((page) => store.history.clientsAt(parseIp(text)!, port, span, page));
    return found.map(({ user, port: at, fromMs, untilMs }) => [
      user?.name,
      at,
      fromMs - NOW,
      untilMs === undefined ? undefined : untilMs - NOW,
    ]);
  }

  function count(table: string): number {
    const db = new DatabaseSync(file);
    try {
      return (db.prepare(`select count(*) as n from ${table}`).get() as { n: number }).n;
    } finally {
      db.close();
    }
  }

  it('a first login writes nothing of it', async () => {
    await attach(await open(await addUser(store, 'ada'), NOW, true), HOME, NOW + 1);
    assert.equal(count('past_attachments') + count('past_leases'), 0);
  });

  it('says where a client was, is, and was not', async () => {
    const ada = await open(await addUser(store, 'ada'), NOW);
    await attach(ada, HOME, NOW + 10);
    await attach(ada, AWAY, NOW + 20);
    await store.takeDownTunnel(ada.id, NOW + 30);
    await attach(ada, HOME, NOW + 40);
    assert.deepEqual(await clients('192.0.2.1', undefined, moment(NOW + 9)), []);
    assert.deepEqual(await clients('192.0.2.1', undefined, moment(NOW + 10)), [
      ['ada', 40_000, 10, 20],
    ]);
    assert.deepEqual(await clients('192.0.2.1', undefined, moment(NOW + 20)), []);
    assert.deepEqual(await clients('198.51.100.1', 50_000, moment(NOW + 29)), [
      ['ada', 50_000, 20, 30],
    ]);
    assert.deepEqual(await clients('198.51.100.1', 50_001, moment(NOW + 29)), []);
    assert.deepEqual(await clients('192.0.2.1', 40_000, { fromMs: NOW, untilMs: NOW + 99 }), [
      ['ada', 40_000, 10, 20],
      ['ada', 40_000, 40, undefined],
    ]);
  });

  it('a login where the tunnel is already is one attachment', async () => {
    const ada = await open(await addUser(store, 'ada'), NOW);
    await attach(ada, HOME, NOW + 10);
    await attach(ada, HOME, NOW + 20);
    assert.equal(count('past_attachments'), 0);
    assert.deepEqual(await clients('192.0.2.1', 40_000, moment(NOW + 15)), [
      ['ada', 40_000, 10, undefined],
    ]);
  });

  it('who is displaced was there until then', async () => {
    const ada = await open(await addUser(store, 'ada'), NOW);
    await attach(ada, HOME, NOW + 10);
    const bob = await open(await addUser(store, 'bob'), NOW);
    await attach(bob, HOME, NOW + 20);
    assert.deepEqual(await clients('192.0.2.1', 40_000, { fromMs: NOW, untilMs: NOW + 99 }), [
      ['ada', 40_000, 10, 20],
      ['bob', 40_000, 20, undefined],
    ]);
  });

  it('finds the holder of an address in a link and in a prefix, then and now', async () => {
    const userId = await addUser(store, 'ada');
    const ada = await open(userId, NOW, true);
    await attach(ada, HOME, NOW + 10);
    const inLink = '2001:db8:0:1::2';
    const inPrefix = '2001:db8:8000:0:1:2:3:4';
    const now = [
      [inLink, '2001:db8:0:1::/64'],
      [inPrefix, '2001:db8:8000::/56'],
    ] as const;
    for (const [address, prefix] of now)
      assert.deepEqual(await holders(address, moment(NOW + 15)), [['ada', prefix, 0, undefined]]);
    await store.removeUser(userId, NOW + HOUR);
    for (const [address, prefix] of now) {
      assert.deepEqual(await holders(address, moment(NOW + 15)), [['ada', prefix, 0, HOUR]]);
      assert.deepEqual(await holders(address, moment(NOW + HOUR)), []);
      assert.deepEqual(await holders(address, moment(NOW - 1)), []);
    }
    assert.deepEqual(await holders('2001:db8:8000:100::1', moment(NOW + 15)), []);
    assert.deepEqual(await holders('2001:db8::/32', moment(NOW + 15)), [
      ['ada', '2001:db8:0:1::/64', 0, HOUR],
      ['ada', '2001:db8:8000::/56', 0, HOUR],
    ]);
  });

  it('a prefix that came later than its tunnel is its user’s from then on only', async () => {
    const userId = await addUser(store, 'ada');
    await attach(await open(userId, NOW), HOME, NOW + 1);
    await open(userId, NOW + HOUR, true);
    assert.deepEqual(await holders('2001:db8:8000::1', moment(NOW + HOUR - 1)), []);
    assert.deepEqual(await holders('2001:db8:8000::1', moment(NOW + HOUR)), [
      ['ada', '2001:db8:8000::/56', HOUR, undefined],
    ]);
  });

  it('an address that changed hands has each holder in its time', async () => {
    // One position to give, so that it goes round.
    const only = await addLinks(store, '2001:db8:f::/63');
    for (const [index, name] of ['ada', 'bob', 'eve', 'dan', 'joe'].entries()) {
      const userId = await addUser(store, name);
      const wants = request([only], { userId, client: HOME });
      const tunnel = opened(await store.openTunnel(wants, NOW + index * HOUR));
      await attach(tunnel, HOME, NOW + index * HOUR + 1);
      if (name !== 'joe') await store.closeTunnel(tunnel.id, NOW + index * HOUR + 10);
    }
    const address = '2001:db8:f:1::2';
    assert.deepEqual(await holders(address, moment(NOW + 2 * HOUR + 5)), [
      ['eve', '2001:db8:f:1::/64', 2 * HOUR, 2 * HOUR + 10],
    ]);
    assert.deepEqual(await holders(address, moment(NOW + 2 * HOUR + 10)), []);
    const names = (await holders(address, { fromMs: NOW, untilMs: NOW + 9 * HOUR })).map(
      ([name]) => name,
    );
    assert.deepEqual(names, ['ada', 'bob', 'eve', 'dan', 'joe']);
  });

  it('an anonymous tunnel that never was up had no addresses; one that was had', async () => {
    const offered = await open(undefined, NOW);
    await store.closeTunnel(offered.id, NOW + 10);
    assert.equal(count('past_leases'), 0);
    const used = await open(undefined, NOW + 20);
    await attach(used, HOME, NOW + 30);
    await store.takeDownTunnel(used.id, NOW + 40);
    assert.deepEqual(await holders(formatPrefix(used.link), moment(NOW + 35)), [
      [undefined, formatPrefix(used.link), 20, 40],
    ]);
    const [found] = (
      await store.history.attachmentsOf({ tunnelId: used.id }, moment(NOW + 35), { limit: 9 })
    ).items;
    assert.equal(found?.client, HOME.address);
  });

  it('knows tunnels of IPv4 in IPv6 by both addresses', async () => {
    const pool = await store.addPool(
      { purpose: 'ipv4-link', prefix: parseIpv4Prefix('100.64.0.0/24')!, positionLength: 30 },
      1024,
      NOW,
    );
    assert.ok(pool.ok);
    const userId = await addUser(store, 'ada');
    const terms = { keepaliveSeconds: 30, lifetimeSeconds: 60, leaseMs: undefined };
    const tunnel = await store.openIpv4Tunnel({ userId, linkPools: [pool.pool], ...terms }, NOW);
    assert.ok(tunnel.ok);
    const client = parseIpv6('2001:db8:77::1')!;
    const { id: tunnelId } = tunnel.tunnel;
    await store.attachIpv4Tunnel({ tunnelId, userId, client }, NOW + 10);
    assert.deepEqual(await holders('100.64.0.6', moment(NOW + 15)), [
      ['ada', '100.64.0.4/30', 0, undefined],
    ]);
    assert.deepEqual(await clients('2001:db8:77::1', undefined, moment(NOW + 15)), [
      ['ada', 0, 10, undefined],
    ]);
    await store.closeTunnel(tunnelId, NOW + 20);
    assert.deepEqual(await holders('100.64.0.6', moment(NOW + 15)), [
      ['ada', '100.64.0.4/30', 0, 20],
    ]);
    assert.deepEqual(await holders('100.64.0.0/24', moment(NOW + 15)), [
      ['ada', '100.64.0.4/30', 0, 20],
    ]);
    assert.deepEqual(await clients('2001:db8:77::1', undefined, moment(NOW + 15)), [
      ['ada', 0, 10, 20],
    ]);
  });

  it('a user’s past stays when the user goes, and loses the name when it is erased', async () => {
    const userId = await addUser(store, 'ada');
    const ada = await open(userId, NOW, true);
    await attach(ada, HOME, NOW + 10);
    await attach(ada, AWAY, NOW + 20);
    await store.removeUser(userId, NOW + 30);
    const span = { fromMs: NOW, untilMs: NOW + 99 };
    const page = { limit: 100 };
    const leases = await store.history.leasesOf({ userId }, span, page);
    const attachments = await store.history.attachmentsOf({ userId }, span, page);
    assert.deepEqual([leases.items.length, attachments.items.length], [2, 2]);
    assert.equal(leases.items[0]?.user?.name, 'ada');
    await store.history.eraseUser(userId);
    for (const { items } of [
      await store.history.leasesOf({ userId }, span, page),
      await store.history.attachmentsOf({ userId }, span, page),
    ])
      for (const { user } of items)
        assert.deepEqual(user, { id: userId, name: `erased-${userId}` });
    const names = [await holders('2001:db8:0:1::2', moment(NOW + 15))].flat().map(([name]) => name);
    assert.deepEqual(names, [`erased-${userId}`]);
  });

  it('users removed by the thousand leave the same past', async () => {
    const userId = await addUser(store, 'bench-1');
    const tunnel = await open(userId, NOW, true);
    await attach(tunnel, HOME, NOW + 10);
    await store.removeNumberedUsers('bench-', '', 100, NOW + 20);
    assert.deepEqual(await holders('2001:db8:8000::1', moment(NOW + 15)), [
      ['bench-1', '2001:db8:8000::/56', 0, 20],
    ]);
    assert.deepEqual(await clients('192.0.2.1', 40_000, moment(NOW + 15)), [
      ['bench-1', 40_000, 10, 20],
    ]);
  });

  it('forgets what ended before, in bites, and nothing else', async () => {
    const ada = await open(await addUser(store, 'ada'), NOW);
    for (let i = 0; i < 10; i++) await attach(ada, at('192.0.2.9', 1 + i), NOW + i * HOUR);
    assert.equal(await store.history.prune(NOW + 5 * HOUR, 3), 3);
    assert.equal(await store.history.prune(NOW + 5 * HOUR, 3), 1);
    assert.equal(await store.history.prune(NOW + 5 * HOUR, 3), 0);
    const left = await clients('192.0.2.9', undefined, { fromMs: NOW, untilMs: NOW + 99 * HOUR });
    assert.deepEqual(
      left.map(([, port]) => port),
      [5, 6, 7, 8, 9, 10],
    );
  });

  it('keeps nothing where it is told not to', async () => {
    const silent = await openSqliteStore({ file, create: false, keepsPast: false });
    const userId = await addUser(silent, 'ada');
    const ada = await open(userId, NOW, true, silent);
    await attach(ada, HOME, NOW + 10, silent);
    await attach(ada, AWAY, NOW + 20, silent);
    await silent.removeUser(userId, NOW + 30);
    await silent.close();
    assert.equal(count('past_attachments') + count('past_leases'), 0);
  });

  it('a cursor that somebody made up leads to a page', async () => {
    for (const after of ['', 'x', '99:1', '0:zz', '0:1.2.3', '1:fff', '0:9/9', '000:/'])
      await store.history.holders(prefixOf('2001:db8::/32'), moment(NOW), { after, limit: 3 });
  });

  it('every question is answered by an index, however long the past is', async () => {
    const prepare = mock.method(DatabaseSync.prototype, 'prepare');
    const span = moment(NOW);
    const { history } = store;
    for (const after of [undefined, '0:1.1', '1:2001:0db8:0000:0001/1.1', '1:1', '2:1']) {
      const page = { after, limit: 3 };
      await history.holders(prefixOf('2001:db8::1'), span, page);
      await history.holders(prefixOf('2001:db8::/32'), span, page);
      for (const port of [undefined, 7])
        await history.clientsAt(parseIp('192.0.2.1')!, port, span, page);
      for (const whose of [{ tunnelId: 1 }, { userId: 1 }]) {
        await history.leasesOf(whose, span, page);
        await history.attachmentsOf(whose, span, page);
      }
    }
    const asked = prepare.mock.calls.map(({ arguments: [sql] }) => sql);
    prepare.mock.restore();
    const db = new DatabaseSync(file);
    const plans = asked.map((sql) =>
      (db.prepare(`explain query plan ${sql}`).all() as { detail: string }[])
        .map(({ detail }) => detail)
        .join('; '),
    );
    db.close();
    for (const [index, plan] of plans.entries()) {
      // Pools are few.
      if (/from "pools" order by/.test(asked[index]!)) continue;
      assert.doesNotMatch(plan, /SCAN/, asked[index]);
    }
    for (const used of [
      /past_attachments_client \(client_address=\? AND until_ms>\?\)/,
      /past_attachments_tunnel \(tunnel_id=\? AND until_ms>\?\)/,
      /past_attachments_user \(user_id=\? AND until_ms>\?\)/,
      /past_leases_tunnel \(tunnel_id=\? AND until_ms>\?\)/,
      /past_leases_user \(user_id=\? AND until_ms>\?\)/,
      /past_leases_network \(network=\? AND until_ms>\?\)/,
      /past_leases_network \(network>\? AND network<\?\)/,
      /attachments USING INDEX \S+ \(encapsulation=\? AND client_address=\?\)/,
      /leases USING INDEX \S+ \(pool_id=\? AND position>\? AND position<\?\)/,
    ])
      assert.ok(
        plans.some((plan) => used.test(plan)),
        `${used} is not in\n${plans.join('\n')}`,
      );
  });
});

it('networks as text are in the order of their addresses', () => {
  const any6 = fc.bigInt({ min: 0n, max: (1n << 64n) - 1n }).map((high) => high << 64n);
  fc.assert(
    fc.property(any6, any6, (a, b) => {
      const [x, y] = [
        networkKey({ address: a, length: 64 }),
        networkKey({ address: b, length: 64 }),
      ];
      assert.equal(x < y, a < b);
    }),
  );
  const any4 = fc.integer({ min: 0, max: 2 ** 32 - 1 });
  fc.assert(
    fc.property(any4, any4, (a, b) => {
      const [x, y] = [
        networkKey({ address: a, length: 32 }),
        networkKey({ address: b, length: 32 }),
      ];
      assert.equal(x < y, a < b);
    }),
  );
});
