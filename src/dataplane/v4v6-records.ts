// The records of tunnels that carry IPv4 over IPv6, in the memory of their map: written so that no
// program ever sees half an address, with the faults and rates beside them. It must not know pools,
// links or devices.

import { randomBytes } from 'node:crypto';
import type {
  AttachmentV4v6,
  DesiredV4v6,
  Standing,
  TunnelCounters,
  TunnelFaults,
} from './contract.ts';
import { Faults } from './faults.ts';
import {
  readTunnelV4v6,
  TUNNEL_ASSIGNED,
  TUNNEL_LIMITED,
  TUNNEL_UNFILTERED,
  TUNNEL_V4V6_OFFSET,
  TUNNEL_V4V6_SIZE,
} from './layout.gen.ts';
import { mapInfo, mapMemory } from './native.ts';
import { Rates } from './rates.ts';
import {
  checkMtu,
  countersOf,
  isLimited,
  monotonicNowMs,
  permissionFlags,
  STANDING_FLAGS,
  standingOf,
} from './records.ts';
import { readTraffic, type Standings } from './traffic-reader.ts';

/** Slots out of range, and attachments that cannot be, throw RangeError. */
export class V4v6Records {
  readonly capacity: number;
  readonly #view: DataView<ArrayBuffer>;
  readonly #versions: Uint32Array<ArrayBuffer>;
  readonly #words: BigUint64Array<ArrayBuffer>;
  readonly #mtus: Uint16Array<ArrayBuffer>;
  readonly #octets: Uint8Array<ArrayBuffer>;
  readonly #faults: Faults;
  readonly #rates: Rates;
  readonly #unmap: () => void;
  /** Of the next change: one that no program can have read a moment ago. */
  #version = randomBytes(4).readUInt32LE();

  constructor(maps: { tunnels_v4v6: number; faults_v4v6: number; rates: number }) {
    this.capacity = mapInfo(maps.tunnels_v4v6).maxEntries;
    const { buffer, unmap } = mapMemory(maps.tunnels_v4v6, this.capacity * TUNNEL_V4V6_SIZE);
    this.#view = new DataView(buffer);
    this.#versions = new Uint32Array(buffer);
    this.#words = new BigUint64Array(buffer);
    this.#mtus = new Uint16Array(buffer);
    this.#octets = new Uint8Array(buffer);
    this.#faults = new Faults(maps.faults_v4v6);
    this.#rates = new Rates(maps.rates, 'v4v6');
    this.#unmap = unmap;
  }

  check(slot: number, desired: DesiredV4v6): void {
    this.#at(slot);
    if (typeof desired === 'string') return;
    const { client, mtu = 0 } = desired;
    checkMtu(mtu);
    permissionFlags(desired);
    if (client <= 0n || client >= 1n << 128n) throw new RangeError(`${client} is no IPv6 address`);
  }

