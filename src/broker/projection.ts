// Keeps the kernel's maps what the store says. There is one way from the store to a map: read the
// change feed, read what the store says of each subject, write that. It is the same for what this
// process did, what the command line did and what a crash left undone. Decides nothing.

import type {
  AnyPoolMapping,
  Attachment,
  AttachmentV4v6,
  Standing,
  TunnelCounters,
  TunnelFaults,
} from '../dataplane/contract.ts';
import type { Dataplane } from '../dataplane/dataplane.ts';
import type { DesiredMaps } from '../dataplane/desired.ts';
import type { Change } from '../store/changes.ts';
import type { Ipv4Tunnel } from '../store/ipv4-tunnels.ts';
import type { Pool } from '../store/pools.ts';
import type { TunnelFamily } from '../store/schema.ts';
import type { Store } from '../store/store.ts';
import type { SlotTunnel } from '../store/tunnels.ts';
import type { IdleWatch } from './idle-watch.ts';
import { type SilenceLimits, silenceOf } from './lifetime.ts';
import { effectivePolicy } from './policy.ts';

export type Log = (message: string, error?: unknown) => void;

/** Slots are counted by family. */
export type Idle = Readonly<Record<TunnelFamily, IdleWatch>>;

/** Hears of a slot whose counters are about to begin anew. */
export type BeforeReset = (family: TunnelFamily, slot: number) => void;

export type Reconciled = ReturnType<Dataplane['reconcile']>;

const PAGE = 10_000;

export class Projection {
  readonly #store: Store;
  readonly #dataplane: Dataplane;
  readonly #idle: Idle;
  readonly #clock: () => number;
  readonly #log: Log;
  readonly #beforeReset: BeforeReset;
  /** The last change that the maps know of. */
  #seenId = 0;
  #tail: Promise<unknown> = Promise.resolve();
  #nextFollow: Promise<void> | undefined;
  /** Slots that the data plane would not take. */
  readonly #failed = { ipv6: new Set<number>(), ipv4: new Set<number>() } as const;

  constructor(
    store: Store,
    dataplane: Dataplane,
    idle: Idle,
    clock: () => number,
    log: Log,
    beforeReset: BeforeReset = () => {},
  ) {
    this.#store = store;
    this.#dataplane = dataplane;
    this.#idle = idle;
    this.#clock = clock;
    this.#log = log;
    this.#beforeReset = beforeReset;
  }

  /** Compares everything. Rejects with StoreError, or RangeError when the maps are too small. */
  async reconcile(): Promise<Reconciled> {
    return this.#inTurn(() => this.#reconcile());
  }

