// When logins are to begin: as fast as the server answers, or at a rate that asks nobody. At a rate
// they are due at fixed times, and how long one took counts from when it was due: a server that is
// slow, or a generator that could not keep up, must not make the waiting look shorter.

export interface Pace {
  /**
   * When the next login is or was due, if that is not after `nowMs`; it counts as begun. `underWay`:
   * how many have begun and not ended. Undefined: none is due.
   */
  next(nowMs: number, underWay: number): number | undefined;
  /** When {@link next} has something to say again without an answer of the server's. */
  dueMs(): number;
}

/** A new login for each that ends; `concurrency` at once. */
export class ClosedLoop implements Pace {
  readonly #concurrency: number;

  constructor(concurrency: number) {
    this.#concurrency = concurrency;
  }

  next(nowMs: number, underWay: number): number | undefined {
    return underWay < this.#concurrency ? nowMs : undefined;
  }

  dueMs(): number {
    return Number.POSITIVE_INFINITY;
  }
}

/** The same distance between any two. */
export class OpenLoop implements Pace {
  readonly #startMs: number;
  readonly #intervalMs: number;
  #begun = 0;

  constructor(perSecond: number, startMs: number) {
    this.#startMs = startMs;
    this.#intervalMs = 1000 / perSecond;
  }

  next(nowMs: number): number | undefined {
    const dueMs = this.dueMs();
    if (dueMs > nowMs) return undefined;
    this.#begun++;
    return dueMs;
  }

  dueMs(): number {
    return this.#startMs + this.#begun * this.#intervalMs;
  }
}
