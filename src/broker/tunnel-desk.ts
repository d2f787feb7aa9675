// What people do with their own tunnels, by page or by program: see, make, pause, delete, say where the
// client is, get a secret. Works on the store alone: the running broker learns of it from the change feed.

import {
  formatIpv4,
  type Ipv4Address,
  type Ipv4Prefix,
  ipv4PrefixContains,
  parseIp,
  parseIpv4Prefix,
} from '../address.ts';
import { type Period, SPAN_MS, spansOf } from '../store/buckets.ts';
import type { OwnRefusal, StaticPlace } from '../store/own-tunnels.ts';
import type { Pool } from '../store/pools.ts';
import type { Store } from '../store/store.ts';
import type { TrafficPoint } from '../store/traffic.ts';
import type { OpenChoice, OpenSituation, TunnelRequest } from '../store/tunnel-acts.ts';
import type { Accounts } from './accounts.ts';
import { planPools } from './allocation.ts';
import { diagnose, type Finding } from './diagnosis.ts';
import { keepaliveSecondsFor, USER_LIFETIME_SECONDS } from './lifetime.ts';
import { Lockout } from './lockout.ts';
import { type OwnTunnel, ownIpv4Tunnel, ownIpv6Tunnel } from './own-tunnel.ts';
import { Budget } from './people-budget.ts';
import { auditOf, HOUR_MS, type Person, type Visitor } from './people-parts.ts';
import { statusOf } from './tunnel-status.ts';

export type { Period } from '../store/buckets.ts';
export type { OwnState, OwnTunnel } from './own-tunnel.ts';

/** Inner octets and packets by spans of time; a span that is missing had none. */
export interface TunnelTraffic {
  readonly fromMs: number;
  readonly untilMs: number;
  readonly spanMs: number;
  readonly points: readonly TrafficPoint[];
}

/** What the configuration says about all tunnels. */
export interface TunnelTerms {
  /** Where clients log in; the address is also the server's end of every tunnel. */
  readonly server: {
    readonly name: string;
    readonly address: Ipv4Address | undefined;
    readonly port: number;
  };
  readonly keepaliveSeconds: number;
  readonly mtu: number;
  readonly resolver: bigint;
  /** How long a user's addresses stay theirs without a client; undefined: for ever. */
  readonly leaseMs: number | undefined;
  /** How long the addresses of a deleted tunnel are held; 0: not at all. */
  readonly deletedHoldMs: number;
  /** Undefined: any number. */
  readonly maxAtAddress: number | undefined;
  /** Whether there are tunnels of IPv4 in IPv6. */
  readonly v4v6: boolean;
}

export type TunnelRefusal =
  | OwnRefusal
  /** The person has no user, as staff may be. */
  | 'no-user'
  /** No IPv4 address, or one that no client can have. */
  | 'address-invalid'
  | 'address-private'
  /** The server's own, or one out of its pools. */
  | 'address-ours'
  /** Only where the request comes from can be proved to be one's own. */
  | 'address-not-yours'
  | 'name-servers-invalid'
  | 'too-often';

export type TunnelResult =
  | { readonly ok: true; readonly tunnelId: number }
  | { readonly ok: false; readonly refusal: TunnelRefusal };

export interface NewTunnel {
  readonly family: 'ipv6' | 'ipv4';
  /** Undefined: none. */
  readonly prefixLength?: number | undefined;
  /** For protocol 41 without a login; undefined: clients log in. */
  readonly client?: Ipv4Address | undefined;
}

const USER_INTERFACE_ID = 2n;
const MAX_NAME_SERVERS = 8;
/** Each is a transaction, and a change for the kernel. */
const ACTS = { max: 120, windowMs: HOUR_MS };

interface DeskParts {
  readonly store: Store;
  readonly accounts: Accounts;
  readonly terms: TunnelTerms;
  /** Unix milliseconds; Date.now by default. */
  readonly clock?: () => number;
}

/** Every method may reject with the store's StoreError. */
export class TunnelDesk {
  readonly terms: TunnelTerms;
  readonly #store: Store;
  readonly #accounts: Accounts;
  readonly #clock: () => number;
  readonly #acts = new Budget(ACTS.max, ACTS.windowMs);
  readonly #lockout = new Lockout();

