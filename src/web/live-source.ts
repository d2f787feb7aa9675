// What the portal asks the daemon about a tunnel at this moment, through whoever is given to it. There may
// be no answer: the daemon may be away, and pages say so.

import type { Finding } from '../broker/diagnosis.ts';

export type Asked<T> = { readonly ok: true; readonly value: T } | { readonly ok: false };

export interface LiveSource {
  tunnel(tunnelId: number): Promise<Asked<LiveTunnel>>;
  /** Cheap: to be asked every second. */
  counters(tunnelId: number): Promise<Asked<LiveCounters>>;
}

/** Unix milliseconds; absent: not since the tunnel was made. */
export interface LastSeen {
  readonly inLastSeenMs?: number;
  readonly outLastSeenMs?: number;
}

/** Inner packets and octets since the tunnel was made; `in` is from the client. */
export interface LiveCounters extends LastSeen {
  readonly nowMs: number;
  readonly inPackets: number;
  readonly inBytes: number;
  readonly outPackets: number;
  readonly outBytes: number;
  readonly drops: number;
}

export interface LiveTunnel {
  readonly nowMs: number;
  readonly nat?: 'likely' | 'unlikely';
  readonly counters: LastSeen;
  readonly faults: { readonly packets: Readonly<Record<string, number>> };
  readonly findings: readonly Finding[];
}

/** For who has no daemon to ask. */
export const NOTHING_LIVE: LiveSource = {
  tunnel: async () => ({ ok: false }),
  counters: async () => ({ ok: false }),
};
