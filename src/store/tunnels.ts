// How a tunnel is read: one row joined from the tables that make it up, as the broker sees it.
// Reads only. Knows nothing of what a tunnel may do.

import {
  type Ipv4Address,
  type Ipv4Endpoint,
  type Ipv6Prefix,
  parseIpv6Prefix,
  prefixAt,
} from '../address.ts';
import { StoreError } from './error.ts';
import type { Encapsulation, Reader, TunnelState } from './schema.ts';

/** How a tunnel reaches its client at present. */
export interface TunnelAttachment {
  readonly encapsulation: Encapsulation;
  /** `port` is 0 for v6v4. */
  readonly client: Ipv4Endpoint;
  readonly attachedAtMs: number;
}

export interface Tunnel {
  readonly id: number;
  /** Undefined: anonymous. */
  readonly user: { readonly id: number; readonly name: string } | undefined;
  readonly slot: number;
  readonly link: Ipv6Prefix;
  /** The low 64 bits of the client's address in the link. */
  readonly interfaceId: bigint;
  readonly delegation: Ipv6Prefix | undefined;
  readonly requestedPrefixLength: number | undefined;
  /** Whom the client wants the names of its prefix delegated to; names or addresses. */
  readonly nameServers: readonly string[];
  readonly state: TunnelState;
  readonly keepaliveSeconds: number;
  readonly lifetimeSeconds: number;
  /** How long the addresses stay the tunnel's while it has no client; undefined: for ever. */
  readonly leaseMs: number | undefined;
  readonly createdAtMs: number;
  readonly lastLoginAtMs: number | undefined;
  /** When the link's lease ends; undefined: it does not. */
  readonly expiresAtMs: number | undefined;
  readonly attachment: TunnelAttachment | undefined;
}

export type TunnelKey =
  | { readonly tunnelId: number }
  | { readonly userId: number }
  | { readonly slot: number }
  | { readonly encapsulation: Encapsulation; readonly client: Ipv4Endpoint };

export async function readTunnel(db: Reader, key: TunnelKey): Promise<Tunnel | undefined> {
  const all = joined(db);
  const query =
    'tunnelId' in key
      ? all.where('tunnels.id', '=', key.tunnelId)
      : 'userId' in key
        ? all.where('tunnels.user_id', '=', key.userId)
        : 'slot' in key
          ? all.where('tunnels.slot', '=', key.slot)
          : all
              .where('attachments.encapsulation', '=', key.encapsulation)
              .where('attachments.client_address', '=', key.client.address)
              .where('attachments.client_port', '=', key.client.port);
  const row = await query.executeTakeFirst();
  return row && toTunnel(row);
}

/** The next `limit` tunnels after the id, in the order in which they were made. */
export async function readTunnelsAfter(
  db: Reader,
  afterId: number,
  limit: number,
): Promise<readonly Tunnel[]> {
  const rows = await joined(db)
    .where('tunnels.id', '>', afterId)
    .orderBy('tunnels.id')
    .limit(limit)
    .execute();
  return rows.map(toTunnel);
}

/** The tunnel in a slot, if it has a client; and nothing that the data plane does not need. */
export interface AttachedTunnel {
  readonly id: number;
  readonly slot: number;
  readonly anonymous: boolean;
  readonly interfaceId: bigint;
  readonly keepaliveSeconds: number;
  readonly createdAtMs: number;
  readonly attachment: TunnelAttachment;
}

export async function readAttached(db: Reader, slot: number): Promise<AttachedTunnel | undefined> {
  const row = await attached(db).where('tunnels.slot', '=', slot).executeTakeFirst();
  return row && toAttached(row);
}

/** The next `limit` of them after the tunnel id. */
export async function readAttachedAfter(
  db: Reader,
  afterId: number,
  limit: number,
): Promise<readonly AttachedTunnel[]> {
  const rows = await attached(db)
    .where('attachments.tunnel_id', '>', afterId)
    .orderBy('attachments.tunnel_id')
    .limit(limit)
    .execute();
  return rows.map(toAttached);
}

/** Every tunnel with a client at this IPv4 address. */
export async function readAttachedAtAddress(
  db: Reader,
  address: Ipv4Address,
): Promise<readonly AttachedTunnel[]> {
  // Named, so that the index on endpoints serves.
  const rows = await attached(db)
    .where('attachments.encapsulation', 'in', ['v6udpv4', 'v6v4'])
    .where('attachments.client_address', '=', address)
    .execute();
  return rows.map(toAttached);
}

