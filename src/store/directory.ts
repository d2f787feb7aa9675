// Users and tunnels as staff look for them: by name, by e-mail address, by an address that is theirs or
// that their client comes from now. Lists run along an index each, so that a page takes as long with a
// million users as with ten. Reads only; whom the answers may be shown to is the broker's business.

import { sql } from 'kysely';
import {
  formatIp,
  type IpAddress,
  ipv4PrefixContains,
  positionOfAddress,
  prefixContains,
} from '../address.ts';
import { type Ipv4Tunnel, readIpv4Tunnel } from './ipv4-tunnels.ts';
import { type Page, type PageRequest, readThrough, type Source } from './pages.ts';
import type { StoreAccess } from './people-access.ts';
import { type Person, personRows, toPerson } from './person.ts';
import { type Pool, readPools } from './pools.ts';
import type { Reader, TunnelFamily } from './schema.ts';
import { readTunnel, type Tunnel } from './tunnels.ts';
import { toUser, type User } from './users.ts';

export type Found = Tunnel | Ipv4Tunnel;

/** A tunnel user, the person that they are in the portal, and how their tunnels are. */
export interface Account {
  readonly user: User & { readonly group: string | undefined };
  /** Undefined: made from the command line, and never invited. */
  readonly person: Person | undefined;
  /** A client is there; there is none; there is no tunnel at all. */
  readonly tunnel: 'up' | 'down' | 'none';
  readonly lastLoginAtMs: number | undefined;
}

export interface UserFilter {
  /** Undefined: all. */
  readonly state?: 'waiting' | 'disabled' | undefined;
  readonly groupId?: number | undefined;
  /** Beginning of a user name or of an e-mail address, or whose address this is. */
  readonly search?: string | IpAddress | undefined;
}

export interface TunnelFilter {
  readonly state?: 'up' | 'down' | 'disabled' | 'anonymous' | undefined;
  /** Its number, or an address of it or of its client; undefined: all. */
  readonly search?:
    | number
    | { readonly address: IpAddress }
    | { readonly user: string }
    | undefined;
}

export class Directory {
  readonly #access: StoreAccess;

  constructor(access: StoreAccess) {
    this.#access = access;
  }

  /** The latest first; what was searched for in the order of names and then of e-mail addresses. */
  async users(filter: UserFilter, page: PageRequest): Promise<Page<Account>> {
    const db = this.#access.reading();
    const { search } = filter;
    const base = () => narrowed(accounts(db), filter);
    if (search === undefined) return readThrough(page, [latest(base)]);
    if (typeof search !== 'string') {
      const tunnelIds = await tunnelsAt(db, search);
      return readThrough(page, [ofTunnels(base, tunnelIds)]);
    }
    return readThrough(page, [named(base, search), mailed(base, search.toLowerCase())]);
  }

