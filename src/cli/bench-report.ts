// What `sixway bench run` shows: how it is going while it goes, and a summary for people.

import { formatIpv4, formatPrefix } from '../address.ts';
import type { Histogram } from '../bench/histogram.ts';
import type { BenchPlan } from '../bench/plan.ts';
import { type BenchResult, explainCause } from '../bench/result.ts';
import type { Phase, Tally } from '../bench/tally.ts';
import { bar, StatusLine } from './progress.ts';

const REDRAW_MS = 500;
const LINE_MS = 5_000;

const PHASE_WORDS: Readonly<Record<Phase, string>> = {
  opening: 'beginning',
  filling: 'tunnels to hold',
  warming: 'warming up',
  measuring: 'measuring',
  finishing: 'waiting for the last ones',
  over: 'over',
};

/** Draws until it is ended; on stderr, as a bar where somebody looks and as a line now and then. */
export function followBench(
  plan: BenchPlan,
  tally: Tally,
  server: string,
): { readonly end: () => void } {
  const status = new StatusLine();
  const say = (text: string) => console.error(text);
  say(`Logging in at ${server} by ${plan.mechanism}, ${paceOf(plan)}, from ${ownAddresses(plan)}`);
  let since = snapshot(tally);
  let begunMs = since.atMs;
  let phase = tally.phase;
  let saidMs = since.atMs;
  const timer = setInterval(() => {
    const now = snapshot(tally);
    if (tally.phase !== phase) {
      phase = tally.phase;
      begunMs = now.atMs;
    }
    const text = lineOf(plan, tally, phase, (now.atMs - begunMs) / 1000, since, now);
    since = now;
    if (status.shown) status.draw(text);
    else if (now.atMs - saidMs >= LINE_MS) {
      saidMs = now.atMs;
      say(text);
    }
  }, REDRAW_MS);
  return {
    end: () => {
      clearInterval(timer);
      status.clear();
    },
  };
}

interface Snapshot {
  readonly atMs: number;
  readonly succeeded: number;
  readonly latency: Histogram;
}

function snapshot(tally: Tally): Snapshot {
  const latency = tally.latency.copy();
  return { atMs: performance.now(), succeeded: tally.get('succeeded'), latency };
}

function lineOf(
  plan: BenchPlan,
  tally: Tally,
  phase: Phase,
  seconds: number,
  before: Snapshot,
  now: Snapshot,
): string {
  const words = PHASE_WORDS[phase];
  if (phase === 'filling') {
    const held = tally.get('held');
    return `${bar(held / Math.max(1, plan.hold))} ${held} of ${plan.hold} ${words}`;
  }
  if (tally.get('datagramsReceived') === 0 && seconds > 1) return 'no answer yet';
  if (phase !== 'measuring') return words;
  const rate = ((now.succeeded - before.succeeded) * 1000) / (now.atMs - before.atMs);
  const p99 = now.latency.since(before.latency).percentileMs(0.99);
  const done = plan.durationSeconds
    ? seconds / plan.durationSeconds
    : tally.get('begun') / (plan.logins ?? 1);
  return [
    `${bar(done)} ${Math.round(rate)} logins/s`,
    `${now.succeeded} done`,
    `${tally.get('failed')} failed`,
    ...(p99 === undefined ? [] : [`p99 ${milliseconds(p99)}`]),
    ...(plan.hold > 0 ? [`${tally.get('lost')} of ${plan.hold} tunnels lost`] : []),
  ].join(', ');
}

export function ownAddresses({ from }: BenchPlan): string {
  return from.length === 32 ? formatIpv4(from.address) : formatPrefix(from);
}

function paceOf({ pace }: BenchPlan): string {
  return pace.type === 'closed' ? `${pace.concurrency} at once` : `${pace.perSecond} a second`;
}

export function printSummary(plan: BenchPlan, result: BenchResult): void {
  for (const line of summaryOf(plan, result)) console.log(line);
}

