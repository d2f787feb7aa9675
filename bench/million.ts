// What a million users cost: the real `sixway serve` over a database of so many, each with a tunnel, half
// of them with a client. How big the database is, how long the start takes after a reboot, after an
// upgrade and in between, how long the first login takes, and what is in memory then.
// `make bench-load` (root) writes it into bench/results/load.json, as `serve`.

import { execFileSync } from 'node:child_process';
import { readFileSync, statSync, writeFileSync } from 'node:fs';
import { cpus } from 'node:os';
import { DatabaseSync } from 'node:sqlite';
import { parseArgs } from 'node:util';
import { printTable } from '../src/cli/output.ts';
import { type Service, withLab } from '../test/lab/lab.ts';
import { waitForOthers } from './alone.ts';
import { insertTunnels, keepResults, mapOctetsIn } from './many-tunnels.ts';
import {
  type Broker,
  buildSignallingLab,
  makeBroker,
  runGenerator,
  type SignallingLab,
} from './signalling-lab.ts';

const { values: flags } = parseArgs({
  options: {
    users: { type: 'string', default: '1000000' },
    rounds: { type: 'string', default: '3' },
    'no-results': { type: 'boolean', default: false },
  },
});

/** Before a start. `cold`: none of the files is in memory. `maps`: the kernel has the maps of before. */
const STARTS = {
  'after a reboot': { cold: true, maps: false },
  'files in memory, no maps': { cold: false, maps: false },
  'after a stop': { cold: false, maps: true },
} as const;
type Start = keyof typeof STARTS;

interface Measured {
  readonly readySeconds: number;
  /** DIGEST-MD5, from the first message to the answered accept. */
  readonly firstLoginMs: number;
  /** Of the server, when that login is done. RSS and its peak have the maps in them. */
  readonly residentOctets: number;
  readonly residentPeakOctets: number;
  /** What is its own alone, without the maps and the program's text. */
  readonly anonymousOctets: number;
  readonly reconciled: string;
}

await waitForOthers();
await withLab(async (lab) => {
  const users = Number(flags.users);
  const place = await buildSignallingLab(lab, false);
  const beganMs = performance.now();
  const broker = await makeBroker(place, users, console.log);
  fill(broker, users);
  const { size: databaseOctets } = statSync(broker.database);
  const filledInSeconds = seconds(beganMs);
  console.log(`A database with ${users} users and tunnels, made in ${filledInSeconds} s`);
  console.log(`  ${databaseOctets} octets, ${Math.round(databaseOctets / users)} a user`);

  const starts: Partial<Record<Start, Measured>> = {};
  let mapOctets = {};
  for (const [name, { cold, maps }] of Object.entries(STARTS) as [
    Start,
    (typeof STARTS)[Start],
  ][]) {
    const rounds: Measured[] = [];
    for (let round = 0; round < Number(flags.rounds); round++) {
      if (!maps) await broker.sixway('uninstall', '--yes');
      if (cold && !dropCaches()) break;
      const { service, measured } = await start(place, broker, users);
      rounds.push(measured);
      mapOctets = mapOctetsIn(broker.pinDirectory);
      await service.stop();
    }
    if (rounds.length > 0) starts[name] = medianOf(rounds);
    else console.log(`${name}: not measured, /proc/sys/vm/drop_caches cannot be written`);
  }

  const { service } = await start(place, broker, users);
  const { loginsPerSecond, p50Ms, p99Ms, failures, serverCpuSecondsPer1000 } = await runGenerator(
    place,
    service.pid,
    [...people(broker, users), '--warmup', '2', '--duration', '10'],
  );
  await service.stop();

  printTable(
    ['start', 'Ready s', 'first login ms', 'RSS MiB', 'peak MiB', 'own MiB', 'maps'],
    Object.entries(starts).map(([name, each]) => [
      ...[name, each.readySeconds, each.firstLoginMs],
      ...[each.residentOctets, each.residentPeakOctets, each.anonymousOctets].map(mebibytes),
      each.reconciled,
    ]),
  );
  const kernelOctets = Object.values<number>(mapOctets).reduce((sum, octets) => sum + octets, 0);
  console.log(`Maps in the kernel: ${mebibytes(kernelOctets)} MiB`);
  console.log(`Then ${loginsPerSecond} logins a second, p99 ${p99Ms} ms, ${failures} failed`);
  if (flags['no-results']) return;
  keepResults({
    serve: {
      users,
      attached: Math.floor(users / 2),
      databaseOctets,
      databaseOctetsPerUser: Math.round(databaseOctets / users),
      starts,
      kernelOctets,
      mapOctets,
      logins: { loginsPerSecond, p50Ms, p99Ms, failures, serverCpuSecondsPer1000 },
      rounds: Number(flags.rounds),
      machine: { cpu: cpus()[0]?.model, cpus: cpus().length, node: process.version },
      measuredAt: new Date().toISOString(),
    },
  });
});

function fill({ database }: Broker, users: number): void {
  const db = new DatabaseSync(database);
  const ids = db.prepare('select min(id) as first, max(id) as last from users').get();
  if (ids?.first !== 1 || ids.last !== users) throw new Error('the users are not 1 … N');
  insertTunnels(db, users, Math.floor(users / 2), Date.now());
  db.close();
}

async function start(
  place: SignallingLab,
  broker: Broker,
  users: number,
): Promise<{ service: Service; measured: Measured }> {
  const beganMs = performance.now();
  const service = await broker.serve();
  const readySeconds = seconds(beganMs);
  const [, reconciled = ''] = /agree with the store: (.*)/.exec(service.output) ?? [];
  const login = [...people(broker, users), '--logins', '1', '--concurrency', '1'];
  const { maxMs, failures } = await runGenerator(place, service.pid, login);
  if (maxMs === undefined || failures > 0) throw new Error('the first login failed');
  const status = readFileSync(`/proc/${service.pid}/status`, 'utf8');
  const octets = (name: string) =>
    Number(new RegExp(`^${name}:\\s+(\\d+) kB`, 'm').exec(status)?.[1]) * 1024;
  const measured = {
    readySeconds,
    firstLoginMs: maxMs,
    residentOctets: octets('VmRSS'),
    residentPeakOctets: octets('VmHWM'),
    anonymousOctets: octets('RssAnon'),
    reconciled,
  };
  return { service, measured };
}

function people({ secret }: Broker, users: number): string[] {
  return ['--users', String(users), '--secret', secret, '--prefix-length', '56'];
}

/** The program's own files are read from the disk again, too. */
function dropCaches(): boolean {
  try {
    execFileSync('sync');
    writeFileSync('/proc/sys/vm/drop_caches', '3');
    return true;
  } catch {
    return false;
  }
}

/** Of each figure; the words are the last round's. */
function medianOf(rounds: readonly Measured[]): Measured {
  const median = (name: Exclude<keyof Measured, 'reconciled'>) =>
    rounds.map((round) => round[name]).sort((a, b) => a - b)[rounds.length >> 1]!;
  return {
    readySeconds: median('readySeconds'),
    firstLoginMs: median('firstLoginMs'),
    residentOctets: median('residentOctets'),
    residentPeakOctets: median('residentPeakOctets'),
    anonymousOctets: median('anonymousOctets'),
    reconciled: rounds.at(-1)!.reconciled,
  };
}

function seconds(sinceMs: number): number {
  return Math.round((performance.now() - sinceMs) / 10) / 100;
}

function mebibytes(octets: number): number {
  return Math.round(octets / 2 ** 20);
}
