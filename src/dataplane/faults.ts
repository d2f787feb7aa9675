// What was dropped of each tunnel and why: the memory of the `faults` and `faults_v4v6` maps. The
// kernel counts, and only when it drops; here it is read, and forgotten when a slot changes hands.

import type { TunnelFaults } from './contract.ts';
import {
  FAULT_NAMES,
  type FaultName,
  OUTCOME_NAMES,
  readTunnelFaults,
  TUNNEL_FAULTS_OFFSET,
  TUNNEL_FAULTS_SIZE,
} from './layout.gen.ts';
import { mapInfo, mapMemory } from './native.ts';
import { tickToUnixMs } from './records.ts';

export class Faults {
  readonly #view: DataView<ArrayBuffer>;
  readonly #words: BigUint64Array<ArrayBuffer>;
  readonly #halves: Uint32Array<ArrayBuffer>;
  readonly unmap: () => void;

  constructor(mapFd: number) {
    const { buffer, unmap } = mapMemory(mapFd, mapInfo(mapFd).maxEntries * TUNNEL_FAULTS_SIZE);
    this.#view = new DataView(buffer);
    this.#words = new BigUint64Array(buffer);
    this.#halves = new Uint32Array(buffer);
    this.unmap = unmap;
  }

  /** `slot` has been checked. */
  get(slot: number, nowMs: number, monotonicMs: number): TunnelFaults {
    const { packets, lastTick, lastOutcome } = readTunnelFaults(
      this.#view,
      slot * TUNNEL_FAULTS_SIZE,
    );
    const counts = FAULT_NAMES.map((name, fault) => [name, packets[fault] ?? 0] as const);
    const outcome = OUTCOME_NAMES[lastOutcome];
    return {
      packets: Object.fromEntries(counts) as Record<FaultName, number>,
      ...(lastTick !== 0 &&
        outcome !== undefined && {
          last: { outcome, atMs: tickToUnixMs(lastTick, nowMs, monotonicMs) },
        }),
    };
  }

  /** Packets for any reason; `slot` has been checked. */
  total(slot: number): number {
    const first = (slot * TUNNEL_FAULTS_SIZE + TUNNEL_FAULTS_OFFSET.packets) / 4;
    let sum = 0;
    for (let fault = 0; fault < FAULT_NAMES.length; fault++) sum += this.#halves[first + fault]!;
    return sum;
  }

  reset(slot: number): void {
    const words = TUNNEL_FAULTS_SIZE / 8;
    this.#words.fill(0n, slot * words, (slot + 1) * words);
  }
}