export function summaryOf(plan: BenchPlan, result: BenchResult): string[] {
  const rows: [string, string][] = [];
  const { p50Ms, p90Ms, p99Ms, p999Ms, maxMs } = result;
  rows.push([
    'logins',
    `${grouped(result.loginsPerSecond)} a second by ${result.mechanism}: ` +
      `${grouped(result.loginsInTime)} in ${result.seconds} s`,
  ]);
  if (result.logins > result.loginsInTime) {
    rows.push(['', `${grouped(result.logins - result.loginsInTime)} more after that`]);
  }
  if (p50Ms !== undefined && p90Ms !== undefined && p99Ms !== undefined) {
    rows.push([
      'latency',
      `p50 ${milliseconds(p50Ms)}, p90 ${milliseconds(p90Ms)}, p99 ${milliseconds(p99Ms)}, ` +
        `p99.9 ${milliseconds(p999Ms ?? 0)}, longest ${milliseconds(maxMs ?? 0)}`,
    ]);
  }
  rows.push(['failed', result.failures === 0 ? 'none' : grouped(result.failures)]);
  for (const [cause, count] of Object.entries(result.failuresByStatus)) {
    rows.push(['', `${grouped(count)} × ${explainCause(cause)}`]);
  }
  if (result.failures > 0 && plan.from.length === 32) {
    rows.push(['', 'servers take only so much from one address: see --from']);
  }
  if (result.unfinished > 0) rows.push(['unfinished', `${result.unfinished} when all was over`]);
  if (result.crowdedOut > 0) {
    rows.push([
      'held up',
      `${grouped(result.crowdedOut)} logins found no free user or endpoint: more --users or --ports are needed`,
    ]);
  }
  const again = `${grouped(result.repetitions)} messages sent again for want of an answer`;
  rows.push(['repetitions', result.repetitions === 0 ? 'none' : again]);
  if (result.retried > 0) rows.push(['begun anew', `${grouped(result.retried)} times`]);
  if (result.left > 0)
    rows.push(['left', `${grouped(result.left)} tunnels deleted by their users`]);
  if (plan.hold > 0) {
    const { tunnelsHeld, tunnelsLost, keepalivesSent, keepalivesAnswered } = result;
    rows.push(['held', `${grouped(tunnelsHeld)} tunnels, ${grouped(tunnelsLost)} of them lost`]);
    rows.push([
      'keepalives',
      `${grouped(keepalivesSent)} sent, ${grouped(keepalivesAnswered)} answered`,
    ]);
  }
  if (result.unsent > 0) {
    rows.push([
      'not sent',
      `${grouped(result.unsent)} datagrams that this machine had no room for`,
    ]);
  }
  if (result.serverCpuSecondsPer1000 !== undefined) {
    rows.push([
      'server',
      `${result.serverCpuSecondsPer1000.toFixed(3)} CPU seconds per 1000 logins, ` +
        'without what the kernel does in interrupts',
    ]);
  }
  if (result.generatorCpuSecondsPer1000 !== undefined) {
    rows.push([
      'generator',
      `${result.generatorCpuSecondsPer1000.toFixed(3)} CPU seconds per 1000 logins, ` +
        `${Math.round(result.generatorShareOfMachine * 100)} % of this machine`,
    ]);
  }
  const width = Math.max(...rows.map(([name]) => name.length)) + 2;
  return rows.map(([name, text]) => `${(name === '' ? '' : `${name}:`).padEnd(width)}${text}`);
}

/** 252000 → `252,000`; fractions only where they are all there is. */
function grouped(value: number): string {
  return value.toLocaleString('en-US', { maximumFractionDigits: value < 100 ? 1 : 0 });
}

/** As many digits as matter. */
export function milliseconds(ms: number): string {
  if (ms >= 10_000) return `${(ms / 1000).toFixed(1)} s`;
  return `${ms >= 100 ? Math.round(ms) : ms >= 10 ? ms.toFixed(1) : ms.toFixed(2)} ms`;
}
