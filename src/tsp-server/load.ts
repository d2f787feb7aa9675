// How far the server is behind, and when that is too far: then new clients are told to come back (530
// in answer to VERSION, the one step from which all of them do), and those who are past it go on. What
// is counted is what waits for the broker, and how long datagrams lay in the socket. Knows no protocol.

import { QueueMap } from '../queue-map.ts';

export interface LoadLimits {
  /** How many requests may wait for the broker at once. */
  readonly maxWaiting: number;
  /** How long one may wait before it is too long. */
  readonly maxWaitMs: number;
  /** The same for a datagram in the socket: a login has five. */
  readonly maxSocketWaitMs: number;
}

/** Without news a crowded socket is taken to be empty again. */
const NEWS_LIFETIME_MS = 1000;

export class Load {
  readonly #limits: LoadLimits;
  /** Since when each waits, the longest first. */
  readonly #waiting = new QueueMap<number, number>();
  #lastTicket = 0;
  #socketWaitMs = 0;
  #socketAtMs = Number.NEGATIVE_INFINITY;

  constructor(limits: LoadLimits) {
    this.#limits = limits;
  }

  get waiting(): number {
    return this.#waiting.size;
  }

  /** A request goes to the broker; the answer is for {@link end}. */
  begin(nowMs: number): number {
    const ticket = ++this.#lastTicket;
    this.#waiting.put(ticket, nowMs);
    return ticket;
  }

  end(ticket: number): void {
    this.#waiting.delete(ticket);
  }

  /** How long the oldest datagram of a batch lay in the socket. */
  noteSocket(waitMs: number, nowMs: number): void {
    this.#socketWaitMs = waitMs;
    this.#socketAtMs = nowMs;
  }

  isTooMuch(nowMs: number): boolean {
    const { maxWaiting, maxWaitMs, maxSocketWaitMs } = this.#limits;
    if (this.#waiting.size >= maxWaiting) return true;
    const { oldest } = this.#waiting;
    if (oldest !== undefined && nowMs - oldest > maxWaitMs) return true;
    return this.#socketWaitMs > maxSocketWaitMs && nowMs - this.#socketAtMs < NEWS_LIFETIME_MS;
  }
}
