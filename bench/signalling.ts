// What the server bears in logins on this machine: the real `sixway serve` and the real `sixway bench
// run`, in network namespaces. `make bench-signalling` (root) writes bench/results/signalling.json: users
// who come back, as after a power cut, and as `newcomers` users who never had a tunnel.
//
//   --keepalives N   then the same server again, with N tunnels kept alive and half as many logins
//   --tsps PATH      instead, in turns with a binary of the public C server cooldavid/tsps, ANONYMOUS
//   --profile FILE   writes a CPU profile of the server; nothing goes into the results

import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { cpus } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { parseArgs } from 'node:util';
import { userName } from '../src/bench/plan.ts';
import { type BenchResult, explainCause } from '../src/bench/result.ts';
import { printTable } from '../src/cli/output.ts';
import { type Service, withLab } from '../test/lab/lab.ts';
import {
  type Broker,
  buildSignallingLab,
  makeBroker,
  residentMebibytes,
  runGenerator,
  type SignallingLab,
  startTsps,
} from './signalling-lab.ts';

const RESULTS = join(import.meta.dirname, 'results', 'signalling.json');

const { values: flags } = parseArgs({
  options: {
    seconds: { type: 'string', default: '60' },
    warmup: { type: 'string', default: '5' },
    users: { type: 'string', default: '400000' },
    mechanism: { type: 'string', default: 'DIGEST-MD5' },
    concurrency: { type: 'string' },
    rate: { type: 'string' },
    ports: { type: 'string' },
    'prefix-length': { type: 'string' },
    keepalives: { type: 'string' },
    'keepalive-seconds': { type: 'string', default: '120' },
    tsps: { type: 'string' },
    rounds: { type: 'string', default: '3' },
    profile: { type: 'string' },
    /** Server and generator each on a processor of its own. */
    pin: { type: 'boolean', default: false },
    /** Prints only. */
    'no-results': { type: 'boolean', default: false },
  },
});

/** So many people log in again and again, from another place each time. */
const RETURNING = 20_000;

/** Enough that nothing waits for clients: a login waits for the disk twice. */
const AT_ONCE = '1500';

interface Keepalives extends BenchResult {
  readonly tunnels: number;
  /** What the server's store says of them when all is over. */
  readonly attachedInStore: number;
}

interface Round {
  readonly server: 'sixway' | 'tsps';
  readonly result: BenchResult;
}

await withLab(async (lab) => {
  const place = await buildSignallingLab(lab, flags.pin);
  const broker = await makeBroker(place, Number(flags.users), console.log);
  if (flags.tsps !== undefined) {
    const rounds = await inTurns(place, broker, flags.tsps);
    const medians = { sixway: medianOf(rounds, 'sixway'), tsps: medianOf(rounds, 'tsps') };
    console.log(medians);
    report({ tsps: { medians, rounds, ...stamp() } });
    return;
  }
  const service = await broker.serve(flags.profile);
  console.log(`The server is process ${service.pid}, in namespace ${place.server.namespace}`);
  if (flags.profile !== undefined) process.kill(service.pid, 'SIGUSR2');
  const args = [
    ...['--duration', flags.seconds, '--warmup', flags.warmup],
    ...(flags.rate === undefined
      ? ['--concurrency', flags.concurrency ?? AT_ONCE]
      : given('concurrency', 'rate')),
  ];
  const newcomers = await measure(place, broker, service, args);
  const back = Math.min(RETURNING, Number(flags.users));
  const most = await measure(place, broker, service, [...args, '--users', String(back)]);
  if (flags.profile !== undefined) {
    process.kill(service.pid, 'SIGUSR2');
    await service.says(/The profile is in/, 60_000);
  }
  const { now, most: peak } = residentMebibytes(service.pid);
  show([
    ['first logins', newcomers],
    ['returning', most],
  ]);
  console.log(`The server has ${now} MiB in memory, ${peak} at most`);
  const kept =
    flags.keepalives === undefined
      ? undefined
      : await keepAlive(place, broker, service, Number(flags.keepalives), most.loginsPerSecond / 2);
  await service.stop();
  if (flags.profile !== undefined) console.log(`The profile is in ${flags.profile}`);
  else {
    const residentMebibytes = { after: now, most: peak };
    const more = { newcomers, residentMebibytes, ...stamp() };
    report({ ...most, ...more, ...(kept && { keepalives: kept }) });
  }
});

/** Logins by the chosen mechanism. */
function measure(
  place: SignallingLab,
  { secret }: Broker,
  { pid }: Service,
  args: readonly string[],
): Promise<BenchResult> {
  const { mechanism, users } = flags;
  return runGenerator(place, pid, [
    ...['--mechanism', mechanism, ...given('prefix-length', 'ports')],
    ...(mechanism === 'ANONYMOUS' ? [] : ['--users', users, '--secret', secret]),
    ...args,
  ]);
}

