// make bench-dataplane: compares our data plane with plain forwarding by the same kernel, with the kernel's
// VXLAN and with a forwarder in user space (tun-forwarder.c), in namespaces on this machine.
//
// Every round measures every path, plain first. Small packets find out what a broker's core can do
// (small-packets.ts says how it is kept from being anything else); TCP and round trips run as the kernel
// schedules them. Inner packets are the same on every path.

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Lab } from '../test/lab/lab.ts';
import { waitForOthers } from './alone.ts';
import { type Plan, planFrom, type Subject, USAGE } from './plan.ts';
import { compilePrograms, type Programs } from './programs.ts';
import {
  BUSY,
  formatTable,
  formatValue,
  type Measurement,
  nameOf,
  type Row,
  rowsOf,
  writeRows,
} from './results.ts';
import { measureRoundTrip } from './round-trip.ts';
import { measureSmallPackets, prepareSmallPackets, type Rate } from './small-packets.ts';
import { measureTcp, prepareTcp } from './tcp.ts';
import { buildTopology, type Path, type Side, type Topology } from './topology.ts';

const ECHOES_PER_SECOND = 20_000;
const MORE_CHANCES = 2;

/** Subjects that the same topologies serve. */
interface Stage {
  readonly west: Side;
  readonly east: Side;
  readonly subjects: Subject[];
}

function stagesOf(plan: Plan): Stage[] {
  const sides = {
    decap: ['wire', 'card'],
    encap: ['card', 'wire'],
    rtt: ['wire', 'host'],
  } as const;
  const stages = new Map<string, Stage>();
  for (const subject of plan.subjects) {
    const { work, encapsulation } = subject;
    const [west, east] =
      work === 'tcp-up' || work === 'tcp-down' ? (['host', 'host'] as const) : sides[work];
    const key = [west, east, encapsulation].join();
    const stage = stages.get(key) ?? { west, east, subjects: [] };
    stage.subjects.push(subject);
    stages.set(key, stage);
  }
  return [...stages.values()];
}

async function runStage(lab: Lab, stage: Stage, plan: Plan, programs: Programs): Promise<Row[]> {
  const topologies = await buildTopologies(lab, stage, plan, programs);
  const rows: Row[] = [];
  for (const subject of stage.subjects) {
    const compared = topologies.filter(({ path }) => isPossible(path, subject));
    for (const topology of compared) await prepare(topology, subject);
    const measurements = new Map<Path, (Measurement | undefined)[]>(
      compared.map(({ path }) => [path, []]),
    );
    for (let round = 1; round <= plan.rounds; round++) {
      process.stdout.write(`${nameOf(subject)}, round ${round} of ${plan.rounds}:`);
      for (const topology of compared) {
        const found = await attempt(topology, subject, plan.seconds);
        measurements.get(topology.path)?.push(found);
        const text = found ? formatValue(subject.work, found.value) : 'failed';
        process.stdout.write(` ${topology.path} ${text}${found?.rate ? remark(found) : ''};`);
      }
      process.stdout.write('\n');
    }
    rows.push(...rowsOf(subject, measurements));
  }
  return rows;
}

/** A veth leaves checksums to whoever receives from it, a buffer's notes say where. XDP carries no such
 * notes; with real cards there is nothing to carry. */
function isPossible(path: Path, { segments }: Subject): boolean {
  return path !== 'fast' || segments !== 'super';
}

async function buildTopologies(
  lab: Lab,
  { west, east, subjects }: Stage,
  { paths }: Plan,
  programs: Programs,
): Promise<Topology[]> {
  const tunnels = Math.max(...subjects.map((subject) => subject.tunnels));
  const encapsulation = subjects[0]?.encapsulation ?? 'v6udpv4';
  const topologies: Topology[] = [];
  for (const path of paths) {
    try {
      const options = { programs, encapsulation, tunnels, west, east };
      const topology = await buildTopology(lab, path, options);
      topologies.push(topology);
      if (path === 'complete' && tunnels > 1) console.log(memoryOf(topology));
    } catch (error) {
      if (path === 'plain' || stopped) throw error;
      console.log(`${path} is left out: ${error instanceof Error ? error.message : error}`);
    }
  }
  return topologies;
}

