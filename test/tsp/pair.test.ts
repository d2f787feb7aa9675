import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Pair } from './pair.ts';
import { assertAgreement, MECHANISMS, roughSchedule } from './schedules.ts';

test('over a good network each login takes one round of messages and one offer', () => {
  for (const mechanism of MECHANISMS) {
    const options = {
      seed: 1,
      loss: 0,
      duplication: 0,
      maxDelayMs: 100,
      maxBrokerDelayMs: 100,
      mechanisms: [mechanism],
    };
    const pair = new Pair(options);
    assertAgreement(pair, options);
    assert.equal(pair.leases.offerCount, 1);
    assert.deepEqual(pair.ends, []);
    assert.equal(
      pair.datagrams,
      { 'SCRAM-SHA-256': 14, 'DIGEST-MD5': 12, PLAIN: 10, ANONYMOUS: 8 }[mechanism as string],
    );
  }
});

test('under loss, duplication, delay and reordering both ends agree in the end', () => {
  for (let seed = 1; seed <= 6000; seed++) {
    const options = roughSchedule(seed);
    assertAgreement(new Pair(options), options);
  }
});
