// `serve`: builds the broker's parts in order, joins them, and takes them down again. The socket
// comes first, so that a second broker on the same port stops before it touches the kernel.

import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Logger, pino } from 'pino';
import {
  formatEndpoint,
  formatPrefix,
  type Ipv4Address,
  type Ipv6Address,
  parseIp,
  parseIpv4,
  parseIpv6,
} from './address.ts';

import { Broker } from './broker/broker.ts';
import { forgetSome, type Kept } from './broker/forgetting.ts';
import { Loop } from './broker/loop.ts';
import { TrafficSampler } from './broker/traffic.ts';
import type { Config } from './config.ts';
import { Dataplane } from './dataplane/dataplane.ts';
import {
  defaultUplink,
  ipv4AddressesOf,
  ipv6AddressesOf,
  ipv6DefaultRoute,
  kernelIsRecentEnough,
  kernelVersion,
  REQUIRED_KERNEL,
} from './host.ts';
import { type LiveOptions, LiveServer } from './live.ts';
import { Metrics } from './metrics.ts';
import { openAccounts, openStore, Unusable } from './parts.ts';
import { type Resolution, untilNextSample } from './store/buckets.ts';
import type { Store } from './store/store.ts';
import { bindTsp, redirectOf, TspListener } from './tsp-server.ts';

const { version } = JSON.parse(
  readFileSync(join(import.meta.dirname, '../package.json'), 'utf8'),
) as { version: string };

const RULES_EVERY_MS = 10_000;
const FORGET_EVERY_MS = 60_000;

export interface Running {
  /** Lets go in order. Programs and maps stay: traffic flows on. */
  stop(): Promise<void>;
}

/** `say` gets what was done, line by line, for the person at the terminal. */
export async function serve(config: Config, say: (line: string) => void): Promise<Running> {
  const parts = new AsyncDisposableStack();
  try {
    await build(config, say, parts);
  } catch (error) {
    await parts.disposeAsync();
    throw error;
  }
  return { stop: () => parts.disposeAsync() };
}

