// Reads the tunnels' counters again and again, and has the store keep what came since. What was seen
// last is remembered, here and in the store, so that nothing is counted twice, nothing is negative, and
// nothing is lost when the process ends. Logins must not wait for it: it writes little at a time, and the
// event loop runs in between.

import { setImmediate as breathe } from 'node:timers/promises';
import type { Dataplane } from '../dataplane/dataplane.ts';
import { type Standings, TRAFFIC_FIELDS } from '../dataplane/traffic-reader.ts';
import { addCounts, type Counts, countsSince, isNothing, sampledBucket } from '../store/buckets.ts';
import type { TunnelFamily } from '../store/schema.ts';
import type { Store } from '../store/store.ts';
import type { Counted, Seen } from '../store/traffic.ts';

/** How things are, now and since the process began. */
export interface ServerState {
  readonly sessions: number;
  /** Since the process began. */
  readonly logins: number;
  readonly loginFailures: number;
}

export interface TrafficOptions {
  readonly store: Store;
  readonly dataplane: Dataplane;
  readonly everyMs: number;
  readonly state: () => ServerState;
  /** Unix milliseconds; Date.now by default. */
  readonly clock?: () => number;
}

/** Slots that are looked at without a pause. */
const SLICE = 4096;
/** Four rows each, and some for the totals: about 500 rows a transaction. */
const TUNNELS_AT_ONCE = 125;
const FAMILIES = ['ipv6', 'ipv4'] as const;

/** What was seen in the slots of one family. */
interface Memory {
  readonly counts: Float64Array;
  /** Whose; 0: nobody's. */
  readonly tunnelIds: Float64Array;
  /** Slots of which the store remembers what does not hold any more. */
  readonly stale: Set<number>;
}

interface Pending {
  counts: Counts;
  seen: Seen | undefined;
}

export class TrafficSampler {
  readonly #options: TrafficOptions;
  readonly #clock: () => number;
  readonly #memory: Readonly<Record<TunnelFamily, Memory>>;
  readonly #slice = new Float64Array(SLICE * TRAFFIC_FIELDS);
  /** By tunnel (0: unknown), until the store has it. */
  readonly #pending = new Map<number, Pending>();
  #ready: Promise<void> | undefined;
  #said: ServerState = { sessions: 0, logins: 0, loginFailures: 0 };
  /** As of the last sample. */
  standings = { attached: 0, down: 0, disabled: 0 };

  constructor(options: TrafficOptions) {
    const { capacity } = options.dataplane;
    this.#options = options;
    this.#clock = options.clock ?? Date.now;
    this.#memory = { ipv6: makeMemory(capacity.tunnels), ipv4: makeMemory(capacity.v4v6) };
  }

  /**
   * To be called before the counters of a slot begin anew: what they say is then still of the tunnel that
   * had it.
   */
  beforeReset(family: TunnelFamily, slot: number): void {
    const memory = this.#memory[family];
    const one = new Float64Array(TRAFFIC_FIELDS);
    this.#options.dataplane.readTraffic(family, slot, 1, one);
    const counts = countsSince(countsAt(memory.counts, slot), countsAt(one, 0));
    const tunnelId = memory.tunnelIds[slot]!;
    if (!isNothing(counts)) this.#note(tunnelId, counts, undefined);
    if (tunnelId !== 0) memory.stale.add(slot);
    memory.counts.fill(0, slot * TRAFFIC_FIELDS, (slot + 1) * TRAFFIC_FIELDS);
    memory.tunnelIds[slot] = 0;
  }

