// Which tunnel a create request is about, decided from what the client states and where its packet
// came from (RFC 5572 §2.1, §4.4.3, appendix B). A tunnel leads to an address that a client only
// claims when it asks for just that (`proxy`), and then the broker has to trust the user. Whether
// there is a tunnel to be had is for the broker to say.

import {
  type Endpoint,
  type IpAddress,
  type Ipv4Address,
  parseIp,
  parseIpv4,
  parseIpv6,
} from '../address.ts';
import {
  type ConcreteTunnelType,
  type CreateRequest,
  type FailureStatus,
  STATUS,
  type TunnelType,
} from './messages.ts';

export type Transport = 'udp' | 'tcp';

export type CreateDecision =
  | {
      readonly ok: true;
      readonly tunnelType: ConcreteTunnelType;
      readonly statedAddress: IpAddress;
      /** Where the tunnel leads; port 0 for types without ports. */
      readonly endpoint: Endpoint;
    }
  | { readonly ok: false; readonly status: FailureStatus };

const MAX_NAME_SERVERS = 8;

/** `offered` are all types that the server has; `source` is the packet's. */
export function decideCreate(
  request: CreateRequest,
  source: Endpoint,
  transport: Transport,
  offered: readonly ConcreteTunnelType[],
): CreateDecision {
  const wanted = TYPES.find((type) => type === request.tunnelType);
  if (wanted === undefined) return refuse(STATUS.tunnelTypeNotSupported);
  const { nameServers, prefixLength } = request;
  if (nameServers.length > MAX_NAME_SERVERS || !nameServers.every(isNameServer)) {
    return refuse(STATUS.invalidRequest);
  }
  if (prefixLength !== undefined && (prefixLength < 1 || prefixLength > 128)) {
    return refuse(STATUS.prefixNotAssignable);
  }
  if (wanted === 'v4v6') return decideIpv4InIpv6(request, source, offered);
  return request.proxy
    ? decideForAnother(request, wanted, offered)
    : decideForSource(request, wanted, source, transport, offered);
}

/** What a CAPABILITY line to `source` names: what can be had from there. */
export function announcedTypes(
  offered: readonly ConcreteTunnelType[],
  { address }: Endpoint,
): readonly ConcreteTunnelType[] {
  return offered.filter((type) => (type === 'v4v6') === (typeof address === 'bigint'));
}

const TYPES: readonly TunnelType[] = ['v6v4', 'v6udpv4', 'v6anyv4', 'v4v6'];

type Ipv6Wish = Exclude<TunnelType, 'v4v6'>;

function decideForSource(
  request: CreateRequest,
  wanted: Ipv6Wish,
  { address, port }: Endpoint,
  transport: Transport,
  offered: readonly ConcreteTunnelType[],
): CreateDecision {
  if (typeof address !== 'number') return refuse(STATUS.tunnelTypeNotSupported);
  const stated = statedIpv4(request);
  if (typeof stated !== 'number') return refuse(stated.status);
  const behindNat = stated !== address;
  if (wanted === 'v6v4' && behindNat) return refuse(STATUS.invalidIpv4Address);
  const isPossible = { v6v4: !behindNat, v6udpv4: transport === 'udp', v4v6: false };
  const possible = offered.filter((type) => isPossible[type]);
  const tunnelType =
    wanted === 'v6anyv4'
      ? (possible.find((type) => type === 'v6v4') ?? possible[0])
      : possible.find((type) => type === wanted);
  if (tunnelType === undefined) return refuse(STATUS.tunnelTypeNotSupported);
  const endpoint = { address, port: tunnelType === 'v6udpv4' ? port : 0 };
  return { ok: true, tunnelType, statedAddress: stated, endpoint };
}

/** There is no NAT traversal for somebody who does not speak: protocol 41 or nothing. */
function decideForAnother(
  request: CreateRequest,
  wanted: Ipv6Wish,
  offered: readonly ConcreteTunnelType[],
): CreateDecision {
  if (wanted === 'v6udpv4' || !offered.includes('v6v4')) {
    return refuse(STATUS.tunnelTypeNotSupported);
  }
  const stated = statedIpv4(request);
  if (typeof stated !== 'number') return refuse(stated.status);
  if (!isUnicast(stated)) return refuse(STATUS.invalidIpv4Address);
  const endpoint = { address: stated, port: 0 };
  return { ok: true, tunnelType: 'v6v4', statedAddress: stated, endpoint };
}

function decideIpv4InIpv6(
  { proxy, addresses, prefixLength }: CreateRequest,
  { address }: Endpoint,
  offered: readonly ConcreteTunnelType[],
): CreateDecision {
  if (proxy || typeof address !== 'bigint' || !offered.includes('v4v6')) {
    return refuse(STATUS.tunnelTypeNotSupported);
  }
  const stated = addresses.find(({ type }) => type === 'ipv6');
  if (!stated || parseIpv6(stated.text) !== address) return refuse(STATUS.invalidIpv6Address);
  // The delegated prefixes are of IPv6, and this client has IPv6 already.
  if (prefixLength !== undefined) return refuse(STATUS.prefixNotAssignable);
  const endpoint = { address, port: 0 };
  return { ok: true, tunnelType: 'v4v6', statedAddress: address, endpoint };
}

function statedIpv4({
  addresses,
}: CreateRequest): Ipv4Address | { readonly status: FailureStatus } {
  const ipv4 = addresses.find(({ type }) => type === 'ipv4');
  const unreadable = addresses.some(
    ({ type, text }) => type === 'ipv6' && parseIpv6(text) === undefined,
  );
  if (!ipv4 && unreadable) return { status: STATUS.invalidIpv6Address };
  return (ipv4 && parseIpv4(ipv4.text)) ?? { status: STATUS.invalidIpv4Address };
}

/** Not this network, not this host, not a group, not reserved. */
function isUnicast(address: Ipv4Address): boolean {
  const first = address >>> 24;
  return first !== 0 && first !== 127 && first < 224;
}

/** A host name (RFC 1123 §2.1) or an address. gogoc sends names, the RFC's example addresses. */
function isNameServer(text: string): boolean {
  if (parseIp(text) !== undefined) return true;
  const labels = text.replace(/\.$/, '').split('.');
  return (
    text.length <= 253 &&
    labels.every((label) => /^[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?$/.test(label)) &&
    !/^[0-9]+$/.test(labels.at(-1) ?? '')
  );
}

function refuse(status: FailureStatus): CreateDecision {
  return { ok: false, status };
}
