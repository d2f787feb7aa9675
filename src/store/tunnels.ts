// How a tunnel is read: one row joined from the tables that make it up, as the broker sees it.
// Reads only. Knows nothing of what a tunnel may do.

import {
  formatIpv4,
  type Ipv4Address,
  type Ipv4Endpoint,
  type Ipv6Address,
  type Ipv6Prefix,
  parseIpv4,
  prefixAt,
} from '../address.ts';
import { readDense } from './dense.ts';
import { StoreError } from './error.ts';
import { POLICY_COLUMNS, type Policies, toPolicies } from './policies.ts';
import { parseStoredPrefix } from './pools.ts';
import { prepared } from './prepared.ts';
import type { Encapsulation, Reader, TunnelFamily, TunnelState } from './schema.ts';

/** How a tunnel reaches its client at present. */
export interface TunnelAttachment {
  readonly encapsulation: Encapsulation;
  /** `port` is 0 for v6v4. */
  readonly client: Ipv4Endpoint;
  readonly attachedAtMs: number;
}

/** What every tunnel has, whatever it carries. */
export interface AnyTunnel extends Policies {
  readonly id: number;
  readonly family: TunnelFamily;
  /** Undefined: anonymous. */
  readonly user: { readonly id: number; readonly name: string } | undefined;
  readonly slot: number;
  readonly state: TunnelState;
  readonly userDisabled: boolean;
  readonly keepaliveSeconds: number;
  readonly lifetimeSeconds: number;
  /** How long the addresses stay the tunnel's while it has no client; undefined: for ever. */
  readonly leaseMs: number | undefined;
  readonly createdAtMs: number;
  readonly lastLoginAtMs: number | undefined;
  /** When the link's lease ends; undefined: it does not. */
  readonly expiresAtMs: number | undefined;
  readonly attachment:
    | {
        /** An address is that of IPv4 in IPv6, which has no port. */
        readonly client: Ipv4Endpoint | Ipv6Address;
        readonly encapsulation?: Encapsulation;
        readonly attachedAtMs: number;
      }
    | undefined;
}

/** IPv6 in IPv4. */
export interface Tunnel extends AnyTunnel {
  readonly family: 'ipv6';
  readonly link: Ipv6Prefix;
  /** The low 64 bits of the client's address in the link. */
  readonly interfaceId: bigint;
  readonly delegation: Ipv6Prefix | undefined;
  readonly requestedPrefixLength: number | undefined;
  /** Whom the client wants the names of its prefix delegated to; names or addresses. */
  readonly nameServers: readonly string[];
  /** Whether its user has set them, which goes before what clients want. */
  readonly ownNameServers: boolean;
  /** Where its user has said that the client is, by protocol 41 and without a login. */
  readonly staticClient: Ipv4Address | undefined;
  readonly attachment: TunnelAttachment | undefined;
}

export type TunnelKey =
  | { readonly tunnelId: number }
  | { readonly userId: number }
  | { readonly slot: number }
  | { readonly encapsulation: Encapsulation; readonly client: Ipv4Endpoint };

export async function readTunnel(db: Reader, key: TunnelKey): Promise<Tunnel | undefined> {
  const { rows } = await select(db, key);
  return rows[0] && toTunnel(rows[0]);
}

function select(db: Reader, key: TunnelKey): Promise<{ readonly rows: readonly Row[] }> {
  if ('tunnelId' in key) return byId(db, key.tunnelId);
  if ('userId' in key) return byUser(db, key.userId);
  if ('slot' in key) return bySlot(db, key.slot);
  const { encapsulation, client } = key;
  return byEndpoint(db, encapsulation, formatIpv4(client.address), client.port);
}

const byId = prepared((db, id: number) => joined(db).where('tunnels.id', '=', id));
const byUser = prepared((db, userId: number) => joined(db).where('tunnels.user_id', '=', userId));
const bySlot = prepared((db, slot: number) =>
  joined(db).where('tunnels.family', '=', 'ipv6').where('tunnels.slot', '=', slot),
);
const byEndpoint = prepared((db, encapsulation: Encapsulation, address: string, port: number) =>
  joined(db)
    .where('attachments.encapsulation', '=', encapsulation)
    .where('attachments.client_address', '=', address)
    .where('attachments.client_port', '=', port),
);

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

