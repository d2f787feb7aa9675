// The broker against a model of a page: any order of logins, rejections, closings, bans, expiries
// and crashes must give the answers that the model gives, and leave the kernel's maps and the store
// saying what the model says.

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { formatIpv6Prefix } from '../../src/address.ts';
import type { Refusal, Result } from '../../src/broker/broker.ts';
import type { Encapsulation } from '../../src/store/schema.ts';
import type { Tunnel } from '../../src/store/tunnels.ts';
import { at, Fixture, POLICY } from './fixture.ts';

// Small enough that everything runs out and everybody meets everybody.
const USERS = ['ada', 'bob', 'cleo', 'dan', 'eve'] as const;
const LINKS = 3;
const DELEGATIONS = 2;
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
  'open user-disabled',
  'accept ok',
  'accept no-such-tunnel',
  'close ok',
  'close no-such-tunnel',
];

/** How often each answer was given, lest the model agrees because nothing happens. */
const answers = new Map<string, number>();

const ANONYMOUS_MS = POLICY.anonymousLifetimeSeconds * 1000;

/** An index into USERS; undefined: anonymous. */
type Who = number | undefined;
interface Place {
  readonly encapsulation: Encapsulation;
  readonly host: number;
  readonly port: number;
}

type Action =
  | {
      readonly type: 'open' | 'login';
      readonly who: Who;
      readonly place: Place;
      readonly length: number | undefined;
    }
  | { readonly type: 'accept' | 'reject'; readonly offer: number }
  | { readonly type: 'close'; readonly who: Who; readonly place: Place }
  | { readonly type: 'disable' | 'enable' | 'replace'; readonly user: number }
  | { readonly type: 'pass'; readonly seconds: number }
  | { readonly type: 'restart' };

interface ModelTunnel {
  readonly id: number;
  readonly who: Who;
  readonly slot: number;
  delegation: string | undefined;
  place: Place | undefined;
  loginMs: number;
  heardMs: number;
  expiresMs: number | undefined;
}

interface ModelOffer {
  readonly offerId: number;
  readonly tunnelId: number;
  readonly who: Who;
  readonly place: Place;
  readonly madeMs: number;
}

describe('the broker and its model', () => {
  it('agree after any order of events', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(action(), { minLength: 10, maxLength: 60, size: 'max' }),
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
    for (const answer of ANSWERS) assert.ok((answers.get(answer) ?? 0) > 0, `never: ${answer}`);
  });
});

class Run {
  readonly fixture: Fixture;
  readonly userIds: number[] = [];
  readonly disabled = new Set<number>();
  readonly tunnels = new Map<number, ModelTunnel>();
  offers: ModelOffer[] = [];

  private constructor(fixture: Fixture) {
    this.fixture = fixture;
  }

