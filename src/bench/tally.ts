// What a run counts, in memory that the generator's thread and the one that draws share. One thread
// writes, and a number that is half a moment old harms nobody, so nothing is locked.

import { HISTOGRAM_OCTETS, Histogram } from './histogram.ts';

/** What the generator is at. */
export const PHASES = ['opening', 'filling', 'warming', 'measuring', 'finishing', 'over'] as const;
export type Phase = (typeof PHASES)[number];

const COUNTERS = [
  'phase',
  /** Logins of what is measured: begun, come to a tunnel, come to nothing. */
  'begun',
  'succeeded',
  'failed',
  /** The longest of {@link Tally.latency}, exactly. */
  'longestMs',
  /** Messages that a client repeated because no answer came, of what is measured. */
  'repetitions',
  /** Logins that were begun anew because they had not come to a tunnel in time, each time. */
  'retried',
  /** Tunnels deleted by their client. */
  'left',
  /** Logins that found no free user or endpoint at their time and had to wait. */
  'crowdedOut',
  // From here on: of the whole run.
  /** Held tunnels that came up, and those of them whose keepalives stopped being answered. */
  'held',
  'lost',
  'keepalivesSent',
  'keepalivesAnswered',
  'datagramsSent',
  'datagramsReceived',
  /** Datagrams that the own system had no room for. */
  'unsent',
] as const;
export type Counter = (typeof COUNTERS)[number];

const COUNTERS_OCTETS = COUNTERS.length * Float64Array.BYTES_PER_ELEMENT;
const INDEX = Object.fromEntries(COUNTERS.map((name, index) => [name, index])) as {
  readonly [C in Counter]: number;
};

export class Tally {
  readonly memory: SharedArrayBuffer;
  /** From when a login was due until its tunnel was there. */
  readonly latency: Histogram;
  readonly #counts: Float64Array;
  /** How often the person has asked to stop. */
  readonly #stops: Int32Array;

  constructor(
    memory: SharedArrayBuffer = new SharedArrayBuffer(COUNTERS_OCTETS + 8 + HISTOGRAM_OCTETS),
  ) {
    this.memory = memory;
    this.#counts = new Float64Array(memory, 0, COUNTERS.length);
    this.#stops = new Int32Array(memory, COUNTERS_OCTETS, 1);
    this.latency = new Histogram(memory, COUNTERS_OCTETS + 8);
  }

  count(what: Counter, by = 1): void {
    this.#counts[INDEX[what]]! += by;
  }

  get(what: Counter): number {
    return this.#counts[INDEX[what]]!;
  }

  /** A login came to a tunnel. */
  record(ms: number): void {
    this.latency.record(ms);
    this.#counts[INDEX.longestMs] = Math.max(this.get('longestMs'), ms);
  }

  get phase(): Phase {
    return PHASES[this.get('phase')]!;
  }

  set phase(phase: Phase) {
    this.#counts[INDEX.phase] = PHASES.indexOf(phase);
  }

  stop(): void {
    Atomics.add(this.#stops, 0, 1);
  }

  /** 1: begin nothing any more; 2: end at once. */
  get stops(): number {
    return Atomics.load(this.#stops, 0);
  }
}
