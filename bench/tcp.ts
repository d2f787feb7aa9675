// One TCP stream over one path: what the client sends to the server (up) or gets from it (down). All of it
// (hosts and broker) shares two cores, as the kernel distributes it, but for the two processes: the
// sender is on one core, and so is the broker's part that its packets pass; the receiver is on the other.

import { sleep } from '../test/lab/lab.ts';
import { CLIENT_DEVICE } from './client-end.ts';
import { BROKER_CPU, HOSTS_CPU } from './cpu.ts';
import { CLIENT_INSIDE, EAST6, type Topology } from './topology.ts';

export type Segments = 'wire' | 'super';

const [PORT, WARM_UP_MS] = [5201, 400];

/** Once for a topology: hosts that send segments as a wire carries them (`wire`), or leave to their cards,
 * which are not there, to cut and to sum up what they send (`super`). */
export async function prepareTcp(topology: Topology, segments: Segments): Promise<void> {
  const { client, server, devices } = topology;
  const on = segments === 'super' ? 'on' : 'off';
  const offloads = ['tso', on, 'gso', on, 'tx', on, 'gro', 'on'];
  await client.run('ethtool', ['-K', devices.client, ...offloads]);
  await server.run('ethtool', ['-K', devices.server, ...offloads]);
  // Not every device lets everything be changed; the plain path has no such device.
  for (const feature of ['tso', 'gso', 'tx'])
    await client.try('ethtool', ['-K', CLIENT_DEVICE, feature, on]);
}

/** Gigabits of payload a second. */
export async function measureTcp(
  topology: Topology,
  direction: 'up' | 'down',
  seconds: number,
): Promise<number> {
  const { client, server, programs } = topology;
  const [from, to, address] =
    direction === 'up' ? [client, server, `${EAST6}2`] : [server, client, CLIENT_INSIDE];
  const ms = seconds * 1000;
  const pinned = (cpu: number) => ['-c', String(cpu), programs.tcpStream];
  const receiver = to.start('taskset', [
    ...[...pinned(BROKER_CPU), 'receive', String(PORT), String(WARM_UP_MS), String(ms)],
  ]);
  await receiver.says(/listening/);
  const lastMs = WARM_UP_MS + ms + 3000;
  const sender = from.start('taskset', [
    ...[...pinned(HOSTS_CPU), 'send', address, String(PORT), String(lastMs)],
  ]);
  try {
    const [, octets, ns] = await receiver.says(/octets (\d+) ns (\d+)/, lastMs + 5000);
    return (Number(octets) * 8) / Number(ns);
  } catch (error) {
    throw new Error(`${topology.path}: no TCP ${direction}: ${sender.output}`, { cause: error });
  } finally {
    await sender.stop('SIGKILL');
    await receiver.stop('SIGKILL');
    await sleep(50);
  }
}
