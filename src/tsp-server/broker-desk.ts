// Where the sessions' commands become the broker's acts, and its results the sessions' events. The
// same for every transport. Decides nothing: it translates.

import type { Logger } from 'pino';
import {
  formatEndpoint,
  formatIp,
  formatIpv6Prefix,
  type IpAddress,
  type Ipv4Address,
  type Ipv6Address,
} from '../address.ts';
import type {
  Broker,
  Ipv4TunnelOffer,
  Refusal,
  Result,
  TunnelOffer,
  TunnelView,
} from '../broker/broker.ts';
import type { Ipv4TunnelView } from '../broker/ipv4-tunnels.ts';
import type { Metrics } from '../metrics.ts';
import type { SaltResult } from '../tsp/connection.ts';
import { type FailureStatus, STATUS, type TunnelInfo } from '../tsp/messages.ts';
import type { ScramFirst } from '../tsp/scram.ts';
import type { SessionCommand, SessionResult, SessionUser } from '../tsp/server-session.ts';
import { sessionNowMs } from './clock.ts';
import type { Load } from './load.ts';

export interface BrokerDeskOptions {
  /** Told to clients as the tunnel server's end. */
  readonly address: Ipv4Address;
  /** The same of v4v6; absent: there is none. */
  readonly address6?: Ipv6Address;
  /** Told to clients as their recursive DNS server. */
  readonly resolver: Ipv6Address;
  readonly broker: Broker;
  readonly load: Load;
  readonly metrics: Metrics;
  readonly log: Logger;
}

type Command<T extends SessionCommand['type']> = Extract<SessionCommand, { readonly type: T }>;

/** The commands whose result goes back into the session. */
export type Question = Command<
  'look-up-credential' | 'open-tunnel' | 'accept-tunnel' | 'describe-tunnel' | 'delete-tunnel'
>;

/** The commands that nobody waits for. */
export type Notice = Command<'authentication' | 'reject-tunnel'>;

/** What the client sees of each of the broker's refusals (RFC 5572, appendix B). */
const STATUS_OF: Readonly<Record<Refusal, FailureStatus>> = {
  'no-free-tunnel': STATUS.noTunnelsLeft,
  'no-free-prefix': STATUS.noTunnelsLeft,
  'prefix-length-unavailable': STATUS.prefixNotAssignable,
  'prefix-for-anonymous': STATUS.prefixNotAssignable,
  'address-in-use': STATUS.ipv4AddressInUse,
  'too-many-from-address': STATUS.noTunnelsLeft,
  'proxy-not-allowed': STATUS.tunnelTypeNotSupported,
  'ipv4-for-anonymous': STATUS.tunnelTypeNotSupported,
  'user-disabled': STATUS.authenticationFailed,
  'tunnel-disabled': STATUS.authenticationFailed,
  'no-such-tunnel': STATUS.serverError,
  busy: STATUS.busy,
  internal: STATUS.serverError,
};

export class BrokerDesk {
  readonly #options: BrokerDeskOptions;

  constructor(options: BrokerDeskOptions) {
    this.#options = options;
  }

