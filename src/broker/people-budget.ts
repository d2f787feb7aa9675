// How often something may be done in a while, by key: sign-ups from an address, mails to a person.
// Bounded memory; time comes in as an argument. Knows not what is counted.

const MAX_KEYS = 50_000;

export class Budget {
  readonly #max: number;
  readonly #windowMs: number;
  /** By key, the window begun longest ago first. */
  readonly #spent = new Map<string, { count: number; readonly sinceMs: number }>();

  constructor(max: number, windowMs: number) {
    this.#max = max;
    this.#windowMs = windowMs;
  }

  /** Whether there is something left, without taking it. */
  has(key: string, nowMs: number): boolean {
    const spent = this.#spent.get(key);
    return !spent || spent.sinceMs + this.#windowMs <= nowMs || spent.count < this.#max;
  }

  /** False: there was nothing left. */
  take(key: string, nowMs: number): boolean {
    if (!this.has(key, nowMs)) return false;
    const spent = this.#spent.get(key);
    if (spent && spent.sinceMs + this.#windowMs > nowMs) {
      spent.count++;
      return true;
    }
    this.#spent.delete(key);
    this.#spent.set(key, { count: 1, sinceMs: nowMs });
    if (this.#spent.size > MAX_KEYS)
      for (const oldest of this.#spent.keys()) {
        this.#spent.delete(oldest);
        break;
      }
    return true;
  }
}
