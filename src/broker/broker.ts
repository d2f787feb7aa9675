// What the product does with a tunnel, and in which order: the store first, committed; then the
// kernel's maps; then the answer. Users, pools and tunnels may also be changed by others in the
// store; the broker follows. Knows no protocol and no socket.

import { randomBytes } from 'node:crypto';
import type { Endpoint, Ipv4Endpoint, Ipv6Address, Ipv6Prefix } from '../address.ts';
import type { Dataplane } from '../dataplane/dataplane.ts';
import { StoreError } from '../store/error.ts';
import type { Ipv4Tunnel } from '../store/ipv4-tunnels.ts';
import type { Encapsulation } from '../store/schema.ts';
import type { Store } from '../store/store.ts';
import type {
  AttachRefusal,
  OpenChoice,
  OpenRefusal,
  OpenSituation,
} from '../store/tunnel-acts.ts';
import type { Tunnel } from '../store/tunnels.ts';
import type { Accounts, StoredCredential } from './accounts.ts';
import { displacedBy, planPools } from './allocation.ts';
import { IdleWatch } from './idle-watch.ts';
import { type Ipv4OpenRequest, type Ipv4TunnelView, ipv4ViewOf, openIpv4 } from './ipv4-tunnels.ts';
import {
  keepaliveSecondsFor,
  OFFER_LIFETIME_MS,
  silenceOf,
  USER_LIFETIME_SECONDS,
} from './lifetime.ts';
import { type HeldBack, Lockout, type LoginSource } from './lockout.ts';
import { Loop } from './loop.ts';
import { type Ipv4Offer, Offers } from './offers.ts';
import {
  type BeforeReset,
  type Idle,
  type Log,
  Projection,
  type Reconciled,
} from './projection.ts';
import type { ScramCredential } from './scram.ts';

export interface BrokerPolicy {
  /** How often clients are told to send a keepalive; they may ask for more often. */
  readonly keepaliveSeconds: number;
  /** How long an anonymous tunnel may live before it must log in again. */
  readonly anonymousLifetimeSeconds: number;
  /** How many tunnels may be at one IPv4 address; 0: any number (RFC 5572 §8 wants a limit). */
  readonly maxTunnelsPerAddress: number;
  /** How long a user's addresses stay theirs when their client is gone; 0: for ever. */
  readonly userLeaseSeconds: number;
}

export interface BrokerOptions {
  readonly store: Store;
  readonly dataplane: Dataplane;
  readonly accounts: Accounts;
  readonly policy: BrokerPolicy;
  readonly log: Log;
  /** Hears of logins that are refused, unseen, because of wrong secrets before. */
  readonly onLockout?: (event: LockoutEvent) => void;
  /** Hears of a slot whose counters are about to begin anew. */
  readonly beforeReset?: BeforeReset;
  /** Unix milliseconds; Date.now by default. */
  readonly clock?: () => number;
  /** Follow the store and expire tunnels without being asked; true by default. */
  readonly background?: boolean;
}

export type LockoutEvent = { readonly username: string; readonly source: LoginSource } & (
  | { readonly type: 'refused' }
  | ({ readonly type: 'held-back' } & HeldBack)
);

export type Refusal =
  | 'no-free-tunnel'
  | 'no-free-prefix'
  | 'prefix-length-unavailable'
  | 'prefix-for-anonymous'
  /** IPv4 in IPv6 is for users. */
  | 'ipv4-for-anonymous'
  /** Another user's tunnel is at this address. */
  | 'address-in-use'
  /** There are as many tunnels at this address as policy allows. */
  | 'too-many-from-address'
  /** The user is not trusted with tunnels to other addresses than their own. */
  | 'proxy-not-allowed'
  /** Or removed. */
  | 'user-disabled'
  | 'tunnel-disabled'
  /** Closed, never made, somebody else's, or not attached; also an offer that was given up. */
  | 'no-such-tunnel'
  /** The store is locked by somebody else; worth another try. */
  | 'busy'
  /** The store or the data plane failed; the log says how. */
  | 'internal';

export type Refused = { readonly ok: false; readonly refusal: Refusal };
export type Result<T = unknown> = ({ readonly ok: true } & T) | Refused;