  /** Applies every change that was committed before the call. Rejects with StoreError. */
  follow(): Promise<void> {
    // One that has not begun yet is good for all who ask meanwhile.
    this.#nextFollow ??= this.#inTurn(() => {
      this.#nextFollow = undefined;
      return this.#follow();
    });
    return this.#nextFollow;
  }

  async #follow(): Promise<void> {
    for (;;) {
      const since = await this.#store.changesSince(this.#seenId);
      if (!since.complete) {
        this.#log('the change feed was pruned; comparing the maps with the store');
        await this.#reconcile();
        continue;
      }
      const last = since.changes.at(-1);
      if (!last) return;
      await this.#apply(since.changes);
      this.#seenId = last.id;
    }
  }

  /** Whether the data plane refused what the store says of the slot. */
  hasFailed(family: TunnelFamily, slot: number): boolean {
    return this.#failed[family].has(slot);
  }

  async #reconcile(): Promise<Reconciled> {
    const seenId = await this.#store.latestChangeId();
    const nowMs = this.#clock();
    const pools = await this.#store.pools();
    const desired = this.#dataplane.desire();
    this.#idle.ipv6.forgetAll();
    this.#idle.ipv4.forgetAll();
    for (let slot = 0; ; ) {
      const page = await this.#store.slotsFrom(slot, PAGE);
      for (const tunnel of page) {
        desired.tunnel(tunnel.slot, attachmentOf(tunnel));
        if (tunnel.attachment) this.#idle.ipv6.watch(tunnel.slot, silenceOf(tunnel), nowMs);
      }
      if (page.length < PAGE) break;
      slot = page.at(-1)!.slot + 1;
    }
    await this.#readIpv4(desired, nowMs);
    for (const pool of pools.filter(({ purpose }) => purpose === 'delegation')) {
      for (let position = 0; ; ) {
        const page = await this.#store.ownershipsFrom(pool, position, PAGE);
        for (const { index, slot } of page) desired.owner(index, slot);
        if (page.length < PAGE) break;
        position = page.at(-1)!.index - pool.firstIndex + 1;
      }
    }
    const reconciled = this.#dataplane.reconcile({ pools: pools.map(toMapping), desired });
    this.#seenId = seenId;
    this.#failed.ipv6.clear();
    this.#failed.ipv4.clear();
    return reconciled;
  }

  async #readIpv4(desired: DesiredMaps, nowMs: number): Promise<void> {
    for (let after = 0; ; ) {
      const page = await this.#store.ipv4TunnelsAfter(after, PAGE);
      for (const tunnel of page) {
        desired.tunnelV4v6(tunnel.slot, ipv4AttachmentOf(tunnel));
        if (tunnel.attachment) this.#idle.ipv4.watch(tunnel.slot, silenceOfIpv4(tunnel), nowMs);
      }
      if (page.length < PAGE) return;
      after = page.at(-1)!.id;
    }
  }

  async #apply(changes: readonly Change[]): Promise<void> {
    const subjects = (kind: Change['kind']) => [
      ...new Set(changes.filter((change) => change.kind === kind).map(({ subject }) => subject)),
    ];
    const owners: { index: number; slot: number | undefined }[] = [];
    for (const index of subjects('owner'))
      owners.push({ index, slot: (await this.#store.ownership(index))?.slot });
    const touched = {
      ipv6: new Set(subjects('slot')),
      ipv4: new Set(subjects('ipv4-slot')),
    };
    for (const userId of subjects('user')) await this.#touch({ userId }, touched);
    for (const groupId of subjects('group')) await this.#touch({ groupId }, touched);
    const slots: { slot: number; tunnel: SlotTunnel | undefined }[] = [];
    for (const slot of touched.ipv6) slots.push({ slot, tunnel: await this.#store.slot(slot) });
    const ipv4: { slot: number; tunnel: Ipv4Tunnel | undefined }[] = [];
    for (const slot of touched.ipv4)
      ipv4.push({ slot, tunnel: await this.#store.ipv4Tunnel({ slot }) });
    if (subjects('pool').length > 0) {
      const pools = (await this.#store.pools()).map(toMapping);
      this.#attempt('the pools', () => this.#dataplane.setPools(pools));
    }

    // A slot must not get a new client while prefixes of its old one still lead to it, and an
    // endpoint must not belong to two slots.
    for (const { index, slot } of owners)
      this.#attempt(`owner ${index}`, () => this.#dataplane.setOwner(index, slot));
    const later: (() => void)[] = [];
    for (const { slot, tunnel } of slots) {
      const wanted = attachmentOf(tunnel);
      if (typeof wanted === 'string') this.#detach(slot, tunnel, wanted);
      else later.push(() => this.#attach(slot, tunnel!, wanted));
    }
    for (const { slot, tunnel } of ipv4) {
      const wanted = ipv4AttachmentOf(tunnel);
      if (typeof wanted === 'string') this.#detachIpv4(slot, tunnel, wanted);
      else later.push(() => this.#attachIpv4(slot, tunnel!, wanted));
    }
    for (const attach of later) attach();
  }

  /** Adds the slots whose tunnels may be subject to what changed of a user or a group. */
  async #touch(
    whose: { readonly userId: number } | { readonly groupId: number },
    touched: Readonly<Record<TunnelFamily, Set<number>>>,
  ): Promise<void> {
    for (let after = 0; ; ) {
      const page = await this.#store.touchedSlotsAfter(whose, after, PAGE);
      for (const { family, slot } of page) touched[family].add(slot);
      if (page.length < PAGE) return;
      after = page.at(-1)!.tunnelId;
    }
  }

  #detach(slot: number, tunnel: SlotTunnel | undefined, standing: Standing): void {
    this.#idle.ipv6.forget(slot);
    this.#failed.ipv6.delete(slot);
    this.#attempt(`slot ${slot}`, () => {
      const resetCounters = tunnel !== undefined && this.#isAnothers(slot, tunnel);
      if (resetCounters) this.#beforeReset('ipv6', slot);
      this.#dataplane.remove(slot, standing, { resetCounters });
    });
  }

  #attach(slot: number, tunnel: SlotTunnel, attachment: Attachment): void {
    let stays = false;
    const done = this.#attempt(`slot ${slot}`, () => {
      const { encapsulation, client } = this.#dataplane.attachment(slot) ?? {};
      stays =
        encapsulation === attachment.encapsulation &&
        client?.address === attachment.client.address &&
        client.port === attachment.client.port;
      const resetCounters = this.#isAnothers(slot, tunnel);
      if (resetCounters) this.#beforeReset('ipv6', slot);
      this.#dataplane.put(slot, attachment, { resetCounters });
    });
    // A change of what it may do is no sign of life.
    if (!stays) this.#idle.ipv6.watch(slot, silenceOf(tunnel), this.#clock());
    if (done) this.#failed.ipv6.delete(slot);
    else this.#failed.ipv6.add(slot);
  }

  #detachIpv4(slot: number, tunnel: Ipv4Tunnel | undefined, standing: Standing): void {
    this.#idle.ipv4.forget(slot);
    this.#failed.ipv4.delete(slot);
    this.#attempt(`IPv4 slot ${slot}`, () => {
      const resetCounters = tunnel !== undefined && this.#isAnothersIpv4(slot, tunnel);
      if (resetCounters) this.#beforeReset('ipv4', slot);
      this.#dataplane.removeV4v6(slot, standing, { resetCounters });
    });
  }

  #attachIpv4(slot: number, tunnel: Ipv4Tunnel, attachment: AttachmentV4v6): void {
    let stays = false;
    const done = this.#attempt(`IPv4 slot ${slot}`, () => {
      stays = this.#dataplane.attachmentV4v6(slot)?.client === attachment.client;
      const resetCounters = this.#isAnothersIpv4(slot, tunnel);
      if (resetCounters) this.#beforeReset('ipv4', slot);
      this.#dataplane.putV4v6(slot, attachment, { resetCounters });
    });
    if (!stays) this.#idle.ipv4.watch(slot, silenceOfIpv4(tunnel), this.#clock());
    if (done) this.#failed.ipv4.delete(slot);
    else this.#failed.ipv4.add(slot);
  }

  /** Whether what was counted in the slot is of the tunnel that had it before. */
  #isAnothers(slot: number, tunnel: SlotTunnel): boolean {
    const plane = this.#dataplane;
    return (
      plane.standing(slot) === 'vacant' || isOlder(plane.counters(slot), plane.faults(slot), tunnel)
    );
  }

  #isAnothersIpv4(slot: number, tunnel: Ipv4Tunnel): boolean {
    const plane = this.#dataplane;
    return (
      plane.standingV4v6(slot) === 'vacant' ||
      isOlder(plane.countersV4v6(slot), plane.faultsV4v6(slot), tunnel)
    );
  }

  /** One entry that cannot be must not keep the others from being right. */
  #attempt(what: string, act: () => void): boolean {
    try {
      act();
      return true;
    } catch (error) {
      this.#log(`the data plane does not take ${what}`, error);
      return false;
    }
  }

  /** One after the other: what is written last must be what was read last. */
  #inTurn<T>(act: () => Promise<T>): Promise<T> {
    const turn = this.#tail.then(act);
    this.#tail = turn.catch(() => {});
    return turn;
  }
}

