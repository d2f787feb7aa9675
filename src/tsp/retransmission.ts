// When a TSP client repeats a message and when it gives up (RFC 5572 §4.4.1.2 leaves it to "UNP"
// §22.5: Jacobson's estimate of the round-trip time, exponential back-off). The pace is gogoc's, which
// servers and NATs have been living with. Pure arithmetic on milliseconds.

const MIN_TIMEOUT_MS = 2_000;
const MAX_TIMEOUT_MS = 30_000;
/** A server that never answered is given up soon: it is probably not there. */
const TRANSMISSIONS_TO_STRANGER = 3;
const TRANSMISSIONS = 8;
const TRANSMISSIONS_BEFORE_BACKOFF = 4;

export class RetransmissionTimer {
  #smoothedMs = 0;
  #variationMs = 500;
  #answered = false;
  #transmissions = 0;
  #deadlineMs: number | undefined;

  /** The server has answered something. */
  get answered(): boolean {
    return this.#answered;
  }

  /** A message goes out for the first time. */
  start(nowMs: number): void {
    this.#transmissions = 1;
    this.#deadlineMs = nowMs + this.#timeoutMs();
  }

  /** What to do at {@link deadline}. */
  expire(nowMs: number): 'wait' | 'repeat' | 'give-up' {
    if (this.#deadlineMs === undefined || nowMs < this.#deadlineMs) return 'wait';
    const most = this.#answered ? TRANSMISSIONS : TRANSMISSIONS_TO_STRANGER;
    if (this.#transmissions >= most) return 'give-up';
    this.#transmissions++;
    this.#deadlineMs = nowMs + this.#timeoutMs();
    return 'repeat';
  }

  /** The answer came; `roundTripMs` is undefined when the server did not return the timestamp. */
  stop(roundTripMs: number | undefined): void {
    this.#answered = true;
    this.#deadlineMs = undefined;
    if (roundTripMs === undefined) return;
    const error = roundTripMs - this.#smoothedMs;
    this.#smoothedMs += error / 8;
    this.#variationMs += (Math.abs(error) - this.#variationMs) / 4;
  }

  deadline(): number | undefined {
    return this.#deadlineMs;
  }

  #timeoutMs(): number {
    const estimate = Math.max(MIN_TIMEOUT_MS, this.#smoothedMs + 4 * this.#variationMs);
    const doublings = Math.max(0, this.#transmissions - TRANSMISSIONS_BEFORE_BACKOFF);
    return Math.min(MAX_TIMEOUT_MS, estimate * 2 ** doublings);
  }
}
