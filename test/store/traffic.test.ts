// Traffic over time in a real store: sums agree whatever the span, and the past goes in bites.

import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { after, before, describe, it, mock } from 'node:test';
import fc from 'fast-check';
import {
  addCounts,
  bucketOf,
  type Counts,
  NO_COUNTS,
  RESOLUTIONS,
  type Resolution,
} from '../../src/store/buckets.ts';
import { openSqliteStore } from '../../src/store/sqlite.ts';
import type { Store } from '../../src/store/store.ts';
import type { TrafficPoint } from '../../src/store/traffic.ts';
import { addDelegations, addLinks, addUser, opened, request } from './requests.ts';

const DAY = 86_400_000;
const T0 = Date.parse('2026-11-20T00:00:00Z');

describe('traffic over time', () => {
  let directory: string;
  let file: string;
  let store: Store;
  /** Each test has days of its own. */
  let t0 = T0;

  before(async () => {
    directory = mkdtempSync(join(tmpdir(), 'sixway-traffic-'));
    file = join(directory, 'sixway.db');
    store = await openSqliteStore({ file, create: true });
  });
  after(async () => {
    await store.close();
    rmSync(directory, { recursive: true });
  });

  const small = fc.integer({ min: 0, max: 1e9 });
  const counts: fc.Arbitrary<Counts> = fc.record({
    inPackets: small,
    inBytes: small,
    outPackets: small,
    outBytes: small,
    drops: small,
  });

  function sumOf(points: readonly TrafficPoint[]): Counts {
    return points.reduce<Counts>(addCounts, NO_COUNTS);
  }

  it('sums agree over five minutes, hours and days, and with the totals', async () => {
    const record = fc.record({
      offsetMs: fc.integer({ min: 0, max: 3 * DAY - 1 }),
      tunnelId: fc.option(fc.integer({ min: 1, max: 3 }), { nil: undefined }),
      counts,
    });
    await fc.assert(
      fc.asyncProperty(fc.array(record, { maxLength: 20 }), async (records) => {
        t0 += 5 * DAY;
        for (const { offsetMs, ...counted } of records)
          await store.traffic.record(bucketOf(t0 + offsetMs, '5-minutes'), [counted]);
        const all = records.map((each) => each.counts).reduce(addCounts, NO_COUNTS);
        for (const resolution of RESOLUTIONS) {
          for (const tunnelId of [1, 2, 3]) {
            const own = records.filter((each) => each.tunnelId === tunnelId);
            const points = await store.traffic.ofTunnel(tunnelId, resolution, t0, t0 + 3 * DAY);
            const wanted = own.map((each) => each.counts).reduce(addCounts, NO_COUNTS);
            assert.deepEqual(sumOf(points), wanted, `${resolution} of ${tunnelId}`);
          }
          const totals = await store.traffic.totals(resolution, t0, t0 + 3 * DAY);
          assert.deepEqual(sumOf(totals), all, `totals of ${resolution}`);
        }
      }),
      { numRuns: 25 },
    );
  });

  it('gauges are the last, logins all of a span; pools are filled by what is leased', async () => {
    t0 += 5 * DAY;
    const gauges = { loginFailures: 1, down: 1, disabled: 0, sessions: 7 };
    await store.traffic.recordGauges(t0, { ...gauges, logins: 5, attached: 3 });
    await store.traffic.recordGauges(t0 + 300_000, { ...gauges, logins: 6, attached: 4 });
    const [hour] = await store.traffic.totals('hours', t0, t0 + DAY);
    assert.deepEqual(
      [hour?.logins, hour?.loginFailures, hour?.attached, hour?.down, hour?.sessions],
      [11, 2, 4, 1, 7],
    );
    const links = await addLinks(store);
    const delegations = await addDelegations(store);
    const ids: number[] = [];
    for (const name of ['ada', 'bob', 'eve']) {
      const userId = await addUser(store, name);
      const wants = { userId, delegationPools: name === 'ada' ? [delegations] : [] };
      ids.push(opened(await store.openTunnel(request([links], wants), t0)).id);
    }
    await store.closeTunnel(ids[1]!, t0);
    await store.traffic.recordGauges(t0 + 600_000, { ...gauges, logins: 0, attached: 0 });
    assert.deepEqual(
      (await store.traffic.poolFill(t0, t0 + DAY)).map(({ poolId, leased }) => [poolId, leased]),
      [
        [links.id, 2],
        [delegations.id, 1],
      ],
    );
    assert.deepEqual(
      (await store.poolUsage()).map(({ leased }) => leased),
      [2, 1],
    );
  });

  it('forgets what began before, in bites, and nothing else', async () => {
    t0 += 5 * DAY;
    const one = { inPackets: 1, inBytes: 1, outPackets: 1, outBytes: 1, drops: 0 };
    const tunnels = [1, 2, 3, 4].map((tunnelId) => ({ tunnelId, counts: one }));
    for (let span = 0; span < 4; span++) await store.traffic.record(t0 + span * 300_000, tunnels);
    const cut = t0 + 2 * 300_000;
    const left = async () =>
      (await store.traffic.ofTunnel(1, '5-minutes', t0 - 900 * DAY, t0 + DAY)).map(
        ({ atMs }) => (atMs - t0) / 300_000,
      );
    let bites = 0;
    while ((await store.traffic.prune('5-minutes', cut, 3)) > 0) bites++;
    assert.ok(bites >= 3);
    assert.deepEqual(await left(), [2, 3]);
    const totals = await store.traffic.totals('5-minutes', 0, t0 + DAY);
    assert.deepEqual(
      totals.map(({ atMs }) => atMs),
      [cut, cut + 300_000],
    );
    const hours = await store.traffic.ofTunnel(1, 'hours', t0, t0 + DAY);
    assert.equal(hours[0]?.inPackets, 4);
  });

  it('remembers what was seen, until the counters are others', async () => {
    const counts = { ...NO_COUNTS, inBytes: 9 };
    const seen = { family: 'ipv6', slot: 7, tunnelId: 3, counts } as const;
    await store.traffic.beginEpoch('a', 'kept');
    await store.traffic.record(t0, [{ tunnelId: 3, counts, seen }]);
    await store.traffic.record(t0, [
      { tunnelId: 3, counts, seen: { ...seen, counts: { ...counts, inBytes: 18 } } },
    ]);
    const all = async () => (await Array.fromAsync(store.traffic.seen('ipv6'))).flat();
    assert.deepEqual(await all(), [{ ...seen, counts: { ...counts, inBytes: 18 } }]);
    assert.equal(await store.traffic.epoch(), 'a');
    await store.traffic.beginEpoch('b', 'forgotten');
    assert.deepEqual([await all(), await store.traffic.epoch()], [[], 'b']);
  });

  it('no question and no forgetting goes through a table', async () => {
    const prepare = mock.method(DatabaseSync.prototype, 'prepare');
    // A connection keeps its statements: another one prepares them anew.
    const other = await openSqliteStore({ file, create: false });
    for (const resolution of RESOLUTIONS as readonly Resolution[]) {
      await other.traffic.ofTunnel(1, resolution, t0, t0 + DAY);
      await other.traffic.totals(resolution, t0, t0 + DAY);
      await other.traffic.prune(resolution, t0 + 1);
    }
    await other.traffic.poolFill(t0, t0 + DAY);
    await other.traffic.tunnelsInSlots('ipv6', 0, 10);
    for await (const _ of other.traffic.seen('ipv6'));
    const asked = prepare.mock.calls.map(({ arguments: [sql] }) => sql);
    prepare.mock.restore();
    await other.close();
    const db = new DatabaseSync(file);
    let plans = 0;
    for (const sql of asked.filter((each) => /traffic_|totals_|pool_fill|tunnels/.test(each))) {
      if (!/^(select|delete)/.test(sql)) continue;
      plans++;
      const plan = db.prepare(`explain query plan ${sql}`).all() as { detail: string }[];
      for (const { detail } of plan) assert.doesNotMatch(detail, /^SCAN/, sql);
    }
    db.close();
    assert.ok(plans > 10, String(plans));
  });
});
