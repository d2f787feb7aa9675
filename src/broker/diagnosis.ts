// What is wrong with a tunnel, if anything, and what to do: findings in the order in which they are worth
// reading. Pure: from what is known of the tunnel at a moment (tunnel-status.ts) to stable keys with
// values; the sentences are in diagnosis-texts.ts, in each language.

import { formatEndpoint, formatIpv6, formatPrefix } from '../address.ts';
import type { FaultName, OutcomeName, StrayAt } from '../dataplane/dataplane.ts';
import { isSameEndpoint, type TunnelStatus } from './tunnel-status.ts';

/** fine: as it should be; notice: may be as it should be; problem: something does not work. */
export type Severity = 'fine' | 'notice' | 'problem';

/** What each finding says. Times are Unix milliseconds; endpoints, addresses and prefixes are texts. */
export interface FindingValues {
  'user-disabled': Record<never, never>;
  'tunnel-disabled': Record<never, never>;
  /** The daemon, or the kernel's part of it, is not there to be asked. */
  'not-measured': Record<never, never>;
  'never-logged-in': Record<never, never>;
  'knocks-without-login': { from: string; atMs: number };
  'logged-out': { lastLoginAtMs: number };
  'addresses-expire': { atMs: number };
  'unheard-udp': { endpoint: string; sinceMs: number };
  'unheard-protocol-41': { endpoint: string; sinceMs: number };
  'unheard-v4v6': { endpoint: string; sinceMs: number };
  /** Logged in a moment ago. */
  'just-logged-in': { atMs: number };
  'heard-elsewhere': { from: string; expected: string; atMs: number };
  silent: { lastHeardMs: number; keepaliveSeconds: number };
  'keepalive-late': { lastHeardMs: number; keepaliveSeconds: number };
  'one-way': { outPackets: number; lastSentMs: number };
  'foreign-source': { source: string; atMs: number };
  'former-prefix': { source: string; atMs: number };
  'wrong-source': DropValues;
  'to-gateway': DropValues;
  'came-while-down': DropValues;
  'others-with-our-addresses': DropValues & { from: string | undefined };
  'port-closed': DropValues;
  'rate-in': DropValues;
  'rate-out': DropValues;
  'too-big': DropValues & { mtu: number };
  'not-deliverable': DropValues;
  'scanned-link': DropValues;
  congestion: DropValues;
  'server-refused': DropValues;
  'only-keepalives': { prefix: string | undefined };
  works: { lastHeardMs: number };
}

interface DropValues {
  packets: number;
}

export type FindingKey = keyof FindingValues;

export type Finding = {
  readonly [K in FindingKey]: {
    readonly severity: Severity;
    readonly key: K;
    readonly values: FindingValues[K];
  };
}[FindingKey];

/** What happened longer ago is history, and no longer what is wrong. */
const RECENT_MS = 600_000;
/** A keepalive may come late by so much before anything is said. */
const GRACE_MS = 5000;
/** More than the first packets of a login, and no answer to any of them. */
const ONE_WAY_PACKETS = 3;

/** The order: problems first, then notices; in each as they are found, from the outside in. */
export function diagnose(status: TunnelStatus, nowMs: number): readonly Finding[] {
  const findings = [...aboutState(status, nowMs), ...aboutDrops(status, nowMs)];
  const { counters, state } = status;
  const broken = findings.some(({ severity }) => severity === 'problem');
  const lastHeardMs = counters?.inLastSeenMs;
  if (state === 'attached' && !broken && isHeardSinceLogin(status) && lastHeardMs !== undefined)
    findings.push(finding('fine', 'works', { lastHeardMs }));
  const order = { problem: 0, notice: 1, fine: 2 } as const;
  return findings.toSorted((a, b) => order[a.severity] - order[b.severity]);
}