function attached(db: Reader) {
  return db
    .selectFrom('attachments')
    .innerJoin('tunnels', 'tunnels.id', 'attachments.tunnel_id')
    .select([
      'tunnels.id',
      'tunnels.slot',
      'tunnels.user_id',
      'tunnels.interface_id',
      'tunnels.keepalive_seconds',
      'tunnels.created_at_ms',
      'attachments.encapsulation',
      'attachments.client_address',
      'attachments.client_port',
      'attachments.attached_at_ms',
    ]);
}

function toAttached(
  row: Awaited<ReturnType<ReturnType<typeof attached>['execute']>>[number],
): AttachedTunnel {
  return {
    id: row.id,
    slot: row.slot,
    anonymous: row.user_id === null,
    interfaceId: parseInterfaceId(row.interface_id),
    keepaliveSeconds: row.keepalive_seconds,
    createdAtMs: row.created_at_ms,
    attachment: {
      encapsulation: row.encapsulation,
      client: { address: row.client_address, port: row.client_port },
      attachedAtMs: row.attached_at_ms,
    },
  };
}

function parseInterfaceId(text: string): bigint {
  return BigInt(`0x${text}`);
}

export function parseStoredPrefix(text: string): Ipv6Prefix {
  const prefix = parseIpv6Prefix(text);
  if (!prefix) throw new StoreError('corrupt', `"${text}" in the database is not an IPv6 prefix`);
  return prefix;
}

function joined(db: Reader) {
  return db
    .selectFrom('tunnels')
    .leftJoin('users', 'users.id', 'tunnels.user_id')
    .innerJoin('leases as links', (on) =>
      on.onRef('links.tunnel_id', '=', 'tunnels.id').on('links.purpose', '=', 'link'),
    )
    .innerJoin('pools as link_pools', 'link_pools.id', 'links.pool_id')
    .leftJoin('leases as delegations', (on) =>
      on
        .onRef('delegations.tunnel_id', '=', 'tunnels.id')
        .on('delegations.purpose', '=', 'delegation'),
    )
    .leftJoin('pools as delegation_pools', 'delegation_pools.id', 'delegations.pool_id')
    .leftJoin('attachments', 'attachments.tunnel_id', 'tunnels.id')
    .select([
      'tunnels.id',
      'tunnels.user_id',
      'users.name as user_name',
      'tunnels.slot',
      'tunnels.interface_id',
      'tunnels.requested_prefix_length',
      'tunnels.name_servers',
      'tunnels.state',
      'tunnels.keepalive_seconds',
      'tunnels.lifetime_seconds',
      'tunnels.lease_ms',
      'tunnels.created_at_ms',
      'tunnels.last_login_at_ms',
      'links.expires_at_ms',
      'links.position as link_position',
      'link_pools.prefix as link_prefix',
      'link_pools.position_length as link_length',
      'delegations.position as delegation_position',
      'delegation_pools.prefix as delegation_prefix',
      'delegation_pools.position_length as delegation_length',
      'attachments.encapsulation',
      'attachments.client_address',
      'attachments.client_port',
      'attachments.attached_at_ms',
    ]);
}

type Row = Awaited<ReturnType<ReturnType<typeof joined>['execute']>>[number];

function toTunnel(row: Row): Tunnel {
  return {
    id: row.id,
    user: row.user_id === null ? undefined : { id: row.user_id, name: row.user_name ?? '' },
    slot: row.slot,
    link: prefixAt(parseStoredPrefix(row.link_prefix), row.link_length, row.link_position),
    interfaceId: parseInterfaceId(row.interface_id),
    delegation:
      row.delegation_prefix === null ||
      row.delegation_length === null ||
      row.delegation_position === null
        ? undefined
        : prefixAt(
            parseStoredPrefix(row.delegation_prefix),
            row.delegation_length,
            row.delegation_position,
          ),
    requestedPrefixLength: row.requested_prefix_length ?? undefined,
    nameServers: row.name_servers === null ? [] : JSON.parse(row.name_servers),
    state: row.state,
    keepaliveSeconds: row.keepalive_seconds,
    lifetimeSeconds: row.lifetime_seconds,
    leaseMs: row.lease_ms ?? undefined,
    createdAtMs: row.created_at_ms,
    lastLoginAtMs: row.last_login_at_ms ?? undefined,
    expiresAtMs: row.expires_at_ms ?? undefined,
    attachment:
      row.encapsulation === null ||
      row.client_address === null ||
      row.client_port === null ||
      row.attached_at_ms === null
        ? undefined
        : {
            encapsulation: row.encapsulation,
            client: { address: row.client_address, port: row.client_port },
            attachedAtMs: row.attached_at_ms,
          },
  };
}