  constructor({ store, accounts, terms, clock = Date.now }: DeskParts) {
    this.terms = terms;
    this.#store = store;
    this.#accounts = accounts;
    this.#clock = clock;
  }

  // Looking

  /** At most one of each kind, and what is held of deleted ones. */
  async list({ user }: Person): Promise<readonly OwnTunnel[]> {
    if (!user) return [];
    const ipv6 = await this.#store.tunnel({ userId: user.id });
    const ipv4 = await this.#store.ipv4Tunnel({ userId: user.id });
    return [
      ...(ipv6 ? [ownIpv6Tunnel(ipv6, this.terms)] : []),
      ...(ipv4 ? [ownIpv4Tunnel(ipv4, this.terms)] : []),
    ];
  }

  /** Undefined also when it is somebody else's: nobody learns which there are. */
  async find(person: Person, tunnelId: number): Promise<OwnTunnel | undefined> {
    const all = await this.list(person);
    return all.find(({ id, state }) => id === tunnelId && state !== 'deleted');
  }

  /** What can be had: lengths of prefixes, the shortest first, and whether there is IPv4 in IPv6. */
  async offered(): Promise<{ readonly prefixLengths: readonly number[]; readonly ipv4: boolean }> {
    const pools = await this.#store.pools();
    const lengths = pools
      .filter(({ purpose }) => purpose === 'delegation')
      .map(({ positionLength }) => positionLength);
    return {
      prefixLengths: [...new Set(lengths)].sort((a, b) => a - b),
      ipv4: this.terms.v4v6 && pools.some(({ purpose }) => purpose === 'ipv4-link'),
    };
  }

