// The client's end of a path whose client is a host: its address, and what carries its packets to the
// broker, which is of the same kind as what the broker has.

import { join } from 'node:path';
import type { ClientEnd } from '../test/dataplane/ends.ts';
import { BROKER_IPV4, CLIENT_PORT, FIRST_CLIENT, PORT } from './server-end.ts';
import {
  CLIENT_INSIDE,
  CLIENT_IPV4,
  MTU,
  NODE,
  type Topology,
  VXLAN_BROKER_MAC,
  VXLAN_CLIENT_MAC,
  VXLAN_PORT,
  VXLAN6,
  WEST6,
} from './topology.ts';

/** Of the client's tunnel device; there is none on the plain path. */
export const CLIENT_DEVICE = 'tb6';

export async function addClientEnd(topology: Topology): Promise<void> {
  const { client, path, devices, encapsulation, programs } = topology;
  const isUdp = encapsulation === 'v6udpv4';
  if (path === 'plain') {
    await client.ip(`-6 addr add ${CLIENT_INSIDE}/128 dev lo nodad`);
    await client.ip(
      `-6 route add default via ${WEST6}1 dev ${devices.client} src ${CLIENT_INSIDE} mtu ${MTU}`,
    );
  } else if (path === 'vxlan') {
    await addVxlan(topology);
  } else if (path === 'tun') {
    const ports = isUdp ? [String(CLIENT_PORT), String(PORT)] : ['41', '0'];
    const [own = '', other = ''] = ports;
    const end = [CLIENT_DEVICE, own, '0', BROKER_IPV4, other];
    await client.start(programs.tunForwarder, end).says(/ready/);
    await client.ip(`link set ${CLIENT_DEVICE} up mtu ${MTU}`);
    await client.ip(`-6 addr add ${CLIENT_INSIDE}/128 dev ${CLIENT_DEVICE} nodad`);
    await client.ip(`-6 route add default dev ${CLIENT_DEVICE}`);
  } else {
    const end: ClientEnd = {
      ...{ name: CLIENT_DEVICE, encapsulation, address: CLIENT_INSIDE, mtu: MTU },
      server: `${BROKER_IPV4}:${isUdp ? PORT : 0}`,
      local: `${FIRST_CLIENT}:${isUdp ? CLIENT_PORT : 0}`,
    };
    const script = join(import.meta.dirname, '../test/dataplane/ends.ts');
    await client.start(NODE, [script, 'client', JSON.stringify(end)]).says(/ready/);
  }
}

async function addVxlan({ client, devices }: Topology): Promise<void> {
  const ends = `remote ${BROKER_IPV4} local ${CLIENT_IPV4} dev ${devices.client}`;
  const kind = `type vxlan id 42 ${ends} dstport ${VXLAN_PORT}`;
  for (const line of [
    `link add ${CLIENT_DEVICE} address ${VXLAN_CLIENT_MAC} ${kind}`,
    `link set ${CLIENT_DEVICE} up mtu ${MTU}`,
    `-6 addr add ${VXLAN6}2/64 dev ${CLIENT_DEVICE} nodad`,
    `-6 addr add ${CLIENT_INSIDE}/128 dev ${CLIENT_DEVICE} nodad`,
    `-6 neigh replace ${VXLAN6}1 lladdr ${VXLAN_BROKER_MAC} nud permanent dev ${CLIENT_DEVICE}`,
    `-6 route add default via ${VXLAN6}1 dev ${CLIENT_DEVICE} src ${CLIENT_INSIDE}`,
  ])
    await client.ip(line);
}
