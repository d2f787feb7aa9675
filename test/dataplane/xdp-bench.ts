// The XDP programs on the test bench, as a process inside a host with routes:
//   xdp-bench.ts '{"west", "east", "cases": [{"program", "from", "packet"}]}'
// Runs each case's packet (hexadecimal) once, and prints what came of each: the verdict, the packet
// that came out, and what was counted. Tunnels are those of bench.ts, and one of each odd kind.

import { testRunXdp } from '../../src/dataplane/native.ts';
import { findInterface } from '../../src/dataplane/network.ts';
import { ATTACHMENT, SITE_SLOT, SLOT } from './bench.ts';
import { address4, CLIENT, DELEGATIONS, LINKS, makeScratch, SETTINGS } from './scratch.ts';

export interface XdpCase {
  readonly program: 'tunnel_strip' | 'tunnel_forward';
  readonly from: 'west' | 'east';
  readonly packet: string;
}

export interface XdpResult {
  readonly verdict: number;
  readonly packet: string;
  /** Outcomes that this packet was counted for. */
  readonly outcomes: readonly string[];
  /** What the tunnels' own counters grew by, in packets: in and out. */
  readonly counted: readonly [number, number];
}

/** Attached, but heard of by nobody yet. */
export const SILENT_SLOT = 7;

if (import.meta.main) {
  const { west, east, cases } = JSON.parse(process.argv[2] ?? '{}') as {
    west: string;
    east: string;
    cases: XdpCase[];
  };
  const scratch = makeScratch();
  const plane = scratch.open();
  const ifindex = {
    west: findInterface(west)?.index ?? 0,
    east: findInterface(east)?.index ?? 0,
  };
  plane.configure({ ...SETTINGS, uplinkIfindex: ifindex.west, uplink6Ifindex: ifindex.east });
  const site = { address: address4(CLIENT), port: 0 };
  plane.reconcile({
    pools: [LINKS, DELEGATIONS],
    tunnels: [
      { slot: SLOT, attachment: ATTACHMENT },
      {
        slot: SITE_SLOT,
        attachment: { encapsulation: 'v6v4', client: site, interfaceId: 0n, mtu: 0 },
      },
      {
        slot: SILENT_SLOT,
        attachment: {
          encapsulation: 'v6udpv4',
          client: { address: address4(CLIENT), port: 7 },
          interfaceId: 0n,
          mtu: 0,
          silentUntilHeard: true,
        },
      },
    ],
    owners: [{ index: 3, slot: SLOT }],
  });
  const tunnelsCounted = (): [number, number] => {
    const counters = [SLOT, SITE_SLOT, SILENT_SLOT].map((slot) => plane.counters(slot));
    const sum = (which: 'inPackets' | 'outPackets') =>
      Number(counters.reduce((total, each) => total + each[which], 0n));
    return [sum('inPackets'), sum('outPackets')];
  };
  const results = cases.map(({ program, from, packet }): XdpResult => {
    const before = new Map(plane.outcomes().map((count) => [count.outcome, count.packets]));
    const [inBefore, outBefore] = tunnelsCounted();
    const result = testRunXdp(plane.programFd(program), Buffer.from(packet, 'hex'), ifindex[from]);
    const [inAfter, outAfter] = tunnelsCounted();
    return {
      verdict: result.verdict,
      packet: Buffer.from(result.packet).toString('hex'),
      outcomes: plane
        .outcomes()
        .filter(({ outcome, packets }) => packets !== before.get(outcome))
        .map(({ outcome }) => outcome),
      counted: [inAfter - inBefore, outAfter - outBefore],
    };
  });
  scratch.remove();
  console.log(JSON.stringify(results));
}
