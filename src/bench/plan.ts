// What a run of the load generator is to do, as plain values that can be handed to its thread; and
// which of its client's endpoints is which. Decides nothing and opens nothing.

import type { Ipv4Address, Ipv4Endpoint, Ipv4Prefix } from '../address.ts';
import type { Mechanism } from '../tsp/messages.ts';

export interface BenchPlan {
  readonly server: Ipv4Endpoint;
  /** As the user wrote it; goes into the digest-uri. */
  readonly serverName: string;
  /** The own addresses to speak from; all of the prefix are used. */
  readonly from: Ipv4Prefix;
  readonly ports: number;
  readonly mechanism: Mechanism;
  /** Ignored with ANONYMOUS, as are the next two. */
  readonly namePrefix: string;
  readonly users: number;
  readonly secret: string;
  /** Ask for a delegated prefix of this length. */
  readonly prefixLength: number | undefined;
  readonly pace:
    | { readonly type: 'closed'; readonly concurrency: number }
    | { readonly type: 'open'; readonly perSecond: number };
  /** Tunnels that are up before anything is measured, and kept alive until the end. */
  readonly hold: number;
  /** What is measured begins after so many seconds of the same. */
  readonly warmupSeconds: number;
  /** Ends when this time is over, or so many logins have been begun. */
  readonly durationSeconds: number | undefined;
  readonly logins: number | undefined;
  /** Shares, 0 … 1: datagrams that are lost or come twice, each way. */
  readonly loss: number;
  readonly duplication: number;
  /** Shares of the logins that are of users who logged in before: from the same endpoint, from another. */
  readonly renewals: number;
  readonly moves: number;
  /** Share of the users who delete their tunnel after the login. */
  readonly leaving: number;
  /** A login that has not come to a tunnel after so long is begun anew. Undefined: it is given up. */
  readonly retrySeconds: number | undefined;
  /** The file that gets a line for each login that was answered. */
  readonly journal: string | undefined;
  /** The server's process on this machine, whose CPU time is to be reported. */
  readonly serverPid: number | undefined;
}

/** `bench-000001` and so on, `index` from 0. */
export function userName(namePrefix: string, index: number): string {
  return `${namePrefix}${String(index + 1).padStart(6, '0')}`;
}

/** An own address and socket. */
export interface OwnEndpoint {
  readonly address: Ipv4Address;
  readonly socket: number;
  /** The same as a number below the count of endpoints. */
  readonly key: number;
}

/**
 * The own endpoints, numbered so that neighbours are far from each other: servers limit what they take
 * from one network.
 */
export class Endpoints {
  readonly count: number;
  readonly #from: Ipv4Prefix;
  readonly #ports: number;
  readonly #addresses: number;

  constructor(from: Ipv4Prefix, ports: number) {
    this.#from = from;
    this.#ports = ports;
    this.#addresses = 2 ** (32 - from.length);
    this.count = this.#addresses * ports;
  }

  /** Any number; they begin anew after {@link count}. */
  at(index: number): OwnEndpoint {
    const low = index % this.#addresses;
    // An odd factor makes every offset come exactly once (2^32 divided by the golden ratio).
    const offset = (Math.imul(low, 0x9e3779b1) >>> 0) % this.#addresses;
    const socket = (Math.floor(index / this.#addresses) + low) % this.#ports;
    const address = this.#from.address + offset;
    return { address, socket, key: offset * this.#ports + socket };
  }

  /** Undefined: not one of them. */
  keyOf(address: Ipv4Address, socket: number): number | undefined {
    const offset = address - this.#from.address;
    if (offset < 0 || offset >= this.#addresses) return undefined;
    return offset * this.#ports + socket;
  }
}
