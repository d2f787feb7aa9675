// One attempt of the TSP client: one socket, one session, at most one tunnel device, all gone when it
// ends. Why it ended is told; whether and how to try again is not decided here.

import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { createSocket as createDatagramSocket } from 'node:dgram';
import { lookup } from 'node:dns/promises';
import { createConnection } from 'node:net';
import { type Endpoint, formatIp, type IpAddress, parseIp } from '../address.ts';
import { TunnelDevice, type TunnelDeviceOptions } from '../dataplane/tunnel-device.ts';
import {
  type ClientCommand,
  type ClientEnd,
  type ClientEvent,
  ClientSession,
  type Version,
} from '../tsp/client-session.ts';
import type { Transport } from '../tsp/create-rules.ts';
import { readDatagram } from '../tsp/framing.ts';
import type { ConcreteTunnelType, Mechanism, TunnelInfo, TunnelType } from '../tsp/messages.ts';
import type { ClientReport, ConnectOptions } from './report.ts';

/** Echo requests right after the tunnel came up, a second apart, until one is answered. */
const FIRST_PROBES = 4;
const ANSWER_POLL_MS = 100;
const ANSWER_TIMEOUT_MS = 5_000;
const CONNECT_TIMEOUT_MS = 10_000;

/** What one attempt is made with; failures change it for the next. */
export interface Plan {
  readonly server: string;
  readonly port: number;
  readonly transport: Transport;
  /** In order of preference. */
  readonly mechanisms: readonly Mechanism[];
  readonly version: Version;
  readonly tunnelType: ConnectOptions['tunnelType'];
}

export type AttemptEnd =
  | { readonly reason: 'session'; readonly end: ClientEnd; readonly wasUp: boolean }
  /** The address or route towards the server is another one than at the start. */
  | { readonly reason: 'moved' }
  /** Protocol 41 does not get through although there is no NAT. */
  | { readonly reason: 'protocol-41-silent' }
  | { readonly reason: 'local'; readonly error: Error };

