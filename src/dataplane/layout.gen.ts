// GENERATED from bpf/layout.h by tools/generate-layout.ts: do not edit.
// Structs as the kernel keeps them, read and written at an offset of a DataView.

const LITTLE = new Uint8Array(new Uint16Array([1]).buffer)[0] === 1; // the host's byte order

export const LAYOUT_VERSION = 4;
export const MAX_POOLS = 16;
export const OWNERS_PER_BLOCK = 16;
export const GATEWAY_INTERFACE_ID = 1;
export const IPV4_GATEWAY_HOST = 1;
export const IPV4_CLIENT_HOST = 2;
export const TICK_SHIFT = 27;
export const SOURCES_BITS = 19;
export const SOURCE_PREFIXES_BITS = 16;
export const STRAYS_BITS = 15;
export const FILTERED_PORTS = 4;

export const ENCAPSULATION_NONE = 0;
export const ENCAPSULATION_V6UDPV4 = 1;
export const ENCAPSULATION_V6V4 = 2;

export const ENDPOINT_PORT_SHIFT = 32;
export const ENDPOINT_ENCAPSULATION_SHIFT = 48;

export const TUNNEL_SILENT_UNTIL_HEARD = 1;
export const TUNNEL_ASSIGNED = 2;
export const TUNNEL_DISABLED = 4;
export const TUNNEL_LIMITED = 8;
export const TUNNEL_UNFILTERED = 16;

/** By number; enum fault of bpf/layout.h. */
export const FAULT_NAMES = [
  'wrong_endpoint',
  'wrong_source',
  'to_gateway',
  'closed_in',
  'congestion',
  'filtered',
  'rate_in',
  'rate_out',
  'too_big',
  'closed_out',
  'wrong_destination',
  'other',
] as const;

export type FaultName = (typeof FAULT_NAMES)[number];

export const RATE_KEY_V4V6_SHIFT = 31;

export const POOL_NONE = 0;
export const POOL_LINK = 1;
export const POOL_DELEGATION = 2;
export const POOL_IPV4_LINK = 3;

export const SHARE_STRANGERS = 0;
export const SHARE_KNOWN = 1;
export const SHARE_ERRORS = 2;
export const SHARE_COUNT = 3;

/** By number; in_: from the IPv4 side, out_: to it. bpf/layout.h says more. */
export const OUTCOME_NAMES = [
  'in_not_ours',
  'in_signalling',
  'in_decapsulated',
  'in_echo_answered',
  'in_forwarded',
  'in_error_relayed',
  'in_empty',
  'in_not_ipv6_nor_tsp',
  'in_truncated',
  'in_fragment',
  'in_aggregated',
  'in_congestion_lost',
  'in_signalling_limited_address',
  'in_signalling_limited_prefix',
  'in_signalling_limited_total',
  'in_link_local',
  'in_multicast',
  'in_outside_pools',
  'in_undelegated',
  'in_detached',
  'in_wrong_endpoint',
  'in_wrong_interface_id',
  'in_gateway_source',
  'in_to_gateway',
  'in_disabled',
  'in_filtered',
  'in_rate_limited',
  'in_strip_failed',
  'out_encapsulated',
  'out_forwarded',
  'out_sent_around',
  'out_too_big',
  'out_too_big_quiet',
  'out_not_unicast',
  'out_outside_pools',
  'out_undelegated',
  'out_disabled',
  'out_detached',
  'out_undelegated_told',
  'out_disabled_told',
  'out_detached_told',
  'out_rate_limited',
  'out_not_yet_heard',
  'out_wrong_interface_id',
  'out_to_gateway',
  'out_push_failed',
] as const;

export type OutcomeName = (typeof OUTCOME_NAMES)[number];

export const TUNNEL_SIZE = 64;

export const TUNNEL_OFFSET = {
  endpoint: 0,
  interfaceId: 8,
  inPackets: 16,
  inBytes: 24,
  outPackets: 32,
  outBytes: 40,
  inLastSeen: 48,
  outLastSeen: 52,
  lastTooBig: 56,
  mtu: 60,
  flags: 62,
} as const;

