// TSP over UDP: feeds the datagrams of all sockets to one TspServer and carries out what it commands.

import type { Socket } from 'node:dgram';
import type { Logger } from 'pino';
import { formatIp, parseIp } from '../address.ts';
import type { Metrics } from '../metrics.ts';
import type { ServerCommand, ServerEvent, TspServer } from '../tsp/server.ts';
import type { BrokerDesk } from './broker-desk.ts';
import { sessionNowMs } from './clock.ts';

export class DatagramListener {
  readonly #sessions: TspServer;
  readonly #sockets: readonly Socket[];
  readonly #desk: BrokerDesk;
  readonly #metrics: Metrics;
  #timer: NodeJS.Timeout | undefined;

  /** At most one socket of each family. */
  constructor(
    sockets: readonly Socket[],
    sessions: TspServer,
    desk: BrokerDesk,
    metrics: Metrics,
    log: Logger,
  ) {
    this.#sockets = sockets;
    this.#sessions = sessions;
    this.#desk = desk;
    this.#metrics = metrics;
    for (const socket of sockets) {
      socket.on('message', (bytes, remote) => {
        metrics.datagram();
        // A link-local source has a zone, and no business with a broker.
        const address = parseIp(remote.address);
        if (address === undefined) return;
        this.#handle({ type: 'datagram', from: { address, port: remote.port }, bytes });
      });
      socket.on('error', (error) => log.error({ err: error }, 'a TSP socket failed'));
    }
  }

  close(): void {
    clearTimeout(this.#timer);
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
      case 'send': {
        const { address, port } = command.to;
        const family = typeof address === 'number' ? 'IPv4' : 'IPv6';
        const socket = this.#sockets.find((each) => each.address().family === family);
        socket?.send(command.bytes, port, formatIp(address));
        return;
      }
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
}
