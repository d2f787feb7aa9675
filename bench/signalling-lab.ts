// Where `make bench-signalling` measures: a server and a host full of clients in network namespaces of
// their own, one cable between them. The clients have a /9 of addresses, as a city has behind its
// carriers. The database is on a real disk: what a commit costs is part of what is measured.

import {
  copyFileSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statfsSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import type { BenchResult } from '../src/bench/result.ts';
import { eventually, type Host, type Lab, type Service } from '../test/lab/lab.ts';

export const SERVER_IPV4 = '203.0.113.53';
const CLIENTS_IPV4 = '203.0.113.1';
const CLIENT_ADDRESSES = '10.128.0.0/9';
const SIXWAY = join(import.meta.dirname, '../bin/sixway');
const PROFILER = join(import.meta.dirname, 'profile-on-signal.ts');
const TMPFS_MAGIC = 0x01021994;
const LONG_MS = 1_800_000;

export interface SignallingLab {
  readonly lab: Lab;
  readonly server: Host;
  readonly clients: Host;
  /** On a real disk. */
  readonly directory: string;
  /** Which processor each has; undefined: the kernel places them. */
  readonly processors: { readonly server: number; readonly generator: number } | undefined;
}

/** `pin`: each on a processor of its own. */
export async function buildSignallingLab(lab: Lab, pin: boolean): Promise<SignallingLab> {
  const server = await lab.host('server');
  const clients = await lab.host('clients');
  await lab.cable(server, 'eth0', clients, 'eth0');
  await server.ip(`addr add ${SERVER_IPV4}/24 dev eth0`);
  await clients.ip(`addr add ${CLIENTS_IPV4}/24 dev eth0`);
  await clients.ip(`route add local ${CLIENT_ADDRESSES} dev lo`);
  await server.ip(`route add ${CLIENT_ADDRESSES} via ${CLIENTS_IPV4}`);
  const processors = pin ? { server: 0, generator: 1 } : undefined;
  return { lab, server, clients, directory: realDirectory(lab), processors };
}

/** A broker's configuration and database, with pools and users. */
export interface Broker {
  readonly database: string;
  readonly pinDirectory: string;
  readonly secret: string;
  sixway(...args: string[]): Promise<string>;
  /** Starts the daemon. `profile`: the file that profile-on-signal.ts is to write. */
  serve(profile?: string): Promise<Service>;
  /** The database as it was when it was made. */
  restore(): void;
}

/** `say` is told what takes its time. */
export async function makeBroker(
  { lab, server, directory, processors }: SignallingLab,
  users: number,
  say: (line: string) => void,
): Promise<Broker> {
  const database = join(directory, 'sixway.db');
  const config = join(directory, 'sixway.toml');
  const pinDirectory = `/sys/fs/bpf/sixway-signalling-${lab.id}`;
  writeFileSync(config, settingsIn(directory, pinDirectory));
  const command = (...words: string[]) => [...words, '--config', config];
  const sixway = (...words: string[]) => server.run(SIXWAY, command(...words), LONG_MS);
  lab.onClose(async () => {
    await sixway('uninstall', '--yes');
  });
  await sixway('pool', 'add', '2001:db8:1000::/44', '--for', 'links');
  await sixway('pool', 'add', '3fff::/36', '--for', 'delegations', '--length', '56');
  say(`Adding ${users.toLocaleString('en-US')} users`);
  const prepared = await sixway('bench', 'prepare', '--users', String(users), '--json');
  const { secret } = JSON.parse(prepared) as { secret: string };
  copyFileSync(database, `${database}.made`);
  return {
    database,
    pinDirectory,
    secret,
    sixway,
    serve: async (profile) => {
      const [file, ...words] = pinned(processors?.server, SIXWAY, ...command('serve'));
      const service = server.start(
        file!,
        words,
        profile === undefined
          ? {}
          : { NODE_OPTIONS: `--import=${PROFILER}`, SIXWAY_PROFILE: resolve(profile) },
      );
      await service.says(/Ready/, 120_000);
      return service;
    },
    restore: () => {
      for (const suffix of ['-wal', '-shm']) rmSync(`${database}${suffix}`, { force: true });
      copyFileSync(`${database}.made`, database);
    },
  };
}

/** The public C server, of which only the path to a binary is known here. */
export async function startTsps(
  { server, processors }: SignallingLab,
  binary: string,
): Promise<Service> {
  const [file, ...words] = pinned(
    processors?.server,
    ...[binary, '-D', '-b', SERVER_IPV4, '-n', '2001:db8:abc::1/64', '-N'],
  );
  const service = server.start(file!, words);
  await eventually('tsps listens', async () =>
    (await server.run('ss', ['-uln'])).includes(`${SERVER_IPV4}:3653`),
  );
  return service;
}

/** Runs `sixway bench run` among the clients, against what serves as process `pid`. */
export async function runGenerator(
  { clients, processors }: SignallingLab,
  pid: number,
  args: readonly string[],
): Promise<BenchResult> {
  const [file, ...words] = pinned(
    processors?.generator,
    ...[SIXWAY, 'bench', 'run', SERVER_IPV4, '--json', '--server-pid', String(pid)],
    ...['--from', CLIENT_ADDRESSES, ...args],
  );
  const said = await clients.run(file!, words, LONG_MS);
  return JSON.parse(said, (_name, value) => value ?? undefined) as BenchResult;
}

/** What a process has in memory, and had at most. */
export function residentMebibytes(pid: number): { readonly now: number; readonly most: number } {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  const mebibytes = (name: string) =>
    Math.round(Number(new RegExp(`${name}:\\s+(\\d+)`).exec(status)?.[1]) / 1024);
  return { now: mebibytes('VmRSS'), most: mebibytes('VmHWM') };
}

function pinned(cpu: number | undefined, ...words: string[]): string[] {
  return cpu === undefined ? words : ['taskset', '-c', String(cpu), ...words];
}

/** Not in memory; gone with the lab. */
function realDirectory(lab: Lab): string {
  const candidates = [tmpdir(), '/var/tmp'];
  const parent = candidates.find((path) => statfsSync(path).type !== TMPFS_MAGIC);
  if (!parent) throw new Error(`${candidates.join(' and ')} are in memory, not on a disk`);
  const directory = mkdtempSync(join(parent, 'sixway-signalling-'));
  lab.onClose(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}

/** What a provider raises for its own users; and what shares of a machine nobody else needs here. */
function settingsIn(directory: string, pinDirectory: string): string {
  return `[server]
name = "tb.example"
uplink = "eth0"
logLevel = "warn"
[store]
database = "${directory}/sixway.db"
keyFile = "${directory}/secret.key"
[tsp]
address6 = ""
mechanisms = ["SCRAM-SHA-256", "DIGEST-MD5", "PLAIN", "ANONYMOUS"]
packetsPerAddress = 0
packetsPerNetwork = 0
packetsTotal = 0
[tunnel]
maxPerAddress = 0
[dataplane]
pinDirectory = "${pinDirectory}"
maxTunnels = 1048576
[metrics]
listen = "127.0.0.1:9653"
`;
}
