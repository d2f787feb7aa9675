// The records of tunnels that carry IPv6 over IPv4, in the memory of their map, with what stands beside
// them: faults and rates. Written so that no packet ever passes by a record that is half the old and
// half the new one. It must not know pools, links or devices.

import type { Attachment, Standing, TunnelCounters, TunnelFaults } from './contract.ts';
import type { DesiredTunnels } from './desired.ts';
import { Faults } from './faults.ts';
import {
  readTunnel,
  TUNNEL_LIMITED,
  TUNNEL_OFFSET,
  TUNNEL_SILENT_UNTIL_HEARD,
  TUNNEL_SIZE,
} from './layout.gen.ts';
import { mapInfo, mapMemory } from './native.ts';
import { Rates } from './rates.ts';
import {
  attachmentOf,
  countersOf,
  type Decided,
  monotonicNowMs,
  recordOf,
  STANDING_FLAGS,
  standingOf,
} from './records.ts';
import { readTraffic, type Standings } from './traffic-reader.ts';

const WORDS = TUNNEL_SIZE / 8;
const HALF_WORDS = TUNNEL_SIZE / 2;

/** Slots out of range, and attachments that cannot be, throw RangeError. */
export class TunnelRecords {
  readonly capacity: number;
  readonly #view: DataView<ArrayBuffer>;
  /** The same octets, for stores and loads of 64 bits that are never torn. */
  readonly #words: BigUint64Array<ArrayBuffer>;
  readonly #halfWords: Uint16Array<ArrayBuffer>;
  readonly #faults: Faults;
  readonly #rates: Rates;
  readonly #unmap: () => void;

  constructor(maps: { tunnels: number; faults: number; rates: number }) {
    this.capacity = mapInfo(maps.tunnels).maxEntries;
    const { buffer, unmap } = mapMemory(maps.tunnels, this.capacity * TUNNEL_SIZE);
    this.#view = new DataView(buffer);
    this.#words = new BigUint64Array(buffer);
    this.#halfWords = new Uint16Array(buffer);
    this.#unmap = unmap;
    this.#faults = new Faults(maps.faults);
    this.#rates = new Rates(maps.rates, 'ipv6');
  }

  put(slot: number, attachment: Attachment, options: { resetCounters?: boolean } = {}): void {
    this.check(slot);
    this.#write(slot, recordOf(attachment), options.resetCounters ?? false);
  }

