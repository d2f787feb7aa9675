// Nonces that need no memory until they come back: each carries its time, a number and a keyed MAC
// (HMAC-SHA256) over these, client address and port, and over what else the mechanism wants to find
// again unchanged. Who returns one has shown that they receive at that address. Only returned nonces
// are remembered, so that each works once.

import { createHmac, createSecretKey, type KeyObject } from 'node:crypto';
import { type Endpoint, formatEndpoint } from '../address.ts';
import { equalOctets } from './sasl.ts';

export type NonceVerdict = 'fresh' | 'used' | 'foreign' | 'full';

const TIME_OCTETS = 6;
/** Tells the nonces of one millisecond apart. */
const COUNT_OCTETS = 2;
const STAMP_OCTETS = TIME_OCTETS + COUNT_OCTETS;
const MAC_OCTETS = 16;
/** Of a lifetime: what was returned in one of them is forgotten together. */
const PARTS = 4;
export const NONCE_LENGTH = ((STAMP_OCTETS + MAC_OCTETS) * 4) / 3;

interface Part {
  readonly sinceMs: number;
  readonly stamps: Set<number>;
}

export class Nonces {
  readonly #key: KeyObject;
  readonly #lifetimeMs: number;
  readonly #capacity: number;
  /** Stamps of returned nonces by when they were, the latest last: a few, which are forgotten whole. */
  readonly #used: Part[] = [{ sinceMs: Number.NEGATIVE_INFINITY, stamps: new Set() }];
  #count = 0;

  /**
   * `key` is secret; whoever keeps it over a restart must also keep a clock that does not go back.
   * At most `capacity` returned nonces are remembered.
   */
  constructor(key: Uint8Array, lifetimeMs: number, capacity: number) {
    this.#key = createSecretKey(key);
    this.#lifetimeMs = lifetimeMs;
    this.#capacity = capacity;
  }

  /** 32 characters of base64url: no comma, no quote, no padding. It is good with `context` only. */
  issue(client: Endpoint, nowMs: number, context = ''): string {
    this.#count = (this.#count + 1) % 2 ** 16;
    const stamp = Buffer.alloc(STAMP_OCTETS);
    stamp.writeUIntBE(Math.floor(nowMs) % 2 ** 48, 0, TIME_OCTETS);
    stamp.writeUInt16BE(this.#count, TIME_OCTETS);
    return this.#text(stamp, client, context);
  }

  /** `foreign`: not ours, not this client's, for another context, or too old. Changes nothing. */
  check(nonce: string, client: Endpoint, nowMs: number, context = ''): NonceVerdict {
    if (nonce.length !== NONCE_LENGTH) return 'foreign';
    const stamp = Buffer.from(nonce, 'base64url').subarray(0, STAMP_OCTETS);
    if (stamp.length !== STAMP_OCTETS) return 'foreign';
    // The texts are compared, not the octets: another spelling of the same octets would be another
    // key in the set of used ones.
    const genuine = this.#text(stamp, client, context);
    if (!equalOctets(Buffer.from(genuine), Buffer.from(nonce))) return 'foreign';
    const ageMs = Math.floor(nowMs) - stamp.readUIntBE(0, TIME_OCTETS);
    if (ageMs < 0 || ageMs > this.#lifetimeMs) return 'foreign';
    this.#forget(nowMs);
    const key = stampOf(nonce);
    if (this.#used.some(({ stamps }) => stamps.has(key))) return 'used';
    const sum = this.#used.reduce((count, { stamps }) => count + stamps.size, 0);
    return sum < this.#capacity ? 'fresh' : 'full';
  }

  /** From here on `check` says `used`. */
  spend(nonce: string, nowMs: number): void {
    this.#forget(nowMs);
    this.#used.at(-1)!.stamps.add(stampOf(nonce));
  }

  #text(stamp: Uint8Array, client: Endpoint, context: string): string {
    const mac = createHmac('sha256', this.#key)
      .update(stamp)
      .update(`${formatEndpoint(client)} ${context}`)
      .digest()
      .subarray(0, MAC_OCTETS);
    return Buffer.concat([stamp, mac]).toString('base64url');
  }

  /** What returned a lifetime ago is too old by itself. */
  #forget(nowMs: number): void {
    if (nowMs - this.#used.at(-1)!.sinceMs > this.#lifetimeMs / PARTS)
      this.#used.push({ sinceMs: nowMs, stamps: new Set() });
    // Nothing was added to a part after the next one began.
    while (this.#used.length > 1 && this.#used[1]!.sinceMs + this.#lifetimeMs < nowMs)
      this.#used.shift();
  }
}

/** Time, modulo some weeks, and number: of genuine nonces no two have the same. */
function stampOf(nonce: string): number {
  return Buffer.from(nonce.slice(0, 12), 'base64url').readUIntBE(STAMP_OCTETS - 6, 6);
}
