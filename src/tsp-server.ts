// The sockets that TSP clients talk to, UDP and TCP on one port, on IPv4 and IPv6: opens them, and
// joins them to the pure sessions of tsp/ and to the broker. Decides nothing: which answer is due is
// tsp/'s business, who gets what the broker's.

import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { createServer, type Server } from 'node:net';
import type { Logger } from 'pino';
import {
  type Endpoint,
  formatIp,
  type IpAddress,
  type Ipv4Address,
  type Ipv6Address,
  parseIpv4,
  parseIpv6,
} from './address.ts';
import type { Broker } from './broker/broker.ts';
import { divert, openUdp, shareAddress } from './datagram-batches.ts';
import type { Metrics } from './metrics.ts';
import { HEADER_OCTETS } from './tsp/framing.ts';
import type { BrokerAddress, ConcreteTunnelType, Mechanism } from './tsp/messages.ts';
import { Reception } from './tsp/reception.ts';
import { TspServer } from './tsp/server.ts';
import type { Redirect } from './tsp/server-session.ts';
import { BrokerDesk } from './tsp-server/broker-desk.ts';
import { sessionNowMs } from './tsp-server/clock.ts';
import { DatagramListener, type UdpSockets } from './tsp-server/datagrams.ts';
import { Load } from './tsp-server/load.ts';
import { StreamListener } from './tsp-server/streams.ts';

export interface TspListenerOptions {
  /** Told to clients as the tunnel server's end. */
  readonly address: Ipv4Address;
  /** The same of v4v6; absent: there is none. */
  readonly address6?: Ipv6Address;
  readonly realm: string;
  readonly mechanisms: readonly Mechanism[];
  readonly tunnelTypes: readonly ConcreteTunnelType[];
  readonly redirect?: Redirect;
  /** Over UDP: logins under way. */
  readonly maxSessions: number;
  /** Over TCP: they stay for as long as their tunnels. */
  readonly maxConnections: number;
  /** Requests that wait for the broker; when there are more, new clients are sent away. */
  readonly maxWaiting: number;
  /** Told to clients as their recursive DNS server. */
  readonly resolver: Ipv6Address;
  /** At least 16 secret octets; another one at each start is fine. */
  readonly nonceKey: Uint8Array;
  /** At least 16 secret octets, the same at each start. */
  readonly decoyKey: Uint8Array;
  readonly broker: Broker;
  readonly metrics: Metrics;
  readonly log: Logger;
}

/** Of two minutes with 8,000 logins a second; they are 40 octets each, and forgotten afterwards. */
const NONCES_REMEMBERED = 1_000_000;

/** Clients repeat themselves after two seconds; what took longer would be done twice. */
const MAX_WAITS = { maxWaitMs: 1000, maxSocketWaitMs: 250 } as const;

/** A VERSION line, behind the header: what everybody begins with. */
const NEWCOMERS_BEGIN = { offset: HEADER_OCTETS, word: 0x56455253 } as const;

/** Bound, and not listened to yet. */
export interface TspSockets {
  readonly udp: readonly UdpSockets[];
  readonly tcp: readonly Server[];
  close(): Promise<void>;
}

/**
 * Takes the port of each address, over UDP and TCP; rejects with the system's error (EADDRINUSE,
 * EADDRNOTAVAIL, …) and lets go of what it had when one cannot be had. What arrives before a listener
 * is made of the sockets is dropped; clients repeat.
 */
export async function bindTsp(addresses: readonly IpAddress[], port: number): Promise<TspSockets> {
  const udp: UdpSockets[] = [];
  const all: (Socket | Server)[] = [];
  const tcp: Server[] = [];
  const close = async () => {
    await Promise.all(all.map((each) => closed(each)));
  };
  const adopt = async (address: IpAddress, fd: number) => {
    const socket = createSocket(typeof address === 'number' ? 'udp4' : 'udp6');
    all.push(socket);
    const listening = once(socket, 'listening');
    socket.bind({ fd });
    await listening;
    return socket;
  };
  try {
    for (const address of addresses) {
      const host = formatIp(address);
      udp.push(await bindUdp({ address, port }, adopt));
      const server = createServer({ allowHalfOpen: true });
      server.on('connection', turnAway);
      tcp.push(server);
      all.push(server);
      server.listen({ port, host, backlog: 511 });
      await once(server, 'listening');
    }
  } catch (error) {
    await close();
    throw error;
  }
  return { udp, tcp, close };
}

