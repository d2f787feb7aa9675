// One path of the bench: a client, a broker and a server in namespaces of their own, cabled in a row,
// with everything in place that carries packets between client and server over this path. Knows no
// measurement.
//
//   client c0 ── b0 broker b1 ── s0 server

import { join } from 'node:path';
import type { Host, Lab } from '../test/lab/lab.ts';
import { BROKER_IPV4, FIRST_CLIENT, LINKS, type ServerEnd } from './server-end.ts';

export type Path = 'plain' | 'complete' | 'fast' | 'vxlan' | 'tun';
export type Encapsulation = 'v6udpv4' | 'v6v4';

export interface Devices {
  readonly client: string;
  readonly west: string;
  readonly east: string;
  readonly server: string;
}

export interface Topology {
  readonly path: Path;
  readonly client: Host;
  readonly broker: Host;
  readonly server: Host;
  readonly devices: Devices;
  readonly macs: Devices;
}

export const CLIENT_IPV4 = '10.255.0.2';
export const WEST6 = '2001:db8:1::';
export const EAST6 = '2001:db8:2::';
export const VXLAN_CLIENT_MAC = '02:00:5e:00:53:02';
export const VXLAN_BROKER_MAC = '02:00:5e:00:53:01';
export const VXLAN_PORT = 4789;
const NODE = join(import.meta.dirname, '../node_modules/.bin/node');

export interface Options {
  readonly encapsulation: Encapsulation;
  readonly tunnels: number;
  readonly mtu: number;
  /** The side of the broker that ends in a card instead of a host (card.ts). */
  readonly card?: 'west' | 'east';
}

const CARD_PEER_MAC = '02:00:5e:00:53:99';

export async function buildTopology(lab: Lab, path: Path, options: Options): Promise<Topology> {
  const tag = path.slice(0, 2);
  const [client, broker, server] = [
    await lab.host(`${tag}-client`),
    await lab.host(`${tag}-broker`),
    await lab.host(`${tag}-server`),
  ];
  const devices = {
    client: `${tag}-c0`,
    west: `${tag}-b0`,
    east: `${tag}-b1`,
    server: `${tag}-s0`,
  };
  if (options.card === 'west') await addCard(broker, devices.west);
  else await lab.cable(client, devices.client, broker, devices.west);
  if (options.card === 'east') await addCard(broker, devices.east);
  else await lab.cable(broker, devices.east, server, devices.server);
  const macs = {
    client: await macOf(client, devices.client),
    west: await macOf(broker, devices.west),
    east: await macOf(broker, devices.east),
    server: await macOf(server, devices.server),
  };
  const topology: Topology = { path, client, broker, server, devices, macs };
  await addAddresses(topology);
  if (path === 'vxlan') await addVxlan(topology);
  else if (path === 'plain')
    await broker.ip(`-6 route add ${LINKS} via ${WEST6}2 dev ${devices.west}`);
  else if (path !== 'tun') await addDataplane(lab, topology, options);
  return topology;
}

async function addCard(broker: Host, device: string): Promise<void> {
  const card = broker.start(NODE, [join(import.meta.dirname, 'card.ts'), device]);
  await card.says(/ready/);
  await broker.run('tc', ['qdisc', 'replace', 'dev', device, 'root', 'noqueue']);
  await broker.ip(`link set ${device} up`);
}

async function macOf(host: Host, device: string): Promise<string> {
  const found = await host.try('ip', ['-json', 'link', 'show', device]);
  if (found.code !== 0) return CARD_PEER_MAC;
  const [link] = JSON.parse(found.stdout) as [{ address: string }];
  return link.address;
}

async function addAddresses({ client, broker, server, devices, macs }: Topology): Promise<void> {
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
  for (const line of [
    `addr add ${CLIENT_IPV4}/24 dev ${devices.client}`,
    `addr add ${FIRST_CLIENT}/32 dev lo`,
    `-6 addr add ${WEST6}2/64 dev ${devices.client} nodad`,
    `neigh replace ${BROKER_IPV4} lladdr ${macs.west} nud permanent dev ${devices.client}`,
    `-6 neigh replace ${WEST6}1 lladdr ${macs.west} nud permanent dev ${devices.client}`,
  ])
    if (macs.client !== CARD_PEER_MAC) await client.ip(line);
  for (const line of [
    `-6 addr add ${EAST6}2/64 dev ${devices.server} nodad`,
    `-6 neigh replace ${EAST6}1 lladdr ${macs.east} nud permanent dev ${devices.server}`,
    `-6 route add default via ${EAST6}1`,
  ])
    if (macs.server !== CARD_PEER_MAC) await server.ip(line);
}

async function addVxlan({ broker, devices }: Topology): Promise<void> {
  const ends = `remote ${CLIENT_IPV4} local ${BROKER_IPV4} dev ${devices.west}`;
  for (const line of [
    `link add vx0 address ${VXLAN_BROKER_MAC} type vxlan id 42 ${ends} dstport ${VXLAN_PORT}`,
    'link set vx0 up',
    '-6 addr add 2001:db8:3::1/64 dev vx0 nodad',
    `-6 neigh replace 2001:db8:3::2 lladdr ${VXLAN_CLIENT_MAC} nud permanent dev vx0`,
    `-6 route add ${LINKS} via 2001:db8:3::2 dev vx0`,
  ])
    await broker.ip(line);
  await broker.run('bridge', [
    ...['fdb', 'replace', VXLAN_CLIENT_MAC, 'dev', 'vx0', 'dst', CLIENT_IPV4],
  ]);
}

async function addDataplane(
  lab: Lab,
  { path, broker, devices }: Topology,
  options: Options,
): Promise<void> {
  const pinDirectory = `/sys/fs/bpf/sixway-bench-${lab.id}-${path}`;
  const end: ServerEnd = {
    pinDirectory,
    uplink: devices.west,
    uplink6: devices.east,
    ...options,
    mode: path === 'fast' ? 'fast' : 'complete',
  };
  lab.onClose(async () => {
    const uninstall = ['test/dataplane/ends.ts', 'uninstall', pinDirectory];
    await broker.run(NODE, [
      join(import.meta.dirname, '..', uninstall[0] ?? ''),
      ...uninstall.slice(1),
    ]);
  });
  await broker.run(
    NODE,
    [join(import.meta.dirname, 'server-end.ts'), JSON.stringify(end)],
    120_000,
  );
}