export interface OpenRequest {
  /** Undefined: anonymous. */
  readonly userId: number | undefined;
  readonly encapsulation: Encapsulation;
  /**
   * The packet's source, not what the client says of itself, unless `proxy`; v6v4 has no use for the
   * port.
   */
  readonly client: Ipv4Endpoint;
  /** `client` is another machine's address than the one that asks. */
  readonly proxy?: boolean;
  /** A router's wish; a host has none. */
  readonly prefixLength?: number;
  readonly wantsKeepaliveSeconds?: number;
  /** Whom the names of the prefix shall be delegated to; names or addresses. */
  readonly nameServers?: readonly string[];
}

/** A tunnel as its client sees it. */
export interface TunnelView {
  readonly tunnelId: number;
  /** The user's name; undefined: anonymous. */
  readonly name: string | undefined;
  readonly slot: number;
  readonly encapsulation: Encapsulation;
  readonly endpoint: Ipv4Endpoint;
  /** The server's address in the link, which answers keepalives. */
  readonly gateway: Ipv6Address;
  /** The client's address in the link. */
  readonly client: Ipv6Address;
  readonly prefix?: Ipv6Prefix;
  readonly lifetimeSeconds: number;
  readonly keepaliveSeconds: number;
  readonly nameServers: readonly string[];
}

/** A tunnel that waits for {@link Broker.accept}; `prefix` only if one was asked for. */
export interface TunnelOffer extends TunnelView {
  readonly offerId: number;
}

/** As {@link TunnelOffer}. */
export interface Ipv4TunnelOffer extends Ipv4TunnelView {
  readonly offerId: number;
}

/**
 * Whose tunnel is meant: the user's, or the anonymous one at the endpoint. Who asks from an IPv6
 * address means the tunnel of IPv4 in IPv6.
 */
export interface TunnelOwner<E extends Endpoint = Endpoint> {
  readonly userId: number | undefined;
  readonly client: E;
}

const USER_INTERFACE_ID = 2n;
const FOLLOW_EVERY_MS = 250;
const EXPIRE_EVERY_MS = 5000;
const EXPIRE_AT_ONCE = 100;

export class Broker {
  /** What start found the maps to differ in. */
  readonly reconciled: Reconciled;
  readonly #options: BrokerOptions;
  readonly #clock: () => number;
  readonly #projection: Projection;
  readonly #idle: Idle;
  readonly #lockout = new Lockout();
  readonly #offers = new Offers();
  readonly #underWay = new Set<Promise<unknown>>();
  readonly #loops: readonly Loop[];

