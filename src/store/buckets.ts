// How what was counted becomes history: differences of counters, and the spans of time that they are
// added up in. Pure arithmetic on Unix milliseconds and counts; days are those of UTC.

export const RESOLUTIONS = ['5-minutes', 'hours', 'days'] as const;
export type Resolution = (typeof RESOLUTIONS)[number];

export const SPAN_MS: Readonly<Record<Resolution, number>> = {
  '5-minutes': 300_000,
  hours: 3_600_000,
  days: 86_400_000,
};

/** Inner octets, and packets, from (in) and to (out) the client; `drops` are packets of either way. */
export interface Counts {
  readonly inPackets: number;
  readonly inBytes: number;
  readonly outPackets: number;
  readonly outBytes: number;
  readonly drops: number;
}

export const NO_COUNTS: Counts = { inPackets: 0, inBytes: 0, outPackets: 0, outBytes: 0, drops: 0 };

export function addCounts(a: Counts, b: Counts): Counts {
  return {
    inPackets: a.inPackets + b.inPackets,
    inBytes: a.inBytes + b.inBytes,
    outPackets: a.outPackets + b.outPackets,
    outBytes: a.outBytes + b.outBytes,
    drops: a.drops + b.drops,
  };
}

export function isNothing(counts: Counts): boolean {
  return (
    counts.inPackets === 0 &&
    counts.inBytes === 0 &&
    counts.outPackets === 0 &&
    counts.outBytes === 0 &&
    counts.drops === 0
  );
}

/**
 * What came since. Counters that went back began anew, all of them together, and what they say came
 * since then; drops are counted apart and can begin anew alone. Never negative.
 */
export function countsSince(seen: Counts, now: Counts): Counts {
  const anew =
    now.inPackets < seen.inPackets ||
    now.inBytes < seen.inBytes ||
    now.outPackets < seen.outPackets ||
    now.outBytes < seen.outBytes;
  const from = anew ? NO_COUNTS : seen;
  return {
    inPackets: now.inPackets - from.inPackets,
    inBytes: now.inBytes - from.inBytes,
    outPackets: now.outPackets - from.outPackets,
    outBytes: now.outBytes - from.outBytes,
    drops: now.drops - (now.drops < seen.drops ? 0 : seen.drops),
  };
}

/** The beginning of the span that the moment is in. */
export function bucketOf(atMs: number, resolution: Resolution): number {
  const spanMs = SPAN_MS[resolution];
  return Math.floor(atMs / spanMs) * spanMs;
}

/** Of counters read at `atMs`, and before that `everyMs` earlier: which five minutes they tell of. */
export function sampledBucket(atMs: number, everyMs: number): number {
  return bucketOf(atMs - Math.min(everyMs, SPAN_MS['5-minutes']) / 2, '5-minutes');
}

/** When to read next: at multiples, so that samples end where spans end. */
export function untilNextSample(nowMs: number, everyMs: number): number {
  return everyMs - (nowMs % everyMs);
}

/** Every span that begins at or after `fromMs` and before `untilMs`, in order. */
export function bucketsBetween(
  fromMs: number,
  untilMs: number,
  resolution: Resolution,
): readonly number[] {
  const spanMs = SPAN_MS[resolution];
  const first = Math.ceil(fromMs / spanMs) * spanMs;
  const count = Math.max(0, Math.ceil((untilMs - first) / spanMs));
  return Array.from({ length: count }, (_, index) => first + index * spanMs);
}

export type Period = 'hour' | 'day' | 'month';

/** What a graph of the last hour, day or month (31 days) is made of; the last span is under way. */
export function spansOf(
  period: Period,
  nowMs: number,
): { readonly resolution: Resolution; readonly fromMs: number; readonly untilMs: number } {
  const { resolution, count } = PERIODS[period];
  const spanMs = SPAN_MS[resolution];
  const untilMs = bucketOf(nowMs, resolution) + spanMs;
  return { resolution, fromMs: untilMs - count * spanMs, untilMs };
}

const PERIODS = {
  hour: { resolution: '5-minutes', count: 12 },
  day: { resolution: '5-minutes', count: 288 },
  month: { resolution: 'hours', count: 744 },
} as const;
