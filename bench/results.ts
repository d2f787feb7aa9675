// From measurements to a table and a file. Paths are compared round by round, since what else the machine
// does changes from round to round: a ratio is the median of the rounds' ratios, not one of medians.

import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import type { Subject, Work } from './plan.ts';
import type { Rate } from './small-packets.ts';
import type { Path } from './topology.ts';

/** One path in one round. */
export interface Measurement {
  /** In the unit of the work. */
  readonly value: number;
  readonly rate?: Rate;
}

/** By path, the measurements of every round; undefined: that one failed. */
export type Measurements = ReadonlyMap<Path, readonly (Measurement | undefined)[]>;

export interface Row extends Subject {
  readonly path: Path;
  readonly unit: 'pps' | 'gbps' | 'us';
  readonly median: number;
  /** To the plain path; of round trips, the microseconds added to it. */
  readonly ratio: number;
  readonly rounds: number;
  readonly cpuNsPerPacket?: number;
  /** Why the figure may mean less than it seems to. */
  readonly doubts?: string;
}

const UNITS = {
  decap: 'pps',
  encap: 'pps',
  'tcp-up': 'gbps',
  'tcp-down': 'gbps',
  rtt: 'us',
} as const satisfies Record<Work, Row['unit']>;
/** Below, the broker's core had time left, or was somebody else's. */
export const BUSY = 0.9;
/** Below, the source was no faster than the broker; above, too much was taken in vain. */
const [OFFERED, LOST] = [1.03, 0.02];

export function rowsOf(subject: Subject, measurements: Measurements): Row[] {
  const plain = measurements.get('plain') ?? [];
  return [...measurements].map(([path, all]) => {
    const found = all.filter((one) => one !== undefined);
    const compared = all.flatMap((one, round) => {
      const base = plain[round]?.value;
      if (!one || base === undefined) return [];
      return [subject.work === 'rtt' ? one.value - base : one.value / base];
    });
    const rates = found.flatMap(({ rate }) => rate ?? []);
    const doubts = doubtsOf(rates, all.length - found.length);
    return {
      ...{ ...subject, path, unit: UNITS[subject.work], rounds: found.length },
      median: median(found.map(({ value }) => value)),
      ratio: median(compared),
      ...(rates.length > 0 && {
        cpuNsPerPacket: median(rates.map(({ cpuNsPerPacket }) => cpuNsPerPacket)),
      }),
      ...(doubts.length > 0 && { doubts: doubts.join(', ') }),
    };
  });
}

function doubtsOf(rates: readonly Rate[], failures: number): string[] {
  const middle = (of: (rate: Rate) => number) => median(rates.map(of));
  const percent = (part: number) => `${Math.round(part * 100)} %`;
  return [
    ...(failures > 0 ? [`${failures} rounds failed`] : []),
    ...(middle(({ brokerBusy }) => brokerBusy) < BUSY
      ? [`broker ran ${percent(middle(({ brokerBusy }) => brokerBusy))} of the time`]
      : []),
    ...(middle(({ offered }) => offered) < OFFERED ? ['source no faster than broker'] : []),
    ...(middle(({ lost }) => lost) > LOST ? [`lost ${percent(middle(({ lost }) => lost))}`] : []),
  ];
}

/** NaN of nothing, which is neither above nor below anything. */
function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length / 2;
  const [a, b] = [sorted[Math.ceil(middle) - 1], sorted[Math.floor(middle)]];
  return a === undefined || b === undefined ? Number.NaN : (a + b) / 2;
}

export function nameOf({ work, encapsulation, tunnels, segments }: Subject): string {
  const count = tunnels === 1 ? '1 tunnel' : `${tunnels.toLocaleString('en')} tunnels`;
  const kind = segments === 'super' ? ', super-packets' : '';
  return `${work}, ${encapsulation}, ${count}${kind}`;
}

/** With its unit. */
export function formatValue(work: Work, value: number): string {
  switch (UNITS[work]) {
    case 'pps':
      return `${Math.round(value / 1000)} kpps`;
    case 'gbps':
      return `${value.toFixed(2)} Gbit/s`;
    default:
      return `${value.toFixed(1)} µs`;
  }
}

export function formatTable(rows: readonly Row[]): string {
  const lines: string[] = [];
  let before = '';
  for (const row of rows) {
    const name = nameOf(row);
    if (name !== before) lines.push('', name);
    before = name;
    const ratio = row.work === 'rtt' ? `+${row.ratio.toFixed(2)} µs` : `× ${row.ratio.toFixed(2)}`;
    const cost =
      row.cpuNsPerPacket === undefined ? '' : `${row.cpuNsPerPacket.toFixed(0)} ns/packet`;
    const columns = [
      `  ${row.path}`.padEnd(12),
      formatValue(row.work, row.median).padStart(14),
      ratio.padStart(11),
      cost.padStart(15),
      row.doubts === undefined ? '' : `  ! ${row.doubts}`,
    ];
    lines.push(columns.join('').trimEnd());
  }
  return lines.join('\n');
}

export function writeRows(path: string, rows: readonly Row[]): void {
  mkdirSync(dirname(path), { recursive: true });
  const rounded = (_: string, value: unknown) =>
    typeof value === 'number' ? Number(value.toPrecision(5)) : value;
  writeFileSync(path, `${JSON.stringify(rows, rounded, 2)}\n`);
}