  private constructor(
    options: BrokerOptions,
    projection: Projection,
    idle: Idle,
    reconciled: Reconciled,
  ) {
    this.#options = options;
    this.#clock = options.clock ?? Date.now;
    this.#projection = projection;
    this.#idle = idle;
    this.reconciled = reconciled;
    this.#loops =
      options.background === false
        ? []
        : [
            new Loop(
              'following the store',
              FOLLOW_EVERY_MS,
              () => this.followChanges(),
              options.log,
            ),
            new Loop(
              'expiring tunnels',
              EXPIRE_EVERY_MS,
              () => this.expire(this.#clock()),
              options.log,
            ),
          ];
  }

  /**
   * Makes the maps agree with the store, then keeps them so. Rejects with StoreError, with
   * RangeError when the maps are too small for the pools, and with Error when the key is not the one
   * that the users' secrets were sealed with.
   */
  static async start(options: BrokerOptions): Promise<Broker> {
    const { store, dataplane, accounts, clock = Date.now, log } = options;
    if (!(await accounts.keyFits()))
      throw new Error('the key is not the one that the secrets in the database were sealed with');
    await store.setUserLeases(userLeaseMs(options.policy), clock());
    const idle = {
      ipv6: new IdleWatch(dataplane.capacity.tunnels),
      ipv4: new IdleWatch(dataplane.capacity.v4v6 ?? 0),
    };
    const projection = new Projection(store, dataplane, idle, clock, log, options.beforeReset);
    return new Broker(options, projection, idle, await projection.reconcile());
  }

  /** Lets what is under way end. Tunnels stay up. */
  async stop(): Promise<void> {
    await Promise.all(this.#loops.map((loop) => loop.stop()));
    await Promise.allSettled(this.#underWay);
  }

  // Logging in

  /**
   * What a login is checked against; `forgeable` says whether `source` may be somebody else's
   * address. Undefined: there is none, or it must not be tried (lockout.ts); nobody outside can tell.
   */
  async credential(username: string, source: LoginSource): Promise<StoredCredential | undefined> {
    const { accounts, onLockout } = this.#options;
    const credential = await accounts.credential(username);
    // Only here, so that guesses which arrive together do not all pass before the first has failed.
    if (this.#lockout.allows(username, source, this.#clock())) return credential;
    if (credential && (await this.#hasTunnelAt(credential.userId, source))) return credential;
    onLockout?.({ type: 'refused', username, source });
    return undefined;
  }

  /**
   * What SCRAM begins with: told to who has proved nothing yet, so it must not depend on whether
   * logins are held back. The secret is checked with {@link credential}.
   */
  async scramOf(username: string): Promise<ScramCredential | undefined> {
    return (await this.#options.accounts.credential(username))?.scram;
  }

  /** How a login ended; `username` is undefined for anonymous ones. */
  recordAuthentication(username: string | undefined, source: LoginSource, accepted: boolean): void {
    if (username === undefined) return;
    const nowMs = this.#clock();
    if (accepted) {
      this.#lockout.accepted(username, source, nowMs);
      return;
    }
    const heldBack = this.#lockout.rejected(username, source, nowMs);
    if (heldBack) this.#options.onLockout?.({ type: 'held-back', username, source, ...heldBack });
  }

  // Tunnels

  /** Finds the user's tunnel or makes one. Nothing flows before {@link accept}. */
  open(request: OpenRequest): Promise<Result<{ readonly offer: TunnelOffer }>>;
  open(request: Ipv4OpenRequest): Promise<Result<{ readonly offer: Ipv4TunnelOffer }>>;
  async open(
    request: OpenRequest | Ipv4OpenRequest,
  ): Promise<Result<{ readonly offer: TunnelOffer | Ipv4TunnelOffer }>> {
    return request.encapsulation === 'v4v6' ? this.#openIpv4(request) : this.#open(request);
  }

  async #open(request: OpenRequest): Promise<Result<{ readonly offer: TunnelOffer }>> {
    return this.#refusingOnTrouble(async () => {
      const { store, policy } = this.#options;
      const { userId, encapsulation, prefixLength, proxy = false, nameServers = [] } = request;
      const client = encapsulation === 'v6v4' ? { ...request.client, port: 0 } : request.client;
      const authenticated = userId !== undefined;
      const nowMs = this.#clock();
      const opened = await store.openTunnel(
        {
          userId,
          encapsulation,
          client,
          choose: (situation) => this.#choose(request, client, situation),
          countsAtAddress: policy.maxTunnelsPerAddress > 0,
          requestedPrefixLength: prefixLength,
          nameServers,
          proxy,
          interfaceId: authenticated ? USER_INTERFACE_ID : unpredictableInterfaceId(),
          keepaliveSeconds: keepaliveSecondsFor(
            request.wantsKeepaliveSeconds,
            policy.keepaliveSeconds,
            authenticated,
          ),
          lifetimeSeconds: authenticated ? USER_LIFETIME_SECONDS : policy.anonymousLifetimeSeconds,
          leaseMs: authenticated ? userLeaseMs(policy) : OFFER_LIFETIME_MS,
        },
        nowMs,
      );
      if (!opened.ok) return refuse(REFUSALS[opened.refusal]);
      // The maps hear of it when it is accepted, or within a moment.
      const { tunnel } = opened;
      const { id: tunnelId } = tunnel;
      const waiting = { tunnelId, userId, encapsulation, client, proxy, madeAtMs: nowMs };
      const offerId = this.#offers.add(waiting);
      const { prefix, ...view } = viewOf(tunnel, encapsulation, client);
      const asked = prefix !== undefined && prefixLength !== undefined ? { prefix } : {};
      return { ok: true, offer: { offerId, ...view, ...asked } };
    });
  }

  async #openIpv4(request: Ipv4OpenRequest): Promise<Result<{ readonly offer: Ipv4TunnelOffer }>> {
    return this.#refusingOnTrouble(async () => {
      const { store, policy } = this.#options;
      const { userId, encapsulation } = request;
      if (userId === undefined) return refuse('ipv4-for-anonymous');
      const nowMs = this.#clock();
      const { keepaliveSeconds } = policy;
      const terms = { keepaliveSeconds, leaseMs: userLeaseMs(policy) };
      const opened = await openIpv4(store, userId, request, terms, nowMs);
      if (!opened.ok) return refuse(REFUSALS[opened.refusal]);
      await this.#projection.follow();
      const { tunnel } = opened;
      const client = { address: request.client.address, port: 0 };
      const waiting = { tunnelId: tunnel.id, userId, encapsulation, client, madeAtMs: nowMs };
      return {
        ok: true,
        offer: { offerId: this.#offers.add(waiting), ...ipv4ViewOf(tunnel, client) },
      };
    });
  }

  /**
   * Brings the tunnel up at the offer's endpoint: traffic flows when this is fulfilled. Takes the
   * tunnel away from where it was, and the endpoint from whoever has to make room.
   */
  async accept(offerId: number): Promise<Result<{ readonly tunnel: TunnelView | Ipv4TunnelView }>> {
    return this.#refusingOnTrouble(async () => {
      const offer = this.#offers.get(offerId);
      if (!offer) return refuse('no-such-tunnel');
      if (offer.encapsulation === 'v4v6') return this.#acceptIpv4(offerId, offer);
      const { store, policy } = this.#options;
      const { tunnelId, userId, encapsulation, client, proxy } = offer;
      const nowMs = this.#clock();
      const attached = await store.attachTunnel(
        {
          tunnelId,
          userId,
          encapsulation,
          client,
          proxy,
          displaces: displacedBy(userId !== undefined, encapsulation),
          maxAtAddress: policy.maxTunnelsPerAddress || undefined,
          expiresAtMs:
            userId === undefined ? nowMs + policy.anonymousLifetimeSeconds * 1000 : undefined,
        },
        nowMs,
      );
      if (!attached.ok) return refuse(REFUSALS[attached.refusal]);
      this.#offers.delete(offerId);
      await this.#projection.follow();
      const { tunnel } = attached;
      if (this.#projection.hasFailed('ipv6', tunnel.slot)) return refuse('internal');
      // A login where the tunnel was already changes no map, but is a sign of life.
      const { slot, keepaliveSeconds } = tunnel;
      const isStatic = tunnel.staticClient === client.address;
      const silence = silenceOf({ anonymous: userId === undefined, keepaliveSeconds, isStatic });
      this.#idle.ipv6.watch(slot, silence, nowMs);
      return { ok: true, tunnel: viewOf(tunnel, encapsulation, client) };
    });
  }

  async #acceptIpv4(
    offerId: number,
    { tunnelId, userId, client }: Ipv4Offer,
  ): Promise<Result<{ readonly tunnel: Ipv4TunnelView }>> {
    const nowMs = this.#clock();
    const request = { tunnelId, userId, client: client.address };
    const attached = await this.#options.store.attachIpv4Tunnel(request, nowMs);
    if (!attached.ok) return refuse(REFUSALS[attached.refusal]);
    this.#offers.delete(offerId);
    await this.#projection.follow();
    const { slot, keepaliveSeconds } = attached.tunnel;
    if (this.#projection.hasFailed('ipv4', slot)) return refuse('internal');
    this.#idle.ipv4.watch(slot, silenceOf({ anonymous: false, keepaliveSeconds }), nowMs);
    return { ok: true, tunnel: ipv4ViewOf(attached.tunnel, client) };
  }

  /** Gives an offer up. What was accepted before stays up, and a user's addresses stay theirs. */
  async reject(offerId: number): Promise<Result> {
    return this.#refusingOnTrouble(async () => {
      const offer = this.#offers.get(offerId);
      this.#offers.delete(offerId);
      if (!offer || offer.userId !== undefined) return { ok: true };
      const { store } = this.#options;
      const tunnel = await store.tunnel({ tunnelId: offer.tunnelId });
      if (tunnel && !tunnel.attachment) await store.closeTunnel(tunnel.id, this.#clock());
      await this.#projection.follow();
      return { ok: true };
    });
  }

