import assert from 'node:assert/strict';
import { test } from 'node:test';
import { forgetSome } from '../../src/broker/forgetting.ts';

test('forgets until there is no more, each by its own age, and all where nothing is kept', async () => {
  const asked: [string, number][] = [];
  const of = (name: string, days: number, bites: number) => ({
    days,
    forget: async (beforeMs: number) => {
      asked.push([name, beforeMs]);
      return bites-- > 0 ? 1 : 0;
    },
  });
  const now = 10 * 86_400_000;
  await forgetSome([of('a', 3, 2), of('b', 0, 0)], now);
  assert.deepEqual(asked, [
    ['a', 7 * 86_400_000],
    ['a', 7 * 86_400_000],
    ['a', 7 * 86_400_000],
    ['b', Number.MAX_SAFE_INTEGER],
  ]);
});

test('never goes on for ever', async () => {
  let bites = 0;
  await forgetSome([{ days: 1, forget: async () => ++bites }], 0);
  assert.equal(bites, 1000);
});