export interface TunnelLayout {
  endpoint: bigint;
  interfaceId: bigint;
  inPackets: bigint;
  inBytes: bigint;
  outPackets: bigint;
  outBytes: bigint;
  inLastSeen: number;
  outLastSeen: number;
  lastTooBig: number;
  mtu: number;
  flags: number;
}

export function readTunnel(view: DataView, at: number): TunnelLayout {
  return {
    endpoint: view.getBigUint64(at + 0, LITTLE),
    interfaceId: view.getBigUint64(at + 8, LITTLE),
    inPackets: view.getBigUint64(at + 16, LITTLE),
    inBytes: view.getBigUint64(at + 24, LITTLE),
    outPackets: view.getBigUint64(at + 32, LITTLE),
    outBytes: view.getBigUint64(at + 40, LITTLE),
    inLastSeen: view.getUint32(at + 48, LITTLE),
    outLastSeen: view.getUint32(at + 52, LITTLE),
    lastTooBig: view.getUint32(at + 56, LITTLE),
    mtu: view.getUint16(at + 60, LITTLE),
    flags: view.getUint16(at + 62, LITTLE),
  };
}

/** Leaves reserved octets as they are. */
export function writeTunnel(view: DataView, at: number, value: TunnelLayout): void {
  view.setBigUint64(at + 0, value.endpoint, LITTLE);
  view.setBigUint64(at + 8, value.interfaceId, LITTLE);
  view.setBigUint64(at + 16, value.inPackets, LITTLE);
  view.setBigUint64(at + 24, value.inBytes, LITTLE);
  view.setBigUint64(at + 32, value.outPackets, LITTLE);
  view.setBigUint64(at + 40, value.outBytes, LITTLE);
  view.setUint32(at + 48, value.inLastSeen, LITTLE);
  view.setUint32(at + 52, value.outLastSeen, LITTLE);
  view.setUint32(at + 56, value.lastTooBig, LITTLE);
  view.setUint16(at + 60, value.mtu, LITTLE);
  view.setUint16(at + 62, value.flags, LITTLE);
}

export const TUNNEL_V4V6_SIZE = 64;

export const TUNNEL_V4V6_OFFSET = {
  version: 0,
  mtu: 4,
  lastTooBig: 6,
  flags: 7,
  clientHigh: 8,
  clientLow: 16,
  inPackets: 24,
  inBytes: 32,
  outPackets: 40,
  outBytes: 48,
  inLastSeen: 56,
  outLastSeen: 60,
} as const;

export interface TunnelV4v6Layout {
  version: number;
  mtu: number;
  lastTooBig: number;
  flags: number;
  clientHigh: bigint;
  clientLow: bigint;
  inPackets: bigint;
  inBytes: bigint;
  outPackets: bigint;
  outBytes: bigint;
  inLastSeen: number;
  outLastSeen: number;
}

export function readTunnelV4v6(view: DataView, at: number): TunnelV4v6Layout {
  return {
    version: view.getUint32(at + 0, LITTLE),
    mtu: view.getUint16(at + 4, LITTLE),
    lastTooBig: view.getUint8(at + 6),
    flags: view.getUint8(at + 7),
    clientHigh: view.getBigUint64(at + 8, LITTLE),
    clientLow: view.getBigUint64(at + 16, LITTLE),
    inPackets: view.getBigUint64(at + 24, LITTLE),
    inBytes: view.getBigUint64(at + 32, LITTLE),
    outPackets: view.getBigUint64(at + 40, LITTLE),
    outBytes: view.getBigUint64(at + 48, LITTLE),
    inLastSeen: view.getUint32(at + 56, LITTLE),
    outLastSeen: view.getUint32(at + 60, LITTLE),
  };
}

