// The socket that TSP clients talk to: feeds datagrams to the pure sessions of tsp/ and carries out
// what they command, by asking the broker. Decides nothing: which answer is due is tsp/'s business,
// who gets what the broker's.

import { createSocket, type Socket } from 'node:dgram';
import type { Logger } from 'pino';
import {
  formatEndpoint,
  formatIp,
  formatIpv4,
  formatIpv6Prefix,
  type Ipv4Address,
  type Ipv6Address,
  parseIpv4,
} from './address.ts';
import type { Broker, Refusal, TunnelView } from './broker/broker.ts';
import type { Metrics } from './metrics.ts';
import { type FailureStatus, type Mechanism, STATUS, type TunnelInfo } from './tsp/messages.ts';
import { type ServerCommand, type ServerEvent, TspServer } from './tsp/server.ts';
import type { SessionResult, SessionUser } from './tsp/server-session.ts';

export interface TspListenerOptions {
  /** Told to clients as the tunnel server's end. */
  readonly address: Ipv4Address;
  readonly realm: string;
  readonly mechanisms: readonly Mechanism[];
  readonly maxSessions: number;
  /** Told to clients as their recursive DNS server. */
  readonly resolver: Ipv6Address;
  /** At least 16 secret octets; another one at each start is fine. */
  readonly nonceKey: Uint8Array;
  readonly broker: Broker;
  readonly metrics: Metrics;
  readonly log: Logger;
}

type Command<T extends ServerCommand['type']> = Extract<ServerCommand, { readonly type: T }>;

/** The commands whose result goes back into the session. */
type Question = Command<
  'look-up-credential' | 'open-tunnel' | 'accept-tunnel' | 'describe-tunnel' | 'delete-tunnel'
>;

/** What the client sees of each of the broker's refusals (RFC 5572, appendix B). */
const STATUS_OF: Readonly<Record<Refusal, FailureStatus>> = {
  'no-free-tunnel': STATUS.noTunnelsLeft,
  'no-free-prefix': STATUS.noTunnelsLeft,
  'prefix-length-unavailable': STATUS.prefixNotAssignable,
  'prefix-for-anonymous': STATUS.prefixNotAssignable,
  'address-in-use': STATUS.ipv4AddressInUse,
  'too-many-from-address': STATUS.noTunnelsLeft,
  'user-disabled': STATUS.authenticationFailed,
  'tunnel-disabled': STATUS.authenticationFailed,
  'no-such-tunnel': STATUS.serverError,
  busy: STATUS.busy,
  internal: STATUS.serverError,
};

/**
 * Takes the address and port; rejects with the system's error (EADDRINUSE, EADDRNOTAVAIL, …) when
 * that cannot be. What arrives before a listener is made of the socket is dropped; clients repeat.
 */
export async function bindTsp(address: Ipv4Address, port: number): Promise<Socket> {
  const socket = createSocket({ type: 'udp4', recvBufferSize: 4 << 20 });
  await new Promise<void>((resolve, reject) => {
    socket.once('error', reject);
    socket.bind(port, formatIpv4(address), () => {
      socket.off('error', reject);
      resolve();
    });
  });
  return socket;
}

export class TspListener {
  readonly #options: TspListenerOptions;
  readonly #sessions: TspServer;
  readonly #socket: Socket;
  #timer: NodeJS.Timeout | undefined;

