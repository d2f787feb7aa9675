// Who had which address, now and in the past: the questions of an abuse desk. What is still so comes
// from the tunnels' own tables, what ended from those that past.ts writes. Reads, and forgets: what is
// too old, and the names of users who are erased.

import { sql } from 'kysely';
import {
  formatIp,
  type IpAddress,
  type IpPrefix,
  ipPrefixAround,
  lastAddressOf,
  parseIp,
  parseIpv4,
  parseIpv6,
  positionOfAddress,
  prefixesOverlap,
} from '../address.ts';
import type { Room } from './backend.ts';
import { StoreError } from './error.ts';
import { leasedPrefix } from './leases.ts';
import { type Page, type PageRequest, readThrough, type Source } from './pages.ts';
import { eraseSome, networkKey, pruneSome } from './past.ts';
import { type Pool, readPools } from './pools.ts';
import type { Encapsulation, PoolPurpose, Reader } from './schema.ts';

/** Both ends belong to it. The same moment twice: what was so then. Unix milliseconds. */
export interface Span {
  readonly fromMs: number;
  readonly untilMs: number;
}

interface Tenure {
  readonly tunnelId: number;
  /** Undefined: anonymous. The name is that of then. */
  readonly user: { readonly id: number; readonly name: string } | undefined;
  readonly fromMs: number;
  /** Undefined: it still is so. */
  readonly untilMs: number | undefined;
}

/** A tunnel had these addresses. */
export interface LeaseTenure extends Tenure {
  readonly purpose: PoolPurpose;
  readonly prefix: IpPrefix;
}

/** A tunnel's client was here. */
export interface AttachmentTenure extends Tenure {
  readonly encapsulation: Encapsulation | 'v4v6';
  readonly client: IpAddress;
  /** 0: the encapsulation has none. */
  readonly port: number;
}

/** Of whom; a user who was removed still has a number. */
export type Whose = { readonly tunnelId: number } | { readonly userId: number };

const ERASED_AT_ONCE = 500;
/** Each is in four indexes, at four places of the file: three milliseconds in all. */
const PRUNED_AT_ONCE = 50;

/** Every method may reject with StoreError. Pages are in no other order than that of their cursors. */
export class HistoryStore {
  readonly #room: Room;

  constructor(room: Room) {
    this.#room = room;
  }

  /**
   * Who had addresses of the prefix; of a /128 or /32, who had that address. Ended ones come first, then
   * those that still are.
   */
  async holders(prefix: IpPrefix, span: Span, page: PageRequest): Promise<Page<LeaseTenure>> {
    const db = this.#room.reading();
    const pools = (await readPools(db)).filter((pool) => prefixesOverlap(pool.prefix, prefix));
    return readThrough(page, [
      coveringInThePast(db, prefix, span),
      ...(prefix.length < longestLength(prefix) ? [insideInThePast(db, prefix, span)] : []),
      ...pools.map((pool) => leasedNow(db, pool, prefix, span)),
    ]);
  }

  /** Whose client was at the address; undefined port: at any. */
  async clientsAt(
    address: IpAddress,
    port: number | undefined,
    span: Span,
    page: PageRequest,
  ): Promise<Page<AttachmentTenure>> {
    const db = this.#room.reading();
    const text = formatIp(address);
    const past: Source<AttachmentTenure> = async (after, limit) => {
      const rows = await inOrderOfEnd(pastAttachments(db), after, span, limit)
        .where('client_address', '=', text)
        .$if(port !== undefined, (query) => query.where('client_port', '=', port!))
        .execute();
      return rows.map((row) => ({ key: keyOf(row), item: toAttachment(row) }));
    };
    return readThrough(page, [
      past,
      attachedNow(db, span, (query) =>
        query
          .where('attachments.encapsulation', 'in', ['v6v4', 'v6udpv4', 'v4v6'])
          .where('attachments.client_address', '=', text)
          .$if(port !== undefined, (each) => each.where('attachments.client_port', '=', port!)),
      ),
    ]);
  }

  /** What addresses the tunnel had, or the user's tunnels. */
  async leasesOf(whose: Whose, span: Span, page: PageRequest): Promise<Page<LeaseTenure>> {
    const db = this.#room.reading();
    const [column, id] = columnOf(whose);
    return readThrough(page, [
      async (after, limit) => {
        const rows = await inOrderOfEnd(pastLeases(db), after, span, limit)
          .where(column, '=', id)
          .execute();
        return rows.map((row) => ({ key: keyOf(row), item: toLease(row) }));
      },
      async (after, limit) => {
        const rows = await leases(db)
          .where(`tunnels.${column === 'tunnel_id' ? 'id' : column}`, '=', id)
          .where('tunnels.id', '>', Number(after))
          .where(since(), '<=', span.untilMs)
          .orderBy('tunnels.id')
          .orderBy('leases.purpose')
          .limit(limit)
          .execute();
        // A tunnel's leases are few and not parted by a page.
        return rows.map((row) => ({ key: String(row.tunnel_id), item: toLeaseNow(row) }));
      },
    ]);
  }

