// Tunnels of IPv4 in IPv6 (v4v6, RFC 2473): how they are read, and what is special about opening and
// attaching them. They always belong to a user, have one link of an IPv4 pool and nothing else, and
// their clients are at an IPv6 address. All else is as for every tunnel (tunnel-acts.ts).

import {
  formatIpv6,
  type Ipv4Prefix,
  type Ipv6Address,
  ipv4PrefixAt,
  parseIpv6,
} from '../address.ts';
import type { Act } from './changes.ts';
import { StoreError } from './error.ts';
import { claimPosition, lease, type PoolChoice } from './leases.ts';
import { POLICY_COLUMNS, toPolicies } from './policies.ts';
import { parseStoredIpv4Prefix } from './pools.ts';
import type { Reader } from './schema.ts';
import {
  type AttachRefusal,
  endAttachment,
  endOf,
  isClosed,
  type OpenRefusal,
  setLeaseEnd,
  userRefusal,
} from './tunnel-acts.ts';
import type { AnyTunnel } from './tunnels.ts';

export interface Ipv4Tunnel extends AnyTunnel {
  readonly family: 'ipv4';
  readonly user: { readonly id: number; readonly name: string };
  readonly link: Ipv4Prefix;
  /** Where the link comes from. */
  readonly pool: Ipv4Prefix;
  readonly attachment: { readonly client: Ipv6Address; readonly attachedAtMs: number } | undefined;
}

export type Ipv4TunnelKey =
  | { readonly tunnelId: number }
  | { readonly userId: number }
  | { readonly slot: number }
  | { readonly client: Ipv6Address };

export interface Ipv4TunnelRequest {
  readonly userId: number;
  /** Where a link may come from, in order of preference. */
  readonly linkPools: readonly PoolChoice[];
  readonly keepaliveSeconds: number;
  readonly lifetimeSeconds: number;
  readonly leaseMs: number | undefined;
}

export type OpenIpv4Result =
  | { readonly ok: true; readonly tunnel: Ipv4Tunnel }
  | { readonly ok: false; readonly refusal: OpenRefusal };

export interface AttachIpv4Request {
  readonly tunnelId: number;
  readonly userId: number;
  readonly client: Ipv6Address;
}

export type AttachIpv4Result =
  | { readonly ok: true; readonly tunnel: Ipv4Tunnel }
  | { readonly ok: false; readonly refusal: AttachRefusal };

/** What {@link openIpv4Tunnel} would answer without writing; undefined: it has to write. */
export async function standingIpv4Tunnel(
  db: Reader,
  request: Ipv4TunnelRequest,
): Promise<OpenIpv4Result | undefined> {
  const { userId, keepaliveSeconds, lifetimeSeconds, leaseMs } = request;
  const refusal = await userRefusal(db, { userId, proxy: false });
  if (refusal) return { ok: false, refusal };
  const tunnel = await readIpv4Tunnel(db, { userId });
  if (tunnel && isClosed(tunnel)) return { ok: false, refusal: 'tunnel-disabled' };
  const stands =
    tunnel &&
    tunnel.state === 'enabled' &&
    tunnel.keepaliveSeconds === keepaliveSeconds &&
    tunnel.lifetimeSeconds === lifetimeSeconds &&
    tunnel.leaseMs === leaseMs;
  return stands ? { ok: true, tunnel } : undefined;
}

/** Finds or makes the user's tunnel. A refusal leaves nothing behind only if it is undone. */
export async function openIpv4Tunnel(
  act: Act,
  request: Ipv4TunnelRequest,
): Promise<OpenIpv4Result> {
  const { tx, nowMs, changed } = act;
  const standing = await standingIpv4Tunnel(tx, request);
  if (standing) return standing;
  const { userId } = request;
  const terms = {
    keepalive_seconds: request.keepaliveSeconds,
    lifetime_seconds: request.lifetimeSeconds,
    lease_ms: request.leaseMs ?? null,
  };
  const tunnel = await readIpv4Tunnel(tx, { userId });
  if (tunnel) {
    const back = { ...terms, state: 'enabled' } as const;
    await tx.updateTable('tunnels').set(back).where('id', '=', tunnel.id).execute();
    if (!tunnel.attachment) await setLeaseEnd(tx, tunnel.id, endOf(request.leaseMs, nowMs));
  } else {
    const claim = await claimPosition(tx, request.linkPools);
    if (!claim) return { ok: false, refusal: 'no-free-tunnel' };
    const slot = claim.pool.firstIndex + claim.position;
    const { id } = await tx
      .insertInto('tunnels')
      .values({
        user_id: userId,
        family: 'ipv4',
        slot,
        interface_id: '',
        state: 'enabled',
        created_at_ms: nowMs,
        ...terms,
      })
      .returning('id')
      .executeTakeFirstOrThrow();
    await lease(tx, claim, id, endOf(request.leaseMs, nowMs), undefined);
    changed('ipv4-slot', slot);
  }
  return { ok: true, tunnel: (await readIpv4Tunnel(tx, { userId }))! };
}