  /** `socket` is from {@link bindTsp}. */
  constructor(socket: Socket, options: TspListenerOptions) {
    this.#options = options;
    this.#socket = socket;
    this.#sessions = new TspServer({
      realm: options.realm,
      mechanisms: options.mechanisms,
      tunnelTypes: ['v6v4', 'v6udpv4'],
      nonceKey: options.nonceKey,
      maxSessions: options.maxSessions,
      maxSessionsPerAddress: Math.ceil(options.maxSessions / 10),
      maxUnprovenSessions: Math.ceil(options.maxSessions / 2),
    });
    socket.on('message', (bytes, { address, port }) => {
      options.metrics.datagram();
      this.#handle({
        type: 'datagram',
        from: { address: parseIpv4(address) ?? 0, port },
        bytes,
      });
    });
    socket.on('error', (error) => options.log.error({ error }, 'the TSP socket failed'));
  }

  get sessionCount(): number {
    return this.#sessions.sessionCount;
  }

  async close(): Promise<void> {
    clearTimeout(this.#timer);
    await new Promise<void>((resolve) => this.#socket.close(() => resolve()));
  }

  #handle(event: ServerEvent): void {
    // Monotonic, yet near the wall clock: sessions and nonces must not see time go back.
    const nowMs = Math.floor(performance.timeOrigin + performance.now());
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
    const { metrics, log, broker } = this.#options;
    switch (command.type) {
      case 'send':
        this.#socket.send(command.bytes, command.to.port, formatIp(command.to.address));
        return;
      case 'count':
        metrics.oddity(command.what);
        return;
      case 'authentication': {
        const { username, mechanism, outcome, source } = command;
        metrics.login(outcome);
        broker.recordAuthentication(username, source, outcome === 'accepted');
        log.info({ username, mechanism, source: formatEndpoint(source) }, `login ${outcome}`);
        return;
      }
      case 'reject-tunnel':
        metrics.tunnelRequest(command.type, 'ok');
        void broker
          .reject(Number(command.offerId))
          .catch((error: unknown) => log.error({ error }, 'an offer could not be taken back'));
        return;
      default:
        this.#answer(command);
    }
  }

  /** Brings the result back into the session. Whatever fails becomes a status for the client. */
  #answer(command: Question): void {
    const { metrics, log } = this.#options;
    this.#ask(command)
      .catch((error: unknown): SessionResult => {
        log.error({ error, command: command.type }, 'the broker failed');
        return { type: 'refused', status: STATUS.serverError };
      })
      .then((result) => {
        if (command.type !== 'look-up-credential') {
          const outcome = result.type === 'refused' ? String(result.status) : 'ok';
          metrics.tunnelRequest(command.type, outcome);
        }
        this.#handle({ ...result, session: command.session });
      });
  }

  #ask(command: Question): Promise<SessionResult> {
    switch (command.type) {
      case 'look-up-credential':
        return this.#lookUp(command);
      case 'open-tunnel':
        return this.#open(command);
      case 'accept-tunnel':
        return this.#accept(command);
      case 'describe-tunnel':
        return this.#describe(command);
      case 'delete-tunnel':
        return this.#delete(command);
    }
  }

  async #lookUp(command: Command<'look-up-credential'>): Promise<SessionResult> {
    const found = await this.#options.broker.credential(command.username, command.source);
    return found
      ? { type: 'credential-found', userId: found.userId, credential: { ha1s: found.ha1s } }
      : { type: 'credential-missing' };
  }

  async #open(command: Command<'open-tunnel'>): Promise<SessionResult> {
    const { user, tunnelType, source, statedAddress } = command;
    const result = await this.#options.broker.open({
      userId: userIdOf(user),
      encapsulation: tunnelType,
      client: { address: source.address, port: tunnelType === 'v6v4' ? 0 : source.port },
      ...(command.prefixLength !== undefined && { prefixLength: command.prefixLength }),
      ...(command.keepaliveSeconds !== undefined && {
        wantsKeepaliveSeconds: command.keepaliveSeconds,
      }),
    });
    if (!result.ok) return refused(result.refusal);
    const { offer } = result;
    const { clientIpv4: _, tunnelType: __, ...info } = this.#info(offer, statedAddress);
    return {
      type: 'tunnel-offered',
      offerId: offer.offerId,
      offer: { ...info, resolver: this.#options.resolver },
    };
  }

  async #accept(command: Command<'accept-tunnel'>): Promise<SessionResult> {
    const result = await this.#options.broker.accept(Number(command.offerId));
    if (!result.ok) return refused(result.refusal);
    const { tunnel } = result;
    this.#options.log.info(
      {
        tunnel: tunnel.tunnelId,
        user: tunnel.name,
        encapsulation: tunnel.encapsulation,
        client: formatEndpoint(tunnel.endpoint),
        link: formatIp(tunnel.client),
        prefix: tunnel.prefix && formatIpv6Prefix(tunnel.prefix),
      },
      'tunnel up',
    );
    return { type: 'tunnel-accepted' };
  }

  async #describe(command: Command<'describe-tunnel'>): Promise<SessionResult> {
    const { user, source } = command;
    if (typeof source.address !== 'number') return refused('no-such-tunnel');
    const result = await this.#options.broker.describe({
      userId: userIdOf(user),
      client: { address: source.address, port: source.port },
    });
    if (!result.ok) return refused(result.refusal);
    return { type: 'tunnel-described', info: this.#info(result.tunnel, source.address) };
  }

  async #delete(command: Command<'delete-tunnel'>): Promise<SessionResult> {
    const { user, source } = command;
    if (typeof source.address !== 'number') return refused('no-such-tunnel');
    const result = await this.#options.broker.close({
      userId: userIdOf(user),
      client: { address: source.address, port: source.port },
    });
    return result.ok ? { type: 'tunnel-deleted' } : refused(result.refusal);
  }

  #info(tunnel: TunnelView, statedAddress: Ipv4Address): TunnelInfo {
    return {
      tunnelType: tunnel.encapsulation,
      lifetime: tunnel.lifetimeSeconds,
      serverIpv4: this.#options.address,
      serverIpv6: tunnel.gateway,
      clientIpv4: statedAddress,
      clientIpv6: tunnel.client,
      ...(tunnel.prefix && { prefix: tunnel.prefix }),
      keepalive: { intervalSeconds: tunnel.keepaliveSeconds, address: tunnel.gateway },
      resolver: this.#options.resolver,
    };
  }
}

function userIdOf(user: SessionUser): number | undefined {
  return user.type === 'account' ? Number(user.userId) : undefined;
}

function refused(refusal: Refusal): SessionResult {
  return { type: 'refused', status: STATUS_OF[refusal] };
}