  /** Where the clients of the tunnel, or of the user's tunnels, were. */
  async attachmentsOf(
    whose: Whose,
    span: Span,
    page: PageRequest,
  ): Promise<Page<AttachmentTenure>> {
    const db = this.#room.reading();
    const [column, id] = columnOf(whose);
    return readThrough(page, [
      async (after, limit) => {
        const rows = await inOrderOfEnd(pastAttachments(db), after, span, limit)
          .where(column, '=', id)
          .execute();
        return rows.map((row) => ({ key: keyOf(row), item: toAttachment(row) }));
      },
      attachedNow(db, span, (query) =>
        query.where(`tunnels.${column === 'tunnel_id' ? 'id' : column}`, '=', id),
      ),
    ]);
  }

  /** For a user who was removed and is to be forgotten: the past names nobody any more. */
  async eraseUser(userId: number): Promise<void> {
    while (await this.#room.writing((tx) => eraseSome(tx, userId, ERASED_AT_ONCE)));
  }

  /** Forgets some of what ended before; answers how many rows went, 0: there are no more. */
  async prune(beforeMs: number, limit = PRUNED_AT_ONCE): Promise<number> {
    return this.#room.writing((tx) => pruneSome(tx, beforeMs, limit));
  }
}

function columnOf(whose: Whose): readonly ['tunnel_id' | 'user_id', number] {
  return 'tunnelId' in whose ? ['tunnel_id', whose.tunnelId] : ['user_id', whose.userId];
}

// What ended

function pastAttachments(db: Reader) {
  return db.selectFrom('past_attachments').selectAll();
}

function pastLeases(db: Reader) {
  return db.selectFrom('past_leases').selectAll();
}

type PastAttachment = Awaited<ReturnType<ReturnType<typeof pastAttachments>['execute']>>[number];
type PastLease = Awaited<ReturnType<ReturnType<typeof pastLeases>['execute']>>[number];
type PastQuery = ReturnType<typeof pastAttachments> | ReturnType<typeof pastLeases>;

function keyOf({ until_ms, id }: { until_ms: number; id: number }): string {
  return `${until_ms}.${id}`;
}

/** The rows of the span after a key of {@link keyOf}. */
function inOrderOfEnd<Q extends PastQuery>(query: Q, after: string, span: Span, limit: number): Q {
  const [untilMs = 0, id = 0] = after === '' ? [] : after.split('.').map(Number);
  // Both kinds of rows have these columns; the types of queries cannot say so.
  return (query as ReturnType<typeof pastLeases>)
    .where('until_ms', '>', span.fromMs)
    .where('from_ms', '<=', span.untilMs)
    .$if(after !== '', (each) =>
      each.where((row) =>
        row.and([
          row('until_ms', '>=', untilMs),
          row.or([row('until_ms', '>', untilMs), row('id', '>', id)]),
        ]),
      ),
    )
    .orderBy('until_ms')
    .orderBy('id')
    .limit(limit) as Q;
}

/** Leases as wide as the prefix or wider that it lies in. */
function coveringInThePast(db: Reader, prefix: IpPrefix, span: Span): Source<LeaseTenure> {
  // Where the next bits are zeros, several lengths have one network: the longest of them covers.
  const longest = new Map<string, number>();
  const most = Math.min(prefix.length, longestLength(prefix));
  for (let length = 1; length <= most; length++)
    longest.set(networkKey(ipPrefixAround(prefix.address, length)), length);
  return async (after, limit) => {
    const rows = await inOrderOfEnd(pastLeases(db), after, span, limit)
      .where('network', 'in', [...longest.keys()])
      .execute();
    return rows.map((row) => {
      const covers = row.length <= (longest.get(row.network) ?? 0);
      return { key: keyOf(row), item: covers ? toLease(row) : undefined };
    });
  };
}

/** Leases that are narrower than the prefix. */
function insideInThePast(db: Reader, prefix: IpPrefix, span: Span): Source<LeaseTenure> {
  const first = networkKey(prefix);
  const last = networkKey({ ...prefix, address: lastAddressOf(prefix) } as IpPrefix);
  return async (after, limit) => {
    const [network = '', untilMs = 0, id = 0] = after === '' ? [] : fromPlaceKey(after);
    const rows = await pastLeases(db)
      .where('network', '>=', after === '' ? first : network)
      .where('network', '<=', last)
      .where('length', '>', prefix.length)
      .where('until_ms', '>', span.fromMs)
      .where('from_ms', '<=', span.untilMs)
      .$if(after !== '', (each) =>
        each.where((row) =>
          row.or([
            row('network', '>', network),
            row('until_ms', '>', untilMs),
            row.and([row('until_ms', '=', untilMs), row('id', '>', id)]),
          ]),
        ),
      )
      .orderBy('network')
      .orderBy('until_ms')
      .orderBy('id')
      .limit(limit)
      .execute();
    return rows.map((row) => ({ key: `${row.network}/${keyOf(row)}`, item: toLease(row) }));
  };
}

function fromPlaceKey(key: string): readonly [string, number, number] {
  const [network = '', rest = ''] = key.split('/');
  const [untilMs = 0, id = 0] = rest.split('.').map(Number);
  return [network, untilMs, id];
}

function toLease(row: PastLease): LeaseTenure {
  const address =
    row.purpose === 'ipv4-link'
      ? parseIpv4(row.network.split('.').map(Number).join('.'))
      : parseIpv6(`${row.network}::`);
  if (address === undefined) throw corrupt(row.network);
  return {
    ...tenureOf(row),
    purpose: row.purpose,
    prefix: { address, length: row.length } as IpPrefix,
  };
}

function toAttachment(row: PastAttachment): AttachmentTenure {
  return {
    ...tenureOf(row),
    encapsulation: row.encapsulation,
    client: parseIp(row.client_address) ?? fail(row.client_address),
    port: row.client_port,
  };
}

function tenureOf(row: PastAttachment | PastLease): Tenure {
  return {
    tunnelId: row.tunnel_id,
    user: row.user_id === null ? undefined : { id: row.user_id, name: row.user_name ?? '' },
    fromMs: row.from_ms,
    untilMs: row.until_ms,
  };
}

// What still is

function leases(db: Reader) {
  return (
    db
      .selectFrom('leases')
      .innerJoin('tunnels', 'tunnels.id', 'leases.tunnel_id')
      .innerJoin('pools', 'pools.id', 'leases.pool_id')
      .leftJoin('users', 'users.id', 'tunnels.user_id')
      .select([
        'tunnels.id as tunnel_id',
        'tunnels.user_id',
        'users.name as user_name',
        'tunnels.created_at_ms',
        'leases.leased_at_ms',
        'leases.position',
        'pools.purpose',
        'pools.prefix',
        'pools.position_length',
      ])
      // As of those that ended: who never was up has used nothing.
      .where('tunnels.last_login_at_ms', 'is not', null)
  );
}

function since() {
  return sql<number>`coalesce(leases.leased_at_ms, tunnels.created_at_ms)`;
}

type LeaseNow = Awaited<ReturnType<ReturnType<typeof leases>['execute']>>[number];

function leasedNow(db: Reader, pool: Pool, prefix: IpPrefix, span: Span): Source<LeaseTenure> {
  const position = (address: IpAddress) =>
    positionOfAddress(pool.prefix, pool.positionLength, address);
  const [wide, low] = [prefix.length <= pool.prefix.length, prefix.address];
  const first = wide ? 0 : position(low);
  const last = wide ? pool.positionCount - 1 : position(lastAddressOf(prefix));
  return async (after, limit) => {
    const rows = await leases(db)
      .where('leases.pool_id', '=', pool.id)
      .where('leases.position', '>=', after === '' ? first : Number(after) + 1)
      .where('leases.position', '<=', last)
      .where(since(), '<=', span.untilMs)
      .orderBy('leases.position')
      .limit(limit)
      .execute();
    return rows.map((row) => ({ key: String(row.position), item: toLeaseNow(row) }));
  };
}

function toLeaseNow(row: LeaseNow): LeaseTenure {
  return {
    tunnelId: row.tunnel_id,
    user: row.user_id === null ? undefined : { id: row.user_id, name: row.user_name ?? '' },
    fromMs: row.leased_at_ms ?? row.created_at_ms,
    untilMs: undefined,
    purpose: row.purpose,
    prefix: leasedPrefix(row),
  };
}

function attachments(db: Reader) {
  return db
    .selectFrom('attachments')
    .innerJoin('tunnels', 'tunnels.id', 'attachments.tunnel_id')
    .leftJoin('users', 'users.id', 'tunnels.user_id')
    .select([
      'tunnels.id as tunnel_id',
      'tunnels.user_id',
      'users.name as user_name',
      'attachments.encapsulation',
      'attachments.client_address',
      'attachments.client_port',
      'attachments.attached_at_ms',
    ]);
}

type AttachmentsQuery = ReturnType<typeof attachments>;

function attachedNow(
  db: Reader,
  span: Span,
  narrow: (query: AttachmentsQuery) => AttachmentsQuery,
): Source<AttachmentTenure> {
  return async (after, limit) => {
    const rows = await narrow(attachments(db))
      .where('attachments.attached_at_ms', '<=', span.untilMs)
      .where('tunnels.id', '>', Number(after))
      .orderBy('tunnels.id')
      .limit(limit)
      .execute();
    return rows.map((row) => ({
      key: String(row.tunnel_id),
      item: {
        tunnelId: row.tunnel_id,
        user: row.user_id === null ? undefined : { id: row.user_id, name: row.user_name ?? '' },
        fromMs: row.attached_at_ms,
        untilMs: undefined,
        encapsulation: row.encapsulation,
        client: parseIp(row.client_address) ?? fail(row.client_address),
        port: row.client_port,
      },
    }));
  };
}

/** No lease is narrower. */
function longestLength({ address }: IpPrefix): number {
  return typeof address === 'bigint' ? 64 : 32;
}

function fail(text: string): never {
  throw corrupt(text);
}

function corrupt(text: string): StoreError {
  return new StoreError('corrupt', `"${text}" in the database is not an address`);
}
