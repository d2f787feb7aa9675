// Keeps the kernel's maps what the store says. There is one way from the store to a map: read the
// change feed, read what the store says of each subject, write that. It is the same for what this
// process did, what the command line did and what a crash left undone. Decides nothing.

import type { Ipv6Address } from '../address.ts';
import type {
  AnyPoolMapping,
  Attachment,
  DesiredState,
  TunnelCounters,
} from '../dataplane/contract.ts';
import type { Dataplane } from '../dataplane/dataplane.ts';
import type { Change } from '../store/changes.ts';
import type { Ipv4Tunnel } from '../store/ipv4-tunnels.ts';
import type { Pool } from '../store/pools.ts';
import type { TunnelFamily } from '../store/schema.ts';
import type { Store } from '../store/store.ts';
import type { AttachedTunnel } from '../store/tunnels.ts';
import type { IdleWatch } from './idle-watch.ts';
import { silenceOf } from './lifetime.ts';

export type Log = (message: string, error?: unknown) => void;

/** Slots are counted by family. */
export type Idle = Readonly<Record<TunnelFamily, IdleWatch>>;

export type Reconciled = ReturnType<Dataplane['reconcile']>;

const PAGE = 10_000;

export class Projection {
  readonly #store: Store;
  readonly #dataplane: Dataplane;
  readonly #idle: Idle;
  readonly #clock: () => number;
  readonly #log: Log;
  /** The last change that the maps know of. */
  #seenId = 0;
  #tail: Promise<unknown> = Promise.resolve();
  /** Slots that the data plane would not take. */
  readonly #failed = { ipv6: new Set<number>(), ipv4: new Set<number>() } as const;

  constructor(store: Store, dataplane: Dataplane, idle: Idle, clock: () => number, log: Log) {
    this.#store = store;
    this.#dataplane = dataplane;
    this.#idle = idle;
    this.#clock = clock;
    this.#log = log;
  }

  /** Compares everything. Rejects with StoreError, or RangeError when the maps are too small. */
  async reconcile(): Promise<Reconciled> {
    return this.#inTurn(() => this.#reconcile());
  }

