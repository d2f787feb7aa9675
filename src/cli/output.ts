// What the command line prints: tables for people, JSON for machines, one clear line for a failure.

import { type CsvRow, formatCsv } from '../broker/csv.ts';

/** A failure that the user can do something about; printed without a stack. */
export class CommandFailed extends Error {}

export function fail(message: string): never {
  throw new CommandFailed(message);
}

/** The number that an option's text says; ends the command when it is outside its bounds. */
export function wholeNumber(name: string, text: string, min: number, max: number): number {
  const value = /^\d{1,10}$/.test(text) ? Number(text) : Number.NaN;
  if (!(value >= min && value <= max)) fail(`${name} is a whole number from ${min} to ${max}`);
  return value;
}

export function printJson(value: unknown): void {
  console.log(
    JSON.stringify(value, (_key, part) => (typeof part === 'bigint' ? Number(part) : part)),
  );
}

export function printCsv(head: readonly string[], rows: readonly CsvRow[]): void {
  process.stdout.write(formatCsv(head, rows));
}

/** Columns as wide as their widest cell; numbers to the right. */
export function printTable(
  head: readonly string[],
  rows: readonly (readonly (string | number | bigint | undefined)[])[],
): void {
  const cells = rows.map((row) => row.map((cell) => (cell === undefined ? '-' : String(cell))));
  const widths = head.map((title, column) =>
    Math.max(title.length, ...cells.map((row) => (row[column] ?? '').length)),
  );
  const numeric = head.map((_, column) =>
    rows.some((row) => typeof row[column] === 'number' || typeof row[column] === 'bigint'),
  );
  const line = (row: readonly string[]) =>
    row
      .map((cell, column) =>
        numeric[column] ? cell.padStart(widths[column] ?? 0) : cell.padEnd(widths[column] ?? 0),
      )
      .join('  ')
      .trimEnd();
  console.log(line(head.map((title) => title.toUpperCase())));
  for (const row of cells) console.log(line(row));
}

/** `name: value` lines, aligned; undefined values are left out. */
export function printFacts(
  facts: Readonly<Record<string, string | number | bigint | undefined>>,
): void {
  const shown = Object.entries(facts).filter(([, value]) => value !== undefined);
  const width = Math.max(...shown.map(([name]) => name.length));
  for (const [name, value] of shown) console.log(`${`${name}:`.padEnd(width + 2)}${value}`);
}

/** 1536 → `1.5 KiB`. */
export function formatBytes(bytes: bigint | number): string {
  let value = Number(bytes);
  for (const unit of ['B', 'KiB', 'MiB', 'GiB', 'TiB']) {
    if (value < 1024 || unit === 'TiB') {
      return unit === 'B' ? `${value} B` : `${value.toFixed(1)} ${unit}`;
    }
    value /= 1024;
  }
  return '';
}

/** Bits a second: 20000000 → `20 Mbit/s`; 0 is `none`. */
export function formatRate(bitsPerSecond: number): string {
  if (bitsPerSecond === 0) return 'none';
  for (const [unit, size] of [
    ['Gbit/s', 1e9],
    ['Mbit/s', 1e6],
    ['kbit/s', 1e3],
  ] as const)
    if (bitsPerSecond >= size) return `${Number((bitsPerSecond / size).toFixed(3))} ${unit}`;
  return `${bitsPerSecond} bit/s`;
}

/** `just now`, `12 s ago`, `3 min ago`, `5 h ago`, then the date. */
export function formatAgo(atMs: number | undefined, nowMs: number): string {
  if (atMs === undefined || Number.isNaN(atMs)) return 'never';
  const seconds = Math.max(0, Math.round((nowMs - atMs) / 1000));
  if (seconds < 2) return 'just now';
  if (seconds < 120) return `${seconds} s ago`;
  if (seconds < 7200) return `${Math.round(seconds / 60)} min ago`;
  if (seconds < 172_800) return `${Math.round(seconds / 3600)} h ago`;
  return new Date(atMs).toISOString().slice(0, 10);
}

/** ISO 8601 or undefined. */
export function isoTime(atMs: number | undefined): string | undefined {
  return atMs === undefined ? undefined : new Date(atMs).toISOString();
}