  put(slot: number, attachment: AttachmentV4v6, options: { resetCounters?: boolean } = {}): void {
    this.check(slot, attachment);
    const { client, mtu = 0, rates } = attachment;
    const at = this.#at(slot);
    const wasLimited = (this.#flags(slot) & TUNNEL_LIMITED) !== 0;
    const { clientHigh } = TUNNEL_V4V6_OFFSET;
    if (isLimited(rates)) this.#rates.set(slot, rates);
    const moves = this.attachment(slot)?.client !== client || options.resetCounters;
    if (moves) {
      Atomics.store(this.#versions, at / 4, 0);
      if (options.resetCounters) this.#reset(slot);
      this.#words[(at + clientHigh) / 8] = client >> 64n;
      this.#words[(at + clientHigh) / 8 + 1] = BigInt.asUintN(64, client);
      this.#version = (this.#version + 1) >>> 0 || 1;
    }
    this.#mtus[(at + TUNNEL_V4V6_OFFSET.mtu) / 2] = mtu;
    this.#octets[at + TUNNEL_V4V6_OFFSET.flags] = TUNNEL_ASSIGNED | permissionFlags(attachment);
    if (moves) Atomics.store(this.#versions, at / 4, this.#version);
    if (wasLimited && !isLimited(rates)) this.#rates.delete(slot);
  }

  remove(slot: number, standing: Standing, options: { resetCounters?: boolean } = {}): void {
    const at = this.#at(slot);
    const wasLimited = (this.#flags(slot) & TUNNEL_LIMITED) !== 0;
    Atomics.store(this.#versions, at / 4, 0);
    if (options.resetCounters) this.#reset(slot);
    this.#octets[at + TUNNEL_V4V6_OFFSET.flags] = STANDING_FLAGS[standing];
    if (wasLimited) this.#rates.delete(slot);
  }

  standing(slot: number): Standing | 'attached' {
    const attached = this.#versions[this.#at(slot) / 4] !== 0;
    return attached ? 'attached' : standingOf(this.#flags(slot));
  }

  /** undefined: detached. */
  attachment(slot: number): AttachmentV4v6 | undefined {
    const record = readTunnelV4v6(this.#view, this.#at(slot));
    const { version, clientHigh, clientLow, mtu, flags } = record;
    if (version === 0) return undefined;
    const rates = flags & TUNNEL_LIMITED ? this.#rates.get(slot) : undefined;
    return {
      client: (clientHigh << 64n) | clientLow,
      ...(mtu !== 0 && { mtu }),
      ...((flags & TUNNEL_UNFILTERED) !== 0 && { unfiltered: true }),
      ...(rates && { rates }),
    };
  }

  counters(slot: number): TunnelCounters {
    const record = readTunnelV4v6(this.#view, this.#at(slot));
    return countersOf(record, Date.now(), monotonicNowMs());
  }

  faults(slot: number): TunnelFaults {
    this.#at(slot);
    return this.#faults.get(slot, Date.now(), monotonicNowMs());
  }

  /** See {@link readTraffic}. */
  readTraffic(first: number, count: number, into: Float64Array): Standings {
    this.#at(first);
    if (count > 0) this.#at(first + count - 1);
    const firstWord = TUNNEL_V4V6_OFFSET.inPackets / 8;
    readTraffic(this.#words, firstWord, TUNNEL_V4V6_SIZE / 8, this.#faults, first, count, into);
    const standings = { attached: 0, down: 0, disabled: 0 };
    for (let slot = first; slot < first + count; slot++) {
      const standing = this.standing(slot);
      if (standing !== 'vacant') standings[standing]++;
    }
    return standings;
  }

  /** Makes the records say what is wanted, by slot; all of it has been checked. */
  reconcile(wanted: ReadonlyMap<number, DesiredV4v6>): {
    put: number;
    removed: number;
    kept: number;
  } {
    const result = { put: 0, removed: 0, kept: 0 };
    for (let slot = 0; slot < this.capacity; slot++) {
      const desired = wanted.get(slot) ?? 'vacant';
      const present = this.standing(slot);
      if (typeof desired !== 'string' || present === desired) continue;
      this.remove(slot, desired);
      if (present === 'attached') result.removed++;
    }
    for (const [slot, desired] of wanted) {
      if (typeof desired === 'string') continue;
      const same = this.#says(slot, desired);
      if (!same) this.put(slot, desired);
      result[same ? 'kept' : 'put']++;
    }
    return result;
  }

  /** The memory is gone afterwards: nothing of this may be called. */
  unmap(): void {
    this.#unmap();
    this.#faults.unmap();
  }

  #says(slot: number, { client, mtu = 0, rates, ...permissions }: AttachmentV4v6): boolean {
    const present = this.attachment(slot);
    const flags = TUNNEL_ASSIGNED | permissionFlags({ ...permissions, ...(rates && { rates }) });
    return (
      present?.client === client &&
      (present.mtu ?? 0) === mtu &&
      this.#flags(slot) === flags &&
      (!isLimited(rates) || this.#rates.says(slot, rates))
    );
  }

  #flags(slot: number): number {
    return this.#octets[this.#at(slot) + TUNNEL_V4V6_OFFSET.flags]!;
  }

  /** Counters and times; there is no client. */
  #reset(slot: number): void {
    const at = this.#at(slot);
    this.#words.fill(0n, (at + TUNNEL_V4V6_OFFSET.inPackets) / 8, (at + TUNNEL_V4V6_SIZE) / 8);
    this.#faults.reset(slot);
  }

  /** Where the record of `slot` begins, in octets. */
  #at(slot: number): number {
    if (!Number.isInteger(slot) || slot < 0 || slot >= this.capacity)
      throw new RangeError(`Slot ${slot} of v4v6 is outside 0 … ${this.capacity - 1}`);
    return slot * TUNNEL_V4V6_SIZE;
  }
}
