// The frames that the bench sends: to a broker's device, as the client or the server of a path would send
// them there, for the tunnel number 0.

import { echo, ipv4, ipv6, udp } from '../test/dataplane/packets.ts';
import type { Job } from './generator.ts';
import { BROKER_IPV4, CLIENT_PORT, FIRST_CLIENT, PORT } from './server-end.ts';
import {
  CLIENT_INSIDE,
  CLIENT_IPV4,
  EAST6,
  type Topology,
  VXLAN_BROKER_MAC,
  VXLAN_CLIENT_MAC,
  VXLAN_PORT,
} from './topology.ts';

const PAYLOAD = new Uint8Array(16);
const [ETHERNET, IPV4, IPV6, UDP, VXLAN] = [14, 20, 40, 8, 8];
/** Of the second word of an IPv6 source or destination, from the header's front; of an IPv4 source. */
const [SOURCE_WORD, DESTINATION_WORD, IPV4_SOURCE] = [12, 28, 12];
const [TYPE_IPV4, TYPE_IPV6] = [
  [0x08, 0x00],
  [0x86, 0xdd],
];

export type Direction = 'decap' | 'encap';

interface Frame {
  readonly octets: Uint8Array;
  /** Where the inner packet begins. */
  readonly innerAt: number;
}

/** A small packet, and where in it the numbers of tunnels go. */
export function smallPacket(
  topology: Topology,
  direction: Direction,
): Pick<Job, 'packet' | 'innerAt' | 'outerAt'> {
  const server = `${EAST6}2`;
  const [from, to] = direction === 'decap' ? [CLIENT_INSIDE, server] : [server, CLIENT_INSIDE];
  const inner = ipv6({ from, to, nextHeader: 17 }, udp({ from: 4000, to: 4001 }, PAYLOAD));
  if (direction === 'encap') {
    const { octets, innerAt } = fromServer(topology, inner);
    return { packet: hex(octets), innerAt: innerAt + DESTINATION_WORD, outerAt: 0 };
  }
  const { octets, innerAt } = fromClient(topology, inner);
  const isOurs = topology.path !== 'plain' && topology.path !== 'vxlan';
  const outerAt = isOurs ? ETHERNET + IPV4_SOURCE : 0;
  return { packet: hex(octets), innerAt: innerAt + SOURCE_WORD, outerAt };
}

/** An echo request of the client to the server, and where from the network header on its ICMPv6 header
 * begins, as it does in the answer. */
export function echoRequest(topology: Topology): { packet: string; messageAt: number } {
  const inner = echo(
    'request',
    { from: CLIENT_INSIDE, to: `${EAST6}2` },
    { identifier: 1, sequence: 0 },
  );
  const { octets, innerAt } = fromClient(topology, inner);
  return { packet: hex(octets), messageAt: innerAt - ETHERNET + IPV6 };
}

function fromServer({ macs }: Topology, inner: Uint8Array): Frame {
  return { octets: frame(macs.east, macs.server, TYPE_IPV6, inner), innerAt: ETHERNET };
}

function fromClient({ path, macs, encapsulation }: Topology, inner: Uint8Array): Frame {
  const wrapped = (payload: Uint8Array, protocol: number, from: string) =>
    frame(macs.west, macs.client, TYPE_IPV4, ipv4({ from, to: BROKER_IPV4, protocol }, payload));
  if (path === 'plain')
    return { octets: frame(macs.west, macs.client, TYPE_IPV6, inner), innerAt: ETHERNET };
  if (path === 'vxlan') {
    const inside = frame(VXLAN_BROKER_MAC, VXLAN_CLIENT_MAC, TYPE_IPV6, inner);
    const vxlan = Uint8Array.from([8, 0, 0, 0, 0, 0, 42, 0, ...inside]);
    return {
      octets: wrapped(udp({ from: 40000, to: VXLAN_PORT }, vxlan), 17, CLIENT_IPV4),
      innerAt: ETHERNET + IPV4 + UDP + VXLAN + ETHERNET,
    };
  }
  if (encapsulation === 'v6v4')
    return { octets: wrapped(inner, 41, FIRST_CLIENT), innerAt: ETHERNET + IPV4 };
  return {
    octets: wrapped(udp({ from: CLIENT_PORT, to: PORT }, inner), 17, FIRST_CLIENT),
    innerAt: ETHERNET + IPV4 + UDP,
  };
}

function frame(to: string, from: string, type: number[], packet: Uint8Array): Uint8Array {
  return Uint8Array.from([...mac(to), ...mac(from), ...type, ...packet]);
}

function mac(text: string): number[] {
  return text.split(':').map((octet) => Number.parseInt(octet, 16));
}

function hex(octets: Uint8Array): string {
  return Buffer.from(octets).toString('hex');
}
