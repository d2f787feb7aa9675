import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { HISTOGRAM_OCTETS, Histogram } from '../../src/bench/histogram.ts';

test('percentiles are those of the sorted durations, off by less than one percent', () => {
  const durations = fc.array(fc.double({ min: 0, max: 1_000_000, noNaN: true }), { minLength: 1 });
  fc.assert(
    fc.property(durations, fc.double({ min: 0, max: 1, noNaN: true }), (all, share) => {
      const histogram = new Histogram();
      for (const ms of all) histogram.record(ms);
      const rank = Math.max(1, Math.ceil(share * all.length));
      const exact = all.toSorted((a, b) => a - b)[rank - 1]!;
      const found = histogram.percentileMs(share)!;
      assert.ok(
        Math.abs(found - exact) <= Math.max(0.0006, exact * 0.01),
        `${found}, not ${exact}`,
      );
      assert.equal(histogram.count, all.length);
    }),
  );
});

test('nothing recorded has no percentile', () => {
  assert.equal(new Histogram().percentileMs(0.99), undefined);
});

test('durations beyond half an hour, and clocks that go back, are counted at the ends', () => {
  const histogram = new Histogram();
  histogram.record(1e12);
  histogram.record(-3);
  assert.equal(histogram.percentileMs(0), 0);
  assert.ok(histogram.percentileMs(1)! > 2_100_000);
});

test('two histograms on one memory are one, and a copy stays as it was', () => {
  const memory = new SharedArrayBuffer(HISTOGRAM_OCTETS + 8);
  const [writer, reader] = [new Histogram(memory, 8), new Histogram(memory, 8)];
  writer.record(1);
  const before = reader.copy();
  for (let i = 0; i < 10; i++) writer.record(100);
  assert.equal(reader.count, 11);
  assert.equal(before.count, 1);
  const since = reader.since(before);
  assert.equal(since.count, 10);
  assert.ok(since.percentileMs(0)! > 99);
});