function aboutState(status: TunnelStatus, nowMs: number): Finding[] {
  const { state, disabled, counters } = status;
  if (disabled === 'user') return [finding('problem', 'user-disabled', {})];
  if (disabled === 'tunnel') return [finding('problem', 'tunnel-disabled', {})];
  const found = state === 'attached' ? aboutAttached(status, nowMs) : aboutDetached(status, nowMs);
  if (!counters) found.push(finding('notice', 'not-measured', {}));
  return found;
}

function aboutDetached(status: TunnelStatus, nowMs: number): Finding[] {
  const { lastLoginAtMs, expiresAtMs } = status;
  const found: Finding[] = [];
  const [knock] = recent(status.strays, nowMs);
  if (knock) {
    const from = place(knock);
    found.push(finding('problem', 'knocks-without-login', { from, atMs: knock.atMs }));
  }
  found.push(
    lastLoginAtMs === undefined
      ? finding('notice', 'never-logged-in', {})
      : finding('problem', 'logged-out', { lastLoginAtMs }),
  );
  if (expiresAtMs !== undefined)
    found.push(finding('notice', 'addresses-expire', { atMs: expiresAtMs }));
  return found;
}

function aboutAttached(status: TunnelStatus, nowMs: number): Finding[] {
  const { counters, endpoint, keepaliveSeconds, attachedAtMs = 0, lastLoginAtMs = 0 } = status;
  if (!counters || !endpoint) return [];
  const found: Finding[] = [];
  const expected = formatEndpoint(endpoint);
  const { inLastSeenMs: lastHeardMs, outLastSeenMs: lastSentMs } = counters;
  const sinceLoginMs = nowMs - Math.max(attachedAtMs, lastLoginAtMs);
  const intervalMs = keepaliveSeconds * 1000 + GRACE_MS;
  const isHeard = isHeardSinceLogin(status);

  const elsewhere = recent(status.strays, nowMs).find(
    (stray) => isMisled(stray) && !isSameEndpoint(stray.client, endpoint),
  );
  const quiet = !isHeard || nowMs - (lastHeardMs ?? 0) > intervalMs;
  if (elsewhere && quiet) {
    const from = place(elsewhere);
    found.push(finding('problem', 'heard-elsewhere', { from, expected, atMs: elsewhere.atMs }));
  } else if (!isHeard) {
    if (sinceLoginMs <= intervalMs)
      found.push(finding('notice', 'just-logged-in', { atMs: nowMs - sinceLoginMs }));
    else found.push(unheard(status, expected, nowMs - sinceLoginMs));
  } else if (lastHeardMs !== undefined) {
    const silentMs = nowMs - lastHeardMs;
    const values = { lastHeardMs, keepaliveSeconds };
    if (silentMs > 2 * intervalMs) found.push(finding('problem', 'silent', values));
    else if (silentMs > intervalMs) found.push(finding('notice', 'keepalive-late', values));
  }
  const outPackets = Number(counters.outPackets);
  const sentLately = lastSentMs !== undefined && nowMs - lastSentMs < RECENT_MS;
  if (quiet && sinceLoginMs > intervalMs && sentLately && outPackets >= ONE_WAY_PACKETS)
    found.push(finding('notice', 'one-way', { outPackets, lastSentMs }));
  if (isHeard && !quiet && counters.outPackets === 0n)
    found.push(
      finding('notice', 'only-keepalives', {
        prefix: status.prefix && formatPrefix(status.prefix),
      }),
    );
  for (const stray of recent(status.strays, nowMs)) {
    if (!isSameEndpoint(stray.client, endpoint)) continue;
    const values = { source: formatIpv6(stray.source), atMs: stray.atMs };
    if (stray.outcome === 'in_outside_pools')
      found.push(finding('problem', 'foreign-source', values));
    if (stray.outcome === 'in_undelegated') found.push(finding('problem', 'former-prefix', values));
  }
  return found;
}

function unheard({ encapsulation }: TunnelStatus, endpoint: string, sinceMs: number): Finding {
  const values = { endpoint, sinceMs };
  if (encapsulation === 'v6v4') return finding('problem', 'unheard-protocol-41', values);
  if (encapsulation === 'v4v6') return finding('problem', 'unheard-v4v6', values);
  return finding('problem', 'unheard-udp', values);
}

