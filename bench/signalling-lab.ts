// Where `make bench-signalling` measures: a server and a host full of clients in network namespaces of
// their own, one cable between them. The clients have a /9 of addresses, as a city behind its carrier.
// The database is on a real disk: what a commit costs is part of what is measured.

import { mkdtempSync, rmSync, statfsSync, writeFileSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Host, Lab, Service } from '../test/lab/lab.ts';

export const SERVER_IPV4 = '203.0.113.53';
const CLIENTS_IPV4 = '203.0.113.1';
export const CLIENT_ADDRESSES = '10.128.0.0/9';
const SIXWAY = join(import.meta.dirname, '../bin/sixway');
const TMPFS_MAGIC = 0x01021994;
const LONG_MS = 600_000;

export interface SignallingLab {
  readonly lab: Lab;
  readonly server: Host;
  readonly clients: Host;
}

export interface BenchedServer {
  readonly service: Service;
  readonly secret: string;
  readonly database: string;
  sixway(...args: string[]): Promise<string>;
}

export async function buildSignallingLab(lab: Lab): Promise<SignallingLab> {
  const server = await lab.host('server');
  const clients = await lab.host('clients');
  await lab.cable(server, 'eth0', clients, 'eth0');
  await server.ip(`addr add ${SERVER_IPV4}/24 dev eth0`);
  await clients.ip(`addr add ${CLIENTS_IPV4}/24 dev eth0`);
  await clients.ip(`route add local ${CLIENT_ADDRESSES} dev lo`);
  await server.ip(`route add ${CLIENT_ADDRESSES} via ${CLIENTS_IPV4}`);
  return { lab, server, clients };
}

/** A broker with so many users, on `cpu` if that is given. `settings`: lines of TOML by section. */
export async function startBenchedServer(
  { lab, server }: SignallingLab,
  users: number,
  options: { readonly cpu?: number; readonly log?: (line: string) => void } = {},
): Promise<BenchedServer> {
  const directory = realDirectory(lab);
  const database = join(directory, 'sixway.db');
  const config = join(directory, 'sixway.toml');
  writeFileSync(config, settingsIn(directory, lab.id));
  const command = (...words: string[]) => [...words, '--config', config];
  const sixway = (...words: string[]) => server.run(SIXWAY, command(...words), LONG_MS);
  lab.onClose(async () => {
    await sixway('uninstall', '--yes');
  });
  await sixway('pool', 'add', '2001:db8:1000::/44', '--for', 'links');
  await sixway('pool', 'add', '2001:db9::/36', '--for', 'delegations', '--length', '56');
  options.log?.(`Adding ${users} users`);
  const prepared = await sixway('bench', 'prepare', '--users', String(users), '--json');
  const { secret } = JSON.parse(prepared) as { secret: string };
  const [file, ...words] = pinned(options.cpu, SIXWAY, ...command('serve'));
  const service = server.start(file!, words);
  await service.says(/Ready/, 60_000);
  return { service, secret, database, sixway };
}

/** Runs `sixway bench run` among the clients; answers what it reports. */
export async function runGenerator(
  { clients }: SignallingLab,
  args: readonly string[],
  options: { readonly cpu?: number; readonly timeoutMs?: number } = {},
): Promise<Record<string, unknown>> {
  const [file, ...words] = pinned(
    options.cpu,
    ...[SIXWAY, 'bench', 'run', SERVER_IPV4, '--json', '--from', CLIENT_ADDRESSES, ...args],
  );
  const said = await clients.run(file!, words, options.timeoutMs ?? LONG_MS);
  return JSON.parse(said) as Record<string, unknown>;
}

/** Server and generator each on a processor of its own, where there are two. */
export function ownProcessors(): { readonly server?: number; readonly generator?: number } {
  return availableParallelism() < 2 ? {} : {};
}

function pinned(cpu: number | undefined, ...words: string[]): string[] {
  return cpu === undefined ? words : ['taskset', '-c', String(cpu), ...words];
}

/** Not in memory; gone with the lab. */
function realDirectory(lab: Lab): string {
  const candidates = [tmpdir(), '/var/tmp'];
  const parent = candidates.find((path) => statfsSync(path).type !== TMPFS_MAGIC);
  if (parent === undefined)
    throw new Error(`${candidates.join(' and ')} are in memory, not on a disk`);
  const directory = mkdtempSync(join(parent, 'sixway-signalling-'));
  lab.onClose(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}

/** What a provider would raise for its own users, and what a measurement of the whole needs. */
function settingsIn(directory: string, id: string): string {
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
# A session is remembered for 90 seconds after its last message.
maxSessions = 1000000
[tunnel]
maxPerAddress = 0
[dataplane]
pinDirectory = "/sys/fs/bpf/sixway-signalling-${id}"
maxTunnels = 1048576
[metrics]
listen = "127.0.0.1:9653"
`;
}
