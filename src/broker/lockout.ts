// Who has to wait after wrong secrets. What is held back is a name at an address, and an address
// where many names were tried; never a name everywhere, and never one where its user has logged in
// lately: so nobody can lock somebody else out. Pure but for its memory, which is bounded; time comes
// in as an argument. Knows no secret and not whether a name exists.

import type { Endpoint, IpAddress } from '../address.ts';
import { QueueMap } from '../queue-map.ts';

/** Where a login came from; the port means nothing here. */
export interface LoginSource extends Endpoint {
  /**
   * Anybody could have sent it in this address's name (PLAIN in UDP). Such failures hold back such
   * logins only: a login that proves its address has nothing to fear from them.
   */
  readonly forgeable?: boolean;
}

/** What just began: logins are refused for so long. */
export interface HeldBack {
  readonly what: 'name-at-address' | 'address';
  readonly forMs: number;
}

/** Wrong secrets that have no consequence: typing errors, and a client or two with an old secret. */
const FREE_FAILURES = 5;
/** Likewise names at one address. Carrier-grade NATs have thousands of people behind one. */
const FREE_NAMES = 32;
const FIRST_WAIT_MS = 2000;
/** Also how long the right secret may have to wait; a guesser gets 12 an hour. */
const MAX_WAIT_MS = 300_000;
/** Failures are forgotten when none was added for so long. */
const FORGET_MS = 3_600_000;
/** How long a login lets its address be trusted with its name: clients reconnect after holidays. */
const TRUST_MS = 30 * 86_400_000;
/** Addresses of a name that are remembered: home, work, the telephone, one more. */
const TRUSTED_EACH = 4;

/** What a flood of invented names or addresses can make the broker remember. */
const MAX_RECORDS = 20_000;
/** Only names that exist come here; those that logged in least lately make room. */
const MAX_TRUSTED_NAMES = 250_000;

interface Failures {
  count: number;
  lastMs: number;
  heldUntilMs: number;
}

export class Lockout {
  readonly #pairs = new QueueMap<string, Failures>();
  readonly #addresses = new QueueMap<string, Failures>();
  /** By name, the latest login last. */
  readonly #trusted = new QueueMap<
    string,
    readonly { readonly place: string; readonly atMs: number }[]
  >();

  /** Whether a login may be tried. */
  allows(name: string, source: LoginSource, nowMs: number): boolean {
    return this.trusts(name, source, nowMs) || !this.#holds(name, source, nowMs);
  }

  /** Whether the name's user has logged in from this address lately. */
  trusts(name: string, source: LoginSource, nowMs: number): boolean {
    const place = placeOf(source.address);
    return (this.#trusted.get(name) ?? []).some(
      (login) => login.place === place && login.atMs + TRUST_MS > nowMs,
    );
  }

  accepted(name: string, source: LoginSource, nowMs: number): void {
    const place = placeOf(source.address);
    const others = (this.#trusted.get(name) ?? []).filter((login) => login.place !== place);
    const logins = [...others, { place, atMs: nowMs }].slice(-TRUSTED_EACH);
    putLast(this.#trusted, name, logins, MAX_TRUSTED_NAMES);
  }

  /**
   * A wrong secret, or a name that does not exist. What was refused without a look at the secret
   * does not count: somebody with the right one gets out by waiting, however often they try.
   */
  rejected(name: string, source: LoginSource, nowMs: number): HeldBack | undefined {
    if (this.trusts(name, source, nowMs) || this.#holds(name, source, nowMs)) return undefined;
    const pair = add(this.#pairs, pairKey(name, source), FREE_FAILURES, nowMs);
    const address =
      pair.count === 1
        ? add(this.#addresses, addressKey(source), FREE_NAMES, nowMs)
        : this.#addresses.get(addressKey(source));
    if (address && address.heldUntilMs > nowMs)
      return { what: 'address', forMs: address.heldUntilMs - nowMs };
    if (pair.heldUntilMs > nowMs)
      return { what: 'name-at-address', forMs: pair.heldUntilMs - nowMs };
    return undefined;
  }

  #holds(name: string, source: LoginSource, nowMs: number): boolean {
    const heldUntilMs = (failures: Failures | undefined) => failures?.heldUntilMs ?? 0;
    return (
      heldUntilMs(this.#pairs.get(pairKey(name, source))) > nowMs ||
      heldUntilMs(this.#addresses.get(addressKey(source))) > nowMs
    );
  }
}

/** One more; beyond the free ones each doubles the wait. */
function add(
  records: QueueMap<string, Failures>,
  key: string,
  free: number,
  nowMs: number,
): Failures {
  const before = records.get(key);
  const count = before && before.lastMs + FORGET_MS > nowMs ? before.count + 1 : 1;
  const waitMs =
    count < free ? 0 : Math.min(MAX_WAIT_MS, FIRST_WAIT_MS * 2 ** Math.min(count - free, 30));
  const failures = { count, lastMs: nowMs, heldUntilMs: nowMs + waitMs };
  putLast(records, key, failures, MAX_RECORDS);
  return failures;
}

/** The entry that was put longest ago makes room. */
function putLast<T>(queue: QueueMap<string, T>, key: string, value: T, max: number): void {
  queue.put(key, value);
  if (queue.size > max) queue.deleteOldest();
}

/** An IPv6 customer has a whole /64 at least. */
function placeOf(address: IpAddress): string {
  return typeof address === 'number' ? `4 ${address}` : `6 ${address >> 64n}`;
}

function addressKey({ address, forgeable = false }: LoginSource): string {
  return `${forgeable ? 'forgeable' : 'proven'} ${placeOf(address)}`;
}

function pairKey(name: string, source: LoginSource): string {
  return `${addressKey(source)} ${name}`;
}
