// Numbers as people read them. Units are the same in every language, and go from left to right.

/** 12345678 → `12.3 M`: short enough for an axis. */
export function shortNumber(value: number): string {
  return withPrefix(value, '');
}

/** Bits a second: 12345678 → `12.3 Mbit/s`. */
export function bitRate(bitsPerSecond: number): string {
  return withPrefix(bitsPerSecond, 'bit/s');
}

function withPrefix(value: number, unit: string): string {
  for (const [prefix, size] of [
    ['T', 1e12],
    ['G', 1e9],
    ['M', 1e6],
    ['k', 1e3],
  ] as const)
    if (value >= size) return `${trimmed(value / size)} ${prefix}${unit}`;
  return `${trimmed(value)} ${unit}`.trim();
}

function trimmed(value: number): string {
  return value >= 100 ? value.toFixed(0) : String(Number(value.toFixed(1)));
}

/** Whole numbers with their thousands apart. */
export function wholeNumber(value: number): string {
  return value.toLocaleString('en-US');
}