/** Every part that was built is given to `parts`, which takes them down last one first. */
async function build(
  config: Config,
  say: (line: string) => void,
  parts: AsyncDisposableStack,
): Promise<void> {
  if (!kernelIsRecentEnough()) {
    const { major, minor } = kernelVersion();
    throw new Unusable(
      `this kernel is ${major}.${minor}; the data plane needs ` +
        `${REQUIRED_KERNEL.major}.${REQUIRED_KERNEL.minor} or later`,
    );
  }
  const log = pino({ level: config.server.logLevel, base: null });
  const uplink = chooseUplink(config);
  const address = chooseAddress(config, uplink);
  const { port } = config.tsp;
  const ipv6 = chooseAddress6(config, uplink);
  const addresses = ipv6 ? [address, ipv6.address] : [address];
  const sockets = await bindTsp(addresses, port).catch((error: NodeJS.ErrnoException) => {
    throw new Unusable(explainBind(error, port));
  });
  let listener: TspListener | undefined;
  parts.defer(() => (listener ?? sockets).close());
  for (const each of addresses) {
    say(`Listening for TSP on UDP and TCP ${formatEndpoint({ address: each, port })}`);
  }

  const store = await openStore(config);
  parts.defer(() => store.close());
  const accounts = await openAccounts(config, store);
  const { realm } = accounts;
  say(`Users, pools and tunnels are in ${config.store.database}; the realm is ${realm}`);

  const { pinDirectory, maxTunnels, maxDelegations, maxIpv4Tunnels, maxLimitedTunnels } =
    config.dataplane;
  const capacity = {
    tunnels: maxTunnels,
    owners: maxDelegations,
    v4v6: maxIpv4Tunnels,
    limited: maxLimitedTunnels,
  };
  const dataplane = explaining(() => Dataplane.open({ pinDirectory, capacity }));
  parts.defer(() => dataplane.close());
  const metrics = new Metrics({
    outcomes: () => dataplane.outcomes(),
    sessions: () => listener?.sessionCount ?? 0,
    load: () => listener?.load ?? { waiting: 0, tooMuch: false },
  });
  const complain = (message: string, error?: unknown) => log.error({ err: error }, message);
  const trafficEveryMs = config.history.trafficSeconds * 1000;
  const traffic = new TrafficSampler({
    store,
    dataplane,
    everyMs: trafficEveryMs,
    state: () => ({
      sessions: listener?.sessionCount ?? 0,
      logins: metrics.loginCounts.accepted,
      loginFailures: metrics.loginCounts.failed,
    }),
  });
  const broker = await Broker.start({
    store,
    dataplane,
    accounts,
    beforeReset: (family, slot) => traffic.beforeReset(family, slot),
    policy: {
      keepaliveSeconds: config.tunnel.keepaliveSeconds,
      anonymousLifetimeSeconds: config.tunnel.anonymousLifetimeSeconds,
      userLeaseSeconds: config.tunnel.userLeaseDays * 86_400,
      maxTunnelsPerAddress: config.tunnel.maxPerAddress,
    },
    log: complain,
    onLockout: (event) => {
      metrics.oddity(`login-${event.type}`);
      if (event.type !== 'held-back') return;
      const { username, what, forMs, source } = event;
      const from = formatEndpoint(source);
      log.warn({ username, source: from, what, forMs }, 'logins held back');
    },
  });
  parts.defer(() => broker.stop());
  const forgetting = new Loop(
    'forgetting the past',
    FORGET_EVERY_MS,
    () => forgetSome(keptOf(config, store), Date.now()),
    complain,
  );
  parts.defer(() => forgetting.stop());
  const { reconciled } = broker;
  say(
    `The kernel's maps in ${pinDirectory} agree with the store: ` +
      `${reconciled.kept} tunnels kept, ${reconciled.put} put, ${reconciled.removed} removed`,
  );

  // Only when the maps are right: programs that a new layout replaces begin with empty ones.
  const { device, mode, xdp } = config.dataplane;
  const { mtu } = config.tunnel;
  const { manageSysctls } = config.server;
  const at = {
    uplink,
    localAddress: address,
    ...(ipv6 && { localAddress6: ipv6.address, uplink6: ipv6.device }),
    port,
    device,
    mtu,
    manageSysctls,
    mode,
    xdp,
    filteredPorts: config.tunnel.filteredPorts,
    signallingLimits: {
      perAddress: config.tsp.packetsPerAddress,
      perPrefix: config.tsp.packetsPerNetwork,
      total: config.tsp.packetsTotal,
    },
  };
  const attached = explaining(() => dataplane.attach(at));
  for (const action of attached.actions) say(action);
  const rules = setInterval(() => {
    try {
      dataplane.followRoutingRules();
    } catch (error) {
      log.warn({ err: error }, 'routing rules cannot be read');
    }
  }, RULES_EVERY_MS);
  parts.defer(() => clearInterval(rules));

  if (config.history.traffic) {
    const sampling = new Loop(
      'reading the tunnels’ counters',
      () => untilNextSample(Date.now(), trafficEveryMs),
      () => traffic.sample(),
      complain,
    );
    parts.defer(async () => {
      await sampling.stop();
      await traffic.end().catch((error: unknown) => complain('the last counts are lost', error));
    });
  }

  const { mechanisms, maxSessions, maxConnections, maxWaiting, v4v6 } = config.tsp;
  const redirect = redirectOf(config.tsp.redirect, config.tsp.redirectPhase);
  const decoyKey = await store.settingOrInitial('decoy_key', randomBytes(32).toString('hex'));
  listener = new TspListener(sockets, {
    address,
    ...(ipv6 && { address6: ipv6.address }),
    realm,
    mechanisms,
    tunnelTypes: v4v6 ? ['v6v4', 'v6udpv4', 'v4v6'] : ['v6v4', 'v6udpv4'],
    ...(redirect && { redirect }),
    maxSessions,
    maxConnections,
    maxWaiting,
    resolver: parseIpv6(config.tunnel.resolver) ?? 0n,
    nonceKey: randomBytes(32),
    decoyKey: Buffer.from(decoyKey, 'hex'),
    broker,
    metrics,
    log,
  });
  const live = await serveLive(config, say, complain, {
    store,
    dataplane,
    version,
    defaultMtu: mtu,
    log: complain,
    state: () => ({
      ...listener!.load,
      overloaded: listener!.load.tooMuch,
      sessions: listener!.sessionCount,
      logins: metrics.loginCounts.accepted,
      loginFailures: metrics.loginCounts.failed,
    }),
  });
  parts.defer(() => live?.close());
  const page = await serveMetrics(config, metrics, log, say);
  parts.defer(() => page?.close());
  await sayWhatIsMissing(store, say);
  say('Ready');
}

/** The data plane says in plain errors what it cannot work with; mistakes of ours stay what they are. */
function explaining<T>(act: () => T): T {
  try {
    return act();
  } catch (error) {
    if (!(error instanceof Error) || error.constructor !== Error) throw error;
    throw new Unusable(error.message, { cause: error });
  }
}

