// The server's start-up configuration: ONE table gives names, types, defaults and explanations,
// for the file, the environment, `sixway config` and the documentation. Only what is needed to
// start is here; users, pools and tunnels live in the store.
//
// File: TOML, one section a group. Environment: SIXWAY_<SECTION>_<KEY>, e.g. SIXWAY_TSP_PORT.
// The environment wins over the file, the file over the default.

import { readFileSync } from 'node:fs';
import { parse } from 'smol-toml';
import {
  brokers,
  flag,
  ipv4OrAuto,
  ipv6,
  ipv6OrAutoOrNone,
  listener,
  listOf,
  oneOf,
  path,
  port,
  ports,
  type Setting,
  setting,
  socketPathOrNone,
  text,
  whole,
} from './config/kinds.ts';
import { MAIL_SETTINGS, WEB_SETTINGS } from './config/web.ts';

export const DEFAULT_CONFIG_FILE = '/etc/sixway/sixway.toml';

export const SETTINGS = {
  server: {
    name: setting(
      text,
      'auto',
      'Public name of this broker. Clients see it as the DIGEST-MD5 realm, so it is fixed in the ' +
        'store at the first start. "auto" takes the machine’s host name.',
    ),
    address: setting(
      ipv4OrAuto,
      'auto',
      'The one IPv4 address for signalling and tunnels. "auto" takes the uplink’s first address.',
    ),
    uplink: setting(
      text,
      'auto',
      'Interface that has this address. "auto" takes the one of the IPv4 default route.',
    ),
    manageSysctls: setting(
      flag,
      true,
      'Switch on IPv6 forwarding at start, keeping router advertisements on the uplink working.',
    ),
    logLevel: setting(oneOf('trace', 'debug', 'info', 'warn', 'error'), 'info', 'What is logged.'),
  },
  store: {
    database: setting(path, '/var/lib/sixway/sixway.db', 'SQLite file. Made at the first start.'),
    keyFile: setting(
      path,
      '/etc/sixway/secret.key',
      'Key that encrypts the users’ secrets in the store. Made at the first start; keep a copy ' +
        'apart from the database’s.',
    ),
  },
  tsp: {
    port: setting(
      port,
      3653,
      'Port for signalling over UDP and TCP, and for v6udpv4 tunnels (RFC 5572).',
    ),
    address6: setting(
      ipv6OrAutoOrNone,
      'auto',
      'IPv6 address for signalling. "auto" takes the first global one of the uplink, or of the ' +
        'interface of the IPv6 default route, if there is one; "" leaves it at IPv4.',
    ),
    mechanisms: setting(
      listOf('SCRAM-SHA-256', 'DIGEST-MD5', 'PLAIN', 'ANONYMOUS'),
      ['SCRAM-SHA-256', 'DIGEST-MD5'] as readonly (
        | 'SCRAM-SHA-256'
        | 'DIGEST-MD5'
        | 'PLAIN'
        | 'ANONYMOUS'
      )[],
      'How clients may log in. PLAIN sends the secret in clear text; ANONYMOUS lets anybody in.',
    ),
    v4v6: setting(
      flag,
      false,
      'Offer tunnels for IPv4 in IPv6 (v4v6) to clients that have IPv6 only.',
    ),
    redirect: setting(
      brokers,
      [] as readonly string[],
      'Other brokers that all clients are sent to, the best first. None: clients are served here.',
    ),
    redirectPhase: setting(
      oneOf('version', 'authentication', 'create'),
      'version',
      'When clients are sent to the other brokers: when they come, when they log in, or when they ' +
        'ask for a tunnel.',
    ),
    packetsPerAddress: setting(
      whole(0, 1_000_000),
      50,
      'Signalling packets a second from one address (IPv6: /64) that reach the daemon; the kernel ' +
        'drops the rest. A login takes about ten. Raise it where thousands share an address; 0: no limit.',
    ),
    packetsPerNetwork: setting(
      whole(0, 1_000_000),
      500,
      'The same for all addresses of a /24 (IPv6: /48) together.',
    ),
    packetsTotal: setting(
      whole(0, 10_000_000),
      30_000,
      'The same for everybody together; a quarter of it is for those not heard of lately.',
    ),
    maxConnections: setting(
      whole(16, 1_000_000),
      4096,
      'TCP connections at once. Clients keep theirs for as long as their tunnel.',
    ),
    maxSessions: setting(
      whole(16, 10_000_000),
      50_000,
      'Logins over UDP that are remembered, 1.2 KB each: those under way, and those of the last ten ' +
        'seconds at least. Beyond that clients are told to come back later.',
    ),
    maxWaiting: setting(
      whole(16, 1_000_000),
      4096,
      'Requests of clients that may wait for the database at once; beyond that new clients are told ' +
        'to come back later, and those who are logging in go on.',
    ),
  },
  tunnel: {
    keepaliveSeconds: setting(
      whole(5, 3600),
      30,
      'How often clients are told to send a keepalive.',
    ),
    mtu: setting(
      whole(1280, 1472),
      1280,
      'Largest inner packet. 1280 passes everywhere; 1472 fits where IPv4 carries 1500.',
    ),
    anonymousLifetimeSeconds: setting(
      whole(60, 31_536_000),
      86_400,
      'How long an anonymous tunnel may live before it must log in again.',
    ),
    userLeaseDays: setting(
      whole(0, 36_500),
      0,
      'After how many days without its client a user’s tunnel gives its addresses back; 0 for never.',
    ),
    deletedHoldDays: setting(
      whole(0, 36_500),
      14,
      'For how many days the addresses of a tunnel that its user has deleted are held for them; 0: not ' +
        'at all.',
    ),
    maxPerAddress: setting(
      whole(0, 1_000_000),
      16,
      'How many tunnels may be at one IPv4 address; 0 for any number. A home has one address, but ' +
        'a carrier-grade NAT has thousands of customers behind each: raise it for a provider’s users.',
    ),
    filteredPorts: setting(
      ports,
      [25] as readonly number[],
      'TCP ports that clients may not connect to until an administrator opens them for a tunnel or ' +
        'a group. 25 (SMTP) is what hijacked machines send spam to; mail programs use 465 and 587.',
    ),
    resolver: setting(
      ipv6,
      '2620:fe::fe',
      'Recursive DNS server that clients are told. Old gogoc clients crash when they are told none.',
    ),
  },
  dataplane: {
    device: setting(text, 'sixway0', 'Tunnel device that the pools are routed to.'),
    mode: setting(
      oneOf('complete', 'fast'),
      'complete',
      'complete: the firewall, conntrack and captures see inner packets as on any router. fast: where ' +
        'the drivers have XDP, ordinary packets are forwarded before all that.',
    ),
    xdp: setting(
      flag,
      true,
      'Attach to the network driver where it has XDP. Without, tc does everything.',
    ),
    pinDirectory: setting(
      path,
      '/sys/fs/bpf/sixway',
      'Where programs and maps are pinned, so that traffic flows while the daemon is away.',
    ),
    maxTunnels: setting(whole(1, 16_777_216), 65_536, 'Records in the kernel; 120 bytes each.'),
    maxIpv4Tunnels: setting(
      whole(1, 16_777_216),
      16_384,
      'Records in the kernel for tunnels of IPv4 in IPv6 (v4v6); 120 bytes each.',
    ),
    maxLimitedTunnels: setting(
      whole(1, 16_777_216),
      65_536,
      'Tunnels that may have limited rates at once; 16 bytes each, and about 100 more for each that has.',
    ),
    maxDelegations: setting(
      whole(1, 268_435_456),
      1_048_576,
      'Positions of all delegation pools together; 4 bytes each.',
    ),
  },
  history: {
    attachmentsDays: setting(
      whole(0, 36_500),
      180,
      'How many days it is known who had which address, and where clients came from: names, addresses, ' +
        'ports and times, which is personal data. 0: nothing beyond the present.',
    ),
    traffic: setting(
      flag,
      true,
      'Keep how many bytes and packets went through each tunnel and through all of them.',
    ),
    trafficSeconds: setting(
      whole(1, 3600),
      300,
      'How often the counters are read for it. What is kept is by five minutes, hours and days.',
    ),
    trafficFiveMinuteDays: setting(
      whole(1, 3650),
      2,
      'How many days traffic is kept by five minutes; 50 bytes for each tunnel that moved something.',
    ),
    trafficHourDays: setting(whole(1, 3650), 60, 'The same by the hour.'),
    trafficDayDays: setting(whole(1, 36_500), 730, 'The same by the day.'),
  },
  live: {
    socket: setting(
      socketPathOrNone,
      '/run/sixway/live.sock',
      'Local socket where the portal reads what the kernel counts at present; "" for none.',
    ),
    group: setting(
      text,
      '',
      'Group whose members may connect to it, such as the portal’s; "" for the daemon’s own.',
    ),
  },
  web: WEB_SETTINGS,
  mail: MAIL_SETTINGS,
  metrics: {
    listen: setting(listener, '127.0.0.1:9653', 'Where Prometheus reads /metrics.'),
  },
} as const;