  /** What went through it in the last hour, day or month; undefined as for {@link find}. */
  async traffic(
    person: Person,
    tunnelId: number,
    period: Period,
  ): Promise<TunnelTraffic | undefined> {
    if (!(await this.find(person, tunnelId))) return undefined;
    const { resolution, fromMs, untilMs } = spansOf(period, this.#clock());
    const points = await this.#store.traffic.ofTunnel(tunnelId, resolution, fromMs, untilMs);
    return { fromMs, untilMs, spanMs: SPAN_MS[resolution], points };
  }

  /** As far as the store knows: for when the running broker cannot be asked. */
  async findingsOnPaper({ id, family }: OwnTunnel): Promise<readonly Finding[]> {
    const key = { tunnelId: id };
    const tunnel =
      family === 'ipv6' ? await this.#store.tunnel(key) : await this.#store.ipv4Tunnel(key);
    const nowMs = this.#clock();
    return tunnel ? diagnose(statusOf(tunnel, undefined, this.terms.mtu, nowMs), nowMs) : [];
  }

  // Acting

  async create(person: Person, asked: NewTunnel, visitor: Visitor): Promise<TunnelResult> {
    const { user } = person;
    if (!user) return refuse('no-user');
    if (!this.#mayAct(person)) return refuse('too-often');
    const { family, prefixLength, client } = asked;
    const details = { family, prefixLength: prefixLength ?? null, ...clientDetails(client) };
    const audit = auditOf('tunnel-create', person.id, visitor, { details });
    const own = this.#store.people.tunnels;
    if (family === 'ipv4') {
      const linkPools = await this.#pools('ipv4-link');
      const terms = this.#terms();
      return own.createIpv4({ userId: user.id, linkPools, ...terms }, audit, this.#clock());
    }
    const place = client === undefined ? undefined : await this.#place(person, client, visitor);
    if (place && 'refusal' in place) return place;
    const request = { ...this.#request(prefixLength), userId: user.id };
    return own.create(request, place, audit, this.#clock());
  }

  async addPrefix(
    person: Person,
    tunnelId: number,
    prefixLength: number,
    visitor: Visitor,
  ): Promise<TunnelResult> {
    return this.#act(person, tunnelId, (whose) => {
      const audit = auditOf('tunnel-prefix', person.id, visitor, { details: { prefixLength } });
      const request = { ...this.#request(prefixLength), userId: whose.userId };
      return this.#store.people.tunnels.addPrefix(whose, request, audit, this.#clock());
    });
  }

  async pause(person: Person, tunnelId: number, visitor: Visitor): Promise<TunnelResult> {
    const audit = auditOf('tunnel-pause', person.id, visitor);
    return this.#act(person, tunnelId, (whose) =>
      this.#store.people.tunnels.pause(whose, audit, this.#clock()),
    );
  }

  async resume(person: Person, tunnelId: number, visitor: Visitor): Promise<TunnelResult> {
    const audit = auditOf('tunnel-resume', person.id, visitor);
    const { maxAtAddress } = this.terms;
    return this.#act(person, tunnelId, (whose) =>
      this.#store.people.tunnels.resume(whose, maxAtAddress, audit, this.#clock()),
    );
  }

  /** A client that goes on logging in makes the tunnel again, out of what was held. */
  async delete(person: Person, tunnelId: number, visitor: Visitor): Promise<TunnelResult> {
    const audit = auditOf('tunnel-delete', person.id, visitor);
    const { deletedHoldMs } = this.terms;
    return this.#act(person, tunnelId, (whose) =>
      this.#store.people.tunnels.delete(whose, deletedHoldMs, audit, this.#clock()),
    );
  }

  /** Protocol 41 to the address, at once; undefined: the tunnel waits for a login again. */
  async setClient(
    person: Person,
    tunnelId: number,
    client: Ipv4Address | undefined,
    visitor: Visitor,
  ): Promise<TunnelResult> {
    const details = clientDetails(client);
    const audit = auditOf('tunnel-endpoint', person.id, visitor, { details });
    return this.#act(person, tunnelId, async (whose) => {
      const place = client === undefined ? undefined : await this.#place(person, client, visitor);
      if (place && 'refusal' in place) return place;
      return this.#store.people.tunnels.setPlace(whose, place, audit, this.#clock());
    });
  }

  /** Names or addresses; undefined: what the client asks for. */
  async setNameServers(
    person: Person,
    tunnelId: number,
    names: readonly string[] | undefined,
    visitor: Visitor,
  ): Promise<TunnelResult> {
    if (names && (names.length > MAX_NAME_SERVERS || !names.every(isNameServer)))
      return refuse('name-servers-invalid');
    const details = { names: names?.join(' ') ?? null };
    const audit = auditOf('tunnel-name-servers', person.id, visitor, { details });
    return this.#act(person, tunnelId, (whose) =>
      this.#store.people.tunnels.setNameServers(whose, names, audit, this.#clock()),
    );
  }

  /** Answers the secret, told once. It is the user's: for all of their tunnels. */
  async rotateSecret(
    person: Person,
    visitor: Visitor,
  ): Promise<
    | { readonly ok: true; readonly secret: string }
    | { readonly ok: false; readonly refusal: TunnelRefusal }
  > {
    const { user } = person;
    if (!user) return { ok: false, refusal: 'no-user' };
    if (!this.#mayAct(person)) return { ok: false, refusal: 'too-often' };
    const { secret, sealed } = this.#accounts.makeSecret(user.name);
    const audit = auditOf('tunnel-secret', person.id, visitor, { subject: `user:${user.id}` });
    await this.#store.people.tunnels.setSecret(user.id, sealed, audit, this.#clock());
    return { ok: true, secret };
  }

  /** Who a router speaks for that gives a user's name and secret. */
  async personBySecret(
    name: string,
    secret: string,
    visitor: Visitor,
  ): Promise<Person | 'wrong' | 'held-back'> {
    const source = { address: visitor.address, port: 0 };
    const nowMs = this.#clock();
    if (!this.#lockout.allows(name, source, nowMs)) return 'held-back';
    const userId = await this.#accounts.userIdBySecret(name, secret);
    const person = userId === undefined ? undefined : await this.#store.people.find({ userId });
    if (person?.state !== 'active') {
      this.#lockout.rejected(name, source, nowMs);
      return 'wrong';
    }
    this.#lockout.accepted(name, source, nowMs);
    return person;
  }

  async #act(
    person: Person,
    tunnelId: number,
    work: (whose: { tunnelId: number; userId: number }) => Promise<TunnelResult>,
  ): Promise<TunnelResult> {
    if (!person.user) return refuse('no-such-tunnel');
    if (!this.#mayAct(person)) return refuse('too-often');
    return work({ tunnelId, userId: person.user.id });
  }

  #mayAct(person: Person): boolean {
    return this.#acts.take(String(person.id), this.#clock());
  }

  async #place(
    person: Person,
    client: Ipv4Address,
    visitor: Visitor,
  ): Promise<StaticPlace | (TunnelResult & { readonly ok: false })> {
    const { server, maxAtAddress } = this.terms;
    if (NO_CLIENTS.some((range) => ipv4PrefixContains(range, client)))
      return refuse('address-invalid');
    // Where the server itself has a private address, its clients do too.
    const isPrivate = (address: Ipv4Address) =>
      PRIVATE.some((range) => ipv4PrefixContains(range, address));
    if (isPrivate(client) && (server.address === undefined || !isPrivate(server.address)))
      return refuse('address-private');
    if (client === server.address || (await this.#isInPools(client))) return refuse('address-ours');
    const proxy = client !== visitor.address;
    if (proxy && !(await this.#isTrusted(person))) return refuse('address-not-yours');
    return { client, proxy, maxAtAddress };
  }

  async #isTrusted({ user }: Person): Promise<boolean> {
    const known = user && (await this.#store.user(user.name));
    return known?.proxyTrustedAtMs !== undefined;
  }

  async #isInPools(client: Ipv4Address): Promise<boolean> {
    const pools = await this.#pools('ipv4-link');
    return pools.some(
      (pool) => pool.purpose === 'ipv4-link' && ipv4PrefixContains(pool.prefix, client),
    );
  }

  async #pools(purpose: Pool['purpose']): Promise<readonly Pool[]> {
    return (await this.#store.pools()).filter((pool) => pool.purpose === purpose);
  }

  #terms() {
    const { keepaliveSeconds, leaseMs } = this.terms;
    return {
      keepaliveSeconds: keepaliveSecondsFor(undefined, keepaliveSeconds, true),
      lifetimeSeconds: USER_LIFETIME_SECONDS,
      leaseMs,
    };
  }

  /** Like a login's, but from nowhere: it takes addresses and no endpoint. */
  #request(prefixLength: number | undefined): Omit<TunnelRequest, 'userId'> {
    return {
      encapsulation: 'v6udpv4',
      client: { address: 0, port: 0 },
      choose: (situation) => choose(situation, prefixLength),
      countsAtAddress: false,
      requestedPrefixLength: prefixLength,
      nameServers: [],
      proxy: false,
      interfaceId: USER_INTERFACE_ID,
      ...this.#terms(),
    };
  }
}

