// How many of a limited number of places are taken, in all and by one client. A client on IPv6 has a
// whole /64 to call from, so it is counted by that.

import type { IpAddress } from '../address.ts';

export class Crowd {
  readonly #most: number;
  readonly #mostOfOne: number;
  readonly #perClient = new Map<IpAddress, number>();
  #count = 0;

  constructor(most: number, mostOfOne: number) {
    this.#most = most;
    this.#mostOfOne = mostOfOne;
  }

  get count(): number {
    return this.#count;
  }

  /** `leaving`: how many are about to make room. */
  hasRoomFor(address: IpAddress, leaving = 0): boolean {
    const own = this.#perClient.get(clientOf(address)) ?? 0;
    return this.#count - leaving < this.#most && own < this.#mostOfOne;
  }

  enter(address: IpAddress): void {
    const client = clientOf(address);
    this.#count++;
    this.#perClient.set(client, (this.#perClient.get(client) ?? 0) + 1);
  }

  /** Once for each {@link enter}. */
  leave(address: IpAddress): void {
    const client = clientOf(address);
    const left = (this.#perClient.get(client) ?? 0) - 1;
    this.#count--;
    if (left > 0) this.#perClient.set(client, left);
    else this.#perClient.delete(client);
  }
}

function clientOf(address: IpAddress): IpAddress {
  return typeof address === 'number' ? address : address >> 64n;
}
