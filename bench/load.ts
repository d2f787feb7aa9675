// How long the broker takes to start with many tunnels: a database with N users, each with a tunnel
// that has a client and a delegated prefix, one in a hundred with limited rates, into fresh maps of
// the kernel. `make bench-load` (root); writes bench/results/load.json. The start is measured in a
// process of its own, so that nothing is warm but the operating system's cache of the file.

import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { cpus, tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { parseIpv6Prefix } from '../src/address.ts';
import { Accounts } from '../src/broker/accounts.ts';
import { Broker } from '../src/broker/broker.ts';
import { Dataplane } from '../src/dataplane/dataplane.ts';
import { openSqliteStore } from '../src/store/sqlite.ts';
import { insertTunnels, keepResults, mapOctetsIn } from './many-tunnels.ts';

/** The maps that grow with every tunnel. */
const PER_TUNNEL = ['tunnels', 'faults', 'owners', 'rates'] as const;

interface Measured {
  readonly seconds: Readonly<Record<string, number>>;
  readonly reconciled: unknown;
  readonly again: unknown;
  readonly mapOctets: Readonly<Record<string, number>>;
  readonly residentOctets: number;
  readonly residentPeakOctets: number;
}

const [first = '1000000', ...rest] = process.argv.slice(2);
if (first === 'measure')
  console.log(JSON.stringify(await measure(rest[0]!, rest[1]!, Number(rest[2]))));
else await main(Number(first));

async function main(tunnels: number): Promise<void> {
  const directory = mkdtempSync(join(tmpdir(), 'sixway-load-'));
  const pinDirectory = join('/sys/fs/bpf', basename(directory));
  const file = join(directory, 'sixway.db');
  try {
    const filledInSeconds = await timed(() => fill(file, tunnels));
    console.log(`filled a database with ${tunnels} tunnels in ${filledInSeconds} s`);
    const arguments_ = [import.meta.filename, 'measure', file, pinDirectory, String(tunnels)];
    const said = execFileSync(process.execPath, [...process.execArgv, ...arguments_], {
      encoding: 'utf8',
    });
    report(tunnels, JSON.parse(said));
  } finally {
    Dataplane.uninstall(pinDirectory, 'no-such-device');
    rmSync(directory, { recursive: true });
  }
}

async function measure(file: string, pinDirectory: string, tunnels: number): Promise<Measured> {
  const positions = 2 ** Math.ceil(Math.log2(tunnels + 1));
  const store = await openSqliteStore({ file, create: false });
  const accounts = new Accounts(store, new Uint8Array(32), 'bench');
  const policy = {
    keepaliveSeconds: 30,
    anonymousLifetimeSeconds: 86_400,
    maxTunnelsPerAddress: 16,
    userLeaseSeconds: 0,
  };
  const seconds: Record<string, number> = {};
  let dataplane: Dataplane | undefined;
  const capacity = { tunnels: positions, owners: positions, v4v6: 1, limited: 65_536 };
  seconds.openMaps = await timed(() => {
    dataplane = Dataplane.open({ pinDirectory, capacity });
  });
  const start = () =>
    Broker.start({
      store,
      dataplane: dataplane!,
      accounts,
      policy,
      background: false,
      log: (message, error) => console.error(message, error),
    });
  let broker: Broker | undefined;
  seconds.start = await timed(async () => {
    broker = await start();
  });
  const { rss } = process.memoryUsage();
  const [, peakKilobytes] = /VmHWM:\s+(\d+)/.exec(readFileSync('/proc/self/status', 'utf8')) ?? [];
  let again: Broker | undefined;
  seconds.startAgain = await timed(async () => {
    again = await start();
  });
  return {
    seconds,
    reconciled: broker?.reconciled,
    again: again?.reconciled,
    mapOctets: mapOctetsIn(pinDirectory),
    residentOctets: rss,
    residentPeakOctets: Number(peakKilobytes) * 1024,
  };
}

function report(tunnels: number, measured: Measured): void {
  const { seconds, mapOctets } = measured;
  const loadSeconds = round(seconds.openMaps! + seconds.start!);
  const perTunnel = PER_TUNNEL.reduce((sum, name) => sum + mapOctets[name]!, 0);
  const positions = 2 ** Math.ceil(Math.log2(tunnels + 1));
  const result = {
    tunnels,
    loadSeconds,
    ...measured,
    kernelOctetsPerTunnel: round(perTunnel / positions),
    machine: { cpu: cpus()[0]?.model, cpus: cpus().length, node: process.version },
    measuredAt: new Date().toISOString(),
  };
  console.log(`loaded in ${loadSeconds} s: maps opened in ${seconds.openMaps} s,`);
  console.log(`  filled from the database in ${seconds.start} s`);
  console.log(`compared, with nothing to change, in ${seconds.startAgain} s`);
  console.log(`kernel memory: ${result.kernelOctetsPerTunnel} octets a tunnel, by map:`);
  for (const [name, octets] of Object.entries(mapOctets)) console.log(`  ${name} ${octets}`);
  const mebibytes = (octets: number) => Math.round(octets / 2 ** 20);
  console.log(
    `resident: ${mebibytes(measured.residentOctets)} MiB, ` +
      `${mebibytes(measured.residentPeakOctets)} MiB at most, the maps included`,
  );
  keepResults(result);
}

/** By raw SQL: ten statements instead of millions. */
async function fill(file: string, tunnels: number): Promise<void> {
  const bits = Math.ceil(Math.log2(tunnels + 1));
  const store = await openSqliteStore({ file, create: true });
  const nowMs = Date.now();
  for (const [purpose, text, positionLength] of [
    ['link', `2001:db8::/${64 - bits}`, 64],
    ['delegation', `3fff::/${56 - bits}`, 56],
  ] as const) {
    const prefix = parseIpv6Prefix(text)!;
    const added = await store.addPool({ purpose, prefix, positionLength }, 2 ** bits, nowMs);
    if (!added.ok) throw new Error(`the pool ${text} was refused: ${added.refusal}`);
  }
  const limited = await store.addGroup('limited', { inBitsPerSecond: 20e6 }, nowMs);
  if (limited === 'name-taken') throw new Error('the group exists');
  await store.close();

  const db = new DatabaseSync(file);
  const numbers = `with recursive numbers (n) as
    (select 1 union all select n + 1 from numbers where n < ${tunnels})`;
  db.exec(`
    pragma synchronous = off;
    insert into users (id, name, sealed_ha1, sealed_scram, group_id, created_at_ms) ${numbers}
      select n, 'user' || n, hex(randomblob(60)), hex(randomblob(90)),
        case n % 100 when 0 then ${limited.id} end, ${nowMs} from numbers;
  `);
  insertTunnels(db, tunnels, tunnels, nowMs);
  db.close();
}

async function timed(act: () => unknown): Promise<number> {
  const beganMs = performance.now();
  await act();
  return round((performance.now() - beganMs) / 1000);
}

function round(value: number): number {
  return Math.round(value * 100) / 100;
}