  static async make(): Promise<Run> {
    const run = new Run(
      await Fixture.make({ links: '2001:db8::/62', delegations: [['2001:db8:8000::/55', 56]] }),
    );
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
        return this.#open(action.who, action.place, action.length);
      case 'login': {
        const { length: before } = this.offers;
        await this.#open(action.who, action.place, action.length);
        return this.offers.length > before ? this.#accept(this.offers.at(-1)) : undefined;
      }
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
        if (tunnel) tunnel.place = undefined;
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
        for (const tunnel of this.tunnels.values()) tunnel.heardMs = fixture.nowMs;
    }
  }

  async #open(who: Who, place: Place, length: number | undefined): Promise<void> {
    const expected = this.#expectOpen(who, place, length);
    const before = who === undefined ? this.#anonymousAt(place) : this.#tunnelOf(who);
    const userId = who === undefined ? undefined : this.userIds[who];
    const result = await this.fixture.broker.open({
      userId,
      ...packetFrom(place),
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
      place: undefined,
      loginMs: 0,
      heardMs: 0,
      expiresMs: who === undefined ? nowMs + OFFER_MS : undefined,
    };
    const prefix = offer.prefix && formatIpv6Prefix(offer.prefix);
    if (tunnel.delegation !== undefined && prefix !== undefined)
      assert.equal(prefix, tunnel.delegation, 'a user’s prefix changed');
    tunnel.delegation ??= prefix;
    this.tunnels.set(tunnel.id, tunnel);
    this.offers.push({
      offerId: offer.offerId,
      tunnelId: tunnel.id,
      who,
      place,
      madeMs: nowMs,
    });
  }

  #expectOpen(who: Who, place: Place, length: number | undefined): 'ok' | Refusal {
    const tunnel = who === undefined ? this.#anonymousAt(place) : this.#tunnelOf(who);
    if (length !== undefined && who === undefined) return 'prefix-for-anonymous';
    if (length !== undefined && length > 56 && !tunnel?.delegation)
      return 'prefix-length-unavailable';
    const occupant = this.#at(place);
    if (occupant && occupant.who !== who && !yields(occupant, who, place)) return 'address-in-use';
    if (who !== undefined && this.disabled.has(who)) return 'user-disabled';
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
    const tunnel = this.tunnels.get(offer.tunnelId)!;
    const occupant = this.#at(offer.place);
    if (occupant && occupant !== tunnel) this.#takeDown(occupant);
    tunnel.place = offer.place;
    tunnel.loginMs = this.fixture.nowMs;
    tunnel.heardMs = this.fixture.nowMs;
    if (tunnel.who === undefined) tunnel.expiresMs = this.fixture.nowMs + ANONYMOUS_MS;
    this.offers = this.offers.filter((other) => other !== offer);
  }

  #expectAccept({ tunnelId, who, place }: ModelOffer): 'ok' | Refusal {
    const tunnel = this.tunnels.get(tunnelId);
    if (!tunnel) return 'no-such-tunnel';
    if (who !== undefined && this.disabled.has(who)) return 'user-disabled';
    const occupant = this.#at(place);
    if (occupant && occupant !== tunnel && !yields(occupant, who, place)) return 'address-in-use';
    return 'ok';
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
      if (tunnel.expiresMs !== undefined && tunnel.expiresMs <= nowMs)
        this.tunnels.delete(tunnel.id);
      else if (tunnel.place && Math.max(tunnel.heardMs, tunnel.loginMs) + idleMs(tunnel) <= nowMs)
        this.#takeDown(tunnel);
    }
  }

  #takeDown(tunnel: ModelTunnel): void {
    tunnel.place = undefined;
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
  answers.set(`${asked} ${answer}`, (answers.get(`${asked} ${answer}`) ?? 0) + 1);
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

function action(): fc.Arbitrary<Action> {
  const who = fc.option(fc.nat(USERS.length - 1), { nil: undefined, freq: 3 });
  const place = fc.record({
    encapsulation: fc.constantFrom<Encapsulation>('v6udpv4', 'v6v4'),
    host: fc.integer({ min: 1, max: 2 }),
    port: fc.integer({ min: 1000, max: 1001 }),
  });
  const length = fc.option(fc.constantFrom(48, 56, 60), { nil: undefined, freq: 3 });
  // Counted from the last one; a few are never there.
  const offer = fc.nat(3);
  const user = fc.nat(USERS.length - 1);
  return fc.oneof(
    { weight: 5, arbitrary: fc.record({ type: fc.constant('open'), who, place, length }) },
    { weight: 5, arbitrary: fc.record({ type: fc.constant('login'), who, place, length }) },
    { weight: 5, arbitrary: fc.record({ type: fc.constant('accept'), offer }) },
    { weight: 2, arbitrary: fc.record({ type: fc.constant('reject'), offer }) },
    { weight: 2, arbitrary: fc.record({ type: fc.constant('close'), who, place }) },
    { weight: 2, arbitrary: fc.record({ type: fc.constantFrom('disable', 'enable'), user }) },
    { weight: 1, arbitrary: fc.record({ type: fc.constant('replace'), user }) },
    {
      weight: 2,
      arbitrary: fc.record({
        type: fc.constant('pass'),
        seconds: fc.constantFrom(1, 23, 24, 61, 119, 120, 400),
      }),
    },
    { weight: 1, arbitrary: fc.record({ type: fc.constant('restart') }) },
  ) as fc.Arbitrary<Action>;
}