/** Leaves reserved octets as they are. */
export function writeTunnelV4v6(view: DataView, at: number, value: TunnelV4v6Layout): void {
  view.setUint32(at + 0, value.version, LITTLE);
  view.setUint16(at + 4, value.mtu, LITTLE);
  view.setUint8(at + 6, value.lastTooBig);
  view.setUint8(at + 7, value.flags);
  view.setBigUint64(at + 8, value.clientHigh, LITTLE);
  view.setBigUint64(at + 16, value.clientLow, LITTLE);
  view.setBigUint64(at + 24, value.inPackets, LITTLE);
  view.setBigUint64(at + 32, value.inBytes, LITTLE);
  view.setBigUint64(at + 40, value.outPackets, LITTLE);
  view.setBigUint64(at + 48, value.outBytes, LITTLE);
  view.setUint32(at + 56, value.inLastSeen, LITTLE);
  view.setUint32(at + 60, value.outLastSeen, LITTLE);
}

export const TUNNEL_FAULTS_SIZE = 56;

export const TUNNEL_FAULTS_OFFSET = {
  packets: 0,
  lastTick: 48,
  lastOutcome: 52,
} as const;

export interface TunnelFaultsLayout {
  packets: readonly number[];
  lastTick: number;
  lastOutcome: number;
}

export function readTunnelFaults(view: DataView, at: number): TunnelFaultsLayout {
  return {
    packets: Array.from({ length: 12 }, (_, index) => view.getUint32(at + 0 + index * 4, LITTLE)),
    lastTick: view.getUint32(at + 48, LITTLE),
    lastOutcome: view.getUint8(at + 52),
  };
}

/** Leaves reserved octets as they are. */
export function writeTunnelFaults(view: DataView, at: number, value: TunnelFaultsLayout): void {
  for (const [index, element] of value.packets.entries()) view.setUint32(at + 0 + index * 4, element, LITTLE);
  view.setUint32(at + 48, value.lastTick, LITTLE);
  view.setUint8(at + 52, value.lastOutcome);
}

export const TUNNEL_RATE_SIZE = 24;

export const TUNNEL_RATE_OFFSET = {
  inPaidUntil: 0,
  outPaidUntil: 8,
  inCost: 16,
  outCost: 20,
} as const;

export interface TunnelRateLayout {
  inPaidUntil: bigint;
  outPaidUntil: bigint;
  inCost: number;
  outCost: number;
}

export function readTunnelRate(view: DataView, at: number): TunnelRateLayout {
  return {
    inPaidUntil: view.getBigUint64(at + 0, LITTLE),
    outPaidUntil: view.getBigUint64(at + 8, LITTLE),
    inCost: view.getUint32(at + 16, LITTLE),
    outCost: view.getUint32(at + 20, LITTLE),
  };
}

/** Leaves reserved octets as they are. */
export function writeTunnelRate(view: DataView, at: number, value: TunnelRateLayout): void {
  view.setBigUint64(at + 0, value.inPaidUntil, LITTLE);
  view.setBigUint64(at + 8, value.outPaidUntil, LITTLE);
  view.setUint32(at + 16, value.inCost, LITTLE);
  view.setUint32(at + 20, value.outCost, LITTLE);
}

export const STRAY_SIZE = 32;

export const STRAY_OFFSET = {
  endpoint: 0,
  sourceHigh: 8,
  sourceLow: 16,
  lastTick: 24,
  packets: 28,
  outcome: 30,
} as const;

export interface StrayLayout {
  endpoint: bigint;
  sourceHigh: bigint;
  sourceLow: bigint;
  lastTick: number;
  packets: number;
  outcome: number;
}

export function readStray(view: DataView, at: number): StrayLayout {
  return {
    endpoint: view.getBigUint64(at + 0, LITTLE),
    sourceHigh: view.getBigUint64(at + 8, LITTLE),
    sourceLow: view.getBigUint64(at + 16, LITTLE),
    lastTick: view.getUint32(at + 24, LITTLE),
    packets: view.getUint16(at + 28, LITTLE),
    outcome: view.getUint8(at + 30),
  };
}

