// When a server is behind by too much: too many that wait, one that waits too long, a crowded socket.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Load } from '../../src/tsp-server/load.ts';

test('as many as may wait, and no more', () => {
  const load = new Load({ maxWaiting: 2, maxWaitMs: 1000, maxSocketWaitMs: 250 });
  const first = load.begin(0);
  assert.equal(load.isTooMuch(0), false);
  const second = load.begin(0);
  assert.deepEqual([load.isTooMuch(0), load.waiting], [true, 2]);
  load.end(first);
  assert.equal(load.isTooMuch(0), false);
  load.end(second);
  assert.equal(load.waiting, 0);
});

test('the one that has waited the longest decides', () => {
  const load = new Load({ maxWaiting: 100, maxWaitMs: 1000, maxSocketWaitMs: 250 });
  const first = load.begin(0);
  load.begin(900);
  assert.equal(load.isTooMuch(1000), false);
  assert.equal(load.isTooMuch(1001), true);
  load.end(first);
  assert.equal(load.isTooMuch(1001), false);
  assert.equal(load.isTooMuch(1901), true);
});

test('datagrams that lay in the socket for too long, until there is other news or none', () => {
  const load = new Load({ maxWaiting: 100, maxWaitMs: 1000, maxSocketWaitMs: 250 });
  load.noteSocket(250, 50);
  assert.equal(load.isTooMuch(50), false);
  load.noteSocket(251, 60);
  assert.equal(load.isTooMuch(60), true);
  assert.equal(load.isTooMuch(1059), true);
  assert.equal(load.isTooMuch(1060), false);
  load.noteSocket(251, 2000);
  load.noteSocket(3, 2001);
  assert.equal(load.isTooMuch(2001), false);
});
