// The load generator's door: starts its thread, says how it is going, and answers how it went. What is
// played is in bench/plan.ts, who plays it in bench/clients.ts. Draws nothing.

import { cpus } from 'node:os';
import { Worker } from 'node:worker_threads';
import type { BenchPlan } from './bench/plan.ts';
import { type BenchResult, resultOf, type WorkerMessage } from './bench/result.ts';
import { Tally } from './bench/tally.ts';

/** The generator could not do what it was told; the message says why. */
export class BenchFailed extends Error {
  readonly code: string | undefined;

  constructor(text: string, code: string | undefined) {
    super(text);
    this.code = code;
  }
}

export interface Bench {
  /** Counts while it runs. */
  readonly tally: Tally;
  /** Rejects with {@link BenchFailed}. */
  readonly result: Promise<BenchResult>;
  /** No more logins; a second time: at once. */
  stop(): void;
}

export function startBench(plan: BenchPlan): Bench {
  const tally = new Tally();
  const worker = new Worker(new URL('./bench/worker.ts', import.meta.url), {
    workerData: { plan, memory: tally.memory },
  });
  const result = new Promise<BenchResult>((resolve, reject) => {
    worker.on('message', (message: WorkerMessage) => {
      if (message.type === 'ended') {
        resolve(resultOf(plan, tally, message.ended, cpus().length));
      } else if (message.expected) reject(new BenchFailed(message.text, message.code));
      else reject(new Error(message.text));
    });
    worker.on('error', reject);
    worker.on('exit', () => reject(new Error('the generator ended without a result')));
  });
  return { tally, result, stop: () => tally.stop() };
}
