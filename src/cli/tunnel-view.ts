// A tunnel as it is shown: what the store says of it, what the kernel counted and dropped, and what that
// means. For people as lines, for machines as JSON.

import { formatEndpoint, formatIpv4, formatIpv6, formatPrefix } from '../address.ts';
import { diagnose } from '../broker/diagnosis.ts';
import { sentenceOf } from '../broker/diagnosis-texts.ts';
import { explainOutcome, FAULT_WORDS } from '../broker/explain.ts';
import { ipv4ViewOf } from '../broker/ipv4-tunnels.ts';
import { effectivePolicy } from '../broker/policy.ts';
import { statusOf } from '../broker/tunnel-status.ts';
import type { Dataplane, OutcomeName, Stray, TunnelFaults } from '../dataplane/dataplane.ts';
import type { Ipv4Tunnel } from '../store/ipv4-tunnels.ts';
import type { Tunnel } from '../store/tunnels.ts';
import { formatAgo, formatBytes, formatRate, isoTime, printFacts } from './output.ts';
import { effectiveJson, policyJson } from './policy-options.ts';

type AnyTunnel = Tunnel | Ipv4Tunnel;
export type TunnelView = ReturnType<typeof describe>;

/** What the ends of the link are, and beyond it. */
function addressesOf(tunnel: Tunnel | Ipv4Tunnel) {
  if (tunnel.family === 'ipv4') {
    const client = tunnel.attachment?.client;
    const { client4 } = ipv4ViewOf(tunnel, { address: client ?? 0n, port: 0 });
    return {
      encapsulation: client === undefined ? undefined : 'v4v6',
      endpoint: client === undefined ? undefined : formatIpv6(client),
      link: formatPrefix(tunnel.link),
      address: formatIpv4(client4),
      prefix: undefined,
      nameServers: [],
    };
  }
  const { attachment, delegation } = tunnel;
  return {
    encapsulation: attachment?.encapsulation,
    endpoint: attachment && formatEndpoint(attachment.client),
    link: formatPrefix(tunnel.link),
    address: formatIpv6(tunnel.link.address | tunnel.interfaceId),
    prefix: delegation && formatPrefix(delegation),
    nameServers: tunnel.nameServers,
  };
}

/** `dataplane` is absent when nothing is loaded; then there are no counts. */
export function describe(tunnel: AnyTunnel, dataplane: Dataplane | undefined, defaultMtu: number) {
  const { slot, family, policy, group } = tunnel;
  const ipv4 = family === 'ipv4';
  const counters = ipv4 ? dataplane?.countersV4v6(slot) : dataplane?.counters(slot);
  const faults = ipv4 ? dataplane?.faultsV4v6(slot) : dataplane?.faults(slot);
  const stray = !ipv4 && tunnel.attachment && dataplane?.stray(tunnel.attachment);
  return {
    tunnel: tunnel.id,
    user: tunnel.user?.name,
    state: standingOf(tunnel),
    ...addressesOf(tunnel),
    keepaliveSeconds: tunnel.keepaliveSeconds,
    created: isoTime(tunnel.createdAtMs),
    lastLogin: isoTime(tunnel.lastLoginAtMs),
    expires: isoTime(tunnel.expiresAtMs),
    policy: {
      ...effectiveJson(effectivePolicy(tunnel), defaultMtu),
      own: policyJson(policy),
      group: group && { name: group.name, ...policyJson(group.policy) },
    },
    counters: counters && {
      inPackets: counters.inPackets,
      inBytes: counters.inBytes,
      outPackets: counters.outPackets,
      outBytes: counters.outBytes,
      inLastSeen: isoTime(counters.inLastSeenMs),
      outLastSeen: isoTime(counters.outLastSeenMs),
    },
    drops: faults && describeFaults(faults),
    stray: stray ? describeStray(stray) : undefined,
  };
}

function standingOf({ state, userDisabled, attachment }: AnyTunnel) {
  if (state === 'disabled' || userDisabled) return 'disabled';
  if (state !== 'enabled') return state;
  return attachment ? 'attached' : 'detached';
}

function describeFaults({ packets, last }: TunnelFaults) {
  return {
    packets: Object.values(packets).reduce((sum, count) => sum + count, 0),
    byReason: packets,
    last: last && { ...meaning(last.outcome), at: isoTime(last.atMs) },
  };
}

function describeStray({ source, outcome, atMs, packets }: Stray) {
  return { source: formatIpv6(source), packets, ...meaning(outcome), at: isoTime(atMs) };
}

function meaning(outcome: OutcomeName) {
  return { outcome, meaning: explainOutcome(outcome) };
}

export function showTunnel({ counters, drops, stray, policy, ...shown }: TunnelView): void {
  const nowMs = Date.now();
  const traffic = (packets: bigint, bytes: bigint, lastSeen: string | undefined) =>
    `${packets} packets, ${formatBytes(bytes)}, last ${ago(lastSeen, nowMs)}`;
  printFacts({
    tunnel: shown.tunnel,
    user: shown.user ?? '(anonymous)',
    group: policy.group?.name,
    state: shown.state,
    'client at': shown.endpoint,
    encapsulation: shown.encapsulation,
    'client address': shown.address,
    prefix: shown.prefix,
    'names to': shown.nameServers.join(', ') || undefined,
    keepalive: `every ${shown.keepaliveSeconds} s`,
    created: shown.created,
    'last login': shown.lastLogin,
    expires: shown.expires,
    mtu: policy.mtu,
    'rate limits': `${formatRate(policy.rateIn)} from, ${formatRate(policy.rateOut)} to the client`,
    'filtered ports': policy.ports,
    'from client': counters && traffic(counters.inPackets, counters.inBytes, counters.inLastSeen),
    'to client': counters && traffic(counters.outPackets, counters.outBytes, counters.outLastSeen),
    dropped: drops && `${drops.packets} packets`,
  });
  for (const [fault, words] of Object.entries(FAULT_WORDS)) {
    const count = drops?.byReason[fault as keyof typeof FAULT_WORDS] ?? 0;
    if (count > 0) console.log(`  ${count} ${words}`);
  }
  if (drops?.last) console.log(`  the last ${ago(drops.last.at, nowMs)}: ${explained(drops.last)}`);
  if (stray) {
    console.log(
      `${stray.packets} packets from the client’s address and port led to no tunnel of it, the last ` +
        `${ago(stray.at, nowMs)} with the inner source ${stray.source}:`,
    );
    console.log(`  ${explained(stray)}`);
  }
}

/** What is wrong with the tunnel, if anything: findings with their English sentences. */
export function diagnosisOf(
  tunnel: AnyTunnel,
  dataplane: Dataplane | undefined,
  defaultMtu: number,
  nowMs: number,
) {
  const status = statusOf(tunnel, dataplane, defaultMtu, nowMs, dataplane?.strays());
  const format = { time: (atMs: number) => formatAgo(atMs, nowMs), count: String };
  return diagnose(status, nowMs).map((finding) => ({
    ...finding,
    sentence: sentenceOf(finding, 'en', format),
  }));
}

const MARKS = { fine: '✔', notice: '!', problem: '✘' } as const;

export function showDiagnosis(findings: ReturnType<typeof diagnosisOf>): void {
  for (const { severity, sentence } of findings) console.log(`${MARKS[severity]} ${sentence}`);
}

function ago(time: string | undefined, nowMs: number): string {
  return formatAgo(time === undefined ? undefined : Date.parse(time), nowMs);
}

function explained({ outcome, meaning }: { outcome: OutcomeName; meaning: string | undefined }) {
  return `${meaning ?? ''} (${outcome})`.trim();
}
