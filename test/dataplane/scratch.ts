// A bpffs of the test's own to pin in, gone with the test; and addresses that the tests agree on.

import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseIpv4, parseIpv6, parseIpv6Prefix } from '../../src/address.ts';
import {
  type Capacity,
  Dataplane,
  type PoolMapping,
  type ProgramSettings,
} from '../../src/dataplane/dataplane.ts';

export const BROKER = '192.0.2.1';
export const PORT = 3653;
export const CLIENT = '198.51.100.7';
export const CLIENT_PORT = 40000;
/** Ends of tunnels over IPv6. */
export const BROKER6 = '2001:db8:53::53';
export const CLIENT6 = '2001:db8:6::7';

export const LINKS: PoolMapping = {
  purpose: 'link',
  prefix: parseIpv6Prefix('2001:db8:1000::/56') ?? never(),
  positionLength: 64,
  firstIndex: 0,
};
export const DELEGATIONS: PoolMapping = {
  purpose: 'delegation',
  prefix: parseIpv6Prefix('2001:db8:2000::/40') ?? never(),
  positionLength: 56,
  firstIndex: 0,
};
export const CAPACITY = { tunnels: 256, owners: 65536, v4v6: 1024 };

/** For programs run over packets: devices do not matter, and signalling has no limits. */
export const SETTINGS: ProgramSettings = {
  localAddress: address4(BROKER),
  localPort: PORT,
  uplinkIfindex: 1,
  tunnelIfindex: 1,
  uplinkHeaderLength: 14,
  tunnelHeaderLength: 14,
  localAddress6: address6(BROKER6),
  uplink6Ifindex: 1,
  uplink6HeaderLength: 14,
  signallingLimits: { perAddress: 0, perPrefix: 0, total: 0 },
  tunnelMtu: 1280,
  filteredPorts: [25],
  hasRoutingRules: false,
  errorsPerSecond: 0,
};

export function address4(text: string): number {
  return parseIpv4(text) ?? never();
}

export function address6(text: string): bigint {
  return parseIpv6(text) ?? never();
}

export interface Scratch {
  readonly pinDirectory: string;
  open(capacity?: Capacity): Dataplane;
  /** Closes every data plane that was opened, and removes every trace. */
  remove(): void;
}

export function makeScratch(): Scratch {
  const directory = mkdtempSync(join(tmpdir(), 'sixway-pins-'));
  const opened: Dataplane[] = [];
  return {
    pinDirectory: directory,
    open(capacity = CAPACITY) {
      const plane = Dataplane.open({ pinDirectory: directory, capacity });
      opened.push(plane);
      return plane;
    },
    remove() {
      for (const plane of opened) plane.close();
      unmountPins(directory);
      rmSync(directory, { recursive: true });
    },
  };
}

/** Unmounts the bpffs at a directory, and with it lets go of everything pinned there. */
export function unmountPins(directory: string): void {
  execFileSync('umount', [directory]);
}

function never(): never {
  throw new Error('an address of the test does not parse');
}