/** The tunnel in a slot, and nothing that the data plane does not need. */
export interface SlotTunnel extends Policies {
  readonly slot: number;
  readonly anonymous: boolean;
  /** It, or its user. */
  readonly disabled: boolean;
  /** Its user has said where the client is: it does not come back by itself when it was silent. */
  readonly isStatic: boolean;
  readonly interfaceId: bigint;
  readonly keepaliveSeconds: number;
  readonly createdAtMs: number;
  readonly attachment: TunnelAttachment | undefined;
}

export async function readSlot(db: Reader, slot: number): Promise<SlotTunnel | undefined> {
  const { rows } = await inSlot(db, slot);
  return rows[0] && toSlotTunnel(rows[0]);
}

const inSlot = prepared((db, slot: number) => slots(db).where('tunnels.slot', '=', slot));

/** The tunnels of the next `limit` slots that have one, from `slot` up. */
export async function readSlotsFrom(
  db: Reader,
  slot: number,
  limit: number,
): Promise<readonly SlotTunnel[]> {
  // By slot and not by id: the rule that slots are unique is also the index that this runs along.
  const query = slots(db).where('tunnels.slot', '>=', slot).orderBy('tunnels.slot').limit(limit);
  const rows = await readDense<DenseSlotRow>(db, query);
  return rows.map((row) => toSlotTunnel(fromDense(row)));
}

type SlotRow = Awaited<ReturnType<ReturnType<typeof slots>['execute']>>[number];
type DenseSlotRow = { readonly [I in keyof typeof SLOT_COLUMNS]: SlotRow[ColumnName<I>] };
/** Of `table.column` and `table.column as name`, what the row calls it. */
type ColumnName<I extends keyof typeof SLOT_COLUMNS> =
  (typeof SLOT_COLUMNS)[I] extends `${string} as ${infer Name extends keyof SlotRow}`
    ? Name
    : (typeof SLOT_COLUMNS)[I] extends `${string}.${infer Name extends keyof SlotRow}`
      ? Name
      : never;

const SLOT_COLUMNS = [
  'tunnels.slot',
  'tunnels.user_id',
  'tunnels.state',
  'tunnels.interface_id',
  'tunnels.keepalive_seconds',
  'tunnels.created_at_ms',
  'users.disabled_at_ms',
  'attachments.encapsulation',
  'attachments.client_address',
  'attachments.client_port',
  'attachments.attached_at_ms',
  'tunnels.static_client',
  ...POLICY_COLUMNS,
] as const;

/** Written out: what the engine can see through is many times faster than a loop over names. */
function fromDense(row: DenseSlotRow): SlotRow {
  return {
    slot: row[0],
    user_id: row[1],
    state: row[2],
    interface_id: row[3],
    keepalive_seconds: row[4],
    created_at_ms: row[5],
    disabled_at_ms: row[6],
    encapsulation: row[7],
    client_address: row[8],
    client_port: row[9],
    attached_at_ms: row[10],
    static_client: row[11],
    mtu: row[12],
    in_bits_per_second: row[13],
    out_bits_per_second: row[14],
    ports: row[15],
    group_name: row[16],
    group_mtu: row[17],
    group_in_bits_per_second: row[18],
    group_out_bits_per_second: row[19],
    group_ports: row[20],
  };
}

function slots(db: Reader) {
  return db
    .selectFrom('tunnels')
    .where('tunnels.family', '=', 'ipv6')
    .leftJoin('users', 'users.id', 'tunnels.user_id')
    .leftJoin('groups', 'groups.id', 'users.group_id')
    .leftJoin('attachments', 'attachments.tunnel_id', 'tunnels.id')
    .select(SLOT_COLUMNS);
}

