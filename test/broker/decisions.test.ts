// The pure parts: which pools, whose place, how long, which pools may be added.

import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { parseIpv4Prefix } from '../../src/address.ts';
import { displacedBy, planPools } from '../../src/broker/allocation.ts';
import { IdleWatch } from '../../src/broker/idle-watch.ts';
import { keepaliveSecondsFor, silenceOf } from '../../src/broker/lifetime.ts';
import { addPool } from '../../src/broker/pools.ts';
import type { Ipv6Pool } from '../../src/store/pools.ts';
import type { PoolPurpose } from '../../src/store/schema.ts';
import { openSqliteStore } from '../../src/store/sqlite.ts';
import { prefix } from './fixture.ts';

function pool(id: number, purpose: Ipv6Pool['purpose'], positionLength: number): Ipv6Pool {
  return {
    id,
    purpose,
    prefix: prefix('2001:db8::/32'),
    positionLength,
    positionCount: 1,
    firstIndex: 0,
    createdAtMs: 0,
  };
}

describe('the choice of pools', () => {
  const pools = [
    pool(1, 'link', 64),
    pool(2, 'delegation', 56),
    pool(3, 'delegation', 48),
    pool(4, 'delegation', 56),
    pool(5, 'link', 64),
  ];

  const chosen = (
    prefixLength: number | undefined,
    authenticated = true,
    hasDelegation = false,
  ) => {
    const plan = planPools(pools, { authenticated, prefixLength, hasDelegation });
    if (!plan.ok) return plan.refusal;
    assert.deepEqual(
      plan.linkPools.map(({ id }) => id),
      [1, 5],
    );
    return plan.delegationPools.map(({ id }) => id);
  };

  it('takes the length asked for, else the closest longer one', () => {
    assert.deepEqual(chosen(48), [3]);
    assert.deepEqual(chosen(56), [2, 4]);
    assert.deepEqual(chosen(32), [3]);
    assert.deepEqual(chosen(49), [2, 4]);
    assert.equal(chosen(57), 'prefix-length-unavailable');
  });

  it('takes a link only for hosts, and for who has a prefix', () => {
    assert.deepEqual(chosen(undefined), []);
    assert.deepEqual(chosen(undefined, false), []);
    assert.deepEqual(chosen(57, true, true), []);
  });

  it('refuses any prefix to anonymous clients', () => {
    assert.equal(chosen(56, false), 'prefix-for-anonymous');
  });

  it('makes room for users, and for whoever proved a UDP port last', () => {
    assert.equal(displacedBy(true, 'v6udpv4'), 'any');
    assert.equal(displacedBy(true, 'v6v4'), 'anonymous');
    assert.equal(displacedBy(false, 'v6udpv4'), 'none');
    assert.equal(displacedBy(false, 'v6v4'), 'none');
  });
});

describe('time', () => {
  it('lets a tunnel be silent for three keepalives and 30 s', () => {
    const limits = (keepaliveSeconds: number, anonymous: boolean) =>
      Object.values(silenceOf({ anonymous, keepaliveSeconds }));
    assert.deepEqual(limits(30, false), [120_000, 120_000]);
    assert.deepEqual(limits(5, false), [45_000, 45_000]);
    assert.deepEqual(limits(15, true), [75_000, 24_000]);
  });

  it('keeps a keepalive between 5 s and the policy', () => {
    assert.deepEqual(
      [undefined, 1, 5, 17, 30, 31].map((wish) => keepaliveSecondsFor(wish, 30, true)),
      [30, 5, 5, 17, 30, 30],
    );
  });

  it('has an anonymous client speak before it is taken for one that never will', () => {
    assert.deepEqual(
      [undefined, 1, 14, 30].map((wish) => keepaliveSecondsFor(wish, 30, false)),
      [15, 5, 14, 15],
    );
    assert.equal(keepaliveSecondsFor(undefined, 10, false), 10);
  });

  it('finds the slots that were silent, and asks when the client was heard only then', () => {
    const watch = new IdleWatch(8);
    const heard = new Map<number, number>();
    const asked: number[] = [];
    const silent = (nowMs: number) =>
      watch
        .silent(nowMs, (slot) => {
          asked.push(slot);
          return heard.get(slot);
        })
        .map(({ slot }) => slot);
    const limits = (heardMs: number, neverHeardMs = heardMs) => ({ heardMs, neverHeardMs });
    watch.watch(3, limits(100), 1000);
    watch.watch(5, limits(200), 1000);
    assert.deepEqual(silent(1099), []);
    assert.deepEqual(asked, []);
    heard.set(3, 1050);
    assert.deepEqual(silent(1100), []);
    assert.deepEqual(silent(1149), []);
    assert.deepEqual(asked, [3]);
    assert.deepEqual(silent(1200), [3, 5]);
    watch.forget(3);
    assert.deepEqual(silent(1200), [5]);
    watch.watch(5, limits(200), 1150);
    assert.deepEqual(silent(1200), []);
    watch.forget(5);
    watch.watch(6, limits(100, 20), 1000);
    watch.watch(7, limits(100, 20), 1000);
    heard.set(7, 1010);
    assert.deepEqual(silent(1019), []);
    assert.deepEqual(silent(1020), [6]);
    assert.deepEqual(silent(1110), [6, 7]);
  });
});

