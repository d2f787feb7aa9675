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

export class DatagramListener {
  readonly #sessions: TspServer;
  readonly #ways: Partial<Record<'IPv4' | 'IPv6', DatagramBatches>> = {};
  readonly #desk: BrokerDesk;
  readonly #metrics: Metrics;
  #timer: NodeJS.Timeout | undefined;
  #flushIsDue = false;
  #closed = false;

  /** At most one socket of each family. */
  constructor(
    sockets: readonly Socket[],
    sessions: TspServer,
    desk: BrokerDesk,
    load: Load,
    metrics: Metrics,
    log: Logger,
  ) {
    this.#sessions = sessions;
    this.#desk = desk;
    this.#metrics = metrics;
    for (const socket of sockets) {
      const family = socket.address().family === 'IPv4' ? 'IPv4' : 'IPv6';
      // Node waits until there is room, and knows whom to tell of what cannot be.
      const refused = (bytes: Uint8Array, { address, port }: Endpoint) =>
        socket.send(bytes, port, formatIp(address));
      const batches = new DatagramBatches(descriptorOf(socket), family, refused);
      this.#ways[family] = batches;
      socket.on('message', (bytes, remote) => {
        // A link-local source has a zone, and no business with a broker.
        const address = parseIp(remote.address);
        if (address !== undefined) this.#receive(bytes, { address, port: remote.port });
        // Where there is one there are often more; those come without Node's help.
        const { count, waitedMs } = batches.receive((each, from) => this.#receive(each, from));
        load.noteSocket(waitedMs, sessionNowMs());
        metrics.datagrams(1 + count);
      });
      socket.on('error', (error) => log.error({ err: error }, 'a TSP socket failed'));
    }
  }

  /** The sockets may be closed afterwards. */
  async close(): Promise<void> {
    clearTimeout(this.#timer);
    this.#closed = true;
    await Promise.all(Object.values(this.#ways).map((batches) => batches.close()));
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
    const way = this.#ways[typeof to.address === 'number' ? 'IPv4' : 'IPv6'];
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
    for (const batches of Object.values(this.#ways)) batches.flush();
  }
}

/** Node shows it on its handle only. */
function descriptorOf(socket: Socket): number {
  const { _handle } = socket as unknown as { readonly _handle?: { readonly fd?: number } };
  const fd = _handle?.fd;
  if (fd === undefined || fd < 0)
    throw new Error('this Node does not show the descriptor of a socket');
  return fd;
}