async function keepAlive(
  place: SignallingLab,
  broker: Broker,
  service: Service,
  tunnels: number,
  rate: number,
): Promise<Keepalives> {
  const seconds = flags['keepalive-seconds'];
  console.log(
    `Holding ${tunnels} tunnels for ${seconds} s, with ${Math.round(rate)} logins a second`,
  );
  const result = await measure(place, broker, service, [
    ...['--hold', String(tunnels), '--rate', rate.toFixed(1), '--duration', seconds],
  ]);
  const attachedInStore = attachedUpTo(broker, userName('bench-', tunnels - 1));
  show([['with keepalives', result]]);
  console.log(
    `Tunnels held ${result.tunnelsHeld}, lost ${result.tunnelsLost}, attached in the store ` +
      `${attachedInStore}; keepalives sent ${result.keepalivesSent}, answered ${result.keepalivesAnswered}`,
  );
  return { ...result, tunnels, attachedInStore };
}

/** Of the users up to that name. */
function attachedUpTo({ database }: Broker, name: string): number {
  const db = new DatabaseSync(database, { readOnly: true });
  const row = db
    .prepare(
      `select count(*) as count from users join tunnels on tunnels.user_id = users.id
        join attachments on attachments.tunnel_id = tunnels.id where users.name <= ?`,
    )
    .get(name);
  db.close();
  return Number(row?.count);
}

/**
 * A B A B, each from an empty state. tsps finds its sessions by address times port: with few ports it
 * would look through long lists, which is not what is to be compared, so both have many. It also loses a
 * message now and then, and with few clients at once the rate would be that of their repetitions.
 */
async function inTurns(place: SignallingLab, broker: Broker, binary: string): Promise<Round[]> {
  const rounds: Round[] = [];
  const args = [
    ...['--duration', flags.seconds, '--warmup', flags.warmup],
    ...['--concurrency', flags.concurrency ?? AT_ONCE, '--ports', flags.ports ?? '512'],
  ];
  for (let round = 1; round <= Number(flags.rounds); round++) {
    broker.restore();
    const sixway = await broker.serve();
    rounds.push({ server: 'sixway', result: await measure(place, broker, sixway, args) });
    await sixway.stop();
    await broker.sixway('uninstall', '--yes');
    const tsps = await startTsps(place, binary);
    const anonymous = ['--mechanism', 'ANONYMOUS', ...args];
    rounds.push({ server: 'tsps', result: await runGenerator(place, tsps.pid, anonymous) });
    await tsps.stop('SIGKILL');
    show(rounds.slice(-2).map(({ server, result }) => [`${server}, round ${round}`, result]));
  }
  return rounds;
}

function medianOf(rounds: readonly Round[], of: Round['server']) {
  const results = rounds.filter(({ server }) => server === of).map(({ result }) => result);
  const median = (figure: (result: BenchResult) => number | undefined) => {
    const sorted = results.map((result) => figure(result) ?? Number.NaN).sort((a, b) => a - b);
    return sorted[Math.floor(sorted.length / 2)];
  };
  return {
    loginsPerSecond: median(({ loginsPerSecond }) => loginsPerSecond),
    p99Ms: median(({ p99Ms }) => p99Ms),
    serverCpuSecondsPer1000: median(({ serverCpuSecondsPer1000 }) => serverCpuSecondsPer1000),
  };
}

function show(rows: readonly (readonly [string, BenchResult])[]): void {
  printTable(
    [
      ...['what', 'by', 'logins/s', 'p50 ms', 'p99 ms', 'max ms', 'failed', 'repeated'],
      ...['server CPU s/1000', 'generator'],
    ],
    rows.map(([what, result]) => [
      ...[what, result.mechanism, result.loginsPerSecond],
      ...[result.p50Ms, result.p99Ms, result.maxMs, result.failures, result.repetitions],
      ...[result.serverCpuSecondsPer1000, result.generatorCpuSecondsPer1000],
    ]),
  );
  for (const [what, { failuresByStatus }] of rows) {
    for (const [cause, count] of Object.entries(failuresByStatus)) {
      console.log(`${what}: ${count} × ${explainCause(cause)}`);
    }
  }
}

function given(
  ...names: readonly ('concurrency' | 'rate' | 'ports' | 'prefix-length')[]
): string[] {
  return names.flatMap((name) => (flags[name] === undefined ? [] : [`--${name}`, flags[name]]));
}

function stamp() {
  return {
    machine: { cpu: cpus()[0]?.model, cpus: cpus().length, node: process.version },
    measuredAt: new Date().toISOString(),
  };
}

/** What was not measured this time stays as it was. */
function report(measured: Record<string, unknown>): void {
  if (flags['no-results']) return;
  const before = existsSync(RESULTS) ? JSON.parse(readFileSync(RESULTS, 'utf8')) : {};
  mkdirSync(join(RESULTS, '..'), { recursive: true });
  writeFileSync(RESULTS, `${JSON.stringify({ ...before, ...measured }, null, 2)}\n`);
}
