// Keeps the kernel's maps what the store says. There is one way from the store to a map: read the
// change feed, read what the store says of each subject, write that. It is the same for what this
// process did, what the command line did and what a crash left undone. Decides nothing.

import type { Attachment, Dataplane, DesiredState, PoolMapping } from '../dataplane/dataplane.ts';
import type { Change } from '../store/changes.ts';
import type { Pool } from '../store/pools.ts';
import type { Store } from '../store/store.ts';
import type { AttachedTunnel } from '../store/tunnels.ts';
import type { IdleWatch } from './idle-watch.ts';
import { silenceOf } from './lifetime.ts';

export type Log = (message: string, error?: unknown) => void;

export type Reconciled = ReturnType<Dataplane['reconcile']>;

const PAGE = 10_000;

export class Projection {
  readonly #store: Store;
  readonly #dataplane: Dataplane;
  readonly #idle: IdleWatch;
  readonly #clock: () => number;
  readonly #log: Log;
  /** The last change that the maps know of. */
  #seenId = 0;
  #tail: Promise<unknown> = Promise.resolve();
  /** Slots that the data plane would not take. */
  readonly #failed = new Set<number>();

  constructor(store: Store, dataplane: Dataplane, idle: IdleWatch, clock: () => number, log: Log) {
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
  hasFailed(slot: number): boolean {
    return this.#failed.has(slot);
  }

  async #reconcile(): Promise<Reconciled> {
    const seenId = await this.#store.latestChangeId();
    const nowMs = this.#clock();
    const pools = await this.#store.pools();
    const tunnels: { slot: number; attachment: Attachment }[] = [];
    this.#idle.forgetAll();
    for (let after = 0; ; ) {
      const page = await this.#store.attachedAfter(after, PAGE);
      for (const tunnel of page) {
        tunnels.push({ slot: tunnel.slot, attachment: attachmentOf(tunnel) });
        this.#idle.watch(tunnel.slot, silenceOf(tunnel), nowMs);
      }
      if (page.length < PAGE) break;
      after = page.at(-1)!.id;
    }
    const owners: { index: number; slot: number }[] = [];
    for (const pool of pools.filter(({ purpose }) => purpose === 'delegation')) {
      for (let position = 0; ; ) {
        const page = await this.#store.ownershipsFrom(pool, position, PAGE);
        owners.push(...page);
        if (page.length < PAGE) break;
        position = page.at(-1)!.index - pool.firstIndex + 1;
      }
    }
    const desired: DesiredState = { pools: toMappings(pools), tunnels, owners };
    const reconciled = this.#dataplane.reconcile(desired);
    this.#seenId = seenId;
    this.#failed.clear();
    return reconciled;
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
    if (subjects('pool').length > 0) {
      const pools = toMappings(await this.#store.pools());
      this.#attempt('the pools', () => this.#dataplane.setPools(pools));
    }

    // A slot must not get a new client while prefixes of its old one still lead to it, and an
    // endpoint must not belong to two slots.
    for (const { index, slot } of owners)
      this.#attempt(`owner ${index}`, () => this.#dataplane.setOwner(index, slot));
    for (const { slot, tunnel } of slots) if (!tunnel) this.#detach(slot);
    for (const { slot, tunnel } of slots) if (tunnel) this.#attach(slot, tunnel);
  }

  #detach(slot: number): void {
    this.#idle.forget(slot);
    this.#failed.delete(slot);
    this.#attempt(`slot ${slot}`, () => this.#dataplane.remove(slot));
  }

  #attach(slot: number, tunnel: AttachedTunnel): void {
    this.#idle.watch(slot, silenceOf(tunnel), this.#clock());
    const done = this.#attempt(`slot ${slot}`, () => {
      const { inLastSeenMs = 0, outLastSeenMs = 0 } = this.#dataplane.counters(slot);
      // Counters from before the tunnel was made are those of the slot's last tunnel.
      const resetCounters = Math.max(inLastSeenMs, outLastSeenMs) < tunnel.createdAtMs;
      this.#dataplane.put(slot, attachmentOf(tunnel), { resetCounters });
    });
    if (done) this.#failed.delete(slot);
    else this.#failed.add(slot);
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

function toMappings(pools: readonly Pool[]): PoolMapping[] {
  return pools
    .filter((pool) => pool.purpose !== 'ipv4-link')
    .map(({ purpose, prefix, positionLength, firstIndex }) => ({
      purpose,
      prefix,
      positionLength,
      firstIndex,
    }));
}