  #write(slot: number, decided: Decided, resetCounters: boolean): void {
    const { endpoint, interfaceId, mtu, flags, rates } = decided;
    const word = slot * WORDS;
    const before = readTunnel(this.#view, slot * TUNNEL_SIZE);
    const silent = (flags & TUNNEL_SILENT_UNTIL_HEARD) !== 0;
    const wasSilent = (before.flags & TUNNEL_SILENT_UNTIL_HEARD) !== 0;
    const unheard = silent && before.endpoint !== endpoint && before.inLastSeen !== 0;

    // The kernel looks for a rate as soon as the flag says that there is one.
    if (rates) this.#rates.set(slot, rates);
    if (before.interfaceId !== interfaceId || wasSilent !== silent || unheard || resetCounters)
      Atomics.store(this.#words, word, 0n);
    if (resetCounters) this.#reset(slot);
    else if (unheard) this.#view.setUint32(slot * TUNNEL_SIZE + TUNNEL_OFFSET.inLastSeen, 0);
    this.#words[word + TUNNEL_OFFSET.interfaceId / 8] = interfaceId;
    this.#halfWords[slot * HALF_WORDS + TUNNEL_OFFSET.mtu / 2] = mtu;
    this.#halfWords[slot * HALF_WORDS + TUNNEL_OFFSET.flags / 2] = flags;
    Atomics.store(this.#words, word, endpoint);
    if (!rates && before.flags & TUNNEL_LIMITED) this.#rates.delete(slot);
  }

  remove(slot: number, standing: Standing, options: { resetCounters?: boolean } = {}): void {
    this.check(slot);
    const flagsAt = slot * HALF_WORDS + TUNNEL_OFFSET.flags / 2;
    const limited = (this.#halfWords[flagsAt]! & TUNNEL_LIMITED) !== 0;
    Atomics.store(this.#words, slot * WORDS, 0n);
    if (options.resetCounters) this.#reset(slot);
    this.#halfWords[flagsAt] = STANDING_FLAGS[standing];
    if (limited) this.#rates.delete(slot);
  }

  standing(slot: number): Standing | 'attached' {
    this.check(slot);
    const { endpoint, flags } = readTunnel(this.#view, slot * TUNNEL_SIZE);
    return endpoint === 0n ? standingOf(flags) : 'attached';
  }

  /** undefined: there is no client. */
  attachment(slot: number): Attachment | undefined {
    this.check(slot);
    const record = readTunnel(this.#view, slot * TUNNEL_SIZE);
    return attachmentOf(record, record.flags & TUNNEL_LIMITED ? this.#rates.get(slot) : undefined);
  }

  counters(slot: number): TunnelCounters {
    this.check(slot);
    const record = readTunnel(this.#view, slot * TUNNEL_SIZE);
    return countersOf(record, Date.now(), monotonicNowMs());
  }

  faults(slot: number): TunnelFaults {
    this.check(slot);
    return this.#faults.get(slot, Date.now(), monotonicNowMs());
  }

  /** See {@link readTraffic}. */
  readTraffic(first: number, count: number, into: Float64Array): Standings {
    this.check(first);
    if (count > 0) this.check(first + count - 1);
    const firstWord = TUNNEL_OFFSET.inPackets / 8;
    readTraffic(this.#words, firstWord, WORDS, this.#faults, first, count, into);
    const standings = { attached: 0, down: 0, disabled: 0 };
    for (let slot = first; slot < first + count; slot++) {
      const flags = this.#halfWords[slot * HALF_WORDS + TUNNEL_OFFSET.flags / 2]!;
      const standing = this.#words[slot * WORDS] !== 0n ? 'attached' : standingOf(flags);
      if (standing !== 'vacant') standings[standing]++;
    }
    return standings;
  }

  /** Nobody who must not be here is afterwards; the other half is {@link letIn}. */
  takeOut(desired: DesiredTunnels): { removed: number } {
    let removed = 0;
    for (let slot = 0; slot < this.capacity; slot++) {
      if (desired.endpoints[slot] !== 0n) continue;
      const attached = this.#words[slot * WORDS] !== 0n;
      const flags = desired.flags[slot]!;
      if (attached) removed++;
      if (attached || this.#halfWords[slot * HALF_WORDS + TUNNEL_OFFSET.flags / 2] !== flags)
        this.remove(slot, standingOf(flags));
    }
    return { removed };
  }

  letIn(desired: DesiredTunnels): { put: number; kept: number } {
    const result = { put: 0, kept: 0 };
    for (let slot = 0; slot < this.capacity; slot++) {
      const endpoint = desired.endpoints[slot]!;
      if (endpoint === 0n) continue;
      const rates = desired.rates.get(slot);
      const same =
        this.#words[slot * WORDS] === endpoint &&
        this.#words[slot * WORDS + TUNNEL_OFFSET.interfaceId / 8] === desired.interfaceIds[slot] &&
        this.#halfWords[slot * HALF_WORDS + TUNNEL_OFFSET.mtu / 2] === desired.mtus[slot] &&
        this.#halfWords[slot * HALF_WORDS + TUNNEL_OFFSET.flags / 2] === desired.flags[slot] &&
        (!rates || this.#rates.says(slot, rates));
      if (!same) this.#write(slot, desired.get(slot), false);
      result[same ? 'kept' : 'put']++;
    }
    return result;
  }

  check(slot: number): void {
    if (!Number.isInteger(slot) || slot < 0 || slot >= this.capacity)
      throw new RangeError(`Slot ${slot} is outside 0 … ${this.capacity - 1}`);
  }

  /** The memory is gone afterwards: nothing of this may be called. */
  unmap(): void {
    this.#unmap();
    this.#faults.unmap();
  }

  /** All but the endpoint, which is 0. */
  #reset(slot: number): void {
    this.#words.fill(0n, slot * WORDS + 1, (slot + 1) * WORDS);
    this.#faults.reset(slot);
  }
}
