// How much more a server sends than it was sent, to addresses that have not shown that they are the
// sender's. Up to twice a packet (counted with IP and UDP headers) is always sent; what is more is
// taken from a budget for each network, so that nobody gains by asking in somebody else's name. The
// memory is fixed: networks share buckets by a keyed hash.

import { hash } from 'node:crypto';
import type { Endpoint } from '../address.ts';
import { HEADER_OCTETS } from './framing.ts';

/** Some 280 DIGEST-MD5 challenges at once from one network, then 36 a second. */
export const BUDGET_OCTETS = 16_384;
export const BUDGET_OCTETS_PER_SECOND = 2048;

const BUCKETS = 4096;

export class AnswerBudget {
  readonly #key: string;
  /** What each bucket has spent, and when that was reckoned. */
  readonly #spent = new Float64Array(BUCKETS);
  readonly #reckonedMs = new Float64Array(BUCKETS);

  constructor(key: Uint8Array) {
    this.#key = Buffer.from(key).toString('base64');
  }

  /** Both lengths are of TSP text, without any header. When true, the excess has been spent. */
  allows(to: Endpoint, requestOctets: number, answerOctets: number, nowMs: number): boolean {
    const excess = answerOctets - twice(to, requestOctets);
    if (excess <= 0) return true;
    const bucket = this.#bucketOf(to);
    const elapsedSeconds = (nowMs - this.#reckonedMs[bucket]!) / 1000;
    const left = this.#spent[bucket]! - elapsedSeconds * BUDGET_OCTETS_PER_SECOND;
    const spent = Math.max(0, left) + excess;
    if (spent > BUDGET_OCTETS) return false;
    this.#spent[bucket] = spent;
    this.#reckonedMs[bucket] = nowMs;
    return true;
  }

  /** By /24 and /48: who can forge one address of a network can forge all. */
  #bucketOf({ address }: Endpoint): number {
    const network = typeof address === 'number' ? `4 ${address >>> 8}` : `6 ${address >> 80n}`;
    // No more of it than the bucket is ever seen: no need for HMAC.
    const digest = hash('sha256', `${this.#key} network ${network}`, 'buffer');
    return digest.readUInt16BE() % BUCKETS;
  }
}

/** How long a text may be so that its packet is at most twice as long as the request's. */
export function twice({ address }: Endpoint, requestOctets: number): number {
  const headers = (typeof address === 'number' ? 20 : 40) + 8 + HEADER_OCTETS;
  return 2 * (headers + requestOctets) - headers;
}