/** Leaves reserved octets as they are. */
export function writeStray(view: DataView, at: number, value: StrayLayout): void {
  view.setBigUint64(at + 0, value.endpoint, LITTLE);
  view.setBigUint64(at + 8, value.sourceHigh, LITTLE);
  view.setBigUint64(at + 16, value.sourceLow, LITTLE);
  view.setUint32(at + 24, value.lastTick, LITTLE);
  view.setUint16(at + 28, value.packets, LITTLE);
  view.setUint8(at + 30, value.outcome);
}

export const POOL_SIZE = 16;

export const POOL_OFFSET = {
  network: 0,
  firstIndex: 8,
  prefixLength: 12,
  positionLength: 13,
  kind: 14,
} as const;

export interface PoolLayout {
  network: bigint;
  firstIndex: number;
  prefixLength: number;
  positionLength: number;
  kind: number;
}

export function readPool(view: DataView, at: number): PoolLayout {
  return {
    network: view.getBigUint64(at + 0, LITTLE),
    firstIndex: view.getUint32(at + 8, LITTLE),
    prefixLength: view.getUint8(at + 12),
    positionLength: view.getUint8(at + 13),
    kind: view.getUint8(at + 14),
  };
}

/** Leaves reserved octets as they are. */
export function writePool(view: DataView, at: number, value: PoolLayout): void {
  view.setBigUint64(at + 0, value.network, LITTLE);
  view.setUint32(at + 8, value.firstIndex, LITTLE);
  view.setUint8(at + 12, value.prefixLength);
  view.setUint8(at + 13, value.positionLength);
  view.setUint8(at + 14, value.kind);
}

export const CONFIG_SIZE = 88;

export const CONFIG_OFFSET = {
  layoutVersion: 0,
  localAddress: 4,
  uplinkIfindex: 8,
  tunnelIfindex: 12,
  localPort: 16,
  poolCount: 18,
  uplinkHeaderLength: 19,
  tunnelHeaderLength: 20,
  uplink6HeaderLength: 21,
  tunnelMtu: 22,
  addressCost: 24,
  prefixCost: 28,
  strangerCost: 32,
  knownCost: 36,
  hashMultiplier: 40,
  local6High: 48,
  local6Low: 56,
  uplink6Ifindex: 64,
  errorCost: 68,
  filteredPorts: 72,
  routeFlags: 80,
} as const;

export interface ConfigLayout {
  layoutVersion: number;
  localAddress: number;
  uplinkIfindex: number;
  tunnelIfindex: number;
  localPort: number;
  poolCount: number;
  uplinkHeaderLength: number;
  tunnelHeaderLength: number;
  uplink6HeaderLength: number;
  tunnelMtu: number;
  addressCost: number;
  prefixCost: number;
  strangerCost: number;
  knownCost: number;
  hashMultiplier: bigint;
  local6High: bigint;
  local6Low: bigint;
  uplink6Ifindex: number;
  errorCost: number;
  filteredPorts: readonly number[];
  routeFlags: number;
}

export function readConfig(view: DataView, at: number): ConfigLayout {
  return {
    layoutVersion: view.getUint32(at + 0, LITTLE),
    localAddress: view.getUint32(at + 4, LITTLE),
    uplinkIfindex: view.getUint32(at + 8, LITTLE),
    tunnelIfindex: view.getUint32(at + 12, LITTLE),
    localPort: view.getUint16(at + 16, LITTLE),
    poolCount: view.getUint8(at + 18),
    uplinkHeaderLength: view.getUint8(at + 19),
    tunnelHeaderLength: view.getUint8(at + 20),
    uplink6HeaderLength: view.getUint8(at + 21),
    tunnelMtu: view.getUint16(at + 22, LITTLE),
    addressCost: view.getUint32(at + 24, LITTLE),
    prefixCost: view.getUint32(at + 28, LITTLE),
    strangerCost: view.getUint32(at + 32, LITTLE),
    knownCost: view.getUint32(at + 36, LITTLE),
    hashMultiplier: view.getBigUint64(at + 40, LITTLE),
    local6High: view.getBigUint64(at + 48, LITTLE),
    local6Low: view.getBigUint64(at + 56, LITTLE),
    uplink6Ifindex: view.getUint32(at + 64, LITTLE),
    errorCost: view.getUint32(at + 68, LITTLE),
    filteredPorts: Array.from({ length: 4 }, (_, index) => view.getUint16(at + 72 + index * 2, LITTLE)),
    routeFlags: view.getUint32(at + 80, LITTLE),
  };
}

