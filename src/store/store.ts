// The only door to the database, in the broker's vocabulary: users, pools, tunnels, leases and the
// change feed. Every writing method is one transaction, on the disk when its promise is fulfilled.
// Every method may reject with StoreError. Policy, clocks, secrets and the kernel are the broker's.

import { Announcements } from './announcements.ts';
import { type AuditEntry, appendAudit } from './audit-log.ts';
import type { Backend, Room } from './backend.ts';
import { type NamedSecret, putUsers, removeNumberedUsers } from './bulk-users.ts';
import {
  type Act,
  appendChanges,
  type Change,
  type ChangesSince,
  latestChangeId,
  readChanges,
} from './changes.ts';
import { Directory } from './directory.ts';
import { StoreError } from './error.ts';
import { HistoryStore } from './history.ts';
import {
  type AttachIpv4Request,
  type AttachIpv4Result,
  attachIpv4Tunnel,
  type Ipv4Tunnel,
  type Ipv4TunnelKey,
  type Ipv4TunnelRequest,
  type OpenIpv4Result,
  openIpv4Tunnel,
  readIpv4Tunnel,
  readIpv4TunnelsAfter,
  standingIpv4Tunnel,
} from './ipv4-tunnels.ts';
import { migrate } from './migrations.ts';
import { Overview } from './overview.ts';
import { type Ownership, readOwnership, readOwnershipsFrom } from './ownerships.ts';
import { PeopleStore } from './people.ts';
import type { StoreAccess } from './people-access.ts';
import {
  addGroup,
  type Group,
  type GroupUsage,
  type PolicyChange,
  readGroup,
  readGroups,
  readTouchedSlots,
  removeGroup,
  setGroupPolicy,
  setTunnelPolicy,
  type TouchedSlot,
} from './policies.ts';
import {
  type AddPoolResult,
  addPool,
  type NewPool,
  type Pool,
  type PoolUsage,
  readPools,
  readPoolUsage,
} from './pools.ts';
import { prepared } from './prepared.ts';
import type { Reader, TunnelFamily, TunnelState } from './schema.ts';
import { TrafficStore } from './traffic.ts';
import {
  type AttachRequest,
  type AttachResult,
  attachTunnel,
  closeTunnel,
  type OpenResult,
  openTunnel,
  setTunnelState,
  setUserLeases,
  slotKind,
  type TunnelRequest,
  takeDownTunnel,
  tunnelsWithOtherLease,
} from './tunnel-acts.ts';
import {
  type AnyTunnel,
  readSlot,
  readSlotsFrom,
  readTunnel,
  readTunnelsAfter,
  type SlotTunnel,
  type Tunnel,
  type TunnelKey,
} from './tunnels.ts';
import {
  insertUser,
  removeUser,
  type SealedSecret,
  secretColumns,
  setUserColumns,
  setUserDisabled,
  toUser,
  type User,
} from './users.ts';

export type { SealedSecret, User } from './users.ts';

const CHANGES_KEPT = 100_000;

export class Store {
  readonly #backend: Backend;
  readonly #changesKept: number;
  readonly #keepsPast: boolean;
  /** Who signs in to the portal, and what is theirs. */
  readonly people: PeopleStore;
  /** Who had which address. */
  readonly history: HistoryStore;
  /** Users and tunnels, looked for. */
  readonly directory: Directory;
  readonly overview: Overview;
  readonly announcements: Announcements;
  /** What went through tunnels. */
  readonly traffic: TrafficStore;
  #closed = false;

  private constructor(backend: Backend, changesKept: number, keepsPast: boolean) {
    this.#backend = backend;
    this.#changesKept = changesKept;
    this.#keepsPast = keepsPast;
    const access: StoreAccess = {
      reading: () => this.#db,
      act: (nowMs, act) => this.#act(nowMs, act),
      actOrUndo: (nowMs, act) => this.#actOrUndo(nowMs, act),
    };
    this.people = new PeopleStore(access);
    this.directory = new Directory(access);
    this.overview = new Overview(access);
    this.announcements = new Announcements(access);
    const room: Room = {
      reading: () => this.#db,
      writing: (write) => this.#open.transaction(write),
    };
    this.history = new HistoryStore(room);
    this.traffic = new TrafficStore(room);
  }