/** One socket, one session, at most one device. */
export class Attempt {
  readonly #options: ConnectOptions;
  readonly #plan: Plan;
  readonly #report: (report: ClientReport) => void;
  readonly #finished = Promise.withResolvers<AttemptEnd>();
  readonly #cleanups: (() => void)[] = [];
  #session: ClientSession | undefined;
  /** Sends octets the way that was chosen. */
  #transmit: (bytes: Uint8Array) => void = () => {};
  #device: TunnelDevice | undefined;
  #server: IpAddress = 0;
  #local: Endpoint = { address: 0, port: 0 };
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
    const { server, port, version, tunnelType, transport, mechanisms } = this.#plan;
    const family = familyFor(tunnelType);
    const resolved = await lookup(server, { family }).catch(() => {
      throw new Error(`${server} has no IPv${family} address that could be found`);
    });
    this.#server = parseIp(resolved.address) ?? 0;
    if (transport === 'udp') await this.#openDatagrams(resolved.address, port);
    else await this.#openStream(resolved.address, port);
    const { login, prefixLength } = this.#options;
    this.#session = new ClientSession({
      transport,
      version,
      mechanisms,
      ...(login && { login }),
      serverName: server,
      tunnelType,
      clientAddress: this.#local.address,
      keepaliveSeconds: 30,
      ...(prefixLength !== undefined && { prefixLength }),
      cnonce: randomBytes(16).toString('hex'),
      jitterSeed: randomBytes(4).readUInt32BE(),
    });
  }

  async #openDatagrams(host: string, port: number): Promise<void> {
    const socket = createDatagramSocket(typeof this.#server === 'number' ? 'udp4' : 'udp6');
    this.#cleanups.push(() => socket.close());
    await new Promise<void>((resolve, reject) => {
      socket.once('error', reject);
      socket.connect(port, host, () => {
        socket.off('error', reject);
        resolve();
      });
    });
    // Refusals by ICMP are no news: the retransmission timer knows when to give up.
    socket.on('error', () => {});
    socket.on('message', (bytes) => this.#hear(bytes));
    this.#transmit = (bytes) => socket.send(bytes);
    const { address, port: localPort } = socket.address();
    this.#local = { address: parseIp(address) ?? 0, port: localPort };
  }

  async #openStream(host: string, port: number): Promise<void> {
    const socket = createConnection({ host, port, noDelay: true });
    this.#cleanups.push(() => socket.destroy());
    await new Promise<void>((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error('nobody is there')), CONNECT_TIMEOUT_MS);
      socket.once('error', reject);
      socket.once('connect', resolve);
      socket.once('close', () => clearTimeout(timer));
      socket.once('connect', () => clearTimeout(timer));
    }).catch((error: Error) => {
      throw new Error(`${this.#plan.server} does not answer on TCP port ${port}: ${error.message}`);
    });
    socket.on('error', () => {});
    socket.on('data', (bytes: Buffer) => this.#hear(bytes));
    socket.on('close', () => this.#feed({ type: 'disconnected' }));
    socket.setKeepAlive(true, 60_000);
    this.#transmit = (bytes) => socket.write(bytes);
    const { localAddress, localPort } = socket;
    this.#local = { address: parseIp(localAddress ?? '') ?? 0, port: localPort ?? 0 };
  }

  #hear(bytes: Uint8Array): void {
    this.#trace('received', bytes);
    this.#feed({ type: 'received', bytes });
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
        this.#transmit(command.bytes);
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
    const { device } = this.#options;
    const opened = TunnelDevice.open(this.#deviceFor(tunnel));
    this.#device = opened;
    this.#cleanups.push(() => opened.close());
    const isIpv4 = tunnel.tunnelType === 'v4v6';
    const gateway = isIpv4 ? tunnel.serverIpv4 : tunnel.serverIpv6;
    this.#report({
      event: 'up',
      encapsulation: tunnel.tunnelType,
      address: isIpv4 ? tunnel.clientIpv4 : tunnel.clientIpv6,
      gateway,
      ...(!isIpv4 && tunnel.prefix && { prefix: tunnel.prefix }),
      server: { address: this.#server, port: this.#plan.port },
      local: this.#local,
      device,
      ...(tunnel.keepalive && { keepaliveSeconds: tunnel.keepalive.intervalSeconds }),
    });
    this.#probe(gateway, tunnel.tunnelType);
    this.#watchRoutes();
  }

  #deviceFor(tunnel: TunnelInfo): TunnelDeviceOptions {
    const { device: name, routeMetric, lanInterface, mtu } = this.#options;
    const { address: local, port } = this.#local;
    const server = this.#server;
    const common = {
      name,
      mtu,
      ...(routeMetric !== undefined && { defaultRouteMetric: routeMetric }),
    };
    if (tunnel.tunnelType === 'v4v6') {
      if (typeof server === 'number' || typeof local === 'number') throw wrongFamily();
      const { tunnelType: encapsulation, clientIpv4: address, serverIpv4: gateway } = tunnel;
      return { ...common, encapsulation, server, local, address, gateway };
    }
    if (typeof server === 'bigint' || typeof local === 'bigint') throw wrongFamily();
    const { tunnelType: encapsulation, clientIpv6: address, prefix } = tunnel;
    const v6udpv4 = encapsulation === 'v6udpv4';
    return {
      ...common,
      encapsulation,
      server: { address: server, port: v6udpv4 ? this.#plan.port : 0 },
      local: { address: local, port: v6udpv4 ? port : 0 },
      address,
      ...(prefix && { delegated: { prefix, ...(lanInterface !== undefined && { lanInterface }) } }),
    };
  }

  /**
   * Asks the gateway for a sign of life at once. It opens the NAT and the server's side for traffic,
   * and shows in seconds when protocol 41 is filtered on the way.
   */
  #probe(gateway: IpAddress, tunnelType: ConcreteTunnelType): void {
    let sent = 0;
    let alive = false;
    const next = () => {
      if (alive) return;
      if (sent < FIRST_PROBES) {
        this.#echo(gateway, 0xff00 + sent, () => {
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
  #echo(to: IpAddress, sequence: number, answered: () => void): void {
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
    const family = typeof this.#server === 'number' ? '-4' : '-6';
    const monitor = spawn('ip', [family, 'monitor', 'address', 'route'], {
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
    const probe = createDatagramSocket(typeof this.#server === 'number' ? 'udp4' : 'udp6');
    const address = await new Promise<string | undefined>((resolve) => {
      probe.once('error', () => resolve(undefined));
      probe.connect(this.#plan.port, formatIp(this.#server), () =>
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
    const text =
      this.#plan.transport === 'udp' ? readDatagram(bytes)?.payload : new Uint8Array(bytes);
    if (!text) return;
    this.#report({
      event: 'message',
      direction,
      // A PLAIN login is the secret itself; it is not for a terminal or a log.
      text: text[0] === 0 ? '(credentials)' : Buffer.from(text).toString('latin1'),
    });
  }
}

/** Which family a server is spoken to in: the outer one of the tunnel. */
export function familyFor(tunnelType: TunnelType): 4 | 6 {
  return tunnelType === 'v4v6' ? 6 : 4;
}

/** The session asks only for what goes over the family that it speaks. */
function wrongFamily(): Error {
  return new Error('the server gave a tunnel over another family than it was asked in');
}
