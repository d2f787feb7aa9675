// Counters of many slots at a time, as plain numbers: for whoever looks at all of them again and again.
// Reads the memory of the maps and makes no object for a slot.

import type { Standing } from './contract.ts';
import type { Faults } from './faults.ts';

/** Of each slot: inPackets, inBytes, outPackets, outBytes, and packets dropped, in this order. */
export const TRAFFIC_FIELDS = 5;

/** How many slots stand how; vacant ones are not counted. */
export type Standings = Record<Exclude<Standing, 'vacant'> | 'attached', number>;

/**
 * `words`: the records' memory; `firstWord`: where the counters of slot 0 begin; `recordWords`: how far
 * it is to the next slot's. `into` has room for `count` slots.
 */
export function readTraffic(
  words: BigUint64Array<ArrayBuffer>,
  firstWord: number,
  recordWords: number,
  faults: Faults,
  first: number,
  count: number,
  into: Float64Array,
): void {
  for (let i = 0; i < count; i++) {
    const word = firstWord + (first + i) * recordWords;
    const at = i * TRAFFIC_FIELDS;
    into[at] = Number(words[word]);
    into[at + 1] = Number(words[word + 1]);
    into[at + 2] = Number(words[word + 2]);
    into[at + 3] = Number(words[word + 3]);
    into[at + 4] = faults.total(first + i);
  }
}