describe('adding a pool', () => {
  const capacity = { link: 1024, delegation: 4096, 'ipv4-link': 1024 };

  async function withStore(
    act: (
      add: (purpose: PoolPurpose, text: string, length: number) => Promise<string>,
    ) => Promise<void>,
  ): Promise<void> {
    const directory = mkdtempSync(join(tmpdir(), 'sixway-pools-'));
    const store = await openSqliteStore({ file: join(directory, 'sixway.db'), create: true });
    try {
      await act(async (purpose, text, positionLength) => {
        const wish =
          purpose === 'ipv4-link'
            ? { purpose, prefix: parseIpv4Prefix(text)!, positionLength }
            : { purpose, prefix: prefix(text), positionLength };
        const added = await addPool(store, wish, capacity, 0);
        return added.ok ? 'ok' : added.refusal;
      });
    } finally {
      await store.close();
      rmSync(directory, { recursive: true });
    }
  }

  it('takes unicast prefixes only, and none of other tunnel mechanisms', async () => {
    await withStore(async (add) => {
      for (const text of ['fe80::/56', 'ff00::/56', '::/56', '2002:c000:201::/56', '2001:0:1::/56'])
        assert.equal(await add('link', text, 64), 'prefix-unusable', text);
      assert.equal(await add('link', 'fd00:1::/56', 64), 'ok');
      assert.equal(await add('link', '2001:db8::/56', 64), 'ok');
    });
  });

  it('cuts links into /64 and delegations into nothing longer', async () => {
    await withStore(async (add) => {
      assert.equal(await add('link', '2001:db8::/48', 56), 'length-unusable');
      assert.equal(await add('link', '2001:db8::/64', 64), 'length-unusable');
      assert.equal(await add('delegation', '2001:db8::/56', 48), 'length-unusable');
      assert.equal(await add('delegation', '2001:db8::/60', 65), 'length-unusable');
      assert.equal(await add('delegation', '2001:db8::/56', 56), 'ok');
    });
  });

  it('takes IPv4 that hosts can have, cut into links of four addresses or one', async () => {
    await withStore(async (add) => {
      for (const text of ['127.0.0.0/16', '224.0.0.0/8', '0.0.0.0/4', '169.254.0.0/16'])
        assert.equal(await add('ipv4-link', text, 30), 'prefix-unusable', text);
      for (const [text, length] of [
        ['100.64.0.0/22', 24],
        ['100.64.0.0/22', 31],
        ['100.64.0.0/30', 30],
        ['100.64.0.0/32', 32],
      ] as const)
        assert.equal(await add('ipv4-link', text, length), 'length-unusable', text);
      assert.equal(await add('ipv4-link', '100.64.0.0/18', 30), 'over-capacity');
      assert.equal(await add('ipv4-link', '100.64.0.0/24', 30), 'ok');
      assert.equal(await add('ipv4-link', '10.0.0.0/24', 32), 'ok');
      assert.equal(await add('ipv4-link', '10.0.0.128/25', 32), 'overlaps-pool');
    });
  });

  it('counts each purpose against its own capacity', async () => {
    await withStore(async (add) => {
      assert.equal(await add('link', '2001:db8::/53', 64), 'over-capacity');
      assert.equal(await add('link', '2001:db8::/54', 64), 'ok');
      assert.equal(await add('link', '2001:db8:1::/63', 64), 'over-capacity');
      assert.equal(await add('delegation', '2001:db8:8000::/44', 56), 'ok');
      assert.equal(await add('delegation', '2001:db8:8000::/48', 56), 'overlaps-pool');
    });
  });

  it('stops where the kernel’s table of pools is full', async () => {
    await withStore(async (add) => {
      for (let i = 0; i < 16; i++)
        assert.equal(await add('link', `2001:db8:${i.toString(16)}::/60`, 64), 'ok');
      assert.equal(await add('link', '2001:db8:ff::/60', 64), 'too-many-pools');
    });
  });
});