  /**
   * Brings the schema up to date first. `changesKept`: how many changes a follower may be behind
   * before it has to look at everything. `keepsPast`: write down attachments and leases that end.
   */
  static async open(
    backend: Backend,
    changesKept = CHANGES_KEPT,
    keepsPast = true,
  ): Promise<Store> {
    await migrate(backend);
    return new Store(backend, changesKept, keepsPast);
  }

  async close(): Promise<void> {
    this.#closed = true;
    await this.#backend.close();
  }

  get #db(): Reader {
    return this.#open.reading;
  }

  get #open(): Backend {
    if (this.#closed) throw new StoreError('closed', 'the store was closed');
    return this.#backend;
  }

  // Settings

  async setting(name: string): Promise<string | undefined> {
    const row = await this.#db
      .selectFrom('settings')
      .select('value')
      .where('name', '=', name)
      .executeTakeFirst();
    return row?.value;
  }

  /** Sets it unless it was set before; answers the value that stands. */
  async settingOrInitial(name: string, initial: string): Promise<string> {
    return this.#open.transaction(async (tx) => {
      await tx
        .insertInto('settings')
        .values({ name, value: initial })
        .onConflict((conflict) => conflict.doNothing())
        .execute();
      const { value } = await tx
        .selectFrom('settings')
        .select('value')
        .where('name', '=', name)
        .executeTakeFirstOrThrow();
      return value;
    });
  }

  // Users

  async addUser(name: string, secret: SealedSecret, nowMs: number): Promise<User | 'name-taken'> {
    return this.#act(nowMs, (act) => insertUser(act, name, secret));
  }

  async user(name: string): Promise<(User & SealedSecret) | undefined> {
    const [row] = (await userByName(this.#db, name)).rows;
    return (
      row && {
        ...toUser(row),
        sealedHa1: row.sealed_ha1,
        sealedScram: row.sealed_scram ?? undefined,
      }
    );
  }

  /** The next `limit` users after the name, in the order of their names. */
  async usersAfter(name: string, limit: number): Promise<readonly User[]> {
    const rows = await this.#db
      .selectFrom('users')
      .select(['id', 'name', 'disabled_at_ms', 'proxy_trusted_at_ms', 'group_id', 'created_at_ms'])
      .where('name', '>', name)
      .orderBy('name')
      .limit(limit)
      .execute();
    return rows.map(toUser);
  }

  /** False: there is no such user. */
  async setUserSecret(userId: number, secret: SealedSecret, nowMs: number): Promise<boolean> {
    return this.#act(nowMs, (act) => setUserColumns(act, userId, secretColumns(secret)));
  }

  /** Disabling takes the clients away from the user's tunnels too. False: there is no such user. */
  async setUserDisabled(
    userId: number,
    disabled: boolean,
    nowMs: number,
    audit?: AuditEntry,
  ): Promise<boolean> {
    return this.#act(nowMs, (act) => setUserDisabled(act, userId, disabled), audit);
  }

  /** For logins from now on. False: there is no such user. */
  async setProxyTrust(
    userId: number,
    trusted: boolean,
    nowMs: number,
    audit?: AuditEntry,
  ): Promise<boolean> {
    const columns = { proxy_trusted_at_ms: trusted ? nowMs : null };
    return this.#act(nowMs, (act) => setUserColumns(act, userId, columns), audit);
  }

  /** See {@link removeUser}. */
  async removeUser(userId: number, nowMs: number, audit?: AuditEntry): Promise<boolean> {
    return this.#act(nowMs, (act) => removeUser(act, userId), audit);
  }

  /** See {@link putUsers}: one transaction for all of them. */
  async putUsers(users: readonly NamedSecret[], groupId: number | undefined, nowMs: number) {
    return this.#act(nowMs, (act) => putUsers(act, users, groupId));
  }

  /** See {@link removeNumberedUsers}. */
  async removeNumberedUsers(prefix: string, after: string, limit: number, nowMs: number) {
    return this.#act(nowMs, (act) => removeNumberedUsers(act, prefix, after, limit));
  }

  // Groups of users

  async addGroup(
    name: string,
    policy: PolicyChange,
    nowMs: number,
    audit?: AuditEntry,
  ): Promise<Group | 'name-taken'> {
    return this.#act(nowMs, (act) => addGroup(act, name, policy), audit);
  }

  async group(name: string): Promise<Group | undefined> {
    return readGroup(this.#db, name);
  }

  /** In the order of their names; counts the users of each. */
  async groups(): Promise<readonly GroupUsage[]> {
    return readGroups(this.#db);
  }

  /** False: there is no such group. */
  async setGroupPolicy(
    groupId: number,
    change: PolicyChange,
    nowMs: number,
    audit?: AuditEntry,
  ): Promise<boolean> {
    return this.#act(nowMs, (act) => setGroupPolicy(act, groupId, change), audit);
  }

  /** `in-use`: it has users. */
  async removeGroup(
    groupId: number,
    nowMs: number,
    audit?: AuditEntry,
  ): Promise<'removed' | 'in-use' | 'no-such-group'> {
    return this.#act(nowMs, (act) => removeGroup(act, groupId), audit);
  }

  /** Undefined: in none. False: there is no such user. */
  async setUserGroup(
    userId: number,
    groupId: number | undefined,
    nowMs: number,
    audit?: AuditEntry,
  ): Promise<boolean> {
    const columns = { group_id: groupId ?? null };
    return this.#act(nowMs, (act) => setUserColumns(act, userId, columns), audit);
  }

  /** The next `limit` tunnels of the user, or of the group's users, after the tunnel id. */
  async touchedSlotsAfter(
    whose: { readonly userId: number } | { readonly groupId: number },
    afterTunnelId: number,
    limit: number,
  ): Promise<readonly TouchedSlot[]> {
    return readTouchedSlots(this.#db, whose, afterTunnelId, limit);
  }

  // Pools

  /** See {@link addPool}. */
  async addPool(
    asked: NewPool,
    capacity: number,
    nowMs: number,
    audit?: AuditEntry,
  ): Promise<AddPoolResult> {
    return this.#act(nowMs, (act) => addPool(act, asked, capacity), audit);
  }

  /** In the order in which they were added. */
  async pools(): Promise<readonly Pool[]> {
    return readPools(this.#db);
  }

  /** {@link pools} with how many positions are leased; counts every lease. */
  async poolUsage(): Promise<readonly PoolUsage[]> {
    return readPoolUsage(this.#db);
  }

  // Tunnels

  /** A refusal leaves nothing behind. */
  async openTunnel(request: TunnelRequest, nowMs: number): Promise<OpenResult> {
    return this.#actOrUndo(nowMs, (act) => openTunnel(act, request));
  }

  async attachTunnel(request: AttachRequest, nowMs: number): Promise<AttachResult> {
    return this.#actOrUndo(nowMs, (act) => attachTunnel(act, request));
  }

  /**
   * Takes the tunnel's client away. A user keeps the addresses; an anonymous tunnel is closed. False:
   * there is no such tunnel.
   */
  async takeDownTunnel(tunnelId: number, nowMs: number): Promise<boolean> {
    return this.#onTunnel(tunnelId, nowMs, takeDownTunnel);
  }

  /** The same for the tunnel in a slot, unless its client has logged in after `sinceMs`. */
  async takeDownUnlessLogin(
    slot: number,
    sinceMs: number,
    nowMs: number,
    family: TunnelFamily = 'ipv6',
  ): Promise<boolean> {
    return this.#act(nowMs, async (act) => {
      const read = family === 'ipv6' ? readTunnel : readIpv4Tunnel;
      const tunnel = await read(act.tx, { slot });
      if (!tunnel?.attachment || (tunnel.lastLoginAtMs ?? 0) > sinceMs) return false;
      await takeDownTunnel(act, tunnel);
      return true;
    });
  }

  /** Frees the tunnel's addresses. False: there is no such tunnel. */
  async closeTunnel(tunnelId: number, nowMs: number, audit?: AuditEntry): Promise<boolean> {
    return this.#onTunnel(tunnelId, nowMs, closeTunnel, audit);
  }

  /** Either way the tunnel's client is taken away. False: there is no such tunnel. */
  async setTunnelState(
    tunnelId: number,
    state: TunnelState,
    nowMs: number,
    audit?: AuditEntry,
  ): Promise<boolean> {
    const set = (act: Act, tunnel: AnyTunnel) => setTunnelState(act, tunnel, state);
    return this.#onTunnel(tunnelId, nowMs, set, audit);
  }

  /** False: there is no such tunnel. */
  async setTunnelPolicy(
    tunnelId: number,
    change: PolicyChange,
    nowMs: number,
    audit?: AuditEntry,
  ): Promise<boolean> {
    const set = async (act: Act, tunnel: AnyTunnel) => {
      await setTunnelPolicy(act, tunnelId, change);
      act.changed(slotKind(tunnel), tunnel.slot);
    };
    return this.#onTunnel(tunnelId, nowMs, set, audit);
  }

  async tunnel(key: TunnelKey): Promise<Tunnel | undefined> {
    return readTunnel(this.#db, key);
  }

  async tunnelsAfter(afterId: number, limit: number): Promise<readonly Tunnel[]> {
    return readTunnelsAfter(this.#db, afterId, limit);
  }

  /** The tunnel in a slot, with a client or without. */
  async slot(slot: number): Promise<SlotTunnel | undefined> {
    return readSlot(this.#db, slot);
  }

  /** The tunnels of the next `limit` slots that have one, from `slot` up. */
  async slotsFrom(slot: number, limit: number): Promise<readonly SlotTunnel[]> {
    return readSlotsFrom(this.#db, slot, limit);
  }

  /** Closes up to `limit` tunnels whose link's lease has ended; answers their ids. */
  async closeExpired(nowMs: number, limit: number): Promise<readonly number[]> {
    const due = (db: Reader) =>
      db
        .selectFrom('leases')
        .select('tunnel_id')
        .where('expires_at_ms', '<=', nowMs)
        .where('tunnel_id', 'is not', null)
        .orderBy('expires_at_ms')
        .limit(limit)
        .execute();
    // Most of the time there is nothing to do, and then nothing is locked.
    if ((await due(this.#db)).length === 0) return [];
    return this.#act(nowMs, async (act) => {
      const tunnelIds = (await due(act.tx)).map((row) => row.tunnel_id!);
      for (const tunnelId of tunnelIds) {
        const tunnel = await anyTunnel(act.tx, tunnelId);
        if (tunnel) await closeTunnel(act, tunnel);
      }
      return tunnelIds;
    });
  }

  /** How long users' addresses stay theirs without a client; undefined: for ever. */
  async setUserLeases(leaseMs: number | undefined, nowMs: number): Promise<void> {
    const other = tunnelsWithOtherLease(this.#db, leaseMs).select('id').limit(1);
    if (await other.executeTakeFirst())
      await this.#act(nowMs, (act) => setUserLeases(act, leaseMs));
  }

  // Tunnels of IPv4 in IPv6

  /** A refusal leaves nothing behind. */
  async openIpv4Tunnel(request: Ipv4TunnelRequest, nowMs: number): Promise<OpenIpv4Result> {
    const standing = await standingIpv4Tunnel(this.#db, request);
    if (standing) return standing;
    return this.#actOrUndo(nowMs, (act) => openIpv4Tunnel(act, request));
  }

  async attachIpv4Tunnel(request: AttachIpv4Request, nowMs: number): Promise<AttachIpv4Result> {
    return this.#actOrUndo(nowMs, (act) => attachIpv4Tunnel(act, request));
  }

  async ipv4Tunnel(key: Ipv4TunnelKey): Promise<Ipv4Tunnel | undefined> {
    return readIpv4Tunnel(this.#db, key);
  }

  async ipv4TunnelsAfter(afterId: number, limit: number): Promise<readonly Ipv4Tunnel[]> {
    return readIpv4TunnelsAfter(this.#db, afterId, limit);
  }

  // Delegations, by owner index

  async ownership(index: number): Promise<Ownership | undefined> {
    return readOwnership(this.#db, index);
  }

  /** The leased positions of one delegation pool from `position` up, in order. */
  async ownershipsFrom(pool: Pool, position: number, limit: number): Promise<readonly Ownership[]> {
    return readOwnershipsFrom(this.#db, pool, position, limit);
  }

  // The change feed

  async latestChangeId(): Promise<number> {
    return latestChangeId(this.#db);
  }

  async changesSince(id: number, limit = 1000): Promise<ChangesSince> {
    return readChanges(this.#db, id, limit);
  }

  // Transactions

  /** The entry goes into the audit log with what was done; a refusal has done nothing. */
  async #act<T>(nowMs: number, act: (act: Act) => Promise<T>, audit?: AuditEntry): Promise<T> {
    return this.#open.transaction(async (tx) => {
      const changes: Omit<Change, 'id'>[] = [];
      const changed: Act['changed'] = (kind, subject) => changes.push({ kind, subject });
      const context: Act = { tx, nowMs, keepsPast: this.#keepsPast, changed };
      const result = await act(context);
      if (audit && isDone(result)) await appendAudit(context, audit);
      await appendChanges(tx, changes, nowMs, this.#changesKept);
      return result;
    });
  }

  async #actOrUndo<T extends { readonly ok: boolean }>(
    nowMs: number,
    act: (act: Act) => Promise<T>,
  ): Promise<T> {
    try {
      return await this.#act(nowMs, async (context) => {
        const result = await act(context);
        if (!result.ok) throw new Undo(result);
        return result;
      });
    } catch (error) {
      if (error instanceof Undo) return error.result as T;
      throw error;
    }
  }

  async #onTunnel(
    tunnelId: number,
    nowMs: number,
    act: (act: Act, tunnel: AnyTunnel) => Promise<void>,
    audit?: AuditEntry,
  ): Promise<boolean> {
    const onIt = async (context: Act) => {
      const tunnel = await anyTunnel(context.tx, tunnelId);
      if (tunnel) await act(context, tunnel);
      return tunnel !== undefined;
    };
    return this.#act(nowMs, onIt, audit);
  }
}

/** Whether an act's result says that it was done: refusals are false, a word, or not `ok`. */
function isDone(result: unknown): boolean {
  if (typeof result === 'object' && result !== null) return !('ok' in result) || result.ok === true;
  return result === true || result === 'removed';
}

const userByName = prepared((db, name: string) =>
  db.selectFrom('users').selectAll().where('name', '=', name),
);

/** Carries a refusal out of a transaction that must not be committed. */
class Undo extends Error {
  readonly result: unknown;

  constructor(result: unknown) {
    super('undone');
    this.result = result;
  }
}

async function anyTunnel(db: Reader, tunnelId: number): Promise<AnyTunnel | undefined> {
  return (await readTunnel(db, { tunnelId })) ?? readIpv4Tunnel(db, { tunnelId });
}