  /** Reads everything once. Rejects with StoreError; then what was read is kept for the next time. */
  async sample(): Promise<void> {
    await this.#begin();
    const atMs = sampledBucket(this.#clock(), this.#options.everyMs);
    const standings = { attached: 0, down: 0, disabled: 0 };
    for (const family of FAMILIES) {
      const capacity = this.#memory[family].tunnelIds.length;
      for (let first = 0; first < capacity; first += SLICE) {
        const count = Math.min(SLICE, capacity - first);
        const found = this.#options.dataplane.readTraffic(family, first, count, this.#slice);
        standings.attached += found.attached;
        standings.down += found.down;
        standings.disabled += found.disabled;
        if (this.#hasMoved(family, first, count)) {
          await this.#readSlice(family, first, count);
          await this.#flush(atMs, TUNNELS_AT_ONCE);
        }
        await breathe();
      }
    }
    await this.#flush(atMs, 1);
    await this.#sayState(atMs, standings);
    this.standings = standings;
  }

  /** What is known of logins up to here, for a process that ends. Rejects with StoreError. */
  async end(): Promise<void> {
    if (this.#ready) await this.#sayState(sampledBucket(this.#clock(), 0), this.standings);
  }

  #begin(): Promise<void> {
    this.#ready ??= this.#recall().catch((error: unknown) => {
      this.#ready = undefined;
      throw error;
    });
    return this.#ready;
  }

  async #recall(): Promise<void> {
    const { dataplane, store } = this.#options;
    const { epoch } = dataplane;
    const before = await store.traffic.epoch();
    if (before === undefined) await this.#takeAsSeen();
    if (before !== epoch)
      await store.traffic.beginEpoch(epoch, before === undefined ? 'kept' : 'forgotten');
    for (const family of FAMILIES) {
      const memory = this.#memory[family];
      for await (const page of store.traffic.seen(family))
        for (const { slot, tunnelId, counts } of page) {
          // What was noted meanwhile is later; and the maps may have become smaller.
          if (slot >= memory.tunnelIds.length || memory.tunnelIds[slot] !== 0) continue;
          putCounts(memory.counts, slot, counts);
          memory.tunnelIds[slot] = tunnelId;
        }
    }
  }

  /** Nothing was ever seen: what was counted until now came nobody knows when. */
  async #takeAsSeen(): Promise<void> {
    const { dataplane, store } = this.#options;
    const nothing = countsAt(new Float64Array(TRAFFIC_FIELDS), 0);
    for (const family of FAMILIES) {
      const capacity = this.#memory[family].tunnelIds.length;
      for (let first = 0; first < capacity; first += SLICE) {
        const count = Math.min(SLICE, capacity - first);
        dataplane.readTraffic(family, first, count, this.#slice);
        await breathe();
        if (!this.#hasMoved(family, first, count)) continue;
        const owners = await store.traffic.tunnelsInSlots(family, first, first + count);
        dataplane.readTraffic(family, first, count, this.#slice);
        const all: Counted[] = [];
        for (const [slot, tunnelId] of owners) {
          const counts = countsAt(this.#slice, slot - first);
          const seen = { family, slot, tunnelId, counts };
          if (!isNothing(counts)) all.push({ tunnelId: undefined, counts: nothing, seen });
        }
        const atMs = sampledBucket(this.#clock(), 0);
        for (let i = 0; i < all.length; i += TUNNELS_AT_ONCE)
          await store.traffic.record(atMs, all.slice(i, i + TUNNELS_AT_ONCE));
      }
    }
  }

  #hasMoved(family: TunnelFamily, first: number, count: number): boolean {
    const { counts, stale } = this.#memory[family];
    const from = first * TRAFFIC_FIELDS;
    for (let i = 0; i < count * TRAFFIC_FIELDS; i++)
      if (this.#slice[i] !== counts[from + i]) return true;
    for (const slot of stale) if (slot >= first && slot < first + count) return true;
    return false;
  }

  async #readSlice(family: TunnelFamily, first: number, count: number): Promise<void> {
    const { dataplane, store } = this.#options;
    const memory = this.#memory[family];
    const owners = await store.traffic.tunnelsInSlots(family, first, first + count);
    // From here on nothing waits: what is read is noted as seen before anybody else has a turn.
    dataplane.readTraffic(family, first, count, this.#slice);
    for (let i = 0; i < count; i++) {
      const slot = first + i;
      if (!hasChanged(memory.counts, slot, this.#slice, i) && !memory.stale.has(slot)) continue;
      const now = countsAt(this.#slice, i);
      const since = countsSince(countsAt(memory.counts, slot), now);
      const tunnelId = owners.get(slot) ?? memory.tunnelIds[slot]!;
      const seen = tunnelId === 0 ? undefined : { family, slot, tunnelId, counts: now };
      if (seen || !isNothing(since)) this.#note(tunnelId, since, seen);
      putCounts(memory.counts, slot, now);
      memory.tunnelIds[slot] = tunnelId;
      memory.stale.delete(slot);
    }
  }

  #note(tunnelId: number, counts: Counts, seen: Seen | undefined): void {
    const before = this.#pending.get(tunnelId);
    if (!before) {
      this.#pending.set(tunnelId, { counts, seen });
      return;
    }
    before.counts = addCounts(before.counts, counts);
    before.seen = seen ?? before.seen;
  }

  /** Writes while there are at least so many. */
  async #flush(atMs: number, atLeast: number): Promise<void> {
    while (this.#pending.size >= atLeast) {
      const batch: [number, Pending][] = [];
      for (const entry of this.#pending) {
        batch.push(entry);
        if (batch.length === TUNNELS_AT_ONCE) break;
      }
      for (const [tunnelId] of batch) this.#pending.delete(tunnelId);
      try {
        await this.#options.store.traffic.record(atMs, batch.map(toCounted));
      } catch (error) {
        // Noted while it was tried to write: added to what comes first.
        for (const [tunnelId, { counts, seen }] of batch) {
          const later = this.#pending.get(tunnelId)?.seen;
          this.#note(tunnelId, counts, later ?? seen);
        }
        throw error;
      }
      await breathe();
    }
  }

  async #sayState(
    atMs: number,
    standings: Readonly<Record<'attached' | 'down' | 'disabled', number>>,
  ): Promise<void> {
    const state = this.#options.state();
    await this.#options.store.traffic.recordGauges(atMs, {
      ...standings,
      sessions: state.sessions,
      logins: state.logins - this.#said.logins,
      loginFailures: state.loginFailures - this.#said.loginFailures,
    });
    this.#said = state;
  }
}

/** How all tunnels stand at present. */
export async function standingsOf(dataplane: Dataplane): Promise<Standings> {
  const sum = { attached: 0, down: 0, disabled: 0 };
  const slice = new Float64Array(SLICE * TRAFFIC_FIELDS);
  for (const family of FAMILIES) {
    const capacity = family === 'ipv6' ? dataplane.capacity.tunnels : dataplane.capacity.v4v6;
    for (let first = 0; first < capacity; first += SLICE) {
      const found = dataplane.readTraffic(family, first, Math.min(SLICE, capacity - first), slice);
      for (const standing of ['attached', 'down', 'disabled'] as const)
        sum[standing] += found[standing];
      await breathe();
    }
  }
  return sum;
}

function toCounted([tunnelId, { counts, seen }]: [number, Pending]): Counted {
  return { tunnelId: tunnelId || undefined, counts, ...(seen && { seen }) };
}

function makeMemory(slots: number): Memory {
  return {
    counts: new Float64Array(slots * TRAFFIC_FIELDS),
    tunnelIds: new Float64Array(slots),
    stale: new Set(),
  };
}

function hasChanged(seen: Float64Array, slot: number, slice: Float64Array, i: number): boolean {
  for (let field = 0; field < TRAFFIC_FIELDS; field++)
    if (seen[slot * TRAFFIC_FIELDS + field] !== slice[i * TRAFFIC_FIELDS + field]) return true;
  return false;
}

function countsAt(all: Float64Array, index: number): Counts {
  const at = index * TRAFFIC_FIELDS;
  return {
    inPackets: all[at]!,
    inBytes: all[at + 1]!,
    outPackets: all[at + 2]!,
    outBytes: all[at + 3]!,
    drops: all[at + 4]!,
  };
}

function putCounts(all: Float64Array, slot: number, counts: Counts): void {
  const { inPackets, inBytes, outPackets, outBytes, drops } = counts;
  all.set([inPackets, inBytes, outPackets, outBytes, drops], slot * TRAFFIC_FIELDS);
}