  /** Applies every change that was committed before the call. Rejects with StoreError. */
  async follow(): Promise<void> {
    return this.#inTurn(async () => {
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
    });
  }

  /** Whether the data plane refused what the store says of the slot. */
  hasFailed(family: TunnelFamily, slot: number): boolean {
    return this.#failed[family].has(slot);
  }

  async #reconcile(): Promise<Reconciled> {
    const seenId = await this.#store.latestChangeId();
    const nowMs = this.#clock();
    const pools = await this.#store.pools();
    const tunnels: { slot: number; attachment: Attachment }[] = [];
    this.#idle.ipv6.forgetAll();
    this.#idle.ipv4.forgetAll();
    for (let after = 0; ; ) {
      const page = await this.#store.attachedAfter(after, PAGE);
      for (const tunnel of page) {
        tunnels.push({ slot: tunnel.slot, attachment: attachmentOf(tunnel) });
        this.#idle.ipv6.watch(tunnel.slot, silenceOf(tunnel), nowMs);
      }
      if (page.length < PAGE) break;
      after = page.at(-1)!.id;
    }
    const v4v6 = await this.#readIpv4(nowMs);
    const owners: { index: number; slot: number }[] = [];
    for (const pool of pools.filter(({ purpose }) => purpose === 'delegation')) {
      for (let position = 0; ; ) {
        const page = await this.#store.ownershipsFrom(pool, position, PAGE);
        owners.push(...page);
        if (page.length < PAGE) break;
        position = page.at(-1)!.index - pool.firstIndex + 1;
      }
    }
    const desired: DesiredState = { pools: pools.map(toMapping), tunnels, owners, v4v6 };
    const reconciled = this.#dataplane.reconcile(desired);
    this.#seenId = seenId;
    this.#failed.ipv6.clear();
    this.#failed.ipv4.clear();
    return reconciled;
  }

  async #readIpv4(nowMs: number): Promise<{ slot: number; client: Ipv6Address }[]> {
    const attached: { slot: number; client: Ipv6Address }[] = [];
    for (let after = 0; ; ) {
      const page = await this.#store.ipv4TunnelsAfter(after, PAGE);
      for (const { slot, attachment, keepaliveSeconds } of page) {
        if (!attachment) continue;
        attached.push({ slot, client: attachment.client });
        this.#idle.ipv4.watch(slot, silenceOf({ anonymous: false, keepaliveSeconds }), nowMs);
      }
      if (page.length < PAGE) return attached;
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
    const slots: { slot: number; tunnel: AttachedTunnel | undefined }[] = [];
    for (const slot of subjects('slot'))
      slots.push({ slot, tunnel: await this.#store.attached(slot) });
    const ipv4: { slot: number; tunnel: Ipv4Tunnel | undefined }[] = [];
    for (const slot of subjects('ipv4-slot'))
      ipv4.push({ slot, tunnel: await this.#store.ipv4Tunnel({ slot }) });
    if (subjects('pool').length > 0) {
      const pools = (await this.#store.pools()).map(toMapping);
      this.#attempt('the pools', () => this.#dataplane.setPools(pools));
    }

    // A slot must not get a new client while prefixes of its old one still lead to it, and an
    // endpoint must not belong to two slots.
    for (const { index, slot } of owners)
      this.#attempt(`owner ${index}`, () => this.#dataplane.setOwner(index, slot));
    for (const { slot, tunnel } of slots) if (!tunnel) this.#detach(slot);
    for (const { slot, tunnel } of slots) if (tunnel) this.#attach(slot, tunnel);
    for (const { slot, tunnel } of ipv4) if (!tunnel?.attachment) this.#detachIpv4(slot);
    for (const { slot, tunnel } of ipv4) if (tunnel?.attachment) this.#attachIpv4(slot, tunnel);
  }

  #detach(slot: number): void {
    this.#idle.ipv6.forget(slot);
    this.#failed.ipv6.delete(slot);
    this.#attempt(`slot ${slot}`, () => this.#dataplane.remove(slot));
  }

  #attach(slot: number, tunnel: AttachedTunnel): void {
    this.#idle.ipv6.watch(slot, silenceOf(tunnel), this.#clock());
    const done = this.#attempt(`slot ${slot}`, () => {
      const resetCounters = isOlder(this.#dataplane.counters(slot), tunnel);
      this.#dataplane.put(slot, attachmentOf(tunnel), { resetCounters });
    });
    if (done) this.#failed.ipv6.delete(slot);
    else this.#failed.ipv6.add(slot);
  }

  #detachIpv4(slot: number): void {
    this.#idle.ipv4.forget(slot);
    this.#failed.ipv4.delete(slot);
    this.#attempt(`IPv4 slot ${slot}`, () => this.#dataplane.removeV4v6(slot));
  }

  #attachIpv4(slot: number, tunnel: Ipv4Tunnel): void {
    const { attachment, keepaliveSeconds } = tunnel;
    const { client } = attachment!;
    this.#idle.ipv4.watch(slot, silenceOf({ anonymous: false, keepaliveSeconds }), this.#clock());
    const done = this.#attempt(`IPv4 slot ${slot}`, () => {
      const resetCounters = isOlder(this.#dataplane.countersV4v6(slot), tunnel);
      this.#dataplane.putV4v6(slot, { client }, { resetCounters });
    });
    if (done) this.#failed.ipv4.delete(slot);
    else this.#failed.ipv4.add(slot);
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

function attachmentOf(tunnel: AttachedTunnel): Attachment {
  const { encapsulation, client } = tunnel.attachment;
  return {
    encapsulation,
    client,
    interfaceId: tunnel.interfaceId,
    mtu: 0,
    // An anonymous login proves nothing: its source may be a victim's address (RFC 5572 §8).
    silentUntilHeard: tunnel.anonymous,
  };
}

/** Counters from before the tunnel was made are those of the slot's last tunnel. */
function isOlder(
  { inLastSeenMs = 0, outLastSeenMs = 0 }: TunnelCounters,
  { createdAtMs }: { readonly createdAtMs: number },
): boolean {
  return Math.max(inLastSeenMs, outLastSeenMs) < createdAtMs;
}

function toMapping(pool: Pool): AnyPoolMapping {
  const { firstIndex, positionLength } = pool;
  if (pool.purpose !== 'ipv4-link')
    return { purpose: pool.purpose, prefix: pool.prefix, positionLength, firstIndex };
  const length = positionLength === 30 ? 30 : 32;
  return { purpose: pool.purpose, prefix: pool.prefix, positionLength: length, firstIndex };
}
