// The broker against a model of a page: any order of logins, rejections, closings, bans, expiries
// and crashes must give the answers that the model gives, and leave the kernel's maps and the store
// saying what the model says.

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { formatIpv6Prefix } from '../../src/address.ts';
import type { Refusal, Result } from '../../src/broker/broker.ts';
import type { Tunnel } from '../../src/store/tunnels.ts';
import { at, Fixture, POLICY } from './fixture.ts';
import { type Action, anyAction, type Place, USERS, type Who } from './model-actions.ts';

// Small enough that everything runs out and everybody meets everybody.
const LINKS = 3;
const IPV4_LINKS = 3;
const DELEGATIONS = 2;
const MAX_PER_ADDRESS = 2;
const LEASE_MS = 1_000_000;
const OFFER_MS = 120_000;
const IDLE_MS = 120_000;
/** Nobody ever speaks here. */
const ANONYMOUS_IDLE_MS = 24_000;
/** Answers that come often enough to be counted on. */
const ANSWERS = [
  'open ok',
  'open address-in-use',
  'open no-free-prefix',
  'open no-free-tunnel',
  'open prefix-for-anonymous',
  'open prefix-length-unavailable',
  'open proxy-not-allowed',
  'open too-many-from-address',
  'open user-disabled',
  'open4 ok',
  'open4 address-in-use',
  'open4 ipv4-for-anonymous',
  'open4 no-free-tunnel',
  'open4 user-disabled',
  'accept ok',
  'accept no-such-tunnel',
  'close ok',
  'close no-such-tunnel',
  'close4 ok',
  'close4 no-such-tunnel',
  'lease ended',
];

/** How often each answer was given, lest the model agrees because nothing happens. */
const answers = new Map<string, number>();

const ANONYMOUS_MS = POLICY.anonymousLifetimeSeconds * 1000;

interface ModelTunnel {
  readonly id: number;
  readonly who: Who;
  readonly slot: number;
  delegation: string | undefined;
  /** The prefix length asked for last. */
  requested: number | undefined;
  place: Place | undefined;
  loginMs: number;
  heardMs: number;
  expiresMs: number | undefined;
}

/** Of IPv4 in IPv6; `host` is where its client is. */
interface ModelIpv4Tunnel {
  readonly id: number;
  readonly who: number;
  readonly slot: number;
  host: number | undefined;
  loginMs: number;
  heardMs: number;
  expiresMs: number | undefined;
}

interface ModelIpv6Offer {
  readonly offerId: number;
  readonly tunnelId: number;
  readonly who: Who;
  readonly place: Place;
  readonly proxy: boolean;
  readonly madeMs: number;
}

interface ModelIpv4Offer {
  readonly offerId: number;
  readonly tunnelId: number;
  readonly who: number;
  readonly host: number;
  readonly madeMs: number;
}

type ModelOffer = ModelIpv6Offer | ModelIpv4Offer;

describe('the broker and its model', () => {
  it('agree after any order of events', async () => {
    const missing = () => ANSWERS.filter((answer) => !answers.has(answer));
    // Some answers are rare: when one did not occur, more orders are tried before that is a failure.
    for (let round = 0; round < 4 && missing().length > 0; round++) await tryOrders();
    assert.deepEqual(missing(), [], 'answers that never occurred');
  });
});

async function tryOrders(): Promise<void> {
  await fc.assert(
    fc.asyncProperty(
      fc.array(anyAction(), { minLength: 10, maxLength: 60, size: 'max' }),
      async (actions) => {
        const run = await Run.make();
        try {
          for (const each of actions) await run.step(each);
          run.compareOwners();
        } finally {
          await run.fixture.remove();
        }
      },
    ),
    { numRuns: 100, interruptAfterTimeLimit: 120_000, markInterruptAsFailure: true },
  );
}

class Run {
  readonly fixture: Fixture;
  readonly userIds: number[] = [];
  readonly disabled = new Set<number>();
  readonly trusted = new Set<number>();
  readonly tunnels = new Map<number, ModelTunnel>();
  readonly ipv4 = new Map<number, ModelIpv4Tunnel>();
  offers: ModelOffer[] = [];

  private constructor(fixture: Fixture) {
    this.fixture = fixture;
  }

  static async make(): Promise<Run> {
    const run = new Run(
      await Fixture.make({
        links: '2001:db8::/62',
        delegations: [['2001:db8:8000::/55', 56]],
        policy: { maxTunnelsPerAddress: MAX_PER_ADDRESS, userLeaseSeconds: LEASE_MS / 1000 },
      }),
    );
    await run.fixture.addIpv4Pool('100.64.0.0/28', 30);
    for (const name of USERS) run.userIds.push(await run.fixture.addUser(name));
    return run;
  }

