// The TSP client as a program: one attempt after the other, each with its own socket, session and
// tunnel device, until it is told to stop or told something that trying again cannot change.
// Reports what happens; prints nothing. Shares nothing with the broker.

import { Attempt, type AttemptEnd, familyFor, type Plan } from './client/attempt.ts';
import { nearestFirst, type Place, placesOf } from './client/brokers.ts';
import type { ClientReport, ConnectOptions } from './client/report.ts';
import { type ClientEnd, VERSIONS } from './tsp/client-session.ts';

const FIRST_PAUSE_SECONDS = 1;
const LONGEST_PAUSE_SECONDS = 300;
const MAX_REDIRECTS = 5;
/** Attempts without a pause: versions, transports, mechanisms and brokers that are tried in turn. */
const MAX_AT_ONCE = 20;

/** Keeps a tunnel up until `signal` aborts (answers true) or nothing more can be done (false). */
export async function connect(
  options: ConnectOptions,
  report: (report: ClientReport) => void,
  signal: AbortSignal,
): Promise<boolean> {
  const first: Plan = {
    server: options.server,
    port: options.port,
    transport: options.transport ?? 'udp',
    mechanisms: options.mechanisms,
    version: VERSIONS[0],
    tunnelType: options.tunnelType,
  };
  let plan = first;
  let pauseSeconds = FIRST_PAUSE_SECONDS;
  let redirects = 0;
  let atOnce = 0;
  /** Where else the last redirect leads, nearest first. */
  let others: readonly Place[] = [];
  while (!signal.aborted) {
    const { server, port, transport } = plan;
    report({ event: 'connecting', server, port, transport });
    const end = await new Attempt(options, plan, report).run(signal);
    if (signal.aborted) break;
    let next = whatNext(end, plan, options);
    if (next.type === 'elsewhere' && redirects < MAX_REDIRECTS) {
      redirects++;
      [plan, others] = await elsewhere(first, next.places);
      continue;
    }
    const [other, ...rest] = others;
    if (next.type === 'later' && other && !wasUp(end)) {
      others = rest;
      next = { type: 'at-once', change: { ...other, transport: first.transport }, why: next.why };
    }
    if (next.type === 'at-once' && atOnce < MAX_AT_ONCE) {
      atOnce++;
      plan = { ...plan, ...next.change };
      continue;
    }
    if (wasUp(end)) {
      report({ event: 'lost', why: next.why });
      pauseSeconds = FIRST_PAUSE_SECONDS;
    }
    if (next.type === 'never' || (options.once && !wasUp(end))) {
      report({ event: 'failed', why: next.why });
      return false;
    }
    // Back to the server that the user named, but not to what is known to fail there.
    plan = { ...first, tunnelType: plan.tunnelType };
    [redirects, atOnce, others] = [0, 0, []];
    if (wasUp(end)) continue;
    // Spread over the second half, so that a city's clients do not come back in one moment.
    const inSeconds = Math.round(pauseSeconds * (0.5 + Math.random() / 2) * 10) / 10;
    report({ event: 'retry', why: next.why, inSeconds });
    await pause(inSeconds * 1000, signal);
    pauseSeconds = Math.min(LONGEST_PAUSE_SECONDS, pauseSeconds * 2);
  }
  report({ event: 'down' });
  return true;
}

type Next =
  | { readonly type: 'at-once'; readonly change: Partial<Plan>; readonly why: string }
  | { readonly type: 'elsewhere'; readonly places: readonly Place[]; readonly why: string }
  | { readonly type: 'later'; readonly why: string }
  | { readonly type: 'never'; readonly why: string };

async function elsewhere(first: Plan, places: readonly Place[]): Promise<[Plan, readonly Place[]]> {
  const [nearest, ...others] = await nearestFirst(places, familyFor(first.tunnelType));
  return [{ ...first, ...nearest }, others];
}

function wasUp(end: AttemptEnd): boolean {
  return end.reason === 'moved' || (end.reason === 'session' && end.wasUp);
}

function whatNext(attempt: AttemptEnd, plan: Plan, options: ConnectOptions): Next {
  switch (attempt.reason) {
    case 'moved':
      return { type: 'later', why: 'the way to the server changed' };
    case 'protocol-41-silent':
      return {
        type: 'at-once',
        change: { tunnelType: 'v6udpv4', transport: 'udp' },
        why: 'protocol 41 does not get through',
      };
    case 'local':
      return { type: 'later', why: attempt.error.message };
    case 'session':
      return afterSession(attempt.end, plan, options);
  }
}

/** Statuses that the same request will get again: types, addresses and prefix lengths. */
const LASTING_STATUSES: readonly number[] = [303, 500, 501, 502, 507];

function afterSession(end: ClientEnd, plan: Plan, options: ConnectOptions): Next {
  switch (end.reason) {
    case 'no-answer':
      if (!end.answered && mayTryTcp(plan, options)) {
        return { type: 'at-once', change: { transport: 'tcp' }, why: 'TCP is tried' };
      }
      return {
        type: 'later',
        why: end.answered
          ? `the server stopped answering during ${end.during}`
          : `${plan.server} does not answer on ${plan.transport.toUpperCase()} port ${plan.port}`,
      };
    case 'version-refused':
      return end.next === undefined
        ? { type: 'never', why: 'the server speaks no version that this client knows' }
        : { type: 'at-once', change: { version: end.next }, why: 'another version is tried' };
    case 'no-common-mechanism':
      return {
        type: 'never',
        why: `the server wants a login by ${end.offered.join(' or ') || 'nothing known'}`,
      };
    case 'tunnel-type-not-offered':
      return {
        type: 'never',
        why: `the server only has ${end.offered.join(', ') || 'no tunnels'}`,
      };
    case 'authentication-refused': {
      // A broker that has known the user for longer than it has known SCRAM has no keys for it.
      const others = plan.mechanisms.filter((mechanism) => mechanism !== 'SCRAM-SHA-256');
      return end.mechanism === 'SCRAM-SHA-256' && others.length > 0
        ? { type: 'at-once', change: { mechanisms: others }, why: 'another mechanism is tried' }
        : { type: 'never', why: `the user name or secret is wrong (300 ${end.text})` };
    }
    case 'server-not-proven':
      return { type: 'never', why: 'the server does not know the secret: it is not the right one' };
    case 'refused': {
      const why = `the server refused: ${end.status} ${end.text}`;
      return { type: LASTING_STATUSES.includes(end.status) ? 'never' : 'later', why };
    }
    case 'redirected': {
      const family = familyFor(plan.tunnelType);
      const places = placesOf(end.brokers, family);
      return places.length > 0
        ? { type: 'elsewhere', places, why: 'sent from one broker to the other too often' }
        : { type: 'later', why: `sent on to no place that can be reached over IPv${family}` };
    }
    case 'unreadable-answer':
      return { type: 'later', why: `an answer during ${end.during} could not be read` };
    case 'keepalive-lost':
      return { type: 'later', why: 'the gateway no longer answers through the tunnel' };
    case 'stopped':
      return { type: 'later', why: 'stopped' };
  }
}

/** A tunnel in UDP needs the very socket that signalled. */
function mayTryTcp({ transport, tunnelType }: Plan, options: ConnectOptions): boolean {
  return options.transport === undefined && transport === 'udp' && tunnelType !== 'v6udpv4';
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(done, ms);
    function done(): void {
      clearTimeout(timer);
      signal.removeEventListener('abort', done);
      resolve();
    }
    signal.addEventListener('abort', done);
  });
}