  /** The owner's tunnel, if it is up. */
  describe(owner: TunnelOwner<Ipv4Endpoint>): Promise<Result<{ readonly tunnel: TunnelView }>>;
  describe(owner: TunnelOwner): Promise<Result<{ readonly tunnel: TunnelView | Ipv4TunnelView }>>;
  async describe(
    owner: TunnelOwner,
  ): Promise<Result<{ readonly tunnel: TunnelView | Ipv4TunnelView }>> {
    return this.#refusingOnTrouble(async () => {
      const tunnel = await this.#tunnelOf(owner);
      if (!tunnel?.attachment) return refuse('no-such-tunnel');
      if (tunnel.family === 'ipv4') {
        const endpoint = { address: tunnel.attachment.client, port: 0 };
        return { ok: true, tunnel: ipv4ViewOf(tunnel, endpoint) };
      }
      const { encapsulation, client } = tunnel.attachment;
      return { ok: true, tunnel: viewOf(tunnel, encapsulation, client) };
    });
  }

  /** Takes the owner's tunnel down. A user's addresses stay theirs, for the next login. */
  async close(owner: TunnelOwner): Promise<Result> {
    return this.#refusingOnTrouble(async () => {
      const tunnel = await this.#tunnelOf(owner);
      if (!tunnel?.attachment) return refuse('no-such-tunnel');
      await this.#options.store.takeDownTunnel(tunnel.id, this.#clock());
      await this.#projection.follow();
      return { ok: true };
    });
  }

  // What happens by itself

  /** Applies what others have changed in the store. Rejects with StoreError. */
  async followChanges(): Promise<void> {
    await this.#projection.follow();
  }

  /**
   * Closes tunnels whose lease has ended (anonymous ones in use, users' ones without a client), and
   * takes down tunnels that have been silent for too long. Rejects with StoreError.
   */
  async expire(nowMs: number): Promise<void> {
    const { store, dataplane } = this.#options;
    this.#offers.deleteOverdue(nowMs);
    while ((await store.closeExpired(nowMs, EXPIRE_AT_ONCE)).length === EXPIRE_AT_ONCE);
    await this.#projection.follow();

    const lastSeenMs = {
      ipv6: (slot: number) => dataplane.counters(slot).inLastSeenMs,
      ipv4: (slot: number) => dataplane.countersV4v6(slot).inLastSeenMs,
    };
    for (const family of ['ipv6', 'ipv4'] as const) {
      const silent = this.#idle[family].silent(nowMs, lastSeenMs[family]);
      // Together, as they share a commit; not all of them, as logins wait behind them.
      for (let first = 0; first < silent.length; first += EXPIRE_AT_ONCE)
        await Promise.all(
          silent
            .slice(first, first + EXPIRE_AT_ONCE)
            .map(({ slot, limitMs }) =>
              store.takeDownUnlessLogin(slot, nowMs - limitMs, nowMs, family),
            ),
        );
    }
    await this.#projection.follow();
  }

  #choose(request: OpenRequest, client: Ipv4Endpoint, situation: OpenSituation): OpenChoice {
    const { userId, encapsulation, prefixLength } = request;
    const { pools, standing, occupant } = situation;
    const plan = planPools(pools, {
      authenticated: userId !== undefined,
      prefixLength,
      hasDelegation: standing?.delegation !== undefined,
    });
    if (!plan.ok) return plan;
    // Both only for a timely answer: accept decides.
    if (occupant && isKeptOut(occupant, userId, encapsulation))
      return { ok: false, refusal: 'address-in-use' };
    if (this.#isFull(userId, client, situation))
      return { ok: false, refusal: 'too-many-from-address' };
    return plan;
  }

  /**
   * Counts what is offered too, which {@link accept} does not. Anonymous tunnels count against anonymous
   * clients only: their addresses are never proved, so anybody could fill somebody else's up.
   */
  #isFull(
    userId: number | undefined,
    { address }: Ipv4Endpoint,
    { standing, atAddress }: OpenSituation,
  ): boolean {
    const { policy } = this.#options;
    if (policy.maxTunnelsPerAddress === 0) return false;
    // Coming back to where it is takes no more room.
    if (standing?.attachment?.client.address === address) return false;
    const there = [
      ...atAddress,
      ...this.#offers.at(address).map((offer) => ({
        id: offer.tunnelId,
        anonymous: offer.userId === undefined,
      })),
    ];
    const counted = there.filter(
      ({ id, anonymous }) => id !== standing?.id && (userId === undefined || !anonymous),
    );
    return new Set(counted.map(({ id }) => id)).size >= policy.maxTunnelsPerAddress;
  }

  /** As good as a login from there, and known when the process has just begun. */
  async #hasTunnelAt(userId: number, source: LoginSource): Promise<boolean> {
    const { store } = this.#options;
    const { attachment } = (await store.tunnel({ userId })) ?? {};
    const { attachment: ipv4 } = (await store.ipv4Tunnel({ userId })) ?? {};
    return [attachment?.client.address, ipv4?.client].includes(source.address);
  }

  async #tunnelOf({ userId, client }: TunnelOwner): Promise<Tunnel | Ipv4Tunnel | undefined> {
    const { store } = this.#options;
    const { address, port } = client;
    if (typeof address === 'bigint')
      return userId === undefined ? undefined : store.ipv4Tunnel({ userId });
    if (userId !== undefined) return store.tunnel({ userId });
    const tunnel =
      (await store.tunnel({ encapsulation: 'v6udpv4', client: { address, port } })) ??
      (await store.tunnel({ encapsulation: 'v6v4', client: { address, port: 0 } }));
    return tunnel?.user ? undefined : tunnel;
  }

  async #refusingOnTrouble<T>(act: () => Promise<Result<T>>): Promise<Result<T>> {
    const running = act();
    this.#underWay.add(running);
    try {
      return await running;
    } catch (error) {
      if (!(error instanceof StoreError)) throw error;
      this.#options.log('the store failed', error);
      return refuse(error.kind === 'locked' ? 'busy' : 'internal');
    } finally {
      this.#underWay.delete(running);
    }
  }
}

