// TSP over TCP: a pure TspConnection behind each socket; carries out what it commands. How many there
// may be, in all and from one client, is kept here.

import type { Server, Socket } from 'node:net';
import type { Logger } from 'pino';
import { type Endpoint, parseIp } from '../address.ts';
import type { Metrics } from '../metrics.ts';
import {
  type ConnectionCommand,
  type ConnectionEvent,
  type ConnectionFacts,
  TspConnection,
} from '../tsp/connection.ts';
import { Crowd } from '../tsp/crowd.ts';
import { writeStatus } from '../tsp/framing.ts';
import { STATUS } from '../tsp/messages.ts';
import type { Reception } from '../tsp/reception.ts';
import type { BrokerDesk } from './broker-desk.ts';
import { sessionNowMs } from './clock.ts';

export interface StreamListenerOptions {
  readonly reception: Reception;
  readonly facts: Omit<ConnectionFacts, 'id' | 'source'>;
  readonly maxConnections: number;
  readonly maxConnectionsPerClient: number;
  readonly desk: BrokerDesk;
  readonly metrics: Metrics;
  readonly log: Logger;
}

/** Finds out about clients that went away without a word; the tunnel does not hang on it. */
const TCP_KEEPALIVE_MS = 120_000;
/** A client that does not read what it asked for is let go. */
const MAX_UNREAD_OCTETS = 65_536;
/** How long the last words of a closed connection may take to arrive. */
const LINGER_MS = 5_000;

export class StreamListener {
  readonly #options: StreamListenerOptions;
  readonly #crowd: Crowd;
  readonly #sockets = new Set<Socket>();
  #lastId = 0;

  constructor(servers: readonly Server[], options: StreamListenerOptions) {
    this.#options = options;
    this.#crowd = new Crowd(options.maxConnections, options.maxConnectionsPerClient);
    for (const server of servers) {
      server.on('connection', (socket) => this.#welcome(socket));
      server.on('error', (error) => options.log.error({ err: error }, 'a TSP port failed'));
    }
  }

  get connectionCount(): number {
    return this.#crowd.count;
  }

  /** Lets go of every connection. Tunnels do not hang on them. */
  close(): void {
    for (const socket of this.#sockets) socket.destroy();
  }

  #welcome(socket: Socket): void {
    const address = parseIp(socket.remoteAddress ?? '');
    const port = socket.remotePort;
    // Resets and the like: 'close' follows, and that is all that counts.
    socket.on('error', () => {});
    if (address === undefined || port === undefined) {
      socket.destroy();
      return;
    }
    this.#sockets.add(socket);
    socket.on('close', () => this.#sockets.delete(socket));
    socket.setNoDelay(true);
    if (!this.#crowd.hasRoomFor(address)) {
      this.#options.metrics.oddity('busy');
      socket.write(writeStatus(STATUS.busy));
      dismiss(socket);
      return;
    }
    this.#crowd.enter(address);
    socket.on('close', () => this.#crowd.leave(address));
    socket.setKeepAlive(true, TCP_KEEPALIVE_MS);
    this.#converse(socket, { address, port });
  }

  #converse(socket: Socket, source: Endpoint): void {
    const { reception, facts } = this.#options;
    const id = ++this.#lastId;
    const connection = new TspConnection(reception, { ...facts, id, source }, sessionNowMs());
    let timer: NodeJS.Timeout | undefined;
    const handle = (event: ConnectionEvent) => {
      const nowMs = sessionNowMs();
      for (const command of connection.handle(event, nowMs)) {
        this.#carryOut(command, socket, handle);
      }
      clearTimeout(timer);
      const deadline = connection.deadline();
      if (deadline !== undefined) {
        timer = setTimeout(() => handle({ type: 'tick' }), Math.max(1, deadline - nowMs));
      }
    };
    socket.on('data', (bytes: Buffer) => handle({ type: 'octets', bytes }));
    socket.on('end', () => handle({ type: 'peer-ended' }));
    socket.on('close', () => handle({ type: 'disconnected' }));
    // Sets the time limit of a client that never says a word.
    handle({ type: 'tick' });
  }

  #carryOut(
    command: ConnectionCommand,
    socket: Socket,
    handle: (event: ConnectionEvent) => void,
  ): void {
    const { desk, metrics } = this.#options;
    switch (command.type) {
      case 'send':
        if (socket.writableLength > MAX_UNREAD_OCTETS) socket.destroy();
        else if (socket.writable) socket.write(command.data, 'latin1');
        return;
      case 'close':
        dismiss(socket);
        return;
      case 'count':
        metrics.oddity(command.what);
        return;
      case 'authentication':
      case 'reject-tunnel':
        desk.tell(command);
        return;
      case 'look-up-salt':
        void desk.lookUpSalt(command.first).then(handle);
        return;
      default:
        void desk.ask(command).then(handle);
    }
  }
}

/** What was written still arrives: reading goes on, because unread octets would make a reset of it. */
function dismiss(socket: Socket): void {
  socket.end();
  socket.resume();
  const timer = setTimeout(() => socket.destroy(), LINGER_MS);
  socket.on('close', () => clearTimeout(timer));
}
