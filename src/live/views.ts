// What is known, as the contract says it: bigints as numbers, addresses as texts, nothing undefined.

import { formatEndpoint, formatIpv6, formatPrefix } from '../address.ts';
import { diagnose } from '../broker/diagnosis.ts';
import { explainOutcome } from '../broker/explain.ts';
import type { TunnelStatus } from '../broker/tunnel-status.ts';
import type {
  OutcomeCount,
  OutcomeName,
  StrayAt,
  TunnelCounters,
  TunnelFaults,
} from '../dataplane/dataplane.ts';
import type { LiveCounters, LiveFault, LiveStray, LiveTraffic, LiveTunnel } from './contract.ts';

export function countersView(
  counters: TunnelCounters,
  faults: TunnelFaults,
  standing: 'attached' | 'down' | 'disabled' | 'vacant',
  nowMs: number,
): LiveCounters {
  let drops = 0;
  for (const packets of Object.values(faults.packets)) drops += packets;
  return { nowMs, state: standing, ...trafficView(counters), drops };
}

function trafficView(counters: TunnelCounters): LiveTunnel['counters'] {
  const { inPackets, inBytes, outPackets, outBytes, inLastSeenMs, outLastSeenMs } = counters;
  return {
    inPackets: Number(inPackets),
    inBytes: Number(inBytes),
    outPackets: Number(outPackets),
    outBytes: Number(outBytes),
    ...(inLastSeenMs !== undefined && { inLastSeenMs }),
    ...(outLastSeenMs !== undefined && { outLastSeenMs }),
  };
}

/** `status` is of a server that can ask its kernel. */
export function tunnelView(status: TunnelStatus, nowMs: number): LiveTunnel {
  const { user, disabled, encapsulation, endpoint, prefix, counters, faults, nat } = status;
  const { attachedAtMs, lastLoginAtMs, expiresAtMs } = status;
  return {
    nowMs,
    tunnelId: status.tunnelId,
    slot: status.slot,
    family: status.family,
    state: status.state,
    createdAtMs: status.createdAtMs,
    keepaliveSeconds: status.keepaliveSeconds,
    mtu: status.mtu,
    idle: status.idle,
    ...(user && { user }),
    ...(disabled && { disabled }),
    ...(encapsulation && { encapsulation }),
    ...(endpoint && { endpoint: formatEndpoint(endpoint) }),
    ...(attachedAtMs !== undefined && { attachedAtMs }),
    ...(lastLoginAtMs !== undefined && { lastLoginAtMs }),
    ...(expiresAtMs !== undefined && { expiresAtMs }),
    ...(prefix && { prefix: formatPrefix(prefix) }),
    ...(nat && { nat }),
    counters: trafficView(counters!),
    faults: {
      packets: faults!.packets,
      ...(faults!.last && { last: faultView(faults!.last) }),
    },
    strays: status.strays.map(strayView),
    findings: diagnose(status, nowMs),
  };
}

function faultView({ outcome, atMs }: { outcome: OutcomeName; atMs: number }): LiveFault {
  const meaning = explainOutcome(outcome);
  return { outcome, ...(meaning !== undefined && { meaning }), atMs };
}

export function strayView(stray: StrayAt): LiveStray {
  const { client, encapsulation, source, packets } = stray;
  const from = formatEndpoint(client);
  return { ...faultView(stray), from, encapsulation, source: formatIpv6(source), packets };
}

/** What went through tunnels; the rest of what the programs saw is in the outcomes. */
const IN: readonly OutcomeName[] = ['in_decapsulated', 'in_forwarded', 'in_echo_answered'];
const OUT: readonly OutcomeName[] = ['out_encapsulated', 'out_forwarded', 'out_sent_around'];

export function outcomesView(outcomes: readonly OutcomeCount[]): LiveTraffic & {
  readonly outcomes: Record<OutcomeName, { packets: number; bytes: number }>;
} {
  const named = Object.fromEntries(
    outcomes.map(({ outcome, packets, bytes }) => [
      outcome,
      { packets: Number(packets), bytes: Number(bytes) },
    ]),
  ) as Record<OutcomeName, { packets: number; bytes: number }>;
  const sum = (names: readonly OutcomeName[], what: 'packets' | 'bytes') =>
    names.reduce((total, name) => total + (named[name]?.[what] ?? 0), 0);
  return {
    inPackets: sum(IN, 'packets'),
    inBytes: sum(IN, 'bytes'),
    outPackets: sum(OUT, 'packets'),
    outBytes: sum(OUT, 'bytes'),
    outcomes: named,
  };
}