/** An IPv6 address stays its user's while it is in use, as an IPv4 address does for protocol 41. */
export async function attachIpv4Tunnel(
  act: Act,
  { tunnelId, userId, client }: AttachIpv4Request,
): Promise<AttachIpv4Result> {
  const { tx, nowMs, changed } = act;
  const tunnel = await readIpv4Tunnel(tx, { tunnelId });
  if (!tunnel || tunnel.user.id !== userId) return { ok: false, refusal: 'no-such-tunnel' };
  if (tunnel.state !== 'enabled') return { ok: false, refusal: 'tunnel-disabled' };
  if (await userRefusal(tx, { userId, proxy: false }))
    return { ok: false, refusal: 'user-disabled' };
  const occupant = await readIpv4Tunnel(tx, { client });
  if (occupant && occupant.id !== tunnelId) return { ok: false, refusal: 'address-in-use' };
  if (!occupant) {
    await endAttachment(act, tunnel);
    await tx
      .insertInto('attachments')
      .values({
        tunnel_id: tunnelId,
        encapsulation: 'v4v6',
        client_address: formatIpv6(client),
        client_port: 0,
        attached_at_ms: nowMs,
      })
      .execute();
    changed('ipv4-slot', tunnel.slot);
  }
  await tx
    .updateTable('tunnels')
    .set({ last_login_at_ms: nowMs })
    .where('id', '=', tunnelId)
    .execute();
  await setLeaseEnd(tx, tunnelId, undefined);
  return { ok: true, tunnel: (await readIpv4Tunnel(tx, { tunnelId }))! };
}

export async function readIpv4Tunnel(
  db: Reader,
  key: Ipv4TunnelKey,
): Promise<Ipv4Tunnel | undefined> {
  const all = joined(db);
  const query =
    'tunnelId' in key
      ? all.where('tunnels.id', '=', key.tunnelId)
      : 'userId' in key
        ? all.where('tunnels.user_id', '=', key.userId)
        : 'slot' in key
          ? all.where('tunnels.slot', '=', key.slot)
          : all
              .where('attachments.encapsulation', '=', 'v4v6')
              .where('attachments.client_address', '=', formatIpv6(key.client));
  const row = await query.executeTakeFirst();
  return row && toTunnel(row);
}

/** The next `limit` of them after the id, in the order in which they were made. */
export async function readIpv4TunnelsAfter(
  db: Reader,
  afterId: number,
  limit: number,
): Promise<readonly Ipv4Tunnel[]> {
  const rows = await joined(db)
    .where('tunnels.id', '>', afterId)
    .orderBy('tunnels.id')
    .limit(limit)
    .execute();
  return rows.map(toTunnel);
}

function joined(db: Reader) {
  return db
    .selectFrom('tunnels')
    .where('tunnels.family', '=', 'ipv4')
    .innerJoin('users', 'users.id', 'tunnels.user_id')
    .leftJoin('groups', 'groups.id', 'users.group_id')
    .innerJoin('leases', (on) =>
      on.onRef('leases.tunnel_id', '=', 'tunnels.id').on('leases.purpose', '=', 'ipv4-link'),
    )
    .innerJoin('pools', 'pools.id', 'leases.pool_id')
    .leftJoin('attachments', 'attachments.tunnel_id', 'tunnels.id')
    .select([
      'tunnels.id',
      'users.id as user_id',
      'users.name as user_name',
      'users.disabled_at_ms',
      'tunnels.slot',
      'tunnels.state',
      'tunnels.keepalive_seconds',
      'tunnels.lifetime_seconds',
      'tunnels.lease_ms',
      'tunnels.created_at_ms',
      'tunnels.last_login_at_ms',
      ...POLICY_COLUMNS,
      'leases.expires_at_ms',
      'leases.position',
      'pools.prefix',
      'pools.position_length',
      'attachments.client_address',
      'attachments.attached_at_ms',
    ]);
}

function toTunnel(
  row: Awaited<ReturnType<ReturnType<typeof joined>['execute']>>[number],
): Ipv4Tunnel {
  const pool = parseStoredIpv4Prefix(row.prefix);
  return {
    id: row.id,
    family: 'ipv4',
    user: { id: row.user_id, name: row.user_name },
    slot: row.slot,
    link: ipv4PrefixAt(pool, row.position_length, row.position),
    pool,
    state: row.state,
    userDisabled: row.disabled_at_ms !== null,
    keepaliveSeconds: row.keepalive_seconds,
    lifetimeSeconds: row.lifetime_seconds,
    leaseMs: row.lease_ms ?? undefined,
    createdAtMs: row.created_at_ms,
    lastLoginAtMs: row.last_login_at_ms ?? undefined,
    expiresAtMs: row.expires_at_ms ?? undefined,
    attachment:
      row.client_address === null || row.attached_at_ms === null
        ? undefined
        : { client: parseStoredIpv6(row.client_address), attachedAtMs: row.attached_at_ms },
    ...toPolicies(row),
  };
}

function parseStoredIpv6(text: string): Ipv6Address {
  const address = parseIpv6(text);
  if (address === undefined)
    throw new StoreError('corrupt', `"${text}" in the database is not an IPv6 address`);
  return address;
}
