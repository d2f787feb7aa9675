// What all maps together are to say, gathered before anything is written: a million tunnels as a few
// flat arrays instead of a million objects. Checks what it is given; it must not know the kernel.

import type {
  Attachment,
  Capacity,
  DesiredState,
  DesiredV4v6,
  RateLimits,
  Standing,
} from './contract.ts';
import { type Decided, isLimited, recordOf, STANDING_FLAGS } from './records.ts';

/** By slot; a slot without an endpoint has flags that say why. */
export class DesiredTunnels {
  readonly endpoints: BigUint64Array<ArrayBuffer>;
  readonly interfaceIds: BigUint64Array<ArrayBuffer>;
  readonly mtus: Uint16Array<ArrayBuffer>;
  readonly flags: Uint16Array<ArrayBuffer>;
  /** Of the few that have any. */
  readonly rates = new Map<number, RateLimits>();

  constructor(slots: number) {
    this.endpoints = new BigUint64Array(slots);
    this.interfaceIds = new BigUint64Array(slots);
    this.mtus = new Uint16Array(slots);
    this.flags = new Uint16Array(slots);
  }

  put(slot: number, attachment: Attachment): void {
    const { endpoint, interfaceId, mtu, flags, rates } = recordOf(attachment);
    this.endpoints[slot] = endpoint;
    this.interfaceIds[slot] = interfaceId;
    this.mtus[slot] = mtu;
    this.flags[slot] = flags;
    if (rates) this.rates.set(slot, rates);
  }

  get(slot: number): Decided {
    const rates = this.rates.get(slot);
    return {
      endpoint: this.endpoints[slot]!,
      interfaceId: this.interfaceIds[slot]!,
      mtu: this.mtus[slot]!,
      flags: this.flags[slot]!,
      ...(rates && { rates }),
    };
  }
}

/** Filled by its owner, then given to `Dataplane.reconcile`. Throws RangeError for what cannot be. */
export class DesiredMaps {
  readonly tunnels: DesiredTunnels;
  readonly owners: Uint32Array<ArrayBuffer>;
  readonly v4v6 = new Map<number, DesiredV4v6>();
  readonly #capacity: Required<Capacity>;
  #limitedV4v6 = 0;
  readonly #checkV4v6: (slot: number, desired: DesiredV4v6) => void;

  constructor(
    capacity: Required<Capacity>,
    checkV4v6: (slot: number, desired: DesiredV4v6) => void,
  ) {
    this.#capacity = capacity;
    this.#checkV4v6 = checkV4v6;
    this.tunnels = new DesiredTunnels(capacity.tunnels);
    this.owners = new Uint32Array(capacity.owners);
  }

  addAll({ tunnels, owners, v4v6 = [] }: Omit<DesiredState, 'pools'>): void {
    for (const tunnel of tunnels)
      this.tunnel(tunnel.slot, 'standing' in tunnel ? tunnel.standing : tunnel.attachment);
    for (const { index, slot } of owners) this.owner(index, slot);
    for (const { slot, ...tunnel } of v4v6)
      this.tunnelV4v6(slot, 'standing' in tunnel ? tunnel.standing : tunnel);
  }

  tunnel(slot: number, desired: Attachment | Standing): void {
    this.#checkSlot(slot);
    if (typeof desired === 'string') this.tunnels.flags[slot] = STANDING_FLAGS[desired];
    else this.tunnels.put(slot, desired);
    this.#checkLimited();
  }

  owner(index: number, slot: number): void {
    if (!Number.isInteger(index) || index < 0 || index >= this.#capacity.owners)
      throw new RangeError(`Owner index ${index} is out of range`);
    this.#checkSlot(slot);
    this.owners[index] = slot + 1;
  }

  tunnelV4v6(slot: number, desired: DesiredV4v6): void {
    this.#checkV4v6(slot, desired);
    this.v4v6.set(slot, desired);
    if (typeof desired !== 'string' && isLimited(desired.rates)) this.#limitedV4v6++;
    this.#checkLimited();
  }

  #checkLimited(): void {
    const { limited } = this.#capacity;
    if (this.tunnels.rates.size + this.#limitedV4v6 > limited)
      throw new RangeError(`More than ${limited} tunnels have limited rates`);
  }

  #checkSlot(slot: number): void {
    if (!Number.isInteger(slot) || slot < 0 || slot >= this.#capacity.tunnels)
      throw new RangeError(`Slot ${slot} is outside 0 … ${this.#capacity.tunnels - 1}`);
  }
}
