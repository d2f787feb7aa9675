// The tables, as types; the migrations make them.
//
// Addresses and prefixes are text, dotted or of RFC 5952, not integers or blobs: they are only ever
// compared for equality (positions carry the arithmetic), and an operator can read them in any SQL
// shell. Times are milliseconds since 1970. Booleans are the time since when, or null.

import type { Generated, Kysely } from 'kysely';
import type { DeskTables } from './desk-tables.ts';
import type { HistoryTables } from './history-tables.ts';
import type { PeopleTables } from './people-tables.ts';

/** `link` and `ipv4-link` give a tunnel's ends addresses, of the family that is inside. */
export type PoolPurpose = 'link' | 'delegation' | 'ipv4-link';
/** Of the packets inside: what the tunnel is good for. */
export type TunnelFamily = 'ipv6' | 'ipv4';
/**
 * `paused` by its user, `disabled` by an administrator; `deleted` by its user, for whom its addresses are
 * held until the lease ends.
 */
export type TunnelState = 'enabled' | 'paused' | 'disabled' | 'deleted';
/** Of IPv6 in IPv4. */
export type Encapsulation = 'v6v4' | 'v6udpv4';
export type Ports = 'open' | 'closed';
export type ChangeKind = 'slot' | 'ipv4-slot' | 'owner' | 'pool' | 'user' | 'group';

export interface Tables extends PeopleTables, HistoryTables, DeskTables {
  schema_version: { version: number };
  settings: { name: string; value: string };
  users: {
    id: Generated<number>;
    name: string;
    /** MD5(name ":" realm ":" secret), encrypted by the broker; opaque here. */
    sealed_ha1: string;
    /** SCRAM's salt and keys, likewise; null until the first secret that is set since version 2. */
    sealed_scram: string | null;
    disabled_at_ms: number | null;
    /** Null: a tunnel only to where the user's own packets come from. */
    proxy_trusted_at_ms: number | null;
    group_id: number | null;
    created_at_ms: number;
  };
  /** What holds for the tunnels of its users, unless they say otherwise; null: nothing. */
  groups: {
    id: Generated<number>;
    name: string;
    mtu: number | null;
    in_bits_per_second: number | null;
    out_bits_per_second: number | null;
    ports: Ports | null;
    created_at_ms: number;
  };
  pools: {
    id: Generated<number>;
    purpose: PoolPurpose;
    prefix: string;
    position_length: number;
    first_index: number;
    /** The lowest position that was never handed out. */
    next_position: number;
    created_at_ms: number;
  };
  tunnels: {
    id: Generated<number>;
    /** Null for an anonymous tunnel. */
    user_id: number | null;
    /** A user has one tunnel of each. */
    family: TunnelFamily;
    /** Each family has its own numbering. */
    slot: number;
    /** 16 hexadecimal digits: 64 bits do not fit every signed integer. Empty for IPv4. */
    interface_id: string;
    /** What the client asked for last; what it holds is in `leases`. */
    requested_prefix_length: number | null;
    /** What the client asked the prefix's names to be delegated to, as JSON; null: to nobody. */
    name_servers: string | null;
    /** The same, set by its user in the portal: goes before what clients ask for; null: nothing set. */
    own_name_servers: string | null;
    state: TunnelState;
    /** The IPv4 address that its user has set for protocol 41, without a login; null: logins say it. */
    static_client: string | null;
    keepalive_seconds: number;
    lifetime_seconds: number;
    /** How long the addresses stay the tunnel's when its client is gone; null: for ever. */
    lease_ms: number | null;
    /** The next four: null for what the user's group says, or else the default. */
    mtu: number | null;
    in_bits_per_second: number | null;
    out_bits_per_second: number | null;
    ports: Ports | null;
    created_at_ms: number;
    last_login_at_ms: number | null;
  };
  /** One row for every position ever handed out; a freed one keeps its row, without a tunnel. */
  leases: {
    pool_id: number;
    position: number;
    purpose: PoolPurpose;
    tunnel_id: number | null;
    expires_at_ms: number | null;
    freed_at_ms: number | null;
    /** Null: since the tunnel was made. */
    leased_at_ms: number | null;
  };
  attachments: {
    tunnel_id: number;
    encapsulation: Encapsulation | 'v4v6';
    client_address: string;
    client_port: number;
    attached_at_ms: number;
  };
  changes: { id: number; kind: ChangeKind; subject: number; at_ms: number };
  /** One row. The feed's last number lives apart from it, so that pruning cannot wind it back. */
  feed: { last_id: number };
}

export type Reader = Kysely<Tables>;
/** Inside a transaction. */
export type Writer = Reader & { readonly mayWrite: true };
