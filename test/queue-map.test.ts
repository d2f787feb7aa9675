// A queue with keys, against a model that is slow and plain.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { QueueMap } from '../src/queue-map.ts';

test('it is what a list of pairs would be', () => {
  const key = fc.integer({ min: 0, max: 9 });
  const step = fc.oneof(
    fc.tuple(fc.constant('put' as const), key),
    fc.tuple(fc.constant('delete' as const), key),
    fc.tuple(fc.constant('deleteOldest' as const), key),
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const queue = new QueueMap<number, string>();
      let model: [key: number, value: string][] = [];
      for (const [index, [what, key]] of steps.entries()) {
        if (what === 'put') {
          queue.put(key, `value ${index}`);
          model = [...model.filter(([each]) => each !== key), [key, `value ${index}`]];
        } else if (what === 'delete') {
          queue.delete(key);
          model = model.filter(([each]) => each !== key);
        } else {
          queue.deleteOldest();
          model = model.slice(1);
        }
        assert.equal(queue.size, model.length);
        assert.equal(queue.oldest, model[0]?.[1]);
        assert.deepEqual(
          [...queue.values()],
          model.map(([, value]) => value),
        );
        for (let each = 0; each < 10; each++)
          assert.equal(queue.get(each), model.find(([there]) => there === each)?.[1]);
      }
    }),
  );
});

test('the one at hand may be deleted or moved while it is walked', () => {
  const queue = new QueueMap<number, number>();
  for (let i = 0; i < 5; i++) queue.put(i, i);
  const seen: number[] = [];
  for (const value of queue.values()) {
    seen.push(value);
    if (value < 2) queue.delete(value);
    else break;
  }
  assert.deepEqual(seen, [0, 1, 2]);
  assert.deepEqual([...queue.values()], [2, 3, 4]);
});