const REFUSALS: Readonly<Record<OpenRefusal | AttachRefusal, Refusal>> = {
  'no-such-user': 'user-disabled',
  'user-disabled': 'user-disabled',
  'proxy-not-allowed': 'proxy-not-allowed',
  'tunnel-disabled': 'tunnel-disabled',
  'prefix-length-unavailable': 'prefix-length-unavailable',
  'prefix-for-anonymous': 'prefix-for-anonymous',
  'no-free-tunnel': 'no-free-tunnel',
  'no-free-prefix': 'no-free-prefix',
  'no-such-tunnel': 'no-such-tunnel',
  'address-in-use': 'address-in-use',
  'too-many-from-address': 'too-many-from-address',
};

function refuse(refusal: Refusal): Refused {
  return { ok: false, refusal };
}

function userLeaseMs({ userLeaseSeconds }: BrokerPolicy): number | undefined {
  return userLeaseSeconds === 0 ? undefined : userLeaseSeconds * 1000;
}

function isKeptOut(
  occupant: Tunnel,
  userId: number | undefined,
  encapsulation: Encapsulation,
): boolean {
  if (occupant.user?.id === userId) return false;
  const displaces = displacedBy(userId !== undefined, encapsulation);
  return displaces === 'none' || (displaces === 'anonymous' && occupant.user !== undefined);
}

function viewOf(tunnel: Tunnel, encapsulation: Encapsulation, client: Ipv4Endpoint): TunnelView {
  return {
    tunnelId: tunnel.id,
    name: tunnel.user?.name,
    slot: tunnel.slot,
    encapsulation,
    endpoint: client,
    gateway: tunnel.link.address | 1n,
    client: tunnel.link.address | tunnel.interfaceId,
    ...(tunnel.delegation && { prefix: tunnel.delegation }),
    lifetimeSeconds: tunnel.lifetimeSeconds,
    keepaliveSeconds: tunnel.keepaliveSeconds,
    nameServers: tunnel.nameServers,
  };
}

/** 64 random bits, none of the low ones that people use, nor an anycast address (RFC 2526). */
function unpredictableInterfaceId(): bigint {
  for (;;) {
    const id = randomBytes(8).readBigUInt64BE();
    if (id > 0xffffn && id < 0xfdff_ffff_ffff_ff80n) return id;
  }
}
