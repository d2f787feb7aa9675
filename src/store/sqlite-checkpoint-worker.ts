// The thread that sqlite-checkpoints.ts starts: does one checkpoint of the database for each message.

import { DatabaseSync } from 'node:sqlite';
import { parentPort, workerData } from 'node:worker_threads';
import type { Checkpoint } from './sqlite-checkpoints.ts';

const WAIT_MS = 1000;

const db = new DatabaseSync(workerData as string, { timeout: WAIT_MS });
parentPort!.on('message', (kind: Checkpoint) => {
  try {
    db.exec(`pragma wal_checkpoint(${kind})`);
  } catch {
    // The next one does it.
  }
  parentPort!.postMessage('done');
});
