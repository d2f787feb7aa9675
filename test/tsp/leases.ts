// A broker's leases as the protocol tests need them: few addresses, a person keeps theirs, a stranger
// has one for as long as a tunnel. Notices every rule that is broken.

import type { Endpoint } from '../../src/address.ts';
import { formatEndpoint } from '../../src/address.ts';
import type { SessionUser } from '../../src/tsp/server-session.ts';

interface Offer {
  readonly holder: string;
  readonly address: bigint;
  readonly at: string;
  state: 'open' | 'accepted' | 'rejected';
}

export class Leases {
  readonly faults: string[] = [];
  readonly #free: bigint[];
  /** Who has each address. */
  readonly #holders = new Map<bigint, string>();
  readonly #offers = new Map<number, Offer>();
  /** The tunnel at each endpoint, by its offer. */
  readonly #tunnels = new Map<string, number>();

  constructor(first: bigint, count: number) {
    this.#free = Array.from({ length: count }, (_, index) => first + BigInt(index));
  }

  /** Undefined: none left. */
  open(user: SessionUser, from: Endpoint): { offerId: number; address: bigint } | undefined {
    const offerId = this.#offers.size + 1;
    const holder = user.type === 'account' ? user.username : `stranger ${offerId}`;
    const own = [...this.#holders].find(([, name]) => name === holder)?.[0];
    const address = own ?? this.#free.shift();
    if (address === undefined) return undefined;
    const other = this.#holders.get(address);
    if (other !== undefined && other !== holder) this.faults.push(`${address} given twice`);
    this.#holders.set(address, holder);
    this.#offers.set(offerId, { holder, address, at: formatEndpoint(from), state: 'open' });
    return { offerId, address };
  }

  accept(offerId: number): void {
    const offer = this.#settle(offerId, 'accepted');
    if (!offer) return;
    const before = this.#tunnels.get(offer.at);
    this.#tunnels.set(offer.at, offerId);
    if (before !== undefined) this.#giveBack(this.#offers.get(before)!);
  }

  reject(offerId: number): void {
    const offer = this.#settle(offerId, 'rejected');
    if (offer) this.#giveBack(offer);
  }

  /** The address of the tunnel there. */
  addressAt(endpoint: Endpoint): bigint | undefined {
    const offerId = this.#tunnels.get(formatEndpoint(endpoint));
    return offerId === undefined ? undefined : this.#offers.get(offerId)?.address;
  }

  get offerCount(): number {
    return this.#offers.size;
  }

  /** What is wrong when nothing is under way any more: an offer left open, an address lost. */
  atRest(): readonly string[] {
    const open = [...this.#offers].filter(([, { state }]) => state === 'open');
    const inUse = new Set([...this.#tunnels.values()].map((id) => this.#offers.get(id)?.holder));
    const lost = [...this.#holders.values()].filter(
      (holder) => holder.startsWith('stranger') && !inUse.has(holder),
    );
    return [
      ...this.faults,
      ...open.map(([id]) => `offer ${id} is open`),
      ...lost.map((holder) => `${holder} keeps an address without a tunnel`),
    ];
  }

  #settle(offerId: number, state: Offer['state']): Offer | undefined {
    const offer = this.#offers.get(offerId);
    if (offer?.state !== 'open') {
      this.faults.push(`offer ${offerId} was ${offer?.state}, then ${state}`);
      return undefined;
    }
    offer.state = state;
    return offer;
  }

  /** A stranger's address is anybody's again; a person's stays theirs. */
  #giveBack({ holder, address }: Offer): void {
    if (!holder.startsWith('stranger')) return;
    if (!this.#holders.delete(address)) this.faults.push(`${address} given back twice`);
    this.#free.push(address);
  }
}
