// Differences of counters, and the spans that they are added up in.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  addCounts,
  bucketOf,
  bucketsBetween,
  type Counts,
  countsSince,
  isNothing,
  NO_COUNTS,
  RESOLUTIONS,
  SPAN_MS,
  sampledBucket,
  spansOf,
  untilNextSample,
} from '../../src/store/buckets.ts';

const count = fc.integer({ min: 0, max: 2 ** 50 });
const counts: fc.Arbitrary<Counts> = fc.record({
  inPackets: count,
  inBytes: count,
  outPackets: count,
  outBytes: count,
  drops: count,
});
const moment = fc.integer({ min: 0, max: 4_102_444_800_000 });

test('what came since is never negative, and added to what was seen it is what there is', () => {
  fc.assert(
    fc.property(counts, counts, (seen, now) => {
      const since = countsSince(seen, now);
      for (const value of Object.values(since)) assert.ok(value >= 0);
      const { drops, ...traffic } = addCounts(seen, since);
      if (drops !== now.drops) assert.equal(since.drops, now.drops);
      const { drops: _, ...wanted } = now;
      const grew = Object.entries(wanted).every(
        ([name, value]) => value >= seen[name as keyof Counts],
      );
      if (grew) assert.deepEqual(traffic, wanted);
      else assert.deepEqual({ ...since, drops: 0 }, { ...now, drops: 0 });
    }),
  );
});

test('counters that only grow lose nothing, however often they are read', () => {
  fc.assert(
    fc.property(fc.array(counts, { maxLength: 8 }), (steps) => {
      let [absolute, seen, sum] = [NO_COUNTS, NO_COUNTS, NO_COUNTS];
      for (const step of steps) {
        absolute = addCounts(absolute, step);
        sum = addCounts(sum, countsSince(seen, absolute));
        seen = absolute;
      }
      assert.deepEqual(sum, absolute);
    }),
  );
});

test('nothing came where nothing changed', () => {
  fc.assert(fc.property(counts, (same) => assert.ok(isNothing(countsSince(same, same)))));
});

test('a span holds its moments, and the spans of five minutes fill hours, and those days', () => {
  fc.assert(
    fc.property(moment, (atMs) => {
      for (const resolution of RESOLUTIONS) {
        const bucket = bucketOf(atMs, resolution);
        assert.ok(bucket <= atMs && atMs < bucket + SPAN_MS[resolution]);
      }
      const fine = bucketOf(atMs, '5-minutes');
      assert.equal(bucketOf(fine, 'hours'), bucketOf(atMs, 'hours'));
      assert.equal(bucketOf(bucketOf(fine, 'hours'), 'days'), bucketOf(atMs, 'days'));
    }),
  );
});

test('a sample at the end of a span tells of that span', () => {
  const noon = Date.parse('2026-11-25T12:00:00Z');
  const late = noon + 120;
  assert.equal(sampledBucket(late, 300_000), noon - 300_000);
  assert.equal(sampledBucket(late, 60_000), noon - 300_000);
  assert.equal(sampledBucket(noon + 60_000, 60_000), noon);
  // Rarer samples go where most of the last five minutes are.
  assert.equal(sampledBucket(late, 3_600_000), noon - 300_000);
  assert.equal(untilNextSample(late, 300_000), 300_000 - 120);
  assert.equal(untilNextSample(noon, 300_000), 300_000);
});

test('spans between two moments are all that begin there', () => {
  const at = (text: string) => Date.parse(`2026-11-25T${text}Z`);
  assert.deepEqual(bucketsBetween(at('10:00'), at('12:00'), 'hours'), [at('10:00'), at('11:00')]);
  assert.deepEqual(bucketsBetween(at('10:01'), at('12:01'), 'hours'), [at('11:00'), at('12:00')]);
  assert.deepEqual(bucketsBetween(at('12:00'), at('10:00'), 'hours'), []);
});

test('graphs end with the span that is under way', () => {
  const now = Date.parse('2026-11-25T12:03:00Z');
  for (const [period, spans] of [
    ['hour', 12],
    ['day', 288],
    ['month', 744],
  ] as const) {
    const { resolution, fromMs, untilMs } = spansOf(period, now);
    assert.equal(bucketsBetween(fromMs, untilMs, resolution).length, spans);
    assert.ok(now < untilMs && untilMs - now <= SPAN_MS[resolution]);
  }
});
