// Runs an act again and again in the background, never twice at once. Knows nothing of the act.

import type { Log } from './projection.ts';

export class Loop {
  #timer: NodeJS.Timeout | undefined;
  #running: Promise<void> = Promise.resolve();
  #stopped = false;
  #failing = false;

  /**
   * `everyMs`: the pause before each time. `what` is for the log, which hears of the first failure in a
   * row and of the recovery.
   */
  constructor(what: string, everyMs: number | (() => number), act: () => Promise<void>, log: Log) {
    const once = async () => {
      try {
        await act();
        if (this.#failing) log(`${what} works again`);
        this.#failing = false;
      } catch (error) {
        if (!this.#failing) log(`${what} failed and is tried again`, error);
        this.#failing = true;
      }
      wait();
    };
    const wait = () => {
      if (this.#stopped) return;
      this.#timer = setTimeout(
        () => {
          this.#running = once();
        },
        typeof everyMs === 'number' ? everyMs : everyMs(),
      );
      this.#timer.unref();
    };
    wait();
  }

  /** Fulfilled when nothing of it runs any more. */
  async stop(): Promise<void> {
    this.#stopped = true;
    clearTimeout(this.#timer);
    await this.#running;
  }
}
