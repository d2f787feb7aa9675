// One line of JSON for each login that was answered: who holds what, from where. It is for whoever
// wants to compare it with what the server says afterwards. The names stay: programs read them.

import { formatEndpoint, formatIp, formatIpv6Prefix, type Ipv4Endpoint } from '../address.ts';
import type { TunnelInfo } from '../tsp/messages.ts';

export interface JournalLine {
  /** Null: an anonymous login. */
  readonly user: string | null;
  /** The client's `address:port`. */
  readonly endpoint: string;
  /** The client's address in its link. */
  readonly address: string;
  /** Null: none was asked for. */
  readonly prefix: string | null;
}

export function lineOf(user: string | undefined, from: Ipv4Endpoint, tunnel: TunnelInfo): string {
  const prefix = tunnel.tunnelType === 'v4v6' ? undefined : tunnel.prefix;
  const line: JournalLine = {
    user: user ?? null,
    endpoint: formatEndpoint(from),
    address: formatIp(tunnel.clientIpv6),
    prefix: prefix ? formatIpv6Prefix(prefix) : null,
  };
  return `${JSON.stringify(line)}\n`;
}