  /** Never rejects: whatever fails becomes a status for the client. */
  async ask(command: Question): Promise<SessionResult> {
    const { load, metrics, log } = this.#options;
    const ticket = load.begin(sessionNowMs());
    const result = await this.#ask(command).catch((error: unknown): SessionResult => {
      log.error({ err: error, command: command.type }, 'the broker failed');
      return { type: 'refused', status: STATUS.serverError };
    });
    load.end(ticket);
    if (command.type !== 'look-up-credential') {
      const outcome = result.type === 'refused' ? String(result.status) : 'ok';
      metrics.tunnelRequest(command.type, outcome);
    }
    return result;
  }

  /** Never rejects. */
  async lookUpSalt(first: ScramFirst): Promise<SaltResult> {
    const { broker, log } = this.#options;
    try {
      return { type: 'salt-looked-up', first, found: await broker.scramOf(first.username) };
    } catch (error) {
      log.error({ err: error }, 'a salt could not be looked up');
      return { type: 'salt-looked-up', first, found: 'failed' };
    }
  }

  tell(notice: Notice): void {
    const { metrics, log, broker } = this.#options;
    if (notice.type === 'authentication') {
      const { username, mechanism, outcome, source, forgeable } = notice;
      metrics.login(outcome);
      broker.recordAuthentication(username, { ...source, forgeable }, outcome === 'accepted');
      if (log.isLevelEnabled('info'))
        log.info({ username, mechanism, source: formatEndpoint(source) }, `login ${outcome}`);
      return;
    }
    metrics.tunnelRequest(notice.type, 'ok');
    void broker
      .reject(Number(notice.offerId))
      .catch((error: unknown) => log.error({ err: error }, 'an offer could not be taken back'));
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
    const { username, source, forgeable } = command;
    const found = await this.#options.broker.credential(username, { ...source, forgeable });
    if (!found) return { type: 'credential-missing' };
    return { type: 'credential-found', userId: found.userId, credential: found };
  }

  async #open(command: Command<'open-tunnel'>): Promise<SessionResult> {
    const result = await this.#openEither(command);
    if (!result.ok) return refused(result.refusal);
    const { offer } = result;
    const info = this.#info(offer, command.statedAddress);
    return { type: 'tunnel-offered', offerId: offer.offerId, info };
  }

  async #openEither(
    command: Command<'open-tunnel'>,
  ): Promise<Result<{ readonly offer: TunnelOffer | Ipv4TunnelOffer }>> {
    const { tunnelType: encapsulation, endpoint, proxy, nameServers } = command;
    const { broker } = this.#options;
    const { address, port } = endpoint;
    const userId = userIdOf(command.user);
    const wish =
      command.keepaliveSeconds === undefined
        ? {}
        : { wantsKeepaliveSeconds: command.keepaliveSeconds };
    if (encapsulation === 'v4v6') {
      if (typeof address === 'number') return { ok: false, refusal: 'internal' };
      return broker.open({ userId, encapsulation, client: { address, port }, ...wish });
    }
    if (typeof address === 'bigint') return { ok: false, refusal: 'internal' };
    return broker.open({
      userId,
      encapsulation,
      client: { address, port },
      proxy,
      nameServers,
      ...(command.prefixLength !== undefined && { prefixLength: command.prefixLength }),
      ...wish,
    });
  }

  async #accept(command: Command<'accept-tunnel'>): Promise<SessionResult> {
    const result = await this.#options.broker.accept(Number(command.offerId));
    if (!result.ok) return refused(result.refusal);
    // Not even put together for nobody.
    if (this.#options.log.isLevelEnabled('info')) this.#logUp(result.tunnel);
    return { type: 'tunnel-accepted' };
  }

  #logUp(tunnel: TunnelView | Ipv4TunnelView): void {
    this.#options.log.info(
      {
        tunnel: tunnel.tunnelId,
        user: tunnel.name,
        encapsulation: tunnel.encapsulation,
        client: formatEndpoint(tunnel.endpoint),
        ...(tunnel.encapsulation === 'v4v6'
          ? { link: formatIp(tunnel.client4) }
          : {
              link: formatIp(tunnel.client),
              prefix: tunnel.prefix && formatIpv6Prefix(tunnel.prefix),
            }),
      },
      'tunnel up',
    );
  }

  async #describe(command: Command<'describe-tunnel'>): Promise<SessionResult> {
    const owner = { userId: userIdOf(command.user), client: command.source };
    const result = await this.#options.broker.describe(owner);
    if (!result.ok) return refused(result.refusal);
    // Which address the client once stated is not kept.
    const { endpoint } = result.tunnel;
    return { type: 'tunnel-described', info: this.#info(result.tunnel, endpoint.address) };
  }

  async #delete(command: Command<'delete-tunnel'>): Promise<SessionResult> {
    const owner = { userId: userIdOf(command.user), client: command.source };
    const result = await this.#options.broker.close(owner);
    return result.ok ? { type: 'tunnel-deleted' } : refused(result.refusal);
  }

  #info(tunnel: TunnelView | Ipv4TunnelView, statedAddress: IpAddress): TunnelInfo {
    const { address, address6 = 0n, resolver } = this.#options;
    const { lifetimeSeconds: lifetime, keepaliveSeconds: intervalSeconds } = tunnel;
    if (tunnel.encapsulation === 'v4v6') {
      return {
        tunnelType: 'v4v6',
        lifetime,
        serverIpv4: tunnel.gateway4,
        serverIpv6: address6,
        clientIpv4: tunnel.client4,
        clientIpv6: tunnel.endpoint.address,
        linkLength: tunnel.length4,
        keepalive: { intervalSeconds, address: tunnel.gateway4 },
        resolver,
      };
    }
    return {
      tunnelType: tunnel.encapsulation,
      lifetime,
      serverIpv4: address,
      serverIpv6: tunnel.gateway,
      clientIpv4: typeof statedAddress === 'number' ? statedAddress : tunnel.endpoint.address,
      clientIpv6: tunnel.client,
      ...(tunnel.prefix && { prefix: tunnel.prefix, nameServers: tunnel.nameServers }),
      keepalive: { intervalSeconds, address: tunnel.gateway },
      resolver,
    };
  }
}

function userIdOf(user: SessionUser): number | undefined {
  return user.type === 'account' ? Number(user.userId) : undefined;
}

function refused(refusal: Refusal): SessionResult {
  return { type: 'refused', status: STATUS_OF[refusal] };
}
