// Finds tunnels that have been silent for too long. One number a slot, in memory only: the kernel
// notes when it heard from a client, and the store is not written for it. Knows slots and times.

export class IdleWatch {
  /** Unix milliseconds at which a slot is looked at again; 0: not watched. */
  readonly #dueMs: Float64Array;
  readonly #limitMs: Float64Array;

  constructor(slots: number) {
    this.#dueMs = new Float64Array(slots);
    this.#limitMs = new Float64Array(slots);
  }

  /** The client in `slot` gave a sign of life at `nowMs`, and may be silent for `limitMs`. */
  watch(slot: number, limitMs: number, nowMs: number): void {
    this.#limitMs[slot] = limitMs;
    this.#dueMs[slot] = nowMs + limitMs;
  }

  forget(slot: number): void {
    this.#dueMs[slot] = 0;
  }

  forgetAll(): void {
    this.#dueMs.fill(0);
  }

  /** Slots that have been silent for longer than they may. They stay watched. */
  silent(
    nowMs: number,
    lastSeenMs: (slot: number) => number | undefined,
  ): { readonly slot: number; readonly limitMs: number }[] {
    const silent: { slot: number; limitMs: number }[] = [];
    for (let slot = 0; slot < this.#dueMs.length; slot++) {
      const dueMs = this.#dueMs[slot]!;
      if (dueMs === 0 || dueMs > nowMs) continue;
      const limitMs = this.#limitMs[slot]!;
      const laterMs = (lastSeenMs(slot) ?? 0) + limitMs;
      if (laterMs > nowMs) this.#dueMs[slot] = laterMs;
      else silent.push({ slot, limitMs });
    }
    return silent;
  }
}
