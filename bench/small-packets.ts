// Small packets over one path in one direction, more of them than the broker's core can take: how many it
// forwards, and what of its time each one costs.
//
// The broker has CPU 1: the kernel receives for its device in a thread of its own there (threaded NAPI), a
// forwarder in user space runs there too. CPU 0 makes the packets. They end in a card on the other side
// of the broker (card.ts): a receiver would have to share CPU 0 with the generator, and would free on
// one core what was allocated on the other, which no card does. Packets that the broker is too slow for
// are lost in the queue of its device before they cost it anything.
//
// The generator can send 8 million a second, but is slowed to a little more than what the broker takes:
// otherwise both cores fight for that queue and for the pages that come back, and every path seems alike.
//
// Time is that of the broker's threads and not of the clock, so other work on this machine does not count.

import { join } from 'node:path';
import {
  OUTCOME_COUNT_SIZE,
  OUTCOME_NAMES,
  type OutcomeName,
  readOutcomeCount,
} from '../src/dataplane/layout.gen.ts';
import { openPinned, possibleCpuCount, readMapElement } from '../src/dataplane/native.ts';
import { type Service, sleep } from '../test/lab/lab.ts';
import {
  BROKER_CPU,
  cpuTimeNs,
  deviceCounters,
  HOSTS_CPU,
  place,
  placeFirst,
  threadsOf,
} from './cpu.ts';
import { type Job, removePace, setPace } from './generator.ts';
import { type Direction, smallPacket } from './packets.ts';
import { NODE, type Topology, useThreads } from './topology.ts';

export interface Rate {
  /** For each second of the broker's CPU: what it forwards when nothing else wants its core. */
  readonly packetsPerSecond: number;
  readonly cpuNsPerPacket: number;
  /** Part of the time that the broker was running, 0 … 1. The rest was other people's. */
  readonly brokerBusy: number;
  /** Sent to the broker for each packet that it took: above 1, the broker was the bottleneck. */
  readonly offered: number;
  /** What it took and did not forward, 0 … 1. */
  readonly lost: number;
}

const [FULL_SPEED_MS, SETTLE_MS] = [200, 100];
const PACE = 1.15;
const GENERATOR = new URL('generator.ts', import.meta.url).pathname;

/** Once for a topology, before it is measured. */
export function prepareSmallPackets(topology: Topology, direction: Direction): void {
  const { forwarder } = topology;
  const input = inputOf(topology, direction);
  useThreads(topology, input);
  place(threadsOf(input), BROKER_CPU, -20);
  // If the kernel's thread did not yield to it at once, most of its packets would be received in vain.
  if (forwarder) placeFirst(forwarder.pid, BROKER_CPU);
}

export async function measureSmallPackets(
  topology: Topology,
  direction: Direction,
  { tunnels, seconds }: { tunnels: number; seconds: number },
): Promise<Rate> {
  const { devices, programs, broker, client, server } = topology;
  const source = direction === 'decap' ? client : server;
  const pacePin = `/sys/fs/bpf/${broker.namespace}-pace`;
  const job: Job = {
    ...{ object: programs.generator, tunnels, pacePin, seconds: seconds + 2 },
    interface: direction === 'decap' ? devices.client : devices.server,
    ...smallPacket(topology, direction),
  };
  const words = ['-n', '-20', 'taskset', '-c', String(HOSTS_CPU), NODE, GENERATOR];
  const generator = source.start('nice', [...words, JSON.stringify(job)]);
  try {
    await generator.says(/sending/, 20_000);
    const look = lookAt(topology, direction, generator);
    await sleep(SETTLE_MS);
    const [first] = [look(), await sleep(FULL_SPEED_MS)];
    const taken = difference(first, look());
    setPace(pacePin, (PACE * taken.received * 1e9) / taken.cpuNs);
    await sleep(SETTLE_MS);
    const start = look();
    await sleep(seconds * 1000);
    const { received, sent, cpuNs, offered, seconds: elapsed } = difference(start, look());
    return {
      packetsPerSecond: (sent / cpuNs) * 1e9,
      cpuNsPerPacket: cpuNs / sent,
      brokerBusy: cpuNs / 1e9 / elapsed,
      offered: offered / received,
      lost: 1 - sent / received,
    };
  } finally {
    await generator.stop('SIGKILL');
    removePace(pacePin);
  }
}

function inputOf({ devices }: Topology, direction: Direction): string {
  return direction === 'decap' ? devices.west : devices.east;
}

interface Sight {
  readonly received: number;
  readonly sent: number;
  readonly offered: number;
  readonly cpuNs: number;
  readonly seconds: number;
}

function lookAt(topology: Topology, direction: Direction, generator: Service): () => Sight {
  const { devices, card, forwarder } = topology;
  const [input, out, from] =
    direction === 'decap'
      ? [devices.west, devices.east, devices.client]
      : [devices.east, devices.west, devices.server];
  const workers = [...threadsOf(input), ...(forwarder ? [forwarder.pid] : [])];
  const brokerPid = card?.pid ?? 0;
  const sentByPrograms = programCount(topology, direction);
  return () => {
    const output = deviceCounters(brokerPid, out);
    const source = deviceCounters(generator.pid, from);
    return {
      received: deviceCounters(brokerPid, input).received,
      sent: sentByPrograms?.() ?? output.sent + output.sendDropped,
      offered: source.sent + source.sendDropped,
      cpuNs: cpuTimeNs(workers),
      seconds: performance.now() / 1000,
    };
  };
}

function difference(a: Sight, b: Sight): Sight {
  return {
    received: b.received - a.received,
    sent: b.sent - a.sent,
    offered: b.offered - a.offered,
    cpuNs: b.cpuNs - a.cpuNs,
    seconds: b.seconds - a.seconds,
  };
}

/**
 * Reads the count of the programs that send by themselves. A TUN device, which the card is, counts what
 * XDP sends by the batch, and what a tc program sends twice. undefined: what the device counts is right.
 */
function programCount(
  { pinDirectory, path }: Topology,
  direction: Direction,
): (() => number) | undefined {
  const outcomes: OutcomeName[] =
    direction === 'encap' ? ['out_encapsulated', 'out_forwarded'] : ['in_forwarded'];
  if (pinDirectory === undefined || (path === 'complete' && direction === 'decap'))
    return undefined;
  const fd = openPinned(join(pinDirectory, 'outcomes')) ?? 0;
  const counts = new Uint8Array(OUTCOME_COUNT_SIZE * possibleCpuCount());
  const view = new DataView(counts.buffer);
  return () => {
    let packets = 0;
    for (const name of outcomes) {
      readMapElement(fd, OUTCOME_NAMES.indexOf(name), counts);
      for (let at = 0; at < counts.length; at += OUTCOME_COUNT_SIZE)
        packets += Number(readOutcomeCount(view, at).packets);
    }
    return packets;
  };
}
