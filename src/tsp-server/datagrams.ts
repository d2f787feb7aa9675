// TSP over UDP: feeds the datagrams of all sockets to one TspServer and carries out what it commands.

import type { Socket } from 'node:dgram';
import type { Logger } from 'pino';
import { type Endpoint, formatIp, parseIp } from '../address.ts';
import { DatagramBatches } from '../datagram-batches.ts';
import type { Metrics } from '../metrics.ts';
import type { ServerCommand, ServerEvent, TspServer } from '../tsp/server.ts';
import type { BrokerDesk } from './broker-desk.ts';
import { sessionNowMs } from './clock.ts';
import type { Load } from './load.ts';

/** Of one address: those who come new have a socket of their own, which may overflow alone. */
export interface UdpSockets {
  readonly newcomers: UdpSocket;
  readonly others: UdpSocket;
}

interface UdpSocket {
  readonly socket: Socket;
  readonly fd: number;
}

interface Way {
  readonly newcomers: DatagramBatches;
  readonly others: DatagramBatches;
}

/** How many newcomers in a turn are told to come back later; the rest hears nothing, and repeats. */
const TOLD_AT_ONCE = 512;
const NEWCOMERS_AT_ONCE = 2048;

export class DatagramListener {
  readonly #sessions: TspServer;
  readonly #ways: Partial<Record<'IPv4' | 'IPv6', Way>> = {};
  readonly #desk: BrokerDesk;
  readonly #load: Load;
  readonly #metrics: Metrics;
  #timer: NodeJS.Timeout | undefined;
  #flushIsDue = false;
  #closed = false;

  /** At most one pair of sockets of each family. */
  constructor(
    sockets: readonly UdpSockets[],
    sessions: TspServer,
    desk: BrokerDesk,
    load: Load,
    metrics: Metrics,
    log: Logger,
  ) {
    this.#sessions = sessions;
    this.#desk = desk;
    this.#load = load;
    this.#metrics = metrics;
    for (const { newcomers, others } of sockets) {
      const family = others.socket.address().family === 'IPv4' ? 'IPv4' : 'IPv6';
      // Node waits until there is room, and knows whom to tell of what cannot be.
      const refused = (bytes: Uint8Array, { address, port }: Endpoint) =>
        others.socket.send(bytes, port, formatIp(address));
      const way = {
        others: new DatagramBatches(others.fd, family, refused),
        newcomers: new DatagramBatches(newcomers.fd, family, refused),
      };
      this.#ways[family] = way;
      for (const { socket } of [newcomers, others]) {
        socket.on('message', (bytes, remote) => {
          metrics.datagrams(1);
          // A link-local source has a zone, and no business with a broker.
          const address = parseIp(remote.address);
          if (address !== undefined) this.#receive(bytes, { address, port: remote.port });
          // Where there is one there are often more; those come without Node's help.
          this.#receiveMore(way);
        });
        socket.on('error', (error) => log.error({ err: error }, 'a TSP socket failed'));
      }
    }
  }

  /** Those who are past the first step go first, and when there is too much only they do. */
  #receiveMore({ others, newcomers }: Way): void {
    const going = others.receive((bytes, from) => this.#receive(bytes, from));
    this.#load.noteSocket(going.waitedMs, sessionNowMs());
    const told = this.#load.isTooMuch(sessionNowMs()) ? TOLD_AT_ONCE : Number.POSITIVE_INFINITY;
    let seen = 0;
    const coming = newcomers.receive((bytes, from) => {
      // The others are read all the same: what lies in a socket grows old, and is answered to nobody.
      if (seen++ < told) this.#receive(bytes, from);
      else this.#metrics.oddity('crowded-out');
    }, NEWCOMERS_AT_ONCE);
    this.#metrics.datagrams(going.count + coming.count);
  }

  /** The sockets may be closed afterwards. */
  async close(): Promise<void> {
    clearTimeout(this.#timer);
    this.#closed = true;
    const batches = Object.values(this.#ways).flatMap(({ others, newcomers }) => [
      others,
      newcomers,
    ]);
    await Promise.all(batches.map((each) => each.close()));
  }

  #receive(bytes: Uint8Array, from: Endpoint): void {
    this.#handle({ type: 'datagram', from, bytes });
  }

  #handle(event: ServerEvent): void {
    const nowMs = sessionNowMs();
    for (const command of this.#sessions.handle(event, nowMs)) this.#carryOut(command);
    const deadline = this.#sessions.deadline();
    if (this.#timer === undefined && deadline !== undefined) {
      this.#timer = setTimeout(
        () => {
          this.#timer = undefined;
          this.#handle({ type: 'tick' });
        },
        Math.max(1, deadline - nowMs),
      );
    }
  }

  #carryOut(command: ServerCommand): void {
    switch (command.type) {
      case 'send':
        this.#send(command.to, command.bytes);
        return;
      case 'count':
        this.#metrics.oddity(command.what);
        return;
      case 'authentication':
      case 'reject-tunnel':
        this.#desk.tell(command);
        return;
      case 'look-up-salt': {
        const { ticket } = command;
        void this.#desk
          .lookUpSalt(command.first)
          .then((result) => this.#handle({ ...result, ticket }));
        return;
      }
      default: {
        const { session } = command;
        void this.#desk.ask(command).then((result) => this.#handle({ ...result, session }));
      }
    }
  }

  #send(to: Endpoint, bytes: Uint8Array): void {
    const way = this.#ways[typeof to.address === 'number' ? 'IPv4' : 'IPv6']?.others;
    if (!way || this.#closed) return;
    way.put(to, bytes);
    if (this.#flushIsDue) return;
    this.#flushIsDue = true;
    // What the broker answers together leaves together.
    setImmediate(() => {
      this.#flushIsDue = false;
      if (!this.#closed) this.#flush();
    });
  }

  #flush(): void {
    for (const { others } of Object.values(this.#ways)) others.flush();
  }
}
