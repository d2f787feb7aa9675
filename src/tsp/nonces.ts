// DIGEST-MD5 nonces that need no memory until they come back: each carries its time and a keyed MAC
// (HMAC-SHA256) over time, client address and port. Who returns one has shown that they receive at
// that address. Only returned nonces are remembered, so that each works once.

import { createHmac } from 'node:crypto';
import { type Endpoint, formatEndpoint } from '../address.ts';
import { equalOctets } from './sasl.ts';

export type NonceVerdict = 'fresh' | 'used' | 'foreign' | 'full';

const TIME_OCTETS = 6;
const MAC_OCTETS = 16;
const TEXT_LENGTH = Math.ceil(((TIME_OCTETS + MAC_OCTETS) * 4) / 3);

export class Nonces {
  readonly #key: Uint8Array;
  readonly #lifetimeMs: number;
  readonly #capacity: number;
  /** Returned nonces and when each may be forgotten, earliest first. */
  readonly #used = new Map<string, number>();

  /**
   * `key` is secret; whoever keeps it over a restart must also keep a clock that does not go back.
   * At most `capacity` returned nonces are remembered.
   */
  constructor(key: Uint8Array, lifetimeMs: number, capacity: number) {
    this.#key = key;
    this.#lifetimeMs = lifetimeMs;
    this.#capacity = capacity;
  }

  /** 30 characters of base64url: no comma, no quote, no padding. */
  issue(client: Endpoint, nowMs: number): string {
    const time = Buffer.alloc(TIME_OCTETS);
    time.writeUIntBE(Math.floor(nowMs) % 2 ** 48, 0, TIME_OCTETS);
    return this.#text(time, client);
  }

  /** `foreign`: not ours, not this client's, or too old. Changes nothing. */
  check(nonce: string, client: Endpoint, nowMs: number): NonceVerdict {
    if (nonce.length !== TEXT_LENGTH) return 'foreign';
    const time = Buffer.from(nonce, 'base64url').subarray(0, TIME_OCTETS);
    if (time.length !== TIME_OCTETS) return 'foreign';
    // The whole text is compared: base64 can write the same octets in several ways, and each
    // of them would be another key in the set of used ones.
    const genuine = this.#text(time, client);
    if (!equalOctets(Buffer.from(genuine), Buffer.from(nonce))) return 'foreign';
    const ageMs = Math.floor(nowMs) - time.readUIntBE(0, TIME_OCTETS);
    if (ageMs < 0 || ageMs > this.#lifetimeMs) return 'foreign';
    this.#forget(nowMs);
    if (this.#used.has(nonce)) return 'used';
    return this.#used.size < this.#capacity ? 'fresh' : 'full';
  }

  /** From here on `check` says `used`. */
  spend(nonce: string, nowMs: number): void {
    this.#used.set(nonce, nowMs + this.#lifetimeMs);
  }

  #text(time: Uint8Array, client: Endpoint): string {
    const mac = createHmac('sha256', this.#key)
      .update(time)
      .update(formatEndpoint(client))
      .digest()
      .subarray(0, MAC_OCTETS);
    return Buffer.concat([time, mac]).toString('base64url');
  }

  #forget(nowMs: number): void {
    for (const [nonce, expiryMs] of this.#used) {
      // A nonce is too old strictly after its lifetime, so it is kept one tick longer than that.
      if (expiryMs >= nowMs) return;
      this.#used.delete(nonce);
    }
  }
}