/** Leaves reserved octets as they are. */
export function writeConfig(view: DataView, at: number, value: ConfigLayout): void {
  view.setUint32(at + 0, value.layoutVersion, LITTLE);
  view.setUint32(at + 4, value.localAddress, LITTLE);
  view.setUint32(at + 8, value.uplinkIfindex, LITTLE);
  view.setUint32(at + 12, value.tunnelIfindex, LITTLE);
  view.setUint16(at + 16, value.localPort, LITTLE);
  view.setUint8(at + 18, value.poolCount);
  view.setUint8(at + 19, value.uplinkHeaderLength);
  view.setUint8(at + 20, value.tunnelHeaderLength);
  view.setUint8(at + 21, value.uplink6HeaderLength);
  view.setUint16(at + 22, value.tunnelMtu, LITTLE);
  view.setUint32(at + 24, value.addressCost, LITTLE);
  view.setUint32(at + 28, value.prefixCost, LITTLE);
  view.setUint32(at + 32, value.strangerCost, LITTLE);
  view.setUint32(at + 36, value.knownCost, LITTLE);
  view.setBigUint64(at + 40, value.hashMultiplier, LITTLE);
  view.setBigUint64(at + 48, value.local6High, LITTLE);
  view.setBigUint64(at + 56, value.local6Low, LITTLE);
  view.setUint32(at + 64, value.uplink6Ifindex, LITTLE);
  view.setUint32(at + 68, value.errorCost, LITTLE);
  for (const [index, element] of value.filteredPorts.entries()) view.setUint16(at + 72 + index * 2, element, LITTLE);
  view.setUint32(at + 80, value.routeFlags, LITTLE);
}

export const CLIENT_SIZE = 104;

export const CLIENT_OFFSET = {
  server: 0,
  server6High: 8,
  server6Low: 16,
  local6High: 24,
  local6Low: 32,
  inPackets: 40,
  inBytes: 48,
  outPackets: 56,
  outBytes: 64,
  droppedPackets: 72,
  inLastSeen: 80,
  localAddress: 84,
  uplinkIfindex: 88,
  tunnelIfindex: 92,
  localPort: 96,
  uplinkHeaderLength: 98,
  tunnelHeaderLength: 99,
  routeFlags: 100,
} as const;

export interface ClientLayout {
  server: bigint;
  server6High: bigint;
  server6Low: bigint;
  local6High: bigint;
  local6Low: bigint;
  inPackets: bigint;
  inBytes: bigint;
  outPackets: bigint;
  outBytes: bigint;
  droppedPackets: bigint;
  inLastSeen: number;
  localAddress: number;
  uplinkIfindex: number;
  tunnelIfindex: number;
  localPort: number;
  uplinkHeaderLength: number;
  tunnelHeaderLength: number;
  routeFlags: number;
}

export function readClient(view: DataView, at: number): ClientLayout {
  return {
    server: view.getBigUint64(at + 0, LITTLE),
    server6High: view.getBigUint64(at + 8, LITTLE),
    server6Low: view.getBigUint64(at + 16, LITTLE),
    local6High: view.getBigUint64(at + 24, LITTLE),
    local6Low: view.getBigUint64(at + 32, LITTLE),
    inPackets: view.getBigUint64(at + 40, LITTLE),
    inBytes: view.getBigUint64(at + 48, LITTLE),
    outPackets: view.getBigUint64(at + 56, LITTLE),
    outBytes: view.getBigUint64(at + 64, LITTLE),
    droppedPackets: view.getBigUint64(at + 72, LITTLE),
    inLastSeen: view.getUint32(at + 80, LITTLE),
    localAddress: view.getUint32(at + 84, LITTLE),
    uplinkIfindex: view.getUint32(at + 88, LITTLE),
    tunnelIfindex: view.getUint32(at + 92, LITTLE),
    localPort: view.getUint16(at + 96, LITTLE),
    uplinkHeaderLength: view.getUint8(at + 98),
    tunnelHeaderLength: view.getUint8(at + 99),
    routeFlags: view.getUint32(at + 100, LITTLE),
  };
}

