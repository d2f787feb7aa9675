// Tunnels that were offered and wait for their clients' accept: in memory, since an offer is good for
// two minutes and a client that hears nothing asks again. Knows endpoints and tunnels by number.

import type { IpAddress, Ipv4Endpoint, Ipv6Endpoint } from '../address.ts';
import type { Encapsulation } from '../store/schema.ts';
import { OFFER_LIFETIME_MS } from './lifetime.ts';

interface AnyOffer {
  readonly tunnelId: number;
  readonly madeAtMs: number;
}

export interface Ipv6Offer extends AnyOffer {
  /** Undefined: anonymous. */
  readonly userId: number | undefined;
  readonly encapsulation: Encapsulation;
  readonly client: Ipv4Endpoint;
  readonly proxy: boolean;
}

export interface Ipv4Offer extends AnyOffer {
  readonly userId: number;
  readonly encapsulation: 'v4v6';
  readonly client: Ipv6Endpoint;
}

export type Offer = Ipv6Offer | Ipv4Offer;

export class Offers {
  readonly #offers = new Map<number, Offer>();
  readonly #byAddress = new Map<IpAddress, Set<number>>();
  #lastId = 0;

  /** Answers the offer's id, which no other offer ever has. */
  add(offer: Offer): number {
    const id = ++this.#lastId;
    this.#offers.set(id, offer);
    const { address } = offer.client;
    const ids = this.#byAddress.get(address) ?? new Set();
    this.#byAddress.set(address, ids.add(id));
    return id;
  }

  get(id: number): Offer | undefined {
    return this.#offers.get(id);
  }

  delete(id: number): void {
    const offer = this.#offers.get(id);
    if (!offer) return;
    this.#offers.delete(id);
    const ids = this.#byAddress.get(offer.client.address);
    ids?.delete(id);
    if (ids?.size === 0) this.#byAddress.delete(offer.client.address);
  }

  /** Those that wait for a client at this address, whatever its port. */
  at(address: IpAddress): readonly Offer[] {
    const ids = this.#byAddress.get(address) ?? [];
    return [...ids].map((id) => this.#offers.get(id)!);
  }

  deleteOverdue(nowMs: number): void {
    for (const [id, { madeAtMs }] of this.#offers) {
      // In the order in which they were made.
      if (madeAtMs + OFFER_LIFETIME_MS > nowMs) return;
      this.delete(id);
    }
  }
}
