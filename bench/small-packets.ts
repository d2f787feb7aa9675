// Small packets over one path and direction, as fast as the broker takes them: how many come out at
// the other end, and what of the broker's core they cost.

import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { ipv4, ipv6, udp } from '../test/dataplane/packets.ts';
import { type Host, sleep } from '../test/lab/lab.ts';
import type { Job } from './generator.ts';
import { BROKER_IPV4, CLIENT_PORT, FIRST_CLIENT, PORT } from './server-end.ts';
import {
  CLIENT_IPV4,
  EAST6,
  type Encapsulation,
  type Topology,
  VXLAN_BROKER_MAC,
  VXLAN_CLIENT_MAC,
  VXLAN_PORT,
} from './topology.ts';

export interface Rate {
  readonly packetsPerSecond: number;
  /** Of the threads that do the broker's work. */
  readonly cpuNsPerPacket: number;
  readonly brokerBusy: number;
  readonly offeredPerSecond: number;
}

const NODE = join(import.meta.dirname, '../node_modules/.bin/node');
const FIRST_INSIDE = '2001:db8:1000::2';
const PAYLOAD = new Uint8Array(16);
/** Of the second word of an IPv6 source or destination, from the header's front. */
const [SOURCE_WORD, DESTINATION_WORD] = [12, 28];

function mac(text: string): number[] {
  return text.split(':').map((octet) => Number.parseInt(octet, 16));
}

function frame(to: string, from: string, type: number[], packet: Uint8Array): Uint8Array {
  return Uint8Array.from([...mac(to), ...mac(from), ...type, ...packet]);
}

/** The packet of `direction` for the tunnel number 0, and where numbers go. */
export function packetOf(
  { path, macs }: Topology,
  direction: 'decap' | 'encap',
  encapsulation: Encapsulation,
): Pick<Job, 'packet' | 'innerAt' | 'outerAt'> {
  const toServer = direction === 'decap';
  const [from, to] = toServer ? [FIRST_INSIDE, `${EAST6}2`] : [`${EAST6}2`, FIRST_INSIDE];
  const inner = ipv6(
    { from, to, nextHeader: 17, hopLimit: 64 },
    udp({ from: 4000, to: 4001 }, PAYLOAD),
  );
  const word = toServer ? SOURCE_WORD : DESTINATION_WORD;
  const hex = (octets: Uint8Array) => Buffer.from(octets).toString('hex');
  const [dst, src] = toServer ? [macs.west, macs.client] : [macs.east, macs.server];
  if (!toServer || path === 'plain')
    return { packet: hex(frame(dst, src, [0x86, 0xdd], inner)), innerAt: 14 + word, outerAt: 0 };
  const wrap = (payload: Uint8Array, protocol: number, outerFrom: string) =>
    frame(dst, src, [8, 0], ipv4({ from: outerFrom, to: BROKER_IPV4, protocol }, payload));
  if (path === 'vxlan') {
    const inside = frame(VXLAN_BROKER_MAC, VXLAN_CLIENT_MAC, [0x86, 0xdd], inner);
    const vxlan = Uint8Array.from([8, 0, 0, 0, 0, 0, 42, 0, ...inside]);
    const packet = wrap(udp({ from: 40000, to: VXLAN_PORT }, vxlan), 17, CLIENT_IPV4);
    return { packet: hex(packet), innerAt: 14 + 20 + 8 + 8 + 14 + word, outerAt: 0 };
  }
  const outerAt = 14 + 12;
  if (encapsulation === 'v6v4')
    return { packet: hex(wrap(inner, 41, FIRST_CLIENT)), innerAt: 14 + 20 + word, outerAt };
  const packet = wrap(udp({ from: CLIENT_PORT, to: PORT }, inner), 17, FIRST_CLIENT);
  return { packet: hex(packet), innerAt: 14 + 28 + word, outerAt };
}

/** Threads of the kernel that work for a device: the first word of their name says which. */
export function napiThreads(device: string): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .filter((pid) => {
      try {
        return readFileSync(`/proc/${pid}/comm`, 'utf8').startsWith(`napi/${device}-`);
      } catch {
        return false;
      }
    })
    .map(Number);
}

function runtimeNs(pids: readonly number[]): number {
  return pids
    .map((pid) => Number(readFileSync(`/proc/${pid}/schedstat`, 'utf8').split(' ')[0]))
    .reduce((sum, ns) => sum + ns, 0);
}

async function received(host: Host, device: string): Promise<number> {
  const text = await host.run('ip', ['-json', '-stats', 'link', 'show', device]);
  const [link] = JSON.parse(text) as [{ stats64: { rx: { packets: number } } }];
  return link.stats64.rx.packets;
}

export async function measureSmallPackets(
  topology: Topology,
  direction: 'decap' | 'encap',
  options: { encapsulation: Encapsulation; tunnels: number; seconds: number; generator: string },
): Promise<Rate> {
  const { devices } = topology;
  const [source, sink] =
    direction === 'decap' ? [topology.client, topology.server] : [topology.server, topology.client];
  const [out, into, arrival] =
    direction === 'decap'
      ? [devices.client, devices.server, devices.west]
      : [devices.server, devices.client, devices.east];
  const job: Job = {
    object: options.generator,
    interface: out,
    ...packetOf(topology, direction, options.encapsulation),
    tunnels: options.tunnels,
    seconds: options.seconds + 2,
  };
  const script = join(import.meta.dirname, 'generator.ts');
  const service = source.start('taskset', [
    process.env['GENMASK'] ?? '1',
    NODE,
    script,
    JSON.stringify(job),
  ]);
  await service.says(/sending/, 20_000);
  try {
    await sleep(300);
    const threads = [...napiThreads(devices.west), ...napiThreads(devices.east)];
    const before = [
      await received(sink, into),
      runtimeNs(threads),
      await received(topology.broker, arrival),
      performance.now(),
    ] as const;
    await sleep(options.seconds * 1000);
    const after = [
      await received(sink, into),
      runtimeNs(threads),
      await received(topology.broker, arrival),
      performance.now(),
    ] as const;
    const elapsed = (after[3] - before[3]) / 1000;
    const packets = after[0] - before[0];
    return {
      packetsPerSecond: packets / elapsed,
      cpuNsPerPacket: (after[1] - before[1]) / packets,
      brokerBusy: (after[1] - before[1]) / 1e9 / elapsed,
      offeredPerSecond: (after[2] - before[2]) / elapsed,
    };
  } finally {
    await service.stop('SIGKILL');
  }
}
