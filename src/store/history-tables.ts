// The tables of what was: who had which address, and what went through tunnels. Types; the migration
// (history-migration.ts) makes them. Nothing here refers to rows that may go away: a tunnel and its user
// can be gone for long when somebody asks.

import type { Generated } from 'kysely';

/** Whose something was. */
interface OfTunnel {
  tunnel_id: number;
  /** Null: the tunnel was anonymous. Never given to somebody else. */
  user_id: number | null;
  /** As it was then; of a user who was erased: a word that names nobody. */
  user_name: string | null;
  from_ms: number;
  until_ms: number;
}

/** Of counters that only grow; inner octets. `drops` are packets. */
export interface TrafficColumns {
  in_packets: number;
  in_bytes: number;
  out_packets: number;
  out_bytes: number;
  drops: number;
}

/** What was counted between `at_ms`, which is a multiple of the table's span, and the next multiple. */
interface TrafficRow extends TrafficColumns {
  at_ms: number;
  tunnel_id: number;
}

export interface TotalsColumns extends TrafficColumns {
  logins: number;
  login_failures: number;
  /** As they were last: tunnels with a client, without one, and closed by an administrator. */
  attached: number;
  down: number;
  disabled: number;
  sessions: number;
}

type TotalsRow = TotalsColumns & { at_ms: number };

export interface HistoryTables {
  /** Where a tunnel's client was. One row for each that ended. */
  past_attachments: OfTunnel & {
    id: Generated<number>;
    encapsulation: 'v6v4' | 'v6udpv4' | 'v4v6';
    client_address: string;
    client_port: number;
  };
  /** What a tunnel had of a pool, if it ever was up. One row for each lease that ended. */
  past_leases: OfTunnel & {
    id: Generated<number>;
    purpose: 'link' | 'delegation' | 'ipv4-link';
    /** See {@link networkKey}: as text that is in the order of the addresses. */
    network: string;
    length: number;
  };
  traffic_5_minutes: TrafficRow;
  traffic_hours: TrafficRow;
  traffic_days: TrafficRow;
  /** What the kernel had counted in a slot when it was read last, and for which tunnel. */
  traffic_seen: TrafficColumns & { family: 'ipv6' | 'ipv4'; slot: number; tunnel_id: number };
  totals_5_minutes: TotalsRow;
  totals_hours: TotalsRow;
  totals_days: TotalsRow;
  /** How many positions of a pool were leased, last in each hour. */
  pool_fill: { at_ms: number; pool_id: number; leased: number };
}