/** Leaves reserved octets as they are. */
export function writeClient(view: DataView, at: number, value: ClientLayout): void {
  view.setBigUint64(at + 0, value.server, LITTLE);
  view.setBigUint64(at + 8, value.server6High, LITTLE);
  view.setBigUint64(at + 16, value.server6Low, LITTLE);
  view.setBigUint64(at + 24, value.local6High, LITTLE);
  view.setBigUint64(at + 32, value.local6Low, LITTLE);
  view.setBigUint64(at + 40, value.inPackets, LITTLE);
  view.setBigUint64(at + 48, value.inBytes, LITTLE);
  view.setBigUint64(at + 56, value.outPackets, LITTLE);
  view.setBigUint64(at + 64, value.outBytes, LITTLE);
  view.setBigUint64(at + 72, value.droppedPackets, LITTLE);
  view.setUint32(at + 80, value.inLastSeen, LITTLE);
  view.setUint32(at + 84, value.localAddress, LITTLE);
  view.setUint32(at + 88, value.uplinkIfindex, LITTLE);
  view.setUint32(at + 92, value.tunnelIfindex, LITTLE);
  view.setUint16(at + 96, value.localPort, LITTLE);
  view.setUint8(at + 98, value.uplinkHeaderLength);
  view.setUint8(at + 99, value.tunnelHeaderLength);
  view.setUint32(at + 100, value.routeFlags, LITTLE);
}

export const SOURCE_SIZE = 16;

export const SOURCE_OFFSET = {
  key: 0,
  paidUntil: 8,
} as const;

export interface SourceLayout {
  key: bigint;
  paidUntil: bigint;
}

export function readSource(view: DataView, at: number): SourceLayout {
  return {
    key: view.getBigUint64(at + 0, LITTLE),
    paidUntil: view.getBigUint64(at + 8, LITTLE),
  };
}

/** Leaves reserved octets as they are. */
export function writeSource(view: DataView, at: number, value: SourceLayout): void {
  view.setBigUint64(at + 0, value.key, LITTLE);
  view.setBigUint64(at + 8, value.paidUntil, LITTLE);
}

export const BUDGET_SIZE = 8;

export const BUDGET_OFFSET = {
  paidUntil: 0,
} as const;

export interface BudgetLayout {
  paidUntil: bigint;
}

export function readBudget(view: DataView, at: number): BudgetLayout {
  return {
    paidUntil: view.getBigUint64(at + 0, LITTLE),
  };
}

/** Leaves reserved octets as they are. */
export function writeBudget(view: DataView, at: number, value: BudgetLayout): void {
  view.setBigUint64(at + 0, value.paidUntil, LITTLE);
}

export const OUTCOME_COUNT_SIZE = 16;

export const OUTCOME_COUNT_OFFSET = {
  packets: 0,
  bytes: 8,
} as const;

export interface OutcomeCountLayout {
  packets: bigint;
  bytes: bigint;
}

export function readOutcomeCount(view: DataView, at: number): OutcomeCountLayout {
  return {
    packets: view.getBigUint64(at + 0, LITTLE),
    bytes: view.getBigUint64(at + 8, LITTLE),
  };
}

/** Leaves reserved octets as they are. */
export function writeOutcomeCount(view: DataView, at: number, value: OutcomeCountLayout): void {
  view.setBigUint64(at + 0, value.packets, LITTLE);
  view.setBigUint64(at + 8, value.bytes, LITTLE);
}
