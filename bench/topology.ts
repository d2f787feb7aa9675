// One path of the bench: a client, a broker and a server in namespaces of their own, cabled in a row,
// with everything in place that carries packets between client and server over this path. Knows no
// measurement. A side ends in a host that takes part, in a wire on which a measurement sends and
// listens by itself, or in a card that sends into the void (card.ts).
//
//   client c0 ── b0 broker b1 ── s0 server

import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import type { Host, Lab, Service } from '../test/lab/lab.ts';
import { addClientEnd } from './client-end.ts';
import type { Programs } from './programs.ts';
import {
  BROKER_IPV4,
  CLIENT_PORT,
  FIRST_CLIENT,
  LINKS,
  PORT,
  type ServerEnd,
} from './server-end.ts';

export const PATHS = ['plain', 'complete', 'fast', 'vxlan', 'tun'] as const;
export type Path = (typeof PATHS)[number];
export type Encapsulation = 'v6udpv4' | 'v6v4';
export type Side = 'host' | 'wire' | 'card';

export interface Options {
  readonly programs: Programs;
  readonly encapsulation: Encapsulation;
  /** That exist. */
  readonly tunnels: number;
  readonly west: Side;
  readonly east: Side;
}

export interface Devices {
  readonly client: string;
  readonly west: string;
  readonly east: string;
  readonly server: string;
}

export interface Topology extends Options {
  readonly path: Path;
  readonly client: Host;
  readonly broker: Host;
  readonly server: Host;
  readonly devices: Devices;
  readonly macs: Devices;
  /** The process whose device the card is, if there is one. */
  readonly card?: Service;
  /** What serves in the broker's user space. */
  readonly forwarder?: Service;
  /** For our paths: where the maps are, and what server-end.ts said. */
  readonly pinDirectory?: string;
  readonly report: string;
}

export const CLIENT_IPV4 = '10.255.0.2';
export const WEST6 = '2001:db8:1::';
export const EAST6 = '2001:db8:2::';
export const VXLAN6 = '2001:db8:3::';
/** Of the client of slot 0. */
export const CLIENT_INSIDE = '2001:db8:1000::2';
/** Of inner packets, on every path. */
export const MTU = 1400;
export const VXLAN_CLIENT_MAC = '02:00:5e:00:53:02';
export const VXLAN_BROKER_MAC = '02:00:5e:00:53:01';
export const VXLAN_PORT = 4789;
export const NODE = join(import.meta.dirname, '../node_modules/.bin/node');
/** Whom the broker sends to on a side without a host. Nobody has it, so that nobody reacts. */
const NOBODY_MAC = '02:00:5e:00:53:99';

export async function buildTopology(lab: Lab, path: Path, options: Options): Promise<Topology> {
  const tag = path.slice(0, 2);
  const [client, broker, server] = [
    await lab.host(`${tag}-client`),
    await lab.host(`${tag}-broker`),
    await lab.host(`${tag}-server`),
  ];
  // The lab's own name in the devices' names, as threads of the kernel are called after those.
  const name = (end: string) => `${lab.id.slice(0, 4)}${tag}${end}`;
  const devices = { client: name('c0'), west: name('b0'), east: name('b1'), server: name('s0') };
  let card: Service | undefined;
  if (options.west === 'card') card = await addCard(broker, devices.west);
  else await lab.cable(client, devices.client, broker, devices.west);
  if (options.east === 'card') card = await addCard(broker, devices.east);
  else await lab.cable(broker, devices.east, server, devices.server);
  // Without GRO a veth has no NAPI, and then takes no packets of XDP.
  for (const [host, device] of [
    [client, devices.client],
    [broker, devices.west],
    [broker, devices.east],
    [server, devices.server],
  ] as const)
    await host.try('ethtool', ['-K', device, 'gro', 'on']);
  const macs = {
    client: options.west === 'host' ? await macOf(client, devices.client) : NOBODY_MAC,
    west: await macOf(broker, devices.west),
    east: await macOf(broker, devices.east),
    server: options.east === 'host' ? await macOf(server, devices.server) : NOBODY_MAC,
  };
  const bare: Topology = {
    ...options,
    ...{ path, client, broker, server, devices, macs, report: '' },
    ...(card && { card }),
  };
  await addAddresses(bare);
  const topology = { ...bare, ...(await addBrokerEnd(lab, bare)) };
  if (options.west === 'host') await addClientEnd(topology);
  return topology;
}

async function addCard(broker: Host, device: string): Promise<Service> {
  const card = broker.start(NODE, [join(import.meta.dirname, 'card.ts'), device]);
  await card.says(/ready/);
  await broker.run('tc', ['qdisc', 'replace', 'dev', device, 'root', 'noqueue']);
  await broker.ip(`link set ${device} up`);
  return card;
}

async function macOf(host: Host, device: string): Promise<string> {
  const [link] = JSON.parse(await host.run('ip', ['-json', 'link', 'show', device])) as [
    { address: string },
  ];
  return link.address;
}