function toSlotTunnel(row: SlotRow): SlotTunnel {
  return {
    slot: row.slot,
    anonymous: row.user_id === null,
    disabled: row.state === 'disabled' || row.disabled_at_ms !== null,
    isStatic: row.static_client !== null,
    interfaceId: parseInterfaceId(row.interface_id),
    keepaliveSeconds: row.keepalive_seconds,
    createdAtMs: row.created_at_ms,
    attachment: toAttachment(row),
    ...toPolicies(row),
  };
}

export interface AttachedTunnel {
  readonly id: number;
  readonly anonymous: boolean;
}

/** Every tunnel with a client at this IPv4 address. */
export async function readAttachedAtAddress(
  db: Reader,
  address: Ipv4Address,
): Promise<readonly AttachedTunnel[]> {
  const text = formatIpv4(address);
  // One after the other: SQLite makes a table of a list, and each time anew.
  const { rows: udp } = await atAddress(db, 'v6udpv4', text);
  const { rows: plain } = await atAddress(db, 'v6v4', text);
  return [...udp, ...plain].map((row) => ({ id: row.id, anonymous: row.user_id === null }));
}

const atAddress = prepared((db, encapsulation: Encapsulation, address: string) =>
  db
    .selectFrom('attachments')
    .innerJoin('tunnels', 'tunnels.id', 'attachments.tunnel_id')
    .select(['tunnels.id', 'tunnels.user_id'])
    .where('attachments.encapsulation', '=', encapsulation)
    .where('attachments.client_address', '=', address),
);

/** All users' tunnels have the same one. */
let lastInterfaceId = { text: '', id: 0n };

function parseInterfaceId(text: string): bigint {
  if (text !== lastInterfaceId.text) lastInterfaceId = { text, id: BigInt(`0x${text}`) };
  return lastInterfaceId.id;
}

/** The columns come out of a left join: all of them are null when there is none. */
function toAttachment(row: {
  encapsulation: Encapsulation | 'v4v6' | null;
  client_address: string | null;
  client_port: number | null;
  attached_at_ms: number | null;
}): TunnelAttachment | undefined {
  const { encapsulation, client_address: text, client_port: port, attached_at_ms } = row;
  if (encapsulation === null || text === null || port === null || attached_at_ms === null)
    return undefined;
  const address = parseIpv4(text);
  if (address === undefined || encapsulation === 'v4v6')
    throw new StoreError('corrupt', `"${text}" in the database is not where IPv6 in IPv4 can lead`);
  return { encapsulation, client: { address, port }, attachedAtMs: attached_at_ms };
}

/**
 * Only those of IPv6 have a lease of this purpose; saying it of the family too would make SQLite sort
 * all of them for every page.
 */
function joined(db: Reader) {
  return db
    .selectFrom('tunnels')
    .leftJoin('users', 'users.id', 'tunnels.user_id')
    .leftJoin('groups', 'groups.id', 'users.group_id')
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
      'users.disabled_at_ms',
      'tunnels.slot',
      'tunnels.interface_id',
      'tunnels.requested_prefix_length',
      'tunnels.name_servers',
      'tunnels.own_name_servers',
      'tunnels.static_client',
      'tunnels.state',
      'tunnels.keepalive_seconds',
      'tunnels.lifetime_seconds',
      'tunnels.lease_ms',
      'tunnels.created_at_ms',
      'tunnels.last_login_at_ms',
      ...POLICY_COLUMNS,
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
    family: 'ipv6',
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
    nameServers: JSON.parse(row.own_name_servers ?? row.name_servers ?? '[]'),
    ownNameServers: row.own_name_servers !== null,
    staticClient: row.static_client === null ? undefined : parseIpv4(row.static_client),
    state: row.state,
    userDisabled: row.disabled_at_ms !== null,
    keepaliveSeconds: row.keepalive_seconds,
    lifetimeSeconds: row.lifetime_seconds,
    leaseMs: row.lease_ms ?? undefined,
    createdAtMs: row.created_at_ms,
    lastLoginAtMs: row.last_login_at_ms ?? undefined,
    expiresAtMs: row.expires_at_ms ?? undefined,
    attachment: toAttachment(row),
    ...toPolicies(row),
  };
}