/** Faults count since the tunnel was made; they matter while the last of any is recent. */
function aboutDrops(status: TunnelStatus, nowMs: number): Finding[] {
  const { faults, state } = status;
  if (!faults?.last || nowMs - faults.last.atMs > RECENT_MS || state === 'disabled') return [];
  const found: Finding[] = [];
  const latest = FAULT_OF[faults.last.outcome];
  for (const fault of FAULT_ORDER) {
    const packets = faults.packets[fault];
    if (packets === 0) continue;
    // Only the last one is known to be recent: of the others it is known that they happened.
    found.push(aboutFault(status, fault, packets, fault === latest, nowMs));
  }
  return found;
}

const FAULT_ORDER = [
  'wrong_source',
  'wrong_endpoint',
  'closed_in',
  'to_gateway',
  'filtered',
  'rate_in',
  'rate_out',
  'too_big',
  'closed_out',
  'congestion',
  'other',
  'wrong_destination',
] as const satisfies readonly FaultName[];

/** Of the outcomes that are a fault of the client's own making or of its path. */
const FAULT_OF: Readonly<Partial<Record<OutcomeName, FaultName>>> = {
  in_wrong_endpoint: 'wrong_endpoint',
  in_wrong_interface_id: 'wrong_source',
  in_gateway_source: 'wrong_source',
  in_to_gateway: 'to_gateway',
  in_detached: 'closed_in',
  in_disabled: 'closed_in',
  in_congestion_lost: 'congestion',
  in_filtered: 'filtered',
  in_rate_limited: 'rate_in',
  out_rate_limited: 'rate_out',
  out_too_big: 'too_big',
  out_too_big_quiet: 'too_big',
  in_strip_failed: 'other',
  out_push_failed: 'other',
};

function aboutFault(
  status: TunnelStatus,
  fault: FaultName,
  packets: number,
  isLatest: boolean,
  nowMs: number,
): Finding {
  const values = { packets };
  const grave: Severity = isLatest ? 'problem' : 'notice';
  switch (fault) {
    case 'wrong_source':
      return finding(grave, 'wrong-source', values);
    case 'wrong_endpoint': {
      const [other] = recent(status.strays, nowMs).filter(isMisled);
      return finding('notice', 'others-with-our-addresses', {
        packets,
        from: other && place(other),
      });
    }
    case 'closed_in':
      return finding('notice', 'came-while-down', values);
    case 'to_gateway':
      return finding('notice', 'to-gateway', values);
    case 'filtered':
      return finding('notice', 'port-closed', values);
    case 'rate_in':
      return finding('notice', 'rate-in', values);
    case 'rate_out':
      return finding('notice', 'rate-out', values);
    case 'too_big':
      return finding('notice', 'too-big', { packets, mtu: status.mtu });
    case 'closed_out':
      return finding('notice', 'not-deliverable', values);
    case 'congestion':
      return finding('notice', 'congestion', values);
    case 'wrong_destination':
      return finding('notice', 'scanned-link', values);
    case 'other':
      return finding(grave, 'server-refused', values);
  }
}

function finding<K extends FindingKey>(
  severity: Severity,
  key: K,
  values: FindingValues[K],
): Finding {
  return { severity, key, values } as Finding;
}

/** Times are exact to a fifth of a second. */
function isHeardSinceLogin({ counters, attachedAtMs = 0 }: TunnelStatus): boolean {
  return (counters?.inLastSeenMs ?? Number.NEGATIVE_INFINITY) + 200 >= attachedAtMs;
}

function recent(strays: readonly StrayAt[], nowMs: number): readonly StrayAt[] {
  return strays.filter(({ atMs }) => nowMs - atMs <= RECENT_MS);
}

/** With the tunnel's addresses, from where it is not. */
function isMisled({ outcome }: StrayAt): boolean {
  return outcome === 'in_wrong_endpoint' || outcome === 'in_detached';
}

function place({ client }: StrayAt): string {
  return formatEndpoint(client);
}
