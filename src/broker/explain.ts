// What the kernel's outcomes and faults mean to people, and what they can do: one sentence each, for
// the command line and for whoever shows users their own tunnel. Says "the client" for the user's end.

import type { FaultName, OutcomeName } from '../dataplane/layout.gen.ts';

/** Why packets were dropped, in a few words; in the order in which they are worth looking at. */
export const FAULT_WORDS: Readonly<Record<FaultName, string>> = {
  wrong_endpoint: 'came from another address or port than the client’s',
  wrong_source: 'had an inner source in the link that is not the client’s',
  to_gateway: 'were for the server’s end of the link, and no pings',
  closed_in: 'came while the tunnel was down or disabled',
  filtered: 'were for a port that is closed for this tunnel',
  rate_in: 'were more than the client may send',
  rate_out: 'were more than the client may receive',
  too_big: 'were larger than the tunnel’s MTU',
  closed_out: 'were for the client while the tunnel was down, disabled or not yet heard of',
  wrong_destination: 'were for an address in the link that is not the client’s',
  congestion: 'were marked as lost by the network on their way here',
  other: 'were refused by the server’s kernel',
};

const NOT_FROM_HERE =
  'The client sends with a source address that is not from here, usually another IPv6 connection’s: ' +
  'let only the tunnel’s addresses use the tunnel, by source-specific routes or a firewall rule.';
const CLOSED = 'The tunnel has no client at present: log in again.';
const DISABLED = 'An administrator has disabled the tunnel or its user: ask for it to be enabled.';
const NOBODYS = 'The address is in a prefix that is nobody’s at present: there is nothing to do.';
const TOO_BIG =
  'A packet was larger than the tunnel’s MTU and its sender was told: if large transfers hang, ' +
  'something between them drops ICMPv6, so clamp the MSS of TCP or lower the MTU of the LAN.';
const SIGNALLING_LIMIT =
  'More logins came than the server takes at a time: the client tries again by itself; if it goes ' +
  'on, look for a client that logs in over and over.';
const REFUSED =
  'The server’s kernel could not work on the packet: if it goes on, tell the operator, who should ' +
  'look at the kernel’s log.';

/** Of outcomes that drop a packet or answer it with an error; the others are as they should be. */
const SENTENCES: Readonly<Partial<Record<OutcomeName, string>>> = {
  in_empty: 'An empty datagram came, some NAT’s keepalive: there is nothing to do.',
  in_not_ipv6_nor_tsp:
    'Something that is neither a tunnelled packet nor TSP came: look for another program that sends ' +
    'to the broker’s port.',
  in_truncated:
    'A packet was shorter than its headers say, or in parts that do not fit together: the path or the client’s device damages packets, so ' +
    'try another encapsulation or a lower MTU.',
  in_fragment:
    'An outer packet came in parts, which are put together if all come within two seconds: a lower ' +
    'MTU of the client’s tunnel device keeps it in one.',
  in_aggregated:
    'Datagrams arrived glued together: switch off UDP GRO forwarding on the server’s uplink ' +
    '(ethtool -K UPLINK rx-udp-gro-forwarding off).',
  in_congestion_lost:
    'A router on the way marked the packet as congested and its sender cannot understand marks, so it ' +
    'was dropped as RFC 6040 asks: if it happens often, the path is overloaded.',
  in_signalling_limited_address: SIGNALLING_LIMIT,
  in_signalling_limited_prefix: SIGNALLING_LIMIT,
  in_signalling_limited_total: SIGNALLING_LIMIT,
  in_link_local:
    'A link-local packet came, such as a router solicitation: tunnels do not carry them, and no harm ' +
    'is done.',
  in_multicast: 'A multicast packet came: tunnels do not carry them, and no harm is done.',
  in_outside_pools: NOT_FROM_HERE,
  in_undelegated:
    'The client sends with a source address out of a prefix that is nobody’s at present: remove ' +
    'addresses of an earlier prefix from the LAN and log in again.',
  in_detached: CLOSED,
  in_wrong_endpoint:
    'A packet with this tunnel’s addresses came from elsewhere than where the client logged in: after ' +
    'a change of network or NAT the client has to log in again; if it has, somebody may forge its ' +
    'addresses, and that was stopped.',
  in_wrong_interface_id:
    'The client sends with another address of the link than its own: configure the tunnel device ' +
    'with the address that the login gave it.',
  in_gateway_source:
    'The client sends with the address of the server’s end of the link: swap the two addresses in ' +
    'its configuration.',
  in_to_gateway:
    'Something other than a ping was sent to the server’s end of the link, where nothing listens: ' +
    'point what sends it, often a resolver or a time client, to another address.',
  in_disabled: DISABLED,
  in_filtered:
    'A connection to a port that is closed for this tunnel was stopped: mail programs should use 465 ' +
    'or 587; for a mail server of one’s own, ask an administrator to open the port.',
  in_rate_limited:
    'The client sends faster than its tunnel may: let it send less, or ask an administrator for ' +
    'a higher rate.',
  in_strip_failed: REFUSED,
  out_too_big: TOO_BIG,
  out_too_big_quiet: TOO_BIG,
  out_not_unicast:
    'A packet that tunnels do not carry was on its way to one: there is nothing to do.',
  out_outside_pools:
    'A packet for an address that is not from here came by: check the routes to here.',
  out_undelegated: NOBODYS,
  out_disabled: DISABLED,
  out_detached: CLOSED,
  out_undelegated_told: NOBODYS,
  out_disabled_told: DISABLED,
  out_detached_told: CLOSED,
  out_rate_limited:
    'More comes for the client than its tunnel may receive: let it ask for less, or ask an ' +
    'administrator for a higher rate.',
  out_not_yet_heard:
    'The client has sent nothing through the tunnel since it logged in, and anonymous clients must ' +
    'speak first: check that its tunnel device and its firewall let packets out.',
  out_wrong_interface_id:
    'Somebody sends to an address of the link that is not the client’s: usually a scan, and then ' +
    'there is nothing to do; else use the address that the login gave.',
  out_to_gateway:
    'Somebody sends to the server’s end of the link, where nothing listens: there is nothing to do.',
  out_push_failed: REFUSED,
};

/** Undefined: the packet went where it should. */
export function explainOutcome(outcome: OutcomeName): string | undefined {
  return SENTENCES[outcome];
}
