// What the daemon says through its local socket, as JSON: facts of this moment, of the server and of one
// tunnel. Both ends are made of these types. Times are Unix milliseconds; addresses, endpoints and
// prefixes are texts; an absent value is unknown or not there.

import type { Finding } from '../broker/diagnosis.ts';
import type { FaultName, OutcomeName } from '../dataplane/dataplane.ts';

/** `GET /health` */
export interface LiveHealth {
  readonly version: string;
  readonly nowMs: number;
  readonly startedAtMs: number;
  /** New clients are told to come back later. */
  readonly overloaded: boolean;
  /** Requests of clients that wait for the store. */
  readonly waiting: number;
  readonly sessions: number;
}

/** Inner packets and octets since the tunnel was made; `in` is from the client. */
export interface LiveTraffic {
  readonly inPackets: number;
  readonly inBytes: number;
  readonly outPackets: number;
  readonly outBytes: number;
}

/** `GET /tunnels/{id}/counters`: what a graph needs, cheap enough to be asked every second. */
export interface LiveCounters extends LiveTraffic {
  readonly nowMs: number;
  /** vacant: what the store says has not reached the kernel yet. */
  readonly state: 'attached' | 'down' | 'disabled' | 'vacant';
  readonly inLastSeenMs?: number;
  readonly outLastSeenMs?: number;
  /** Packets, for any reason. */
  readonly drops: number;
}

/** A packet that did not go where it should, in words. */
export interface LiveFault {
  readonly outcome: OutcomeName;
  /** What it means and what to do, in English. */
  readonly meaning?: string;
  readonly atMs: number;
}

export interface LiveStray extends LiveFault {
  /** Where it came from. */
  readonly from: string;
  readonly encapsulation: 'v6v4' | 'v6udpv4';
  /** The source inside. */
  readonly source: string;
  /** Of this endpoint lately; 65,535 at most. */
  readonly packets: number;
}

/** `GET /tunnels/{id}` */
export interface LiveTunnel {
  readonly nowMs: number;
  readonly tunnelId: number;
  readonly slot: number;
  readonly family: 'ipv6' | 'ipv4';
  /** Absent: anonymous. */
  readonly user?: { readonly id: number; readonly name: string };
  readonly state: 'attached' | 'detached' | 'disabled';
  /** Which of them an administrator has disabled. */
  readonly disabled?: 'tunnel' | 'user';
  readonly encapsulation?: 'v6v4' | 'v6udpv4' | 'v4v6';
  readonly endpoint?: string;
  readonly attachedAtMs?: number;
  readonly createdAtMs: number;
  readonly lastLoginAtMs?: number;
  readonly expiresAtMs?: number;
  readonly keepaliveSeconds: number;
  readonly mtu: number;
  readonly prefix?: string;
  readonly counters: Omit<LiveCounters, 'nowMs' | 'state' | 'drops'>;
  readonly faults: {
    /** Since the tunnel was made. */
    readonly packets: Readonly<Record<FaultName, number>>;
    readonly last?: LiveFault;
  };
  /** Silent for so long that it is about to be detached. */
  readonly idle: boolean;
  readonly nat?: 'likely' | 'unlikely';
  readonly strays: readonly LiveStray[];
  /** See diagnosis.ts; sentenceOf makes a sentence of each. */
  readonly findings: readonly Finding[];
}

/** `GET /strays?address=…`: packets from there that led to no tunnel, latest first. */
export interface LiveStrays {
  readonly nowMs: number;
  readonly strays: readonly LiveStray[];
}

/** `GET /totals` */
export interface LiveTotals extends LiveTraffic {
  readonly nowMs: number;
  readonly attached: number;
  readonly down: number;
  readonly disabled: number;
  readonly sessions: number;
  /** Since the daemon was started. */
  readonly logins: number;
  readonly loginFailures: number;
  /** Since the kernel programs were first loaded. */
  readonly outcomes: Readonly<
    Record<OutcomeName, { readonly packets: number; readonly bytes: number }>
  >;
}

/** RFC 9457. */
export interface Problem {
  readonly type: 'about:blank';
  readonly title: string;
  readonly status: number;
  readonly detail: string;
}