/** What the kernel keeps for the tunnels. */
function memoryOf({ report, tunnels }: Topology): string {
  const lines = [...report.matchAll(/^map (\S+): (\d+) octets$/gm)].map(
    ([, name, octets]) => [name, Number(octets)] as const,
  );
  const [, capacity] = /^capacity (\d+)$/m.exec(report) ?? [];
  const total = lines.reduce((sum, [, octets]) => sum + octets, 0);
  const each = lines.map(([name, octets]) => `${name} ${(octets / Number(capacity)).toFixed(1)}`);
  return (
    `Maps with room for ${capacity} tunnels (${tunnels} attached) take ` +
    `${(total / 2 ** 20).toFixed(1)} MiB, in octets a tunnel: ${each.join(', ')}; ` +
    `all ${(total / Number(capacity)).toFixed(1)}`
  );
}

async function prepare(topology: Topology, { work, segments }: Subject): Promise<void> {
  if (work === 'decap' || work === 'encap') prepareSmallPackets(topology, work);
  else if (work !== 'rtt') await prepareTcp(topology, segments ?? 'wire');
}

/** undefined: it failed, and said so. */
async function attempt(
  topology: Topology,
  subject: Subject,
  seconds: number,
): Promise<Measurement | undefined> {
  try {
    return await measure(topology, subject, seconds);
  } catch (error) {
    if (stopped) throw error;
    console.log(`\n${topology.path}: ${error instanceof Error ? error.message : error}`);
    return undefined;
  }
}

async function measure(
  topology: Topology,
  { work, tunnels }: Subject,
  seconds: number,
): Promise<Measurement> {
  switch (work) {
    case 'decap':
    case 'encap': {
      const rate = await busiest(() => measureSmallPackets(topology, work, { tunnels, seconds }));
      return { value: rate.packetsPerSecond, rate };
    }
    case 'tcp-up':
    case 'tcp-down':
      return {
        value: await measureTcp(topology, work === 'tcp-up' ? 'up' : 'down', seconds),
      };
    default:
      return { value: await measureRoundTrip(topology, ECHOES_PER_SECOND * seconds) };
  }
}

/** The caches are not the broker's alone while others have its core, so it gets some more chances. */
async function busiest(measureOnce: () => Promise<Rate>): Promise<Rate> {
  let best = await measureOnce();
  for (let chance = 0; chance < MORE_CHANCES && best.brokerBusy < BUSY; chance++) {
    const other = await measureOnce();
    if (other.brokerBusy > best.brokerBusy) best = other;
  }
  return best;
}

function remark({ rate }: Measurement): string {
  if (!rate) return '';
  const { brokerBusy, offered, lost } = rate;
  const percent = (part: number) => `${Math.round(part * 100)} %`;
  return ` (busy ${percent(brokerBusy)}, offered ${percent(offered)}, lost ${percent(lost)})`;
}

/** By a signal. */
let stopped = false;

async function main(plan: Plan): Promise<void> {
  const directory = mkdtempSync(join(tmpdir(), 'sixway-bench-'));
  const rows: Row[] = [];
  let close = async () => {};
  const stop = () => {
    if (stopped) return;
    stopped = true;
    // What is under way then fails, and so ends.
    close().catch(() => {});
  };
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, stop);
  try {
    const programs = compilePrograms(directory);
    for (const stage of stagesOf(plan)) {
      if (stopped) break;
      const lab = new Lab();
      let closed: Promise<void> | undefined;
      close = () => {
        closed ??= lab.close();
        return closed;
      };
      try {
        rows.push(...(await runStage(lab, stage, plan, programs)));
      } finally {
        await close();
      }
    }
  } catch (error) {
    if (!stopped) throw error;
  } finally {
    rmSync(directory, { recursive: true });
  }
  console.log(formatTable(rows));
  if (stopped) process.exitCode = 130;
  else writeRows(plan.output, rows);
}

let plan: Plan;
try {
  plan = planFrom(process.argv.slice(2));
} catch (error) {
  console.error(`${error instanceof Error ? error.message : error}\n\n${USAGE}`);
  process.exit(2);
}
await waitForOthers();
await main(plan);