/** What the store keeps for a while. */
function keptOf({ history }: Config, store: Store): readonly Kept[] {
  const traffic = (resolution: Resolution, days: number): Kept => ({
    days,
    forget: (beforeMs) => store.traffic.prune(resolution, beforeMs),
  });
  return [
    { days: history.attachmentsDays, forget: (beforeMs) => store.history.prune(beforeMs) },
    traffic('5-minutes', history.trafficFiveMinuteDays),
    traffic('hours', history.trafficHourDays),
    traffic('days', history.trafficDayDays),
  ];
}

function chooseUplink(config: Config): string {
  if (config.server.uplink !== 'auto') return config.server.uplink;
  const uplink = defaultUplink();
  if (uplink !== undefined) return uplink;
  throw new Unusable(
    'this machine has no IPv4 default route, so the uplink is not known: set server.uplink',
  );
}

function chooseAddress(config: Config, uplink: string): Ipv4Address {
  const addresses = ipv4AddressesOf(uplink);
  if (!addresses) throw new Unusable(`there is no interface ${uplink}: see server.uplink`);
  if (config.server.address === 'auto') {
    const [first] = addresses;
    if (first !== undefined) return first;
    throw new Unusable(`${uplink} has no IPv4 address: give it one, or set server.uplink`);
  }
  const wanted = parseIpv4(config.server.address) ?? 0;
  if (addresses.includes(wanted)) return wanted;
  throw new Unusable(`${config.server.address} is not an address of ${uplink}`);
}

/** The address for signalling over IPv6 and its interface; undefined: only over IPv4. */
function chooseAddress6(
  config: Config,
  uplink: string,
): { readonly address: Ipv6Address; readonly device: string } | undefined {
  const { address6 } = config.tsp;
  if (address6 === '') return undefined;
  const devices = [uplink, ipv6DefaultRoute()].filter((device) => device !== undefined);
  const found = devices.flatMap((device) =>
    ipv6AddressesOf(device).map((address) => ({ address, device })),
  );
  if (address6 === 'auto') return found[0];
  const wanted = found.find(({ address }) => address === parseIpv6(address6));
  if (wanted) return wanted;
  throw new Unusable(`${address6} is not an address of ${devices.join(' or ')}: see tsp.address6`);
}

function explainBind(error: NodeJS.ErrnoException, port: number): string {
  const { syscall, address: text = '' } = error as { syscall?: string; address?: string };
  const address = parseIp(text);
  const place =
    (syscall === 'listen' ? 'TCP ' : 'UDP ') +
    (address === undefined ? `port ${port}` : formatEndpoint({ address, port }));
  if (error.code === 'EADDRINUSE') {
    return `${place} is taken by another program, or by another broker; 'ss -tulpn' shows which`;
  }
  return `${place} cannot be used: ${error.code ?? error.message}`;
}

async function serveLive(
  { live: { socket, group } }: Config,
  say: (line: string) => void,
  complain: (message: string, error?: unknown) => void,
  options: LiveOptions,
): Promise<LiveServer | undefined> {
  if (socket === '') return undefined;
  const server = new LiveServer(options);
  try {
    await server.listen(socket, group);
    say(`The portal may ask at ${socket}`);
    return server;
  } catch (error) {
    // Tunnels matter more than their being watched.
    complain(`live.socket: ${socket} cannot be used`, error);
    return undefined;
  }
}

async function serveMetrics(
  config: Config,
  metrics: Metrics,
  log: Logger,
  say: (line: string) => void,
): Promise<{ close(): void } | undefined> {
  const { listen } = config.metrics;
  if (listen === '') return undefined;
  try {
    const page = await metrics.serve(listen);
    say(`Metrics for Prometheus on http://${listen}/metrics`);
    return page;
  } catch (error) {
    // Tunnels matter more than their metrics.
    log.warn({ err: error }, `metrics: ${listen} cannot be used`);
    return undefined;
  }
}

async function sayWhatIsMissing(store: Store, say: (line: string) => void): Promise<void> {
  const pools = await store.pools();
  if (!pools.some(({ purpose }) => purpose === 'link')) {
    say('No pool yet. Give the tunnels themselves addresses, a /64 each:');
    say('  sixway pool add 2001:db8:1000::/48 --for links');
    say('and, for users with a network behind them, prefixes:');
    say('  sixway pool add 2001:db8:2000::/40 --for delegations --length 56');
  } else {
    const prefixes = pools.map(({ prefix }) => formatPrefix(prefix)).join(', ');
    say(`Your network must route to this machine: ${prefixes}`);
  }
  const [user] = await store.usersAfter('', 1);
  if (!user) say('No user yet: sixway user add NAME');
}