/** What the record of a slot is to say; undefined: the slot is nobody's. */
function attachmentOf(tunnel: SlotTunnel | undefined): Attachment | Standing {
  if (!tunnel) return 'vacant';
  if (tunnel.disabled) return 'disabled';
  if (!tunnel.attachment) return 'down';
  const { encapsulation, client } = tunnel.attachment;
  return {
    encapsulation,
    client,
    interfaceId: tunnel.interfaceId,
    // An anonymous login proves nothing: its source may be a victim's address (RFC 5572 §8).
    silentUntilHeard: tunnel.anonymous,
    ...effectivePolicy(tunnel),
  };
}

function ipv4AttachmentOf(tunnel: Ipv4Tunnel | undefined): AttachmentV4v6 | Standing {
  if (!tunnel) return 'vacant';
  if (tunnel.state === 'disabled' || tunnel.userDisabled) return 'disabled';
  if (!tunnel.attachment) return 'down';
  return { client: tunnel.attachment.client, ...effectivePolicy(tunnel) };
}

function silenceOfIpv4({ keepaliveSeconds }: Ipv4Tunnel): SilenceLimits {
  return silenceOf({ anonymous: false, keepaliveSeconds });
}

/** Counters from before the tunnel was made are those of the slot's last tunnel. */
function isOlder(
  { inLastSeenMs = 0, outLastSeenMs = 0 }: TunnelCounters,
  { last }: TunnelFaults,
  { createdAtMs }: { readonly createdAtMs: number },
): boolean {
  return Math.max(inLastSeenMs, outLastSeenMs, last?.atMs ?? 0) < createdAtMs;
}

function toMapping(pool: Pool): AnyPoolMapping {
  const { firstIndex, positionLength } = pool;
  if (pool.purpose !== 'ipv4-link')
    return { purpose: pool.purpose, prefix: pool.prefix, positionLength, firstIndex };
  const length = positionLength === 30 ? 30 : 32;
  return { purpose: pool.purpose, prefix: pool.prefix, positionLength: length, firstIndex };
}