  async step(action: Action): Promise<void> {
    await this.#do(action);
    await this.fixture.broker.followChanges();
    await this.#compare();
  }

  async #do(action: Action): Promise<void> {
    const { fixture } = this;
    switch (action.type) {
      case 'open':
        return this.#open(action.who, action.place, action.length, action.proxy);
      case 'open4':
        return this.#open4(action.who, action.host);
      case 'login':
      case 'login4': {
        const { length: before } = this.offers;
        if ('host' in action) await this.#open4(action.who, action.host);
        else await this.#open(action.who, action.place, action.length, action.proxy);
        return this.offers.length > before ? this.#accept(this.offers.at(-1)) : undefined;
      }
      case 'close4':
        return this.#close4(action.who);
      case 'trust':
      case 'distrust':
        await fixture.accounts.setProxyTrust(USERS[action.user]!, action.type === 'trust');
        if (action.type === 'trust') this.trusted.add(action.user);
        else this.trusted.delete(action.user);
        return;
      case 'accept':
        return this.#accept(this.offers.at(-1 - action.offer));
      case 'reject':
        return this.#reject(this.offers.at(-1 - action.offer));
      case 'close':
        return this.#close(action.who, action.place);
      case 'disable': {
        await fixture.accounts.disable(USERS[action.user]!);
        this.disabled.add(action.user);
        const tunnel = this.#tunnelOf(action.user);
        if (tunnel?.place) this.#takeDown(tunnel);
        const ipv4 = this.#ipv4Of(action.user);
        if (ipv4?.host !== undefined) this.#takeDown4(ipv4);
        return;
      }
      case 'enable':
        await fixture.accounts.enable(USERS[action.user]!);
        this.disabled.delete(action.user);
        return;
      case 'replace': {
        await fixture.accounts.remove(USERS[action.user]!);
        const tunnel = this.#tunnelOf(action.user);
        if (tunnel) this.tunnels.delete(tunnel.id);
        const ipv4 = this.#ipv4Of(action.user);
        if (ipv4) this.ipv4.delete(ipv4.id);
        this.trusted.delete(action.user);
        this.userIds[action.user] = await fixture.addUser(USERS[action.user]!);
        this.disabled.delete(action.user);
        return;
      }
      case 'pass':
        return this.#pass(action.seconds * 1000);
      case 'restart':
        await fixture.restart();
        assert.equal(fixture.broker.reconciled.put + fixture.broker.reconciled.removed, 0);
        this.offers = [];
        for (const tunnel of [...this.tunnels.values(), ...this.ipv4.values()])
          tunnel.heardMs = fixture.nowMs;
    }
  }

  async #open(who: Who, place: Place, length: number | undefined, proxy: boolean): Promise<void> {
    const expected = this.#expectOpen(who, place, length, proxy);
    const before = who === undefined ? this.#anonymousAt(place) : this.#tunnelOf(who);
    const userId = who === undefined ? undefined : this.userIds[who];
    const result = await this.fixture.broker.open({
      userId,
      ...packetFrom(place),
      proxy,
      ...(length !== undefined && { prefixLength: length }),
    });
    check('open', result, expected);
    if (!result.ok) return;
    const { offer } = result;
    assert.equal(offer.prefix !== undefined, length !== undefined);
    if (before) assert.deepEqual([offer.tunnelId, offer.slot], [before.id, before.slot]);
    const { nowMs } = this.fixture;
    const tunnel = before ?? {
      id: offer.tunnelId,
      who,
      slot: offer.slot,
      delegation: undefined,
      requested: length,
      place: undefined,
      loginMs: 0,
      heardMs: 0,
      expiresMs: nowMs + (who === undefined ? OFFER_MS : LEASE_MS),
    };
    const prefix = offer.prefix && formatIpv6Prefix(offer.prefix);
    // What is changed by it begins its lease anew.
    if (tunnel.requested !== length && !tunnel.place) tunnel.expiresMs = nowMs + LEASE_MS;
    tunnel.requested = length;
    if (tunnel.delegation !== undefined && prefix !== undefined)
      assert.equal(prefix, tunnel.delegation, 'a user’s prefix changed');
    tunnel.delegation ??= prefix;
    this.tunnels.set(tunnel.id, tunnel);
    this.offers.push({
      offerId: offer.offerId,
      tunnelId: tunnel.id,
      who,
      place,
      proxy,
      madeMs: nowMs,
    });
  }

  #expectOpen(who: Who, place: Place, length: number | undefined, proxy: boolean): 'ok' | Refusal {
    const tunnel = who === undefined ? this.#anonymousAt(place) : this.#tunnelOf(who);
    if (length !== undefined && who === undefined) return 'prefix-for-anonymous';
    if (length !== undefined && length > 56 && !tunnel?.delegation)
      return 'prefix-length-unavailable';
    const occupant = this.#at(place);
    if (occupant && occupant.who !== who && !yields(occupant, who, place)) return 'address-in-use';
    if (this.#isFull(who, tunnel, place, this.offers)) return 'too-many-from-address';
    if (who !== undefined && this.disabled.has(who)) return 'user-disabled';
    if (proxy && !this.#isTrusted(who)) return 'proxy-not-allowed';
    if (!tunnel && this.tunnels.size === LINKS) return 'no-free-tunnel';
    const delegated = [...this.tunnels.values()].filter((other) => other.delegation !== undefined);
    if (length !== undefined && !tunnel?.delegation && delegated.length === DELEGATIONS)
      return 'no-free-prefix';
    return 'ok';
  }

  async #accept(offer: ModelOffer | undefined): Promise<void> {
    const result = await this.fixture.broker.accept(offer?.offerId ?? 999_999);
    const expected = offer ? this.#expectAccept(offer) : 'no-such-tunnel';
    check('accept', result, expected);
    if (!offer || !result.ok) return;
    this.offers = this.offers.filter((other) => other !== offer);
    const { nowMs } = this.fixture;
    if ('host' in offer) {
      const tunnel = this.ipv4.get(offer.tunnelId)!;
      const { host } = offer;
      Object.assign(tunnel, { host, loginMs: nowMs, heardMs: nowMs, expiresMs: undefined });
      return;
    }
    const tunnel = this.tunnels.get(offer.tunnelId)!;
    const occupant = this.#at(offer.place);
    if (occupant && occupant !== tunnel) this.#takeDown(occupant);
    tunnel.place = offer.place;
    tunnel.loginMs = nowMs;
    tunnel.heardMs = nowMs;
    tunnel.expiresMs = tunnel.who === undefined ? nowMs + ANONYMOUS_MS : undefined;
  }

  #expectAccept(offer: ModelOffer): 'ok' | Refusal {
    const { tunnelId, who } = offer;
    const known = this.tunnels.get(tunnelId) ?? this.ipv4.get(tunnelId);
    if (!known) return 'no-such-tunnel';
    if (who !== undefined && this.disabled.has(who)) return 'user-disabled';
    if ('host' in offer) return this.#isTaken4(who, offer.host) ? 'address-in-use' : 'ok';
    const { place, proxy } = offer;
    if (proxy && !this.#isTrusted(who)) return 'proxy-not-allowed';
    const tunnel = this.tunnels.get(tunnelId);
    const occupant = this.#at(place);
    if (occupant && occupant !== tunnel && !yields(occupant, who, place)) return 'address-in-use';
    return this.#isFull(who, tunnel, place, [], occupant) ? 'too-many-from-address' : 'ok';
  }

  /** Whether there are as many others at the address as may be, without who has to make room. */
  #isFull(
    who: Who,
    tunnel: ModelTunnel | undefined,
    { host }: Place,
    offers: readonly ModelOffer[],
    occupant?: ModelTunnel,
  ): boolean {
    if (tunnel?.place?.host === host) return false;
    const there = new Map<number, Who>();
    for (const other of this.tunnels.values())
      if (other.place?.host === host && other !== occupant) there.set(other.id, other.who);
    for (const offer of offers)
      if ('place' in offer && offer.place.host === host) there.set(offer.tunnelId, offer.who);
    if (tunnel) there.delete(tunnel.id);
    const counted = [...there.values()].filter((other) => who === undefined || other !== undefined);
    return counted.length >= MAX_PER_ADDRESS;
  }

  #isTrusted(who: Who): boolean {
    return who !== undefined && this.trusted.has(who);
  }

  async #open4(who: Who, host: number): Promise<void> {
    const before = who === undefined ? undefined : this.#ipv4Of(who);
    const result = await this.fixture.broker.open({
      userId: who === undefined ? undefined : this.userIds[who],
      encapsulation: 'v4v6',
      client: { address: hostAddress(host), port: 0 },
    });
    check('open4', result, this.#expectOpen4(who, host));
    if (!result.ok || who === undefined) return;
    const { offerId, tunnelId, slot } = result.offer;
    if (before) assert.deepEqual([tunnelId, slot], [before.id, before.slot]);
    const { nowMs } = this.fixture;
    const fresh = { host: undefined, loginMs: 0, heardMs: 0, expiresMs: nowMs + LEASE_MS };
    this.ipv4.set(tunnelId, before ?? { id: tunnelId, who, slot, ...fresh });
    this.offers.push({ offerId, tunnelId, who, host, madeMs: nowMs });
  }

  #expectOpen4(who: Who, host: number): 'ok' | Refusal {
    if (who === undefined) return 'ipv4-for-anonymous';
    if (this.#isTaken4(who, host)) return 'address-in-use';
    if (this.disabled.has(who)) return 'user-disabled';
    return !this.#ipv4Of(who) && this.ipv4.size === IPV4_LINKS ? 'no-free-tunnel' : 'ok';
  }

  #isTaken4(who: Who, host: number): boolean {
    return [...this.ipv4.values()].some((other) => other.host === host && other.who !== who);
  }

  async #close4(who: Who): Promise<void> {
    const result = await this.fixture.broker.close({
      userId: who === undefined ? undefined : this.userIds[who],
      client: { address: hostAddress(1), port: 0 },
    });
    const tunnel = who === undefined ? undefined : this.#ipv4Of(who);
    const isUp = tunnel?.host !== undefined;
    check('close4', result, isUp ? 'ok' : 'no-such-tunnel');
    if (isUp) this.#takeDown4(tunnel);
  }

  async #reject(offer: ModelOffer | undefined): Promise<void> {
    assert.deepEqual(await this.fixture.broker.reject(offer?.offerId ?? 999_999), { ok: true });
    if (!offer) return;
    this.offers = this.offers.filter((other) => other !== offer);
    const tunnel = this.tunnels.get(offer.tunnelId);
    if (tunnel && tunnel.who === undefined && !tunnel.place) this.tunnels.delete(tunnel.id);
  }

  async #close(who: Who, place: Place): Promise<void> {
    const result = await this.fixture.broker.close({
      userId: who === undefined ? undefined : this.userIds[who],
      client: at(`192.0.2.${place.host}`, place.port),
    });
    const tunnel =
      who === undefined
        ? (this.#at({ ...place, encapsulation: 'v6udpv4' }) ??
          this.#at({ ...place, encapsulation: 'v6v4' }))
        : this.#tunnelOf(who);
    const own = tunnel && tunnel.who === who && tunnel.place ? tunnel : undefined;
    check('close', result, own ? 'ok' : 'no-such-tunnel');
    if (own) this.#takeDown(own);
  }

  async #pass(durationMs: number): Promise<void> {
    this.fixture.nowMs += durationMs;
    const { nowMs } = this.fixture;
    await this.fixture.broker.expire(nowMs);
    this.offers = this.offers.filter(({ madeMs }) => madeMs + OFFER_MS > nowMs);
    for (const tunnel of this.tunnels.values()) {
      if (tunnel.expiresMs !== undefined && tunnel.expiresMs <= nowMs) {
        this.tunnels.delete(tunnel.id);
        if (tunnel.who !== undefined) note('lease ended');
      } else if (tunnel.place && Math.max(tunnel.heardMs, tunnel.loginMs) + idleMs(tunnel) <= nowMs)
        this.#takeDown(tunnel);
    }
    for (const tunnel of this.ipv4.values()) {
      if (tunnel.expiresMs !== undefined && tunnel.expiresMs <= nowMs) this.ipv4.delete(tunnel.id);
      else if (tunnel.host && Math.max(tunnel.heardMs, tunnel.loginMs) + IDLE_MS <= nowMs)
        this.#takeDown4(tunnel);
    }
  }

  #takeDown4(tunnel: ModelIpv4Tunnel): void {
    tunnel.host = undefined;
    tunnel.expiresMs = this.fixture.nowMs + LEASE_MS;
  }

  #ipv4Of(user: number): ModelIpv4Tunnel | undefined {
    return [...this.ipv4.values()].find(({ who }) => who === user);
  }

  #takeDown(tunnel: ModelTunnel): void {
    tunnel.place = undefined;
    tunnel.expiresMs = this.fixture.nowMs + LEASE_MS;
    if (tunnel.who === undefined) this.tunnels.delete(tunnel.id);
  }

  #tunnelOf(user: number): ModelTunnel | undefined {
    return [...this.tunnels.values()].find(({ who }) => who === user);
  }

  #at(place: Place): ModelTunnel | undefined {
    return [...this.tunnels.values()].find((tunnel) => tunnel.place && same(tunnel.place, place));
  }

  #anonymousAt(place: Place): ModelTunnel | undefined {
    const occupant = this.#at(place);
    return occupant && occupant.who === undefined ? occupant : undefined;
  }

  /** Store and maps must say what the model says, and nothing twice. */
  async #compare(): Promise<void> {
    const { store, dataplane, complaints } = this.fixture;
    assert.deepEqual(complaints, []);
    const stored = await store.tunnelsAfter(0, 1000);
    assert.deepEqual(
      new Map(stored.map((tunnel) => [tunnel.id, fromStore(tunnel)])),
      new Map([...this.tunnels.values()].map((tunnel) => [tunnel.id, fromModel(tunnel)])),
    );
    assert.equal(new Set(stored.map(({ slot }) => slot)).size, stored.length);
    const bySlot = new Map([...this.tunnels.values()].map((tunnel) => [tunnel.slot, tunnel]));
    for (let slot = 0; slot <= LINKS; slot++) {
      const place = bySlot.get(slot)?.place;
      const attachment = dataplane.attachment(slot);
      assert.deepEqual(
        attachment && { encapsulation: attachment.encapsulation, client: attachment.client },
        place && endpointOf(place),
        `slot ${slot}`,
      );
    }
    assert.deepEqual(
      (await store.ipv4TunnelsAfter(0, 1000)).map(
        ({ id, user, slot, attachment, expiresAtMs }) => ({
          id,
          name: user.name,
          slot,
          client: attachment?.client,
          expiresAtMs,
        }),
      ),
      [...this.ipv4.values()]
        .sort((a, b) => a.id - b.id)
        .map(({ id, who, slot, host, expiresMs }) => ({
          id,
          name: USERS[who],
          slot,
          client: host === undefined ? undefined : hostAddress(host),
          expiresAtMs: expiresMs,
        })),
    );
    const hosts = new Map([...this.ipv4.values()].map(({ slot, host }) => [slot, host]));
    for (let slot = 0; slot <= IPV4_LINKS; slot++) {
      const host = hosts.get(slot);
      assert.equal(
        dataplane.attachmentV4v6(slot)?.client,
        host === undefined ? undefined : hostAddress(host),
        `IPv4 slot ${slot}`,
      );
    }
  }

  /** Once a run, since it takes another process to look. */
  compareOwners(): void {
    const owners = [...this.fixture.ownersInKernel()];
    const delegated = [...this.tunnels.values()].filter((tunnel) => tunnel.delegation);
    assert.deepEqual(
      new Map(owners.map(([index, slot]) => [formatIpv6Prefix(delegation(index)), slot])),
      new Map(delegated.map((tunnel) => [tunnel.delegation, tunnel.slot])),
    );
  }
}

