// Every outcome of the layout is brought about by a test of this folder that names it.

import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { OUTCOME_NAMES } from '../../src/dataplane/layout.gen.ts';

test('every outcome is named by a test', () => {
  const texts = readdirSync(import.meta.dirname)
    .filter((name) => /tests?\.ts$/.test(name) && name !== 'outcomes.test.ts')
    .map((name) => readFileSync(join(import.meta.dirname, name), 'utf8'))
    .join();
  const unnamed = OUTCOME_NAMES.filter((name) => !new RegExp(`\\b${name}\\b`).test(texts));
  assert.deepEqual(unnamed, []);
});
