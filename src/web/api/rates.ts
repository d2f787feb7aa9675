// How many requests a caller may make, told with every answer (draft-ietf-httpapi-ratelimit-headers).
// Bounded memory; knows not what is asked.

import type { FastifyReply } from 'fastify';

const MAX_KEYS = 50_000;

export class RateLimit {
  readonly #quota: number;
  readonly #windowMs: number;
  readonly #windows = new Map<string, { left: number; readonly untilMs: number }>();

  constructor(quota: number, windowMs: number) {
    this.#quota = quota;
    this.#windowMs = windowMs;
  }

  /** False: there is nothing left; the reply says when there is. */
  take(key: string, reply: FastifyReply, nowMs = Date.now()): boolean {
    const window = this.#windowOf(key, nowMs);
    const seconds = Math.max(1, Math.ceil((window.untilMs - nowMs) / 1000));
    const allowed = window.left > 0;
    if (allowed) window.left--;
    reply.header('ratelimit-policy', `"default";q=${this.#quota};w=${this.#windowMs / 1000}`);
    reply.header('ratelimit', `"default";r=${window.left};t=${seconds}`);
    if (!allowed) reply.header('retry-after', String(seconds));
    return allowed;
  }

  #windowOf(key: string, nowMs: number) {
    const known = this.#windows.get(key);
    if (known && known.untilMs > nowMs) return known;
    const window = { left: this.#quota, untilMs: nowMs + this.#windowMs };
    this.#windows.delete(key);
    this.#windows.set(key, window);
    if (this.#windows.size > MAX_KEYS)
      for (const oldest of this.#windows.keys()) {
        this.#windows.delete(oldest);
        break;
      }
    return window;
  }
}
