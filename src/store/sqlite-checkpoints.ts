// Moves what was committed from SQLite's WAL into the database, in a thread of its own: it waits for
// the disk, and the event loop must not. Nothing is lost when it fails; the WAL only grows.

import { Worker } from 'node:worker_threads';

/** passive: as far as nobody is in the way. restart: all of it, and the WAL begins anew. */
export type Checkpoint = 'passive' | 'restart';

/** About 4 KiB of WAL each, several for a row with its indexes. */
const WRITES_BETWEEN = 8192;

export class Checkpoints {
  readonly #file: string;
  #worker: Worker | undefined;
  #writesAtLast = 0;
  #running: Promise<void> | undefined;

  constructor(file: string) {
    this.#file = file;
  }

  /** Whether it is time, with this many writes made in all; then not again until it was done. */
  isDueAfter(writes: number): boolean {
    if (this.#running || writes < this.#writesAtLast + WRITES_BETWEEN) return false;
    this.#writesAtLast = writes;
    return true;
  }

  /** Never rejects. */
  async run(kind: Checkpoint): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#running = promise;
    if (!this.#worker) {
      const program = new URL('./sqlite-checkpoint-worker.ts', import.meta.url);
      this.#worker = new Worker(program, { workerData: this.#file });
      this.#worker.unref();
      this.#worker.on('error', () => {
        this.#worker = undefined;
      });
    }
    const worker = this.#worker;
    worker.once('message', resolve);
    worker.once('exit', resolve);
    worker.postMessage(kind);
    await promise;
    worker.off('message', resolve);
    worker.off('exit', resolve);
    this.#running = undefined;
  }

  async close(): Promise<void> {
    await this.#running;
    await this.#worker?.terminate();
  }
}