async function bindUdp(
  at: Endpoint,
  adopt: (address: IpAddress, fd: number) => Promise<Socket>,
): Promise<UdpSockets> {
  try {
    // The first one alone, so that it is noticed when another program has the port.
    const fd = openUdp(at);
    const others = { fd, socket: await adopt(at.address, fd) };
    shareAddress(fd);
    const shared = openUdp(at, true);
    const newcomers = { fd: shared, socket: await adopt(at.address, shared) };
    divert(fd, NEWCOMERS_BEGIN.offset, NEWCOMERS_BEGIN.word);
    return { others, newcomers };
  } catch (error) {
    throw Object.assign(error as Error, { address: formatIp(at.address) });
  }
}

export class TspListener {
  readonly #sockets: TspSockets;
  readonly #sessions: TspServer;
  readonly #datagrams: DatagramListener;
  readonly #streams: StreamListener;
  readonly #load: Load;

  /** `sockets` are from {@link bindTsp}, and closed with the listener. */
  constructor(sockets: TspSockets, options: TspListenerOptions) {
    const { realm, tunnelTypes, redirect, metrics, log, maxSessions, maxConnections } = options;
    this.#sockets = sockets;
    for (const server of sockets.tcp) server.off('connection', turnAway);
    const load = new Load({ maxWaiting: options.maxWaiting, ...MAX_WAITS });
    const isOverloaded = (nowMs: number) => load.isTooMuch(nowMs);
    const reception = new Reception({ ...options, isOverloaded }, NONCES_REMEMBERED);
    const desk = new BrokerDesk({ ...options, load });
    this.#load = load;
    const limits = {
      maxSessions,
      maxSessionsPerAddress: Math.ceil(maxSessions / 10),
      maxUnprovenSessions: Math.ceil(maxSessions / 2),
    };
    this.#sessions = new TspServer({ ...options, ...limits }, reception);
    this.#datagrams = new DatagramListener(sockets.udp, this.#sessions, desk, load, metrics, log);
    this.#streams = new StreamListener(sockets.tcp, {
      reception,
      facts: { realm, tunnelTypes, ...(redirect && { redirect }) },
      maxConnections,
      maxConnectionsPerClient: Math.ceil(maxConnections / 16),
      desk,
      metrics,
      log,
    });
  }

  /** Dialogues that hold state, over both transports. */
  get sessionCount(): number {
    return this.#sessions.sessionCount + this.#streams.connectionCount;
  }

  get load(): { readonly waiting: number; readonly tooMuch: boolean } {
    return { waiting: this.#load.waiting, tooMuch: this.#load.isTooMuch(sessionNowMs()) };
  }

  async close(): Promise<void> {
    await this.#datagrams.close();
    this.#streams.close();
    await this.#sockets.close();
  }
}

/** What the configuration says of other brokers; undefined where it names none. */
export function redirectOf(
  texts: readonly string[],
  phase: Redirect['phase'],
): Redirect | undefined {
  return texts.length === 0 ? undefined : { phase, brokers: texts.map(brokerAddress) };
}

function brokerAddress(text: string): BrokerAddress {
  if (text.startsWith('[') || parseIpv6(text) !== undefined) return { type: 'ipv6', text };
  const host = text.split(':')[0] ?? '';
  return { type: parseIpv4(host) === undefined ? 'dn' : 'ipv4', text };
}

/** A client that comes before there is a listener is to come again. */
function turnAway(socket: { destroy(): void }): void {
  socket.destroy();
}

async function closed(socket: Socket | Server): Promise<void> {
  await new Promise<void>((resolve) => {
    try {
      socket.close(() => resolve());
    } catch {
      // It never was open.
      resolve();
    }
  });
}
