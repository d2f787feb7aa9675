import { test } from 'node:test';
import { Pair } from './pair.ts';
import { assertAgreement, crashSchedule } from './schedules.ts';

test('clients that crash and come back on their ports agree with the server too', () => {
  for (let seed = 1; seed <= 4000; seed++) {
    const options = crashSchedule(seed);
    assertAgreement(new Pair(options), options);
  }
});
