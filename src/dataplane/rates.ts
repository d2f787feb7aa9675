// The limits of the tunnels that have any: entries of the `rates` map, by slot. The kernel keeps its
// accounts in the same entries, so one that says the right thing already is left alone.

import type { RateLimits } from './contract.ts';
import {
  RATE_KEY_V4V6_SHIFT,
  readTunnelRate,
  TUNNEL_RATE_SIZE,
  writeTunnelRate,
} from './layout.gen.ts';
import { deleteMapElement, findMapElement, KernelError, updateMapElement } from './native.ts';
import { costOfRate } from './records.ts';

export class Rates {
  readonly #mapFd: number;
  readonly #firstKey: number;

  constructor(mapFd: number, family: 'ipv6' | 'v4v6') {
    this.#mapFd = mapFd;
    this.#firstKey = family === 'v4v6' ? 2 ** RATE_KEY_V4V6_SHIFT : 0;
  }

  /** Undefined: the slot has no entry. */
  get(slot: number): RateLimits | undefined {
    const value = new Uint8Array(TUNNEL_RATE_SIZE);
    if (!findMapElement(this.#mapFd, this.#firstKey + slot, value)) return undefined;
    const { inCost, outCost } = readTunnelRate(new DataView(value.buffer), 0);
    return { inBitsPerSecond: costOfRate(inCost), outBitsPerSecond: costOfRate(outCost) };
  }

  /** Whether the entry says this already. */
  says(slot: number, limits: RateLimits): boolean {
    const present = this.get(slot);
    return (
      present !== undefined &&
      costOfRate(present.inBitsPerSecond) === costOfRate(limits.inBitsPerSecond) &&
      costOfRate(present.outBitsPerSecond) === costOfRate(limits.outBitsPerSecond)
    );
  }

  set(slot: number, limits: RateLimits): void {
    if (this.says(slot, limits)) return;
    const value = new Uint8Array(TUNNEL_RATE_SIZE);
    writeTunnelRate(new DataView(value.buffer), 0, {
      inPaidUntil: 0n,
      outPaidUntil: 0n,
      inCost: costOfRate(limits.inBitsPerSecond),
      outCost: costOfRate(limits.outBitsPerSecond),
    });
    try {
      updateMapElement(this.#mapFd, this.#firstKey + slot, value);
    } catch (error) {
      if (!(error instanceof KernelError) || error.code !== 'E2BIG') throw error;
      throw new RangeError('There is no room for another tunnel with limited rates');
    }
  }

  delete(slot: number): void {
    deleteMapElement(this.#mapFd, this.#firstKey + slot);
  }
}
