// The values of the Tunnel Setup Protocol (RFC 5572): requests, the server's answers, status codes,
// mechanisms and tunnel types. What they look like as text is in xml.ts and framing.ts; what
// happens with them is in the sessions. No behaviour here.

import type { IpAddress, Ipv4Address, Ipv6Address, Ipv6Prefix } from '../address.ts';

/** IPv6 in IPv4 (protocol 41), IPv6 in UDP in IPv4, or IPv4 in IPv6 (RFC 2473). */
export type ConcreteTunnelType = 'v6v4' | 'v6udpv4' | 'v4v6';

/** What a client may ask for; with `v6anyv4` the server decides (RFC 5572 §2.1). */
export type TunnelType = ConcreteTunnelType | 'v6anyv4';

/** SASL mechanisms, named as in CAPABILITY and AUTHENTICATE lines. */
export type Mechanism = 'SCRAM-SHA-256' | 'DIGEST-MD5' | 'PLAIN' | 'ANONYMOUS';

/** Status codes of RFC 5572 appendix B that this server sends. */
export const STATUS = {
  success: 200,
  authenticationFailed: 300,
  noTunnelsLeft: 301,
  versionNotSupported: 302,
  tunnelTypeNotSupported: 303,
  serverError: 310,
  invalidRequest: 500,
  invalidIpv4Address: 501,
  invalidIpv6Address: 502,
  ipv4AddressInUse: 506,
  prefixNotAssignable: 507,
  requestInProgress: 521,
  busy: 530,
} as const;

export type StatusCode = (typeof STATUS)[keyof typeof STATUS];
export type FailureStatus = Exclude<StatusCode, typeof STATUS.success>;

/** What is added to a code that is followed by a list of other brokers (appendix B). */
export const REDIRECT_OFFSET = 1000;

/** Clients show the text to people and decide on the number only. */
export const STATUS_TEXT: Readonly<Record<StatusCode, string>> = {
  200: 'Success',
  300: 'Authentication failed',
  301: 'No more tunnels available',
  302: 'Unsupported client version',
  303: 'Unsupported tunnel type',
  310: 'Server side error',
  500: 'Invalid request format or length',
  501: 'Invalid IPv4 address',
  502: 'Invalid IPv6 address',
  506: 'IPv4 address already used by another tunnel',
  507: 'Requested prefix length cannot be assigned',
  521: 'Request already in progress',
  530: 'Server too busy',
};

/** A status line as a peer sent it; `code` is 100 … 9999 and need not be one of {@link STATUS}. */
export interface StatusLine {
  readonly code: number;
  readonly text: string;
}

/** One address element of a message, as it was written. */
export interface StatedAddress {
  readonly type: string;
  readonly text: string;
}

/**
 * Asks for a tunnel or updates the user's. `tunnelType` and `addresses` are what the client wrote:
 * which of them are acceptable is a decision, and each has its own status code.
 */
export interface CreateRequest {
  readonly action: 'create';
  readonly tunnelType: string;
  readonly addresses: readonly StatedAddress[];
  /** The tunnel's endpoint is another host than the one that speaks. */
  readonly proxy: boolean;
  /** A wish; the server's answer is the order (RFC 5572 §4.6). */
  readonly keepaliveSeconds?: number;
  /** Length of the delegated prefix asked for; absent when none is asked for. */
  readonly prefixLength?: number;
  /** Names or addresses of servers for the prefix's reverse zone (§5.2), as written. */
  readonly nameServers: readonly string[];
}

export type Request =
  | CreateRequest
  | { readonly action: 'info' }
  | { readonly action: 'delete' }
  | { readonly action: 'accept' }
  | { readonly action: 'reject' };

/** The server's order: ping `address` through the tunnel this often. */
export interface Keepalive<A extends IpAddress> {
  readonly intervalSeconds: number;
  readonly address: A;
}

/**
 * What every tunnel has. All four addresses, whichever family is outside: the outer one of the
 * client is the one that it stated, even where a NAT shows the server another.
 */
interface AnyTunnelInfo {
  /** As in the message: the RFC says minutes, its examples seconds; harmless numbers only. */
  readonly lifetime: number;
  readonly serverIpv4: Ipv4Address;
  readonly serverIpv6: Ipv6Address;
  readonly clientIpv4: Ipv4Address;
  readonly clientIpv6: Ipv6Address;
  /** The name under which the client is registered in the DNS. */
  readonly domainName?: string;
  /** Recursive DNS server for the client. gogoc crashes when it is told none. */
  readonly resolver?: Ipv6Address;
}

/** IPv4 is outside; the IPv6 addresses are the ends of the link inside. */
export interface Ipv6TunnelInfo extends AnyTunnelInfo {
  readonly tunnelType: 'v6v4' | 'v6udpv4';
  /** Delegated prefix. */
  readonly prefix?: Ipv6Prefix;
  /** Servers of the prefix's reverse zone, names or addresses, as the client gave them (§5.2). */
  readonly nameServers?: readonly string[];
  readonly keepalive?: Keepalive<Ipv6Address>;
}

/** IPv6 is outside; the IPv4 addresses are the ends of the link inside. */
export interface Ipv4TunnelInfo extends AnyTunnelInfo {
  readonly tunnelType: 'v4v6';
  /** Prefix length of the link, usually 30. */
  readonly linkLength: number;
  readonly keepalive?: Keepalive<Ipv4Address>;
}

/** The body of the server's answer to create and info: a tunnel, seen from its client. */
export type TunnelInfo = Ipv6TunnelInfo | Ipv4TunnelInfo;

/** Another broker, from a redirect list. The text may end in `:port`. */
export interface BrokerAddress {
  readonly type: 'ipv4' | 'ipv6' | 'dn';
  readonly text: string;
}
