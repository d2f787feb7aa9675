// What is known of one tunnel, and the same as the words that instructions are filled in with. The
// secret is not among it: it is shown once, when it is made, and stored nowhere.

import {
  formatIpv4,
  formatIpv6,
  formatIpv6Prefix,
  type Ipv4Address,
  type Ipv6Address,
  type Ipv6Prefix,
  prefixAt,
} from '../address.ts';

export type Encapsulation = 'v6udpv4' | 'v6v4';

export interface TunnelFacts {
  readonly server: {
    /** Its public name; where it is no name that could be looked up the address is used. */
    readonly name: string;
    readonly address: Ipv4Address;
    readonly port: number;
  };
  readonly user: string;
  readonly encapsulation: Encapsulation;
  /** The server's address in the link, which answers keepalives. */
  readonly gateway: Ipv6Address;
  /** The client's address in the link. */
  readonly address: Ipv6Address;
  readonly linkLength: number;
  readonly prefix: Ipv6Prefix | undefined;
  readonly mtu: number;
  readonly keepaliveSeconds: number;
  /** The address that the client is seen with; undefined: nobody knows yet. */
  readonly client: { readonly address: Ipv4Address; readonly behindNat: boolean } | undefined;
  readonly resolver: Ipv6Address;
}

/** What stands where the secret belongs. */
export const SECRET_PLACEHOLDER = 'YOUR-TUNNEL-SECRET';

/** Name of the tunnel's interface where one can be chosen. */
export const DEVICE = 'tb6';

/** IPv4 carries 1500 octets nearly everywhere; this is what its header, and UDP's, leave. */
const LARGEST_MTU: Readonly<Record<Encapsulation, number>> = { v6v4: 1480, v6udpv4: 1472 };
/** IPv6's header and TCP's. */
const TCP_OVERHEAD = 60;

export interface DelegatedPrefix {
  readonly text: string;
  readonly length: number;
  /** Its first /64, for the user's network. */
  readonly lan: string;
  /** The first address of that. */
  readonly router: string;
}

export interface Values {
  /** A name or an address that a client can be given. */
  readonly host: string;
  readonly server: string;
  readonly port: number;
  readonly user: string;
  readonly encapsulation: Encapsulation;
  readonly gateway: string;
  readonly address: string;
  readonly linkLength: number;
  readonly prefix: DelegatedPrefix | undefined;
  readonly mtu: number;
  readonly mss: number;
  readonly keepaliveSeconds: number;
  /** Empty for systems that do not need it. */
  readonly client: string;
  readonly resolver: string;
}

export function valuesOf(facts: TunnelFacts): Values {
  const { server, encapsulation, prefix, client } = facts;
  const mtu = Math.min(facts.mtu, LARGEST_MTU[encapsulation]);
  return {
    host: isHostName(server.name) ? server.name : formatIpv4(server.address),
    server: formatIpv4(server.address),
    port: server.port,
    user: facts.user,
    encapsulation,
    gateway: formatIpv6(facts.gateway),
    address: formatIpv6(facts.address),
    linkLength: facts.linkLength,
    prefix: prefix && delegatedPrefix(prefix),
    mtu,
    mss: mtu - TCP_OVERHEAD,
    keepaliveSeconds: facts.keepaliveSeconds,
    client: client ? formatIpv4(client.address) : '',
    resolver: formatIpv6(facts.resolver),
  };
}

function delegatedPrefix(prefix: Ipv6Prefix): DelegatedPrefix {
  const lan = prefixAt(prefix, Math.max(64, prefix.length), 0);
  return {
    text: formatIpv6Prefix(prefix),
    length: prefix.length,
    lan: formatIpv6Prefix(lan),
    router: formatIpv6(lan.address | 1n),
  };
}

/** Without a dot it is the name of a machine, which clients elsewhere cannot look up. */
function isHostName(text: string): boolean {
  return /^[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?)+$/.test(
    text,
  );
}
