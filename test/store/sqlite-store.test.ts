import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { storeSuite } from './store-suite.ts';

storeSuite('SQLite', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'sixway-store-'));
  return {
    location: `sqlite:${join(directory, 'sixway.db')}`,
    remove: () => rm(directory, { recursive: true }),
  };
});
