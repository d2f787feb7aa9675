// How a run went: what the generator's thread hands over, and the figures made of it. The names of the
// figures are read by machines and stay.

import { STATUS_TEXT } from '../tsp/messages.ts';
import type { Cause } from './clients.ts';
import type { BenchPlan } from './plan.ts';
import type { Tally } from './tally.ts';

export interface Ended {
  /** What was measured took so long. */
  readonly seconds: number;
  /** Logins that came to a tunnel in that time. */
  readonly completed: number;
  /** Of this process, and of the server's with its children, in that time. */
  readonly generatorCpuSeconds: number;
  readonly serverCpuSeconds: number | undefined;
  readonly failures: readonly (readonly [Cause, number])[];
  /** Logins that had not ended some seconds after it. */
  readonly unfinished: number;
}

export type WorkerMessage =
  | { readonly type: 'ended'; readonly ended: Ended }
  | {
      readonly type: 'failed';
      readonly text: string;
      readonly code: string | undefined;
      /** Something that the operator can mend. */
      readonly expected: boolean;
    };

export interface BenchResult {
  readonly mechanism: string;
  readonly mode: 'closed' | 'open';
  readonly seconds: number;
  /** All that were begun in that time and came to a tunnel, of them those that did so in that time. */
  readonly logins: number;
  readonly loginsInTime: number;
  readonly loginsPerSecond: number;
  readonly p50Ms: number | undefined;
  readonly p90Ms: number | undefined;
  readonly p99Ms: number | undefined;
  readonly p999Ms: number | undefined;
  readonly maxMs: number | undefined;
  readonly failures: number;
  /** By status code, or by a word where there was none. */
  readonly failuresByStatus: Readonly<Record<string, number>>;
  readonly unfinished: number;
  readonly repetitions: number;
  readonly retried: number;
  readonly crowdedOut: number;
  readonly left: number;
  readonly tunnelsHeld: number;
  readonly tunnelsLost: number;
  readonly keepalivesSent: number;
  readonly keepalivesAnswered: number;
  readonly datagramsSent: number;
  readonly datagramsReceived: number;
  readonly unsent: number;
  readonly serverCpuSecondsPer1000: number | undefined;
  readonly generatorCpuSecondsPer1000: number | undefined;
  /** Of all the machine's processors, 0 … 1. */
  readonly generatorShareOfMachine: number;
}

export function resultOf(
  plan: BenchPlan,
  tally: Tally,
  ended: Ended,
  processors: number,
): BenchResult {
  const { seconds, completed, generatorCpuSeconds, serverCpuSeconds } = ended;
  const longestMs = tally.get('longestMs');
  const percentile = (share: number) => {
    const ms = tally.latency.percentileMs(share);
    return rounded(ms && Math.min(ms, longestMs), 2);
  };
  const per1000 = (cpuSeconds: number | undefined) =>
    cpuSeconds === undefined || completed === 0
      ? undefined
      : rounded((cpuSeconds * 1000) / completed, 4);
  return {
    mechanism: plan.mechanism,
    mode: plan.pace.type,
    seconds: rounded(seconds, 2),
    logins: tally.get('succeeded'),
    loginsInTime: completed,
    loginsPerSecond: rounded(completed / seconds, 1),
    p50Ms: percentile(0.5),
    p90Ms: percentile(0.9),
    p99Ms: percentile(0.99),
    p999Ms: percentile(0.999),
    maxMs: tally.latency.count === 0 ? undefined : rounded(longestMs, 2),
    failures: tally.get('failed'),
    failuresByStatus: Object.fromEntries(ended.failures.map(([cause, count]) => [cause, count])),
    unfinished: ended.unfinished,
    repetitions: tally.get('repetitions'),
    retried: tally.get('retried'),
    crowdedOut: tally.get('crowdedOut'),
    left: tally.get('left'),
    tunnelsHeld: tally.get('held'),
    tunnelsLost: tally.get('lost'),
    keepalivesSent: tally.get('keepalivesSent'),
    keepalivesAnswered: tally.get('keepalivesAnswered'),
    datagramsSent: tally.get('datagramsSent'),
    datagramsReceived: tally.get('datagramsReceived'),
    unsent: tally.get('unsent'),
    serverCpuSecondsPer1000: per1000(serverCpuSeconds),
    generatorCpuSecondsPer1000: per1000(generatorCpuSeconds),
    generatorShareOfMachine: rounded(generatorCpuSeconds / seconds / processors, 3),
  };
}

const WORDS: Readonly<Record<string, string>> = {
  'no-answer': 'no answer',
  'no-common-mechanism': 'the server does not offer this mechanism',
  'tunnel-type-not-offered': 'the server has no tunnels in UDP',
  'server-not-proven': 'the server does not know the secret',
  'unreadable-answer': 'an answer could not be read',
  redirected: 'sent on to another broker',
  'keepalive-lost': 'the keepalive was not answered',
};

/** `530 Server too busy`, or what happened where there was no status. */
export function explainCause(cause: string): string {
  const status = (STATUS_TEXT as Readonly<Record<string, string>>)[cause];
  return status === undefined ? (WORDS[cause] ?? cause) : `${cause} ${status}`;
}

function rounded(value: number, digits: number): number;
function rounded(value: number | undefined, digits: number): number | undefined;
function rounded(value: number | undefined, digits: number): number | undefined {
  return value === undefined ? undefined : Number(value.toFixed(digits));
}