type Value<S> = S extends Setting<infer T> ? T : never;
type Schema = typeof SETTINGS;
export type Config = {
  readonly [S in keyof Schema]: { readonly [K in keyof Schema[S]]: Value<Schema[S][K]> };
};

/** One setting as it stands, for `sixway config`. */
export interface Explained {
  readonly name: string;
  readonly value: unknown;
  readonly origin: 'default' | 'file' | 'environment';
  readonly environment: string;
  readonly help: string;
}

export type LoadedConfig =
  | { readonly ok: true; readonly config: Config; readonly explained: readonly Explained[] }
  | { readonly ok: false; readonly problems: readonly string[] };

/**
 * Reads `file` (a missing default file is no problem, a missing named one is) and the environment.
 * Every problem found is reported, each with the setting's name and what it expects.
 */
export function loadConfig(
  file: string | undefined,
  environment: NodeJS.ProcessEnv = process.env,
): LoadedConfig {
  const source = file ?? DEFAULT_CONFIG_FILE;
  const problems: string[] = [];
  const fromFile = readSections(source, file !== undefined, problems);

  const explained: Explained[] = [];
  const config: Record<string, Record<string, unknown>> = {};
  for (const [section, settings] of Object.entries(SETTINGS)) {
    const values: Record<string, unknown> = {};
    config[section] = values;
    for (const [key, found] of Object.entries(settings) as [string, Setting<unknown>][]) {
      const name = `${section}.${key}`;
      const variable = environmentName(section, key);
      const inFile = fromFile.get(name);
      fromFile.delete(name);
      const [origin, raw] =
        environment[variable] !== undefined
          ? (['environment', environment[variable]] as const)
          : inFile !== undefined
            ? (['file', inFile] as const)
            : (['default', found.default] as const);
      const value = origin === 'default' ? found.default : found.kind.read(raw);
      if (value === undefined) {
        const place = origin === 'file' ? source : variable;
        const shown = typeof raw === 'bigint' ? String(raw) : JSON.stringify(raw);
        problems.push(`${place}: ${name} must be ${found.kind.expects}, found ${shown}`);
      }
      values[key] = value;
      explained.push({ name, value, origin, environment: variable, help: found.help });
    }
  }
  for (const name of fromFile.keys()) problems.push(`${source}: ${name} is not a setting`);
  if (problems.length > 0) return { ok: false, problems };
  return { ok: true, config: config as unknown as Config, explained };
}

function readSections(file: string, required: boolean, problems: string[]): Map<string, unknown> {
  const values = new Map<string, unknown>();
  let content: string;
  try {
    content = readFileSync(file, 'utf8');
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code !== 'ENOENT' || required) problems.push(`${file}: cannot be read (${code})`);
    return values;
  }
  try {
    for (const [section, body] of Object.entries(parse(content))) {
      if (typeof body !== 'object' || body === null || Array.isArray(body)) {
        values.set(section, body);
        continue;
      }
      for (const [key, value] of Object.entries(body)) values.set(`${section}.${key}`, value);
    }
  } catch (error) {
    problems.push(`${file}: ${(error as Error).message.trim()}`);
  }
  return values;
}

/** `tunnel.keepaliveSeconds` is SIXWAY_TUNNEL_KEEPALIVE_SECONDS. */
function environmentName(section: string, key: string): string {
  return `SIXWAY_${section}_${key.replace(/[A-Z]/g, (letter) => `_${letter}`)}`.toUpperCase();
}
