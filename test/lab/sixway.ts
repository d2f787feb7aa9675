// Starts the real broker and real clients inside the hosts of a lab, through the same command that
// operators and users type.

import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { DELEGATION_POOL, type Internet, LINK_POOL } from './internet.ts';
import type { Host, Outcome, Service } from './lab.ts';

const SIXWAY = join(import.meta.dirname, '../../bin/sixway');

export interface RunningBroker {
  readonly host: Host;
  readonly pinDirectory: string;
  readonly database: string;
  /** Of the daemon's local socket. */
  readonly liveSocket: string;
  /** The daemon as it is; replaced by {@link restart}. */
  service: Service;
  /** Runs `sixway ARGS` on the broker's machine; throws when it fails. */
  sixway(...args: string[]): Promise<string>;
  trySixway(...args: string[]): Promise<Outcome>;
  /** The command line of `sixway ARGS` for this broker. */
  command(...args: string[]): string[];
  /** Starts the daemon again after it was stopped or killed. */
  restart(): Promise<void>;
}

/** `settings`: lines of TOML by section, on top of what the lab needs. */
export async function startBroker(
  net: Internet,
  settings: Partial<Record<'server' | 'tsp' | 'tunnel' | 'dataplane' | 'history', string>> = {},
  pools: readonly (readonly string[])[] = [
    ['pool', 'add', LINK_POOL, '--for', 'links'],
    ['pool', 'add', DELEGATION_POOL, '--for', 'delegations', '--length', '56'],
  ],
): Promise<RunningBroker> {
  const { lab, broker: host } = net;
  const state = join(lab.directory, 'broker');
  mkdirSync(state, { recursive: true });
  const pinDirectory = `/sys/fs/bpf/sixway-lab-${lab.id}`;
  const database = join(state, 'sixway.db');
  const liveSocket = join(state, 'live.sock');
  const configFile = join(state, 'sixway.toml');
  writeFileSync(
    configFile,
    `[server]
name = "tb.example"
${settings.server ?? ''}
[store]
database = "${database}"
keyFile = "${join(state, 'secret.key')}"
[tsp]
${settings.tsp ?? ''}
[tunnel]
${settings.tunnel ?? ''}
[dataplane]
pinDirectory = "${pinDirectory}"
maxTunnels = 65536
${settings.dataplane ?? ''}
[metrics]
listen = "127.0.0.1:9653"
[live]
socket = "${liveSocket}"
[history]
${settings.history ?? ''}
`,
  );
  const args = (words: readonly string[]) => [...words, '--config', configFile];
  const sixway = (...words: string[]) => host.run(SIXWAY, args(words));
  const start = async () => {
    const service = host.start(SIXWAY, args(['serve']));
    await service.says(/Ready/, 15_000);
    return service;
  };
  for (const pool of pools) await sixway(...pool);
  lab.onClose(async () => {
    await sixway('uninstall', '--yes');
  });
  const running: RunningBroker = {
    host,
    pinDirectory,
    database,
    liveSocket,
    service: await start(),
    sixway,
    trySixway: (...words) => host.try(SIXWAY, args(words)),
    command: (...words) => [SIXWAY, ...args(words)],
    restart: async () => {
      running.service = await start();
    },
  };
  return running;
}

/** Adds a user and returns the secret that the command made. */
export async function addUser(broker: RunningBroker, name: string): Promise<string> {
  const added = JSON.parse(await broker.sixway('user', 'add', name, '--json')) as {
    secret: string;
  };
  return added.secret;
}

/** Starts `sixway connect` in `host`; the caller waits for what it says. */
export function startClient(
  host: Host,
  target: string,
  secret: string | undefined,
  ...args: string[]
): Service {
  const environment = secret === undefined ? {} : { SIXWAY_SECRET: secret };
  return host.start(SIXWAY, ['connect', target, ...args], environment);
}

export interface ClientTunnel {
  readonly address: string;
  readonly gateway: string;
  readonly prefix?: string;
  readonly encapsulation: string;
}

/** Waits until a client started with `--json` reports that its tunnel is up. */
export async function tunnelUp(client: Service, timeoutMs = 15_000): Promise<ClientTunnel> {
  const [line] = await client.says(/^\{"event":"up".*\}$/m, timeoutMs);
  return JSON.parse(line) as ClientTunnel;
}
