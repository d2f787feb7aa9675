// The TSP client as a program: one attempt after the other, each with its own socket, session and
// tunnel device, until it is told to stop or told something that trying again cannot change.
// Reports what happens; prints nothing. Shares nothing with the broker.

import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { createSocket, type Socket } from 'node:dgram';
import { lookup } from 'node:dns/promises';
import {
  formatIp,
  formatIpv4,
  type Ipv4Address,
  type Ipv4Endpoint,
  type Ipv6Address,
  type Ipv6Prefix,
  parseIpv4,
} from './address.ts';
import { TunnelDevice } from './dataplane/tunnel-device.ts';
import {
  type ClientCommand,
  type ClientEnd,
  type ClientEvent,
  ClientSession,
  VERSIONS,
  type Version,
} from './tsp/client-session.ts';
import { readDatagram } from './tsp/framing.ts';
import type {
  BrokerAddress,
  ConcreteTunnelType,
  Mechanism,
  TunnelInfo,
  TunnelType,
} from './tsp/messages.ts';

export interface ConnectOptions {
  /** As the user wrote it: a name or an IPv4 address. */
  readonly server: string;
  readonly port: number;
  readonly login?: { readonly username: string; readonly password: string };
  /** In order of preference. */
  readonly mechanisms: readonly Mechanism[];
  readonly tunnelType: TunnelType;
  /** Asks for a delegated prefix of this length. */
  readonly prefixLength?: number;
  /** Gets the first /64 of the delegated prefix. */
  readonly lanInterface?: string;
  readonly device: string;
  /** Of the default route through the tunnel; undefined: leave the default route alone. */
  readonly routeMetric: number | undefined;
  readonly mtu: number;
  /** Give up after the first failure instead of trying again. */
  readonly once: boolean;
}

export type ClientReport =
  | { readonly event: 'connecting'; readonly server: string; readonly port: number }
  | {
      readonly event: 'message';
      readonly direction: 'sent' | 'received';
      readonly sequence: number;
      readonly text: string;
    }
  | {
      readonly event: 'up';
      readonly encapsulation: ConcreteTunnelType;
      readonly address: Ipv6Address;
      readonly gateway: Ipv6Address;
      readonly prefix?: Ipv6Prefix;
      readonly server: Ipv4Endpoint;
      readonly local: Ipv4Endpoint;
      readonly device: string;
      readonly keepaliveSeconds?: number;
    }
  /** The gateway answered through the tunnel for the first time. */
  | { readonly event: 'alive' }
  /** The tunnel was up and is no more. */
  | { readonly event: 'lost'; readonly why: string }
  | { readonly event: 'retry'; readonly why: string; readonly inSeconds: number }
  /** Nothing more will be tried. */
  | { readonly event: 'failed'; readonly why: string }
  | { readonly event: 'down' };

const FIRST_PAUSE_SECONDS = 1;
const LONGEST_PAUSE_SECONDS = 300;
const MAX_REDIRECTS = 5;
/** Echo requests right after the tunnel came up, a second apart, until one is answered. */
const FIRST_PROBES = 4;
const ANSWER_POLL_MS = 100;
const ANSWER_TIMEOUT_MS = 5_000;

/** What one attempt is made with; failures change it for the next. */
interface Plan {
  readonly server: string;
  readonly port: number;
  readonly version: Version;
  readonly tunnelType: TunnelType;
}

type AttemptEnd =
  | { readonly reason: 'session'; readonly end: ClientEnd; readonly wasUp: boolean }
  /** The address or route towards the server is another one than at the start. */
  | { readonly reason: 'moved' }
  /** Protocol 41 does not get through although there is no NAT. */
  | { readonly reason: 'protocol-41-silent' }
  | { readonly reason: 'local'; readonly error: Error };