async function addAddresses(topology: Topology): Promise<void> {
  const { client, broker, server, devices, macs, west, east } = topology;
  await broker.run('sysctl', ['-qw', 'net.ipv4.ip_forward=1', 'net.ipv6.conf.all.forwarding=1']);
  for (const line of [
    `addr add ${BROKER_IPV4}/24 dev ${devices.west}`,
    `-6 addr add ${WEST6}1/64 dev ${devices.west} nodad`,
    `-6 addr add ${EAST6}1/64 dev ${devices.east} nodad`,
    `route add ${FIRST_CLIENT}/9 via ${CLIENT_IPV4}`,
    `neigh replace ${CLIENT_IPV4} lladdr ${macs.client} nud permanent dev ${devices.west}`,
    `-6 neigh replace ${WEST6}2 lladdr ${macs.client} nud permanent dev ${devices.west}`,
    `-6 neigh replace ${EAST6}2 lladdr ${macs.server} nud permanent dev ${devices.east}`,
  ])
    await broker.ip(line);
  if (west === 'host')
    for (const line of [
      `addr add ${CLIENT_IPV4}/24 dev ${devices.client}`,
      `addr add ${FIRST_CLIENT}/32 dev lo`,
      `route add ${BROKER_IPV4}/32 dev ${devices.client} src ${FIRST_CLIENT}`,
      `-6 addr add ${WEST6}2/64 dev ${devices.client} nodad`,
      `neigh replace ${BROKER_IPV4} lladdr ${macs.west} nud permanent dev ${devices.client}`,
      `-6 neigh replace ${WEST6}1 lladdr ${macs.west} nud permanent dev ${devices.client}`,
    ])
      await client.ip(line);
  if (east === 'host')
    for (const line of [
      `-6 addr add ${EAST6}2/64 dev ${devices.server} nodad`,
      `-6 neigh replace ${EAST6}1 lladdr ${macs.east} nud permanent dev ${devices.server}`,
      `-6 route add default via ${EAST6}1 mtu ${MTU}`,
    ])
      await server.ip(line);
}

async function addBrokerEnd(lab: Lab, topology: Topology): Promise<Partial<Topology>> {
  const { broker, devices, path } = topology;
  if (path === 'plain') await broker.ip(`-6 route add ${LINKS} via ${WEST6}2 dev ${devices.west}`);
  else if (path === 'vxlan') await addVxlan(topology);
  else if (path === 'tun') return { forwarder: await addForwarder(topology) };
  else return addDataplane(lab, topology);
  return {};
}

async function addVxlan({ broker, devices }: Topology): Promise<void> {
  const ends = `remote ${CLIENT_IPV4} local ${BROKER_IPV4} dev ${devices.west}`;
  for (const line of [
    `link add vx0 address ${VXLAN_BROKER_MAC} type vxlan id 42 ${ends} dstport ${VXLAN_PORT}`,
    `link set vx0 up mtu ${MTU}`,
    `-6 addr add ${VXLAN6}1/64 dev vx0 nodad`,
    `-6 neigh replace ${VXLAN6}2 lladdr ${VXLAN_CLIENT_MAC} nud permanent dev vx0`,
    `-6 route add ${LINKS} via ${VXLAN6}2 dev vx0`,
  ])
    await broker.ip(line);
  await broker.run('bridge', [
    ...['fdb', 'replace', VXLAN_CLIENT_MAC, 'dev', 'vx0', 'dst', CLIENT_IPV4],
  ]);
}

async function addForwarder(topology: Topology): Promise<Service> {
  const { broker, encapsulation, programs, tunnels } = topology;
  const port = encapsulation === 'v6v4' ? 41 : PORT;
  const forwarder = broker.start(programs.tunForwarder, [
    ...['tun0', String(port), String(tunnels), FIRST_CLIENT, String(CLIENT_PORT)],
  ]);
  await forwarder.says(/ready/);
  await broker.ip(`link set tun0 up mtu ${MTU}`);
  // By way of one neighbour, as the product does it.
  await broker.ip(`-6 route add ${LINKS} via fe80::2 dev tun0 onlink`);
  return forwarder;
}

async function addDataplane(lab: Lab, topology: Topology): Promise<Partial<Topology>> {
  const { path, broker, devices, encapsulation, tunnels } = topology;
  const pinDirectory = `/sys/fs/bpf/sixway-bench-${lab.id}-${path}`;
  const end: ServerEnd = {
    ...{ pinDirectory, encapsulation, tunnels, mtu: MTU },
    uplink: devices.west,
    uplink6: devices.east,
    mode: path === 'fast' ? 'fast' : 'complete',
  };
  lab.onClose(async () => {
    const ends = join(import.meta.dirname, '../test/dataplane/ends.ts');
    await broker.run(NODE, [ends, 'uninstall', pinDirectory]);
  });
  const script = join(import.meta.dirname, 'server-end.ts');
  const report = await broker.run(NODE, [script, JSON.stringify(end)], 120_000);
  return { pinDirectory, report };
}

/** The threads in which the kernel receives for a device of the broker, once it may have its own. */
export function useThreads({ broker }: Topology, device: string): void {
  const script = `echo 1 >/sys/class/net/${device}/threaded`;
  execFileSync('ip', ['netns', 'exec', broker.namespace, 'sh', '-c', script]);
}