function choose({ pools, standing }: OpenSituation, prefixLength: number | undefined): OpenChoice {
  return planPools(pools, {
    authenticated: true,
    prefixLength,
    hasDelegation: standing?.delegation !== undefined,
  });
}

/** This network, loopback, link-local, 6to4's relays, groups and what is reserved (RFC 6890). */
const NO_CLIENTS = ranges(
  '0.0.0.0/8',
  '127.0.0.0/8',
  '169.254.0.0/16',
  '192.88.99.0/24',
  '224.0.0.0/3',
);
/** RFC 1918, and what carriers put their customers behind (RFC 6598). */
const PRIVATE = ranges('10.0.0.0/8', '172.16.0.0/12', '192.168.0.0/16', '100.64.0.0/10');

function ranges(...texts: readonly string[]): readonly Ipv4Prefix[] {
  return texts.map((text) => parseIpv4Prefix(text)!);
}

/** A host's name (RFC 1123) or an address. */
function isNameServer(text: string): boolean {
  const label = '[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?';
  return (
    parseIp(text) !== undefined ||
    (text.length <= 253 && new RegExp(`^${label}(\\.${label})+\\.?$`, 'i').test(text))
  );
}

function clientDetails(client: Ipv4Address | undefined) {
  return client === undefined ? {} : { client: formatIpv4(client) };
}

function refuse(refusal: TunnelRefusal): TunnelResult & { readonly ok: false } {
  return { ok: false, refusal };
}