/** Keeps a tunnel up until `signal` aborts (answers true) or nothing more can be done (false). */
export async function connect(
  options: ConnectOptions,
  report: (report: ClientReport) => void,
  signal: AbortSignal,
): Promise<boolean> {
  const first: Plan = {
    server: options.server,
    port: options.port,
    version: VERSIONS[0],
    tunnelType: options.tunnelType,
  };
  let plan = first;
  let pauseSeconds = FIRST_PAUSE_SECONDS;
  let redirects = 0;
  while (!signal.aborted) {
    report({ event: 'connecting', server: plan.server, port: plan.port });
    const end = await new Attempt(options, plan, report).run(signal);
    if (signal.aborted) break;
    const next = whatNext(end, plan);
    if (next.type === 'at-once' && redirects < MAX_REDIRECTS) {
      redirects++;
      plan = { ...plan, ...next.change };
      continue;
    }
    const wasUp = end.reason === 'moved' || (end.reason === 'session' && end.wasUp);
    if (wasUp) {
      report({ event: 'lost', why: next.why });
      pauseSeconds = FIRST_PAUSE_SECONDS;
      redirects = 0;
    }
    if (next.type === 'never' || (options.once && !wasUp)) {
      report({ event: 'failed', why: next.why });
      return false;
    }
    plan = { ...first, tunnelType: plan.tunnelType };
    if (wasUp) continue;
    redirects = 0;
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
  | { readonly type: 'later'; readonly why: string }
  | { readonly type: 'never'; readonly why: string };

function whatNext(attempt: AttemptEnd, plan: Plan): Next {
  switch (attempt.reason) {
    case 'moved':
      return { type: 'later', why: 'the way to the server changed' };
    case 'protocol-41-silent':
      return {
        type: 'at-once',
        change: { tunnelType: 'v6udpv4' },
        why: 'protocol 41 does not get through',
      };
    case 'local':
      return { type: 'later', why: attempt.error.message };
    case 'session':
      return afterSession(attempt.end, plan);
  }
}

/** Statuses that the same request will get again: types, addresses and prefix lengths. */
const LASTING_STATUSES: readonly number[] = [303, 500, 501, 502, 507];

function afterSession(end: ClientEnd, plan: Plan): Next {
  switch (end.reason) {
    case 'no-answer':
      return {
        type: 'later',
        why: end.answered
          ? `the server stopped answering during ${end.during}`
          : `${plan.server} does not answer on UDP port ${plan.port}`,
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
    case 'authentication-refused':
      return { type: 'never', why: `the user name or secret is wrong (300 ${end.text})` };
    case 'server-not-proven':
      return { type: 'never', why: 'the server does not know the secret: it is not the right one' };
    case 'refused': {
      const why = `the server refused: ${end.status} ${end.text}`;
      return { type: LASTING_STATUSES.includes(end.status) ? 'never' : 'later', why };
    }
    case 'redirected': {
      const place = brokerPlace(end.brokers);
      return place
        ? { type: 'at-once', change: place, why: `sent on to ${place.server}` }
        : { type: 'later', why: 'sent on to no place that can be reached over IPv4' };
    }
    case 'unreadable-answer':
      return { type: 'later', why: `an answer during ${end.during} could not be read` };
    case 'keepalive-lost':
      return { type: 'later', why: 'the gateway no longer answers through the tunnel' };
    case 'stopped':
      return { type: 'later', why: 'stopped' };
  }
}

function brokerPlace(
  brokers: readonly BrokerAddress[],
): { server: string; port: number } | undefined {
  const broker = brokers.find(({ type }) => type === 'ipv4' || type === 'dn');
  if (!broker) return undefined;
  const [server = '', port] = broker.text.split(':');
  return { server, port: port === undefined ? 3653 : Number(port) };
}

/** One socket, one session, at most one device. */
class Attempt {
  readonly #options: ConnectOptions;
  readonly #plan: Plan;
  readonly #report: (report: ClientReport) => void;
  readonly #finished = Promise.withResolvers<AttemptEnd>();
  readonly #cleanups: (() => void)[] = [];
  #session: ClientSession | undefined;
  #socket: Socket | undefined;
  #device: TunnelDevice | undefined;
  #server: Ipv4Address = 0;
  #local: Ipv4Endpoint = { address: 0, port: 0 };
  #timer: NodeJS.Timeout | undefined;

  constructor(options: ConnectOptions, plan: Plan, report: (report: ClientReport) => void) {
    this.#options = options;
    this.#plan = plan;
    this.#report = report;
  }

  async run(signal: AbortSignal): Promise<AttemptEnd> {
    const stop = () => this.#feed({ type: 'stop' });
    signal.addEventListener('abort', stop);
    this.#cleanups.push(() => signal.removeEventListener('abort', stop));
    try {
      await this.#open();
      this.#feed({ type: 'start' });
      if (signal.aborted) stop();
      return await this.#finished.promise;
    } catch (error) {
      return { reason: 'local', error: error as Error };
    } finally {
      clearTimeout(this.#timer);
      for (const cleanup of this.#cleanups.reverse()) cleanup();
    }
  }

  async #open(): Promise<void> {
    const { server, port, version, tunnelType } = this.#plan;
    const resolved = await lookup(server, { family: 4 }).catch(() => {
      throw new Error(`${server} has no IPv4 address that could be found`);
    });
    this.#server = parseIpv4(resolved.address) ?? 0;
    const socket = createSocket('udp4');
    this.#cleanups.push(() => socket.close());
    await new Promise<void>((resolve, reject) => {
      socket.once('error', reject);
      socket.connect(port, resolved.address, () => {
        socket.off('error', reject);
        resolve();
      });
    });
    // Refusals by ICMP are no news: the retransmission timer knows when to give up.
    socket.on('error', () => {});
    socket.on('message', (bytes) => {
      this.#trace('received', bytes);
      this.#feed({ type: 'datagram', bytes });
    });
    const local = socket.address();
    this.#local = { address: parseIpv4(local.address) ?? 0, port: local.port };
    this.#socket = socket;
    const { login, prefixLength, mechanisms } = this.#options;
    this.#session = new ClientSession({
      version,
      mechanisms,
      ...(login && { login }),
      serverName: server,
      tunnelType,
      clientIpv4: this.#local.address,
      keepaliveSeconds: 30,
      ...(prefixLength !== undefined && { prefixLength }),
      cnonce: randomBytes(16).toString('hex'),
      jitterSeed: randomBytes(4).readUInt32BE(),
    });
  }

  #feed(event: ClientEvent): void {
    const session = this.#session;
    if (!session) return;
    const nowMs = Math.floor(performance.now());
    for (const command of session.handle(event, nowMs)) this.#carryOut(command);
    const deadline = session.deadline();
    clearTimeout(this.#timer);
    if (deadline !== undefined) {
      this.#timer = setTimeout(() => this.#feed({ type: 'tick' }), Math.max(1, deadline - nowMs));
    }
  }

  #carryOut(command: ClientCommand): void {
    switch (command.type) {
      case 'send':
        this.#trace('sent', command.bytes);
        this.#socket?.send(command.bytes);
        return;
      case 'tunnel-up':
        try {
          this.#raise(command.tunnel);
        } catch (error) {
          this.#finished.resolve({ reason: 'local', error: error as Error });
        }
        return;
      case 'send-keepalive': {
        const { sequence, address } = command;
        this.#echo(address, sequence, () => this.#feed({ type: 'keepalive-answered', sequence }));
        return;
      }
      case 'ended':
        this.#finished.resolve({
          reason: 'session',
          end: command.end,
          wasUp: this.#device !== undefined,
        });
        return;
    }
  }

  #raise(tunnel: TunnelInfo): void {
    const { device, routeMetric, lanInterface, mtu } = this.#options;
    const v6udpv4 = tunnel.tunnelType === 'v6udpv4';
    const { prefix } = tunnel;
    const opened = TunnelDevice.open({
      name: device,
      encapsulation: tunnel.tunnelType,
      server: { address: this.#server, port: v6udpv4 ? this.#plan.port : 0 },
      local: { address: this.#local.address, port: v6udpv4 ? this.#local.port : 0 },
      address: tunnel.clientIpv6,
      mtu,
      ...(routeMetric !== undefined && { defaultRouteMetric: routeMetric }),
      ...(prefix && { delegated: { prefix, ...(lanInterface !== undefined && { lanInterface }) } }),
    });
    this.#device = opened;
    this.#cleanups.push(() => opened.close());
    this.#report({
      event: 'up',
      encapsulation: tunnel.tunnelType,
      address: tunnel.clientIpv6,
      gateway: tunnel.serverIpv6,
      ...(prefix && { prefix }),
      server: { address: this.#server, port: this.#plan.port },
      local: this.#local,
      device,
      ...(tunnel.keepalive && { keepaliveSeconds: tunnel.keepalive.intervalSeconds }),
    });
    this.#probe(tunnel);
    this.#watchRoutes();
  }

  /**
   * Asks the gateway for a sign of life at once. It opens the NAT and the server's side for traffic,
   * and shows in seconds when protocol 41 is filtered on the way.
   */
  #probe({ serverIpv6, tunnelType }: TunnelInfo): void {
    let sent = 0;
    let alive = false;
    const next = () => {
      if (alive) return;
      if (sent < FIRST_PROBES) {
        this.#echo(serverIpv6, 0xff00 + sent, () => {
          if (!alive) this.#report({ event: 'alive' });
          alive = true;
        });
        sent++;
      } else {
        clearInterval(timer);
        if (tunnelType === 'v6v4' && this.#plan.tunnelType === 'v6anyv4') {
          this.#finished.resolve({ reason: 'protocol-41-silent' });
        }
      }
    };
    const timer = setInterval(next, 1000);
    this.#cleanups.push(() => clearInterval(timer));
    next();
  }

  /** Anything that comes out of the tunnel within five seconds is taken for the answer. */
  #echo(to: Ipv6Address, sequence: number, answered: () => void): void {
    const device = this.#device;
    if (!device) return;
    const before = device.inPackets();
    try {
      device.sendEcho(to, process.pid, sequence);
    } catch {
      // The address or route is gone for the moment; the missing answer says so soon enough.
      return;
    }
    let waitedMs = 0;
    const timer = setInterval(() => {
      waitedMs += ANSWER_POLL_MS;
      if (device.inPackets() > before) answered();
      else if (waitedMs < ANSWER_TIMEOUT_MS) return;
      clearInterval(timer);
    }, ANSWER_POLL_MS);
    this.#cleanups.push(() => clearInterval(timer));
  }

  /** A changed address shows at once in the routes, long before the keepalive misses it. */
  #watchRoutes(): void {
    const monitor = spawn('ip', ['-4', 'monitor', 'address', 'route'], {
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    monitor.on('error', () => {});
    this.#cleanups.push(() => monitor.kill());
    let settling: NodeJS.Timeout | undefined;
    this.#cleanups.push(() => clearTimeout(settling));
    monitor.stdout.on('data', () => {
      clearTimeout(settling);
      settling = setTimeout(() => void this.#checkLocalAddress(), 500);
    });
  }

  async #checkLocalAddress(): Promise<void> {
    const probe = createSocket('udp4');
    const address = await new Promise<string | undefined>((resolve) => {
      probe.once('error', () => resolve(undefined));
      probe.connect(this.#plan.port, formatIpv4(this.#server), () =>
        resolve(probe.address().address),
      );
    });
    probe.close();
    // Without any route there is nothing to do yet: the next change brings one.
    if (address !== undefined && address !== formatIp(this.#local.address)) {
      this.#finished.resolve({ reason: 'moved' });
    }
  }

  #trace(direction: 'sent' | 'received', bytes: Uint8Array): void {
    const datagram = readDatagram(bytes);
    if (!datagram) return;
    this.#report({
      event: 'message',
      direction,
      sequence: datagram.header.sequence,
      // A PLAIN login is the secret itself; it is not for a terminal or a log.
      text:
        datagram.payload[0] === 0
          ? '(credentials)'
          : Buffer.from(datagram.payload).toString('latin1'),
    });
  }
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
