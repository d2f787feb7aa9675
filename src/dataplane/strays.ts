// The packets that led to no tunnel of their endpoint, of all endpoints: for those who do not know where
// to look. The kernel keeps one for each place of a table that endpoints share, so the last one stays.

import type { StrayAt } from './contract.ts';
import {
  ENCAPSULATION_V6UDPV4,
  ENDPOINT_ENCAPSULATION_SHIFT,
  ENDPOINT_PORT_SHIFT,
  OUTCOME_NAMES,
  readStray,
  STRAY_SIZE,
  STRAYS_BITS,
} from './layout.gen.ts';
import { readArrayMap } from './native.ts';
import { tickToUnixMs } from './records.ts';

/** In no order. Reads a megabyte: some milliseconds. `monotonicMs`: CLOCK_MONOTONIC at `nowMs`. */
export function readStrays(fd: number, nowMs: number, monotonicMs: number): StrayAt[] {
  const view = readArrayMap(fd, 2 ** STRAYS_BITS, STRAY_SIZE);
  const found: StrayAt[] = [];
  for (let at = 0; at < view.byteLength; at += STRAY_SIZE) {
    // Most places were never used; half of the endpoint is its address, which none has as zero.
    if (view.getUint32(at, true) === 0) continue;
    const { endpoint, sourceHigh, sourceLow, lastTick, packets, outcome } = readStray(view, at);
    const name = OUTCOME_NAMES[outcome];
    if (name === undefined) continue;
    const kind = Number(endpoint >> BigInt(ENDPOINT_ENCAPSULATION_SHIFT));
    found.push({
      encapsulation: kind === ENCAPSULATION_V6UDPV4 ? 'v6udpv4' : 'v6v4',
      client: {
        address: Number(endpoint & 0xffffffffn),
        port: Number((endpoint >> BigInt(ENDPOINT_PORT_SHIFT)) & 0xffffn),
      },
      source: (sourceHigh << 64n) | sourceLow,
      outcome: name,
      atMs: tickToUnixMs(lastTick, nowMs, monotonicMs),
      packets,
    });
  }
  return found;
}
