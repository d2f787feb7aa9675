// Nobody is left with a number: everything that drops a packet is explained in one sentence.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { explainOutcome, FAULT_WORDS } from '../../src/broker/explain.ts';
import { FAULT_NAMES, OUTCOME_NAMES } from '../../src/dataplane/layout.gen.ts';

/** Where packets go where they should. */
const FINE = [
  'in_not_ours',
  'in_signalling',
  'in_decapsulated',
  'in_echo_answered',
  'in_forwarded',
  'in_error_relayed',
  'out_encapsulated',
  'out_forwarded',
  'out_sent_around',
];

test('every outcome that is not fine has one sentence', () => {
  for (const outcome of OUTCOME_NAMES) {
    const sentence = explainOutcome(outcome);
    if (FINE.includes(outcome)) {
      assert.equal(sentence, undefined, outcome);
      continue;
    }
    assert.match(sentence ?? '', /^[A-Z][^.]*(\.[^. ][^.]*)*\.$/, outcome);
  }
});

test('every fault has words', () => {
  assert.deepEqual(Object.keys(FAULT_WORDS).sort(), [...FAULT_NAMES].sort());
});
