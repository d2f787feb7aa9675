// Round trips over one path. The client's end is a wire, on which echo.c sends a frame made beforehand and
// looks for the answer; the server's kernel answers. So only the broker differs between the paths.
// Everything runs on one core, one thing after the other, and nothing waits for an interrupt.

import { HOSTS_CPU } from './cpu.ts';
import { echoRequest } from './packets.ts';
import type { Topology } from './topology.ts';

/** Microseconds: the median of many. */
export async function measureRoundTrip(topology: Topology, count: number): Promise<number> {
  const { client, devices, programs, path } = topology;
  const { packet, messageAt } = echoRequest(topology);
  const words = [devices.client, packet, String(count), String(messageAt)];
  const output = await client.run('nice', [
    ...['-n', '-20', 'taskset', '-c', String(HOSTS_CPU), programs.echo, ...words],
  ]);
  const [, median = 0, , lost = 0] = output.trim().split(' ').map(Number);
  if (lost > count / 100) throw new Error(`${path}: ${lost} of ${count} echoes were lost`);
  return median / 1000;
}
