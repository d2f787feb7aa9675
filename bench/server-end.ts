// The broker's end of the bench's tunnels, as a process of its own inside the broker's host:
//   node bench/server-end.ts '{"pinDirectory", "uplink", "uplink6", "encapsulation", "tunnels", "mode", "mtu"}'
// Fills the maps of the real data plane, attaches it and goes: what it pinned stays. Says what memory the
// kernel holds for each map.

import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseIpv4, parseIpv6Prefix } from '../src/address.ts';
import { Dataplane, type Encapsulation } from '../src/dataplane/dataplane.ts';
import { close, openPinned } from '../src/dataplane/native.ts';

export interface ServerEnd {
  readonly pinDirectory: string;
  readonly uplink: string;
  readonly uplink6: string;
  readonly encapsulation: Encapsulation;
  readonly tunnels: number;
  readonly mode: 'complete' | 'fast';
  readonly mtu: number;
}

export const LINKS = '2001:db8:1000::/44';
export const BROKER_IPV4 = '10.255.0.1';
/** The client of slot n is at this address and n more. */
export const FIRST_CLIENT = '10.0.0.0';
export const CLIENT_PORT = 40000;
export const PORT = 3653;

if (import.meta.main) {
  const end = JSON.parse(process.argv[2] ?? '{}') as ServerEnd;
  const plane = Dataplane.open({
    pinDirectory: end.pinDirectory,
    capacity: { tunnels: 1 << 20, owners: 1 << 20, limited: 65_536 },
  });
  const first = parseIpv4(FIRST_CLIENT) ?? 0;
  const port = end.encapsulation === 'v6v4' ? 0 : CLIENT_PORT;
  plane.reconcile({
    pools: [
      {
        purpose: 'link',
        prefix: parseIpv6Prefix(LINKS) ?? { address: 0n, length: 0 },
        positionLength: 64,
        firstIndex: 0,
      },
    ],
    tunnels: Array.from({ length: end.tunnels }, (_, slot) => ({
      slot,
      attachment: {
        encapsulation: end.encapsulation,
        client: { address: first + slot, port },
        interfaceId: 2n,
        mtu: 0,
      },
    })),
    owners: [],
  });
  const { actions } = plane.attach({
    uplink: end.uplink,
    uplink6: end.uplink6,
    localAddress: parseIpv4(BROKER_IPV4) ?? 0,
    port: PORT,
    device: 'sixway0',
    mtu: end.mtu,
    mode: end.mode,
  });
  for (const action of actions) console.log(action);
  console.log(`capacity ${plane.capacity.tunnels}`);
  plane.close();
  for (const name of readdirSync(end.pinDirectory)) {
    const octets = kernelMemory(join(end.pinDirectory, name));
    if (octets > 0) console.log(`map ${name}: ${octets} octets`);
  }
}

/** 0: not a map. */
function kernelMemory(path: string): number {
  const fd = openPinned(path);
  if (fd === undefined) return 0;
  const text = readFileSync(`/proc/self/fdinfo/${fd}`, 'utf8');
  close(fd);
  return text.includes('map_type') ? Number(/memlock:\s+(\d+)/.exec(text)?.[1] ?? 0) : 0;
}