  async user(key: { readonly id: number } | { readonly name: string }) {
    const all = accounts(this.#access.reading());
    const row = await ('id' in key
      ? all.where('users.id', '=', key.id)
      : all.where('users.name', '=', key.name)
    ).executeTakeFirst();
    return row && toAccount(row);
  }

  /** The latest first. */
  async tunnels(filter: TunnelFilter, page: PageRequest): Promise<Page<Found>> {
    const db = this.#access.reading();
    const ids = await readThrough(page, [tunnelIds(db, filter, await this.#searched(filter))]);
    const tunnels: Found[] = [];
    for (const { id, family } of ids.items) {
      const found = await (family === 'ipv6' ? readTunnel : readIpv4Tunnel)(db, { tunnelId: id });
      if (found) tunnels.push(found);
    }
    return { items: tunnels, next: ids.next };
  }

  async tunnel(tunnelId: number): Promise<Found | undefined> {
    const db = this.#access.reading();
    return (await readTunnel(db, { tunnelId })) ?? readIpv4Tunnel(db, { tunnelId });
  }

  async tunnelsOf(userId: number): Promise<readonly Found[]> {
    const db = this.#access.reading();
    const found = [await readTunnel(db, { userId }), await readIpv4Tunnel(db, { userId })];
    return found.filter((tunnel) => tunnel !== undefined);
  }

  /** Who has a role, and people without a user, who are in no list of users. */
  async staff(page: PageRequest): Promise<Page<Person>> {
    const db = this.#access.reading();
    const source =
      (condition: ReturnType<typeof sql<boolean>>): Source<Person> =>
      async (after, limit) => {
        const rows = await personRows(db)
          .where(condition)
          .where('people.id', '>', Number(after))
          .orderBy('people.id')
          .limit(limit)
          .execute();
        return rows.map((row) => ({ key: String(row.id), item: toPerson(row) }));
      };
    return readThrough(page, [
      source(sql<boolean>`people.role <> 'user'`),
      source(sql<boolean>`people.user_id is null and people.role = 'user'`),
    ]);
  }

  async #searched({ search }: TunnelFilter): Promise<readonly number[] | undefined> {
    if (search === undefined) return undefined;
    const db = this.#access.reading();
    if (typeof search === 'number') return [search];
    if ('address' in search) return tunnelsAt(db, search.address);
    const rows = await db
      .selectFrom('users')
      .innerJoin('tunnels', 'tunnels.user_id', 'users.id')
      .select('tunnels.id')
      .where('users.name', '=', search.user)
      .execute();
    return rows.map(({ id }) => id);
  }
}

/** More than those behind a carrier-grade NAT are not looked through. */
const AT_ADDRESS_MOST = 1000;

/** The tunnels that have the address inside now, and those whose client is there. */
async function tunnelsAt(db: Reader, address: IpAddress): Promise<readonly number[]> {
  const ids: number[] = [];
  for (const pool of (await readPools(db)).filter((each) => poolContains(each, address))) {
    const row = await db
      .selectFrom('leases')
      .select('tunnel_id')
      .where('pool_id', '=', pool.id)
      .where('position', '=', positionOfAddress(pool.prefix, pool.positionLength, address))
      .executeTakeFirst();
    if (row?.tunnel_id) ids.push(row.tunnel_id);
  }
  for (const encapsulation of ['v6udpv4', 'v6v4', 'v4v6'] as const) {
    const rows = await db
      .selectFrom('attachments')
      .select('tunnel_id')
      .where('encapsulation', '=', encapsulation)
      .where('client_address', '=', formatIp(address))
      .limit(AT_ADDRESS_MOST)
      .execute();
    ids.push(...rows.map((row) => row.tunnel_id));
  }
  return ids;
}

function poolContains(pool: Pool, address: IpAddress): boolean {
  if (pool.purpose === 'ipv4-link')
    return typeof address === 'number' && ipv4PrefixContains(pool.prefix, address);
  return typeof address === 'bigint' && prefixContains(pool.prefix, address);
}

// Users

function accounts(db: Reader) {
  return db
    .selectFrom('users')
    .leftJoin('people', 'people.user_id', 'users.id')
    .leftJoin('groups', 'groups.id', 'users.group_id')
    .leftJoin('tunnels as tunnels6', (on) =>
      on.onRef('tunnels6.user_id', '=', 'users.id').on('tunnels6.family', '=', 'ipv6'),
    )
    .leftJoin('attachments as attachments6', 'attachments6.tunnel_id', 'tunnels6.id')
    .leftJoin('tunnels as tunnels4', (on) =>
      on.onRef('tunnels4.user_id', '=', 'users.id').on('tunnels4.family', '=', 'ipv4'),
    )
    .leftJoin('attachments as attachments4', 'attachments4.tunnel_id', 'tunnels4.id')
    .select([
      'users.id',
      'users.name',
      'users.disabled_at_ms',
      'users.proxy_trusted_at_ms',
      'users.group_id',
      'users.created_at_ms',
      'groups.name as group_name',
      'people.id as person_id',
      'people.email',
      'people.email_verified_at_ms',
      'people.role',
      'people.state',
      'people.language',
      'people.totp_enabled_at_ms',
      'people.created_at_ms as person_created_at_ms',
      'people.last_sign_in_at_ms',
      'tunnels6.id as tunnel6_id',
      'tunnels6.last_login_at_ms as login6_at_ms',
      'attachments6.tunnel_id as attached6_id',
      'tunnels4.id as tunnel4_id',
      'tunnels4.last_login_at_ms as login4_at_ms',
      'attachments4.tunnel_id as attached4_id',
    ]);
}

type Accounts = ReturnType<typeof accounts>;
type AccountRow = Awaited<ReturnType<Accounts['execute']>>[number];

/** Literals and not values: SQLite then sees that a partial index has all of them. */
function narrowed(query: Accounts, { state, groupId }: UserFilter): Accounts {
  let narrower = query;
  if (state === 'waiting')
    narrower = narrower.where(sql<boolean>`people.state = 'waiting-approval'`);
  if (state === 'disabled')
    narrower = narrower.where(
      sql<boolean>`users.disabled_at_ms is not null and people.state is not 'waiting-approval'`,
    );
  return groupId === undefined ? narrower : narrower.where('users.group_id', '=', groupId);
}

function latest(base: () => Accounts): Source<Account> {
  return async (after, limit) => {
    const rows = await base()
      .$if(after !== '', (query) => query.where('users.id', '<', Number(after)))
      .orderBy('users.id', 'desc')
      .limit(limit)
      .execute();
    return rows.map((row) => ({ key: String(row.id), item: toAccount(row) }));
  };
}

function named(base: () => Accounts, beginning: string): Source<Account> {
  return async (after, limit) => {
    const rows = await base()
      .where('users.name', '>=', beginning)
      .where('users.name', '<', afterAll(beginning))
      .$if(after !== '', (query) =>
        query.where(
          'users.name',
          '>',
          sql<string>`(select name from users where id = ${Number(after)})`,
        ),
      )
      .orderBy('users.name')
      .limit(limit)
      .execute();
    return rows.map((row) => ({ key: String(row.id), item: toAccount(row) }));
  };
}

/** Whose name begins so was there before. */
function mailed(base: () => Accounts, beginning: string): Source<Account> {
  return async (after, limit) => {
    const rows = await base()
      .where('people.email', '>=', beginning)
      .where('people.email', '<', afterAll(beginning))
      .where((row) =>
        row.or([row('users.name', '<', beginning), row('users.name', '>=', afterAll(beginning))]),
      )
      .$if(after !== '', (query) =>
        query.where(
          'people.email',
          '>',
          sql<string>`(select email from people where user_id = ${Number(after)})`,
        ),
      )
      .orderBy('people.email')
      .limit(limit)
      .execute();
    return rows.map((row) => ({ key: String(row.id), item: toAccount(row) }));
  };
}

/** Greater than whatever begins so. */
function afterAll(beginning: string): string {
  return `${beginning}\u{10ffff}`;
}

function ofTunnels(base: () => Accounts, tunnelIds: readonly number[]): Source<Account> {
  return async (after, limit) => {
    if (tunnelIds.length === 0) return [];
    const rows = await base()
      .where((row) =>
        row.or([row('tunnels6.id', 'in', tunnelIds), row('tunnels4.id', 'in', tunnelIds)]),
      )
      .where('users.id', 'in', (select) =>
        select.selectFrom('tunnels').select('tunnels.user_id').where('tunnels.id', 'in', tunnelIds),
      )
      .where('users.id', '>', Number(after))
      .orderBy('users.id')
      .limit(limit)
      .execute();
    return rows.map((row) => ({ key: String(row.id), item: toAccount(row) }));
  };
}

function toAccount(row: AccountRow): Account {
  const logins = [row.login6_at_ms, row.login4_at_ms].filter((atMs) => atMs !== null);
  return {
    user: { ...toUser(row), group: row.group_name ?? undefined },
    person:
      row.person_id === null
        ? undefined
        : toPerson({
            id: row.person_id,
            user_id: row.id,
            user_name: row.name,
            user_disabled_at_ms: row.disabled_at_ms,
            email: row.email!,
            email_verified_at_ms: row.email_verified_at_ms,
            role: row.role!,
            state: row.state!,
            language: row.language,
            totp_enabled_at_ms: row.totp_enabled_at_ms,
            created_at_ms: row.person_created_at_ms!,
            last_sign_in_at_ms: row.last_sign_in_at_ms,
          }),
    tunnel:
      row.attached6_id !== null || row.attached4_id !== null
        ? 'up'
        : row.tunnel6_id !== null || row.tunnel4_id !== null
          ? 'down'
          : 'none',
    lastLoginAtMs: logins.length === 0 ? undefined : Math.max(...logins),
  };
}

// Tunnels

interface TunnelRef {
  readonly id: number;
  readonly family: TunnelFamily;
}

function tunnelIds(
  db: Reader,
  { state }: TunnelFilter,
  among: readonly number[] | undefined,
): Source<TunnelRef> {
  return async (after, limit) => {
    if (among?.length === 0) return [];
    const rows = await db
      .selectFrom('tunnels')
      .leftJoin('users', 'users.id', 'tunnels.user_id')
      .leftJoin('attachments', 'attachments.tunnel_id', 'tunnels.id')
      .select(['tunnels.id', 'tunnels.family'])
      .$if(after !== '', (query) => query.where('tunnels.id', '<', Number(after)))
      .$if(among !== undefined, (query) => query.where('tunnels.id', 'in', among ?? []))
      .$if(state === 'up', (query) => query.where('attachments.tunnel_id', 'is not', null))
      .$if(state === 'down', (query) =>
        query
          .where('attachments.tunnel_id', 'is', null)
          .where('users.disabled_at_ms', 'is', null)
          .where('tunnels.state', '=', 'enabled'),
      )
      .$if(state === 'disabled', (query) =>
        query.where(
          sql<boolean>`(tunnels.state = 'disabled' or tunnels.user_id in
            (select id from users where disabled_at_ms is not null))`,
        ),
      )
      .$if(state === 'anonymous', (query) => query.where(sql<boolean>`tunnels.user_id is null`))
      .orderBy('tunnels.id', 'desc')
      .limit(limit)
      .execute();
    return rows.map((row) => ({ key: String(row.id), item: row }));
  };
}