function check(asked: string, result: Result, expected: string): void {
  const answer = result.ok ? 'ok' : result.refusal;
  assert.equal(answer, expected);
  note(`${asked} ${answer}`);
}

function note(answer: string): void {
  answers.set(answer, (answers.get(answer) ?? 0) + 1);
}

function hostAddress(host: number): bigint {
  return (0x20010db80009n << 80n) | BigInt(host);
}

function yields(occupant: ModelTunnel, who: Who, place: Place): boolean {
  if (who === undefined) return false;
  return place.encapsulation === 'v6udpv4' || occupant.who === undefined;
}

function idleMs({ who }: ModelTunnel): number {
  return who === undefined ? ANONYMOUS_IDLE_MS : IDLE_MS;
}

function same(a: Place, b: Place): boolean {
  if (a.encapsulation !== b.encapsulation || a.host !== b.host) return false;
  return a.encapsulation === 'v6v4' || a.port === b.port;
}

function packetFrom({ encapsulation, host, port }: Place) {
  return { encapsulation, client: at(`192.0.2.${host}`, port) };
}

function endpointOf({ encapsulation, host, port }: Place) {
  return { encapsulation, client: at(`192.0.2.${host}`, encapsulation === 'v6v4' ? 0 : port) };
}

function delegation(index: number) {
  return { address: (0x20010db88000n << 80n) | (BigInt(index) << 72n), length: 56 };
}

function fromStore({ slot, user, delegation: held, attachment, expiresAtMs }: Tunnel) {
  return {
    slot,
    name: user?.name,
    delegation: held && formatIpv6Prefix(held),
    at: attachment && { encapsulation: attachment.encapsulation, client: attachment.client },
    expiresAtMs,
  };
}

function fromModel({ slot, who, delegation: held, place, expiresMs }: ModelTunnel) {
  return {
    slot,
    name: who === undefined ? undefined : USERS[who],
    delegation: held,
    at: place && endpointOf(place),
    expiresAtMs: expiresMs,
  };
}
