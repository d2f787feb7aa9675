// Looks into the pinned maps of a bench, and writes there what only the broker decides: flags, rates.

import { closeSync } from 'node:fs';
import { join } from 'node:path';
import type { OutcomeName } from '../../src/dataplane/dataplane.ts';
import {
  FAULT_NAMES,
  type FaultName,
  OUTCOME_NAMES,
  readStray,
  readTunnelFaults,
  STRAY_SIZE,
  STRAYS_BITS,
  type StrayLayout,
  TUNNEL_FAULTS_SIZE,
  TUNNEL_OFFSET,
  TUNNEL_RATE_SIZE,
  TUNNEL_SIZE,
  TUNNEL_V4V6_OFFSET,
  TUNNEL_V4V6_SIZE,
  writeTunnelRate,
} from '../../src/dataplane/layout.gen.ts';
import { openPinned, readMapElement, updateMapElement } from '../../src/dataplane/native.ts';
import type { Bench } from './bench.ts';

export type Tunnels = 'tunnels' | 'tunnels_v4v6';

function withMap<T>(bench: Bench, name: string, use: (fd: number) => T): T {
  const fd = openPinned(join(bench.pinDirectory, name));
  if (fd === undefined) throw new Error(`there is no map ${name}`);
  try {
    return use(fd);
  } finally {
    closeSync(fd);
  }
}

function read(bench: Bench, name: string, key: number, octets: number): DataView<ArrayBuffer> {
  const value = new Uint8Array(octets);
  withMap(bench, name, (fd) => readMapElement(fd, key, value));
  return new DataView(value.buffer);
}

/** Makes the flags of a record exactly these. */
export function setFlags(
  bench: Bench,
  slot: number,
  flags: number,
  map: Tunnels = 'tunnels',
): void {
  const view = read(bench, map, slot, map === 'tunnels' ? TUNNEL_SIZE : TUNNEL_V4V6_SIZE);
  if (map === 'tunnels') view.setUint16(TUNNEL_OFFSET.flags, flags, true);
  else view.setUint8(TUNNEL_V4V6_OFFSET.flags, flags);
  withMap(bench, map, (fd) => updateMapElement(fd, slot, new Uint8Array(view.buffer)));
}

/** Gives the tunnel a full bucket each way; ns for 1024 octets. */
export function setRate(bench: Bench, key: number, inCost: number, outCost: number): void {
  const view = new DataView(new ArrayBuffer(TUNNEL_RATE_SIZE));
  writeTunnelRate(view, 0, { inPaidUntil: 0n, outPaidUntil: 0n, inCost, outCost });
  withMap(bench, 'rates', (fd) => updateMapElement(fd, key, new Uint8Array(view.buffer)));
}

export interface Faults {
  readonly packets: Partial<Record<FaultName, number>>;
  readonly lastOutcome: OutcomeName | undefined;
  readonly lastTick: number;
}

/** What was dropped of a tunnel; only faults that happened. */
export function faultsOf(bench: Bench, slot: number, map: Tunnels = 'tunnels'): Faults {
  const name = map === 'tunnels' ? 'faults' : 'faults_v4v6';
  const faults = readTunnelFaults(read(bench, name, slot, TUNNEL_FAULTS_SIZE), 0);
  const { packets, lastTick, lastOutcome } = faults;
  const happened = FAULT_NAMES.map((fault, index) => [fault, packets[index] ?? 0] as const);
  return {
    packets: Object.fromEntries(happened.filter(([, count]) => count > 0)),
    lastOutcome: lastTick === 0 ? undefined : OUTCOME_NAMES[lastOutcome],
    lastTick,
  };
}

export function clearFaults(bench: Bench, slot: number, map: Tunnels = 'tunnels'): void {
  const name = map === 'tunnels' ? 'faults' : 'faults_v4v6';
  withMap(bench, name, (fd) => updateMapElement(fd, slot, new Uint8Array(TUNNEL_FAULTS_SIZE)));
}

/** At the place of an endpoint, whoever has it. */
export function strayAt(bench: Bench, endpoint: bigint): StrayLayout {
  return readStray(read(bench, 'strays', strayPlace(bench, endpoint), STRAY_SIZE), 0);
}

export function strayPlace(bench: Bench, endpoint: bigint): number {
  const hash = BigInt.asUintN(64, endpoint * bench.plane.settings().hashMultiplier);
  return Number(hash >> BigInt(64 - STRAYS_BITS));
}
