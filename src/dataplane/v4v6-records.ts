// The records of tunnels that carry IPv4 over IPv6, in the memory of their map: written so that no
// program ever sees half an address. It must not know pools, links or devices.

import { randomBytes } from 'node:crypto';
import type { AttachmentV4v6, TunnelCounters } from './contract.ts';
import {
  readTunnelV4v6,
  TUNNEL_ASSIGNED,
  TUNNEL_V4V6_OFFSET,
  TUNNEL_V4V6_SIZE,
} from './layout.gen.ts';
import { mapInfo, mapMemory } from './native.ts';
import { checkMtu, countersOf } from './records.ts';

/** Slots out of range, and attachments that cannot be, throw RangeError. */
export class V4v6Records {
  readonly capacity: number;
  readonly #view: DataView<ArrayBuffer>;
  readonly #versions: Uint32Array<ArrayBuffer>;
  readonly #words: BigUint64Array<ArrayBuffer>;
  readonly #mtus: Uint16Array<ArrayBuffer>;
  readonly #unmap: () => void;
  /** Of the next change: one that no program can have read a moment ago. */
  #version = randomBytes(4).readUInt32LE();

  constructor(mapFd: number) {
    this.capacity = mapInfo(mapFd).maxEntries;
    const { buffer, unmap } = mapMemory(mapFd, this.capacity * TUNNEL_V4V6_SIZE);
    this.#view = new DataView(buffer);
    this.#versions = new Uint32Array(buffer);
    this.#words = new BigUint64Array(buffer);
    this.#mtus = new Uint16Array(buffer);
    this.#unmap = unmap;
  }

  check(slot: number, { client, mtu = 0 }: AttachmentV4v6): void {
    this.#at(slot);
    checkMtu(mtu);
    if (client <= 0n || client >= 1n << 128n) throw new RangeError(`${client} is no IPv6 address`);
  }

  put(slot: number, attachment: AttachmentV4v6, options: { resetCounters?: boolean } = {}): void {
    this.check(slot, attachment);
    const { client, mtu = 0 } = attachment;
    const at = this.#at(slot);
    const { clientHigh, inPackets } = TUNNEL_V4V6_OFFSET;
    this.#view.setUint8(at + TUNNEL_V4V6_OFFSET.flags, TUNNEL_ASSIGNED);
    if (this.attachment(slot)?.client !== client || options.resetCounters) {
      Atomics.store(this.#versions, at / 4, 0);
      if (options.resetCounters)
        this.#words.fill(0n, (at + inPackets) / 8, (at + TUNNEL_V4V6_SIZE) / 8);
      this.#words[(at + clientHigh) / 8] = client >> 64n;
      this.#words[(at + clientHigh) / 8 + 1] = BigInt.asUintN(64, client);
      this.#version = (this.#version + 1) >>> 0 || 1;
      Atomics.store(this.#versions, at / 4, this.#version);
    }
    this.#mtus[(at + TUNNEL_V4V6_OFFSET.mtu) / 2] = mtu;
  }

  remove(slot: number): void {
    Atomics.store(this.#versions, this.#at(slot) / 4, 0);
  }

  /** undefined: detached. */
  attachment(slot: number): AttachmentV4v6 | undefined {
    const { version, clientHigh, clientLow, mtu } = readTunnelV4v6(this.#view, this.#at(slot));
    if (version === 0) return undefined;
    return { client: (clientHigh << 64n) | clientLow, ...(mtu !== 0 && { mtu }) };
  }

  counters(slot: number): TunnelCounters {
    const record = readTunnelV4v6(this.#view, this.#at(slot));
    return countersOf(record, Date.now(), Number(process.hrtime.bigint()) / 1e6);
  }

  /** Makes the records say what is wanted, by slot; all of it has been checked. */
  reconcile(wanted: ReadonlyMap<number, AttachmentV4v6>): {
    put: number;
    removed: number;
    kept: number;
  } {
    const result = { put: 0, removed: 0, kept: 0 };
    for (let slot = 0; slot < this.capacity; slot++) {
      if (this.#versions[(slot * TUNNEL_V4V6_SIZE) / 4] === 0 || wanted.has(slot)) continue;
      this.remove(slot);
      result.removed++;
    }
    for (const [slot, attachment] of wanted) {
      const present = this.attachment(slot);
      const { client, mtu = 0 } = attachment;
      const same = present?.client === client && (present.mtu ?? 0) === mtu;
      if (!same) this.put(slot, attachment);
      result[same ? 'kept' : 'put']++;
    }
    return result;
  }

  /** The memory is gone afterwards: nothing of this may be called. */
  unmap(): void {
    this.#unmap();
  }

  /** Where the record of `slot` begins, in octets. */
  #at(slot: number): number {
    if (!Number.isInteger(slot) || slot < 0 || slot >= this.capacity)
      throw new RangeError(`Slot ${slot} of v4v6 is outside 0 … ${this.capacity - 1}`);
    return slot * TUNNEL_V4V6_SIZE;
  }
}
