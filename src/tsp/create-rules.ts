// Which tunnel a create request is about, decided from what the client states and where its packet
// came from (RFC 5572 §2.1, §4.4.3, appendix B). A tunnel never leads to an address that a client
// only claims. Whether there is a tunnel to be had is for the broker to say.

import { type Endpoint, type Ipv4Address, parseIpv4, parseIpv6 } from '../address.ts';
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
      readonly statedAddress: Ipv4Address;
    }
  | { readonly ok: false; readonly status: FailureStatus };

/** `offered` are the types of the CAPABILITY line; `source` is the packet's. */
export function decideCreate(
  request: CreateRequest,
  source: Endpoint,
  transport: Transport,
  offered: readonly ConcreteTunnelType[],
): CreateDecision {
  const wanted = TYPES.find((type) => type === request.tunnelType);
  if (wanted === undefined || typeof source.address !== 'number') {
    return refuse(STATUS.tunnelTypeNotSupported);
  }
  const stated = statedIpv4(request);
  if (typeof stated !== 'number') return refuse(stated.status);
  // The tunnel would end at a third party's address.
  if (request.proxy) return refuse(STATUS.tunnelTypeNotSupported);
  const { prefixLength } = request;
  if (prefixLength !== undefined && (prefixLength < 1 || prefixLength > 128)) {
    return refuse(STATUS.prefixNotAssignable);
  }
  const behindNat = stated !== source.address;
  if (wanted === 'v6v4' && behindNat) return refuse(STATUS.invalidIpv4Address);
  const possible = offered.filter((type) => (type === 'v6v4' ? !behindNat : transport === 'udp'));
  const tunnelType =
    wanted === 'v6anyv4'
      ? (possible.find((type) => type === 'v6v4') ?? possible[0])
      : possible.find((type) => type === wanted);
  if (tunnelType === undefined) return refuse(STATUS.tunnelTypeNotSupported);
  return { ok: true, tunnelType, statedAddress: stated };
}

const TYPES: readonly TunnelType[] = ['v6v4', 'v6udpv4', 'v6anyv4'];

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

function refuse(status: FailureStatus): CreateDecision {
  return { ok: false, status };
}
