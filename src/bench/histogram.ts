// Durations counted in buckets that grow with them, so that a handful of kilobytes holds any number
// of measurements and a percentile is off by less than one percent (the idea of HdrHistogram). The
// memory may be shared: one thread records, others read.

/** Buckets for each doubling; a value is off by at most one in so many. */
const PER_DOUBLING = 128;
const LARGEST_US = 2 ** 31 - 1;
const BUCKETS = bucketOf(LARGEST_US) + 1;

export const HISTOGRAM_OCTETS = BUCKETS * Uint32Array.BYTES_PER_ELEMENT;

export class Histogram {
  readonly #counts: Uint32Array;

  constructor(memory: ArrayBufferLike = new ArrayBuffer(HISTOGRAM_OCTETS), offset = 0) {
    this.#counts = new Uint32Array(memory, offset, BUCKETS);
  }

  /** What is longer than half an hour counts as that. */
  record(ms: number): void {
    const us = Math.min(LARGEST_US, Math.max(0, Math.round(ms * 1000)));
    this.#counts[bucketOf(us)]! += 1;
  }

  get count(): number {
    return this.#counts.reduce((sum, count) => sum + count, 0);
  }

  /** The duration that `share` (0 … 1) of all are not longer than; undefined: there are none. */
  percentileMs(share: number): number | undefined {
    const { count } = this;
    if (count === 0) return undefined;
    const rank = Math.max(1, Math.ceil(share * count));
    let seen = 0;
    for (const [bucket, inBucket] of this.#counts.entries()) {
      seen += inBucket;
      if (seen >= rank) return middleOf(bucket) / 1000;
    }
    return undefined;
  }

  /** As it is at this moment. */
  copy(): Histogram {
    const copied = new Histogram();
    copied.#counts.set(this.#counts);
    return copied;
  }

  /** What was recorded since `earlier`, a copy of the same histogram. */
  since(earlier: Histogram): Histogram {
    const difference = new Histogram();
    for (const [bucket, count] of this.#counts.entries()) {
      difference.#counts[bucket] = count - earlier.#counts[bucket]!;
    }
    return difference;
  }
}

/** Exact below {@link PER_DOUBLING}; above it, by the leading bits. */
function bucketOf(us: number): number {
  if (us < PER_DOUBLING) return us;
  const shift = 31 - Math.clz32(us) - 7;
  return (shift + 1) * PER_DOUBLING + (us >>> shift) - PER_DOUBLING;
}

function middleOf(bucket: number): number {
  if (bucket < PER_DOUBLING) return bucket;
  const shift = Math.floor(bucket / PER_DOUBLING) - 1;
  const first = (PER_DOUBLING + (bucket % PER_DOUBLING)) * 2 ** shift;
  return first + (2 ** shift - 1) / 2;
}
