// When a client pings its tunnel server, and when the silence means that the tunnel is dead
// (RFC 5572 §4.6). Three pings in a row that are late by five seconds are death; the RFC sets no
// number, this one is gogoc's. Sends nothing itself.

const ANSWER_TIMEOUT_MS = 5_000;
const MAX_MISSES = 3;

export type KeepaliveStep =
  | { readonly type: 'nothing' }
  | { readonly type: 'ping'; readonly sequence: number }
  | { readonly type: 'lost' };

export class KeepaliveTimer {
  readonly #intervalMs: number;
  #random: number;
  #sequence = -1;
  #misses = 0;
  #nextPingMs: number;
  /** When the outstanding ping counts as missed. */
  #missMs: number | undefined;

  /** `seed` is any random 32-bit number; it spreads the pings of many clients. */
  constructor(intervalSeconds: number, seed: number, nowMs: number) {
    this.#intervalMs = intervalSeconds * 1000;
    this.#random = seed >>> 0;
    this.#nextPingMs = nowMs + this.#pauseMs();
  }

  expire(nowMs: number): KeepaliveStep {
    if (this.#missMs !== undefined && nowMs >= this.#missMs) {
      this.#missMs = undefined;
      this.#misses++;
      if (this.#misses >= MAX_MISSES) return { type: 'lost' };
    }
    if (this.#missMs !== undefined || nowMs < this.#nextPingMs) return { type: 'nothing' };
    this.#sequence = (this.#sequence + 1) % 0x10000;
    this.#nextPingMs = nowMs + this.#pauseMs();
    this.#missMs = nowMs + ANSWER_TIMEOUT_MS;
    return { type: 'ping', sequence: this.#sequence };
  }

  /** An answer, however late, shows that the tunnel lives. */
  answered(sequence: number): void {
    const age = (this.#sequence - sequence + 0x10000) % 0x10000;
    if (this.#sequence < 0 || age >= MAX_MISSES) return;
    this.#misses = 0;
    if (age === 0) this.#missMs = undefined;
  }

  deadline(): number {
    return this.#missMs ?? this.#nextPingMs;
  }

  /** Between 75 and 100 % of the interval (§4.6). */
  #pauseMs(): number {
    // A linear congruential step (Numerical Recipes): spread is wanted here, not secrecy.
    this.#random = (Math.imul(this.#random, 1664525) + 1013904223) >>> 0;
    return Math.round(this.#intervalMs * (0.75 + this.#random / 2 ** 34));
  }
}
