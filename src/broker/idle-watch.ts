// Finds tunnels that have been silent for too long. One number a slot, in memory only: the kernel
// notes when it heard from a client, and the store is not written for it. Knows slots and times.

import type { SilenceLimits } from './lifetime.ts';

export class IdleWatch {
  /** Unix milliseconds at which a slot is looked at again; 0: not watched. */
  readonly #dueMs: Float64Array;
  readonly #heardLimitMs: Uint32Array;
  readonly #neverHeardLimitMs: Uint32Array;

  constructor(slots: number) {
    this.#dueMs = new Float64Array(slots);
    this.#heardLimitMs = new Uint32Array(slots);
    this.#neverHeardLimitMs = new Uint32Array(slots);
  }

  /** The client in `slot` logged in at `nowMs`. `neverHeardMs` is not more than `heardMs`. */
  watch(slot: number, { heardMs, neverHeardMs }: SilenceLimits, nowMs: number): void {
    this.#heardLimitMs[slot] = heardMs;
    this.#neverHeardLimitMs[slot] = neverHeardMs;
    this.#dueMs[slot] = nowMs + neverHeardMs;
  }

  forget(slot: number): void {
    this.#dueMs[slot] = 0;
  }

  forgetAll(): void {
    this.#dueMs.fill(0);
  }

  /**
   * Slots that the kernel has not heard from for longer than they may be silent; the login may be
   * later. They stay watched.
   */
  silent(
    nowMs: number,
    lastSeenMs: (slot: number) => number | undefined,
  ): { readonly slot: number; readonly limitMs: number }[] {
    const silent: { slot: number; limitMs: number }[] = [];
    for (let slot = 0; slot < this.#dueMs.length; slot++) {
      const dueMs = this.#dueMs[slot]!;
      if (dueMs === 0 || dueMs > nowMs) continue;
      const heardMs = lastSeenMs(slot);
      const limitMs = (heardMs === undefined ? this.#neverHeardLimitMs : this.#heardLimitMs)[slot]!;
      if (heardMs !== undefined && heardMs + limitMs > nowMs) this.#dueMs[slot] = heardMs + limitMs;
      else silent.push({ slot, limitMs });
    }
    return silent;
  }
}
