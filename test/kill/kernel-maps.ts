// What the kernel's maps say, read from their pins by nobody's help but the layout's, and compared with
// a store: every slot, every owner, every pool.

import assert from 'node:assert/strict';
import { closeSync } from 'node:fs';
import { join } from 'node:path';
import { formatPrefix, parseIpv4 } from '../../src/address.ts';
import { Dataplane } from '../../src/dataplane/dataplane.ts';
import {
  OWNERS_PER_BLOCK,
  TUNNEL_ASSIGNED,
  TUNNEL_OFFSET,
  TUNNEL_SIZE,
} from '../../src/dataplane/layout.gen.ts';
import { mapInfo, mapMemory, openPinned } from '../../src/dataplane/native.ts';
import { endpointValue } from '../../src/dataplane/records.ts';
import type { Stored } from './store-at-rest.ts';

/** Copies, which do not change any more. */
export interface KernelMaps {
  readonly slots: number;
  /** By slot; 0n: without a client. */
  readonly endpoints: BigUint64Array;
  readonly interfaceIds: BigUint64Array;
  readonly flags: Uint16Array;
  /** By owner index: slot + 1, or 0. */
  readonly owners: Uint32Array;
  readonly pools: readonly string[];
}

export function readKernelMaps(pinDirectory: string): KernelMaps {
  const records = contentsOf(join(pinDirectory, 'tunnels'), TUNNEL_SIZE);
  const owners = contentsOf(join(pinDirectory, 'owners'), 4 * OWNERS_PER_BLOCK);
  const view = new DataView(records);
  const slots = records.byteLength / TUNNEL_SIZE;
  const endpoints = new BigUint64Array(slots);
  const interfaceIds = new BigUint64Array(slots);
  const flags = new Uint16Array(slots);
  for (let slot = 0; slot < slots; slot++) {
    const at = slot * TUNNEL_SIZE;
    endpoints[slot] = view.getBigUint64(at + TUNNEL_OFFSET.endpoint, true);
    interfaceIds[slot] = view.getBigUint64(at + TUNNEL_OFFSET.interfaceId, true);
    flags[slot] = view.getUint16(at + TUNNEL_OFFSET.flags, true);
  }
  const plane = Dataplane.read(pinDirectory);
  assert.ok(plane, `there are no maps in ${pinDirectory}`);
  const pools = plane.pools().map(poolLine).sort();
  assert.deepEqual(plane.ipv4Pools(), []);
  plane.close();
  return { slots, endpoints, interfaceIds, flags, owners: new Uint32Array(owners), pools };
}

/** What a server that starts has to do, by the number of tunnels that have or had a client. */
export interface Difference {
  readonly kept: number;
  readonly put: number;
  readonly removed: number;
  /** What is not as the store says. */
  readonly faults: readonly Fault[];
}

export interface Fault {
  /** Whose it is in the store; undefined: nobody's. */
  readonly user: string | undefined;
  readonly words: string;
}

export function differenceOf(maps: KernelMaps, stored: Stored): Difference {
  const bySlot = new Map([...stored.tunnels.values()].map((tunnel) => [tunnel.slot, tunnel]));
  const byOwner = new Map(
    [...stored.tunnels.values()].map((tunnel) => [tunnel.ownerIndex, tunnel]),
  );
  const counts = { kept: 0, put: 0, removed: 0 };
  const faults: Fault[] = [];
  for (let slot = 0; slot < maps.slots; slot++) {
    const tunnel = bySlot.get(slot);
    const wanted = tunnel?.endpoint ? endpointOf(tunnel.endpoint) : 0n;
    const found = maps.endpoints[slot]!;
    const flags = tunnel ? TUNNEL_ASSIGNED : 0;
    const same =
      found === wanted &&
      maps.flags[slot] === flags &&
      (wanted === 0n || maps.interfaceIds[slot] === tunnel?.interfaceId);
    if (wanted !== 0n) counts[same ? 'kept' : 'put']++;
    else if (found !== 0n) counts.removed++;
    if (!same)
      faults.push({
        user: tunnel?.user,
        words:
          `slot ${slot}: endpoint ${found.toString(16)} for ${wanted.toString(16)}, ` +
          `flags ${maps.flags[slot]} for ${flags}`,
      });
  }
  for (const [index, found] of maps.owners.entries()) {
    const tunnel = byOwner.get(index);
    const wanted = tunnel ? tunnel.slot + 1 : 0;
    if (found !== wanted)
      faults.push({ user: tunnel?.user, words: `owner ${index}: word ${found} for ${wanted}` });
  }
  const pools = stored.pools
    .map(({ purpose, prefix, positionLength, firstIndex }) =>
      [purpose, prefix, positionLength, firstIndex].join(' '),
    )
    .sort();
  if (pools.join() !== maps.pools.join())
    faults.push({ user: undefined, words: `pools ${maps.pools} for ${pools}` });
  return { ...counts, faults };
}

/** The record's first eight octets for a client's `address:port`. */
export function endpointOf(text: string): bigint {
  const [address = '', port] = text.split(':');
  return endpointValue('v6udpv4', { address: parseIpv4(address)!, port: Number(port) });
}

function poolLine(pool: ReturnType<Dataplane['pools']>[number]): string {
  const { purpose, prefix, positionLength, firstIndex } = pool;
  return [purpose, formatPrefix(prefix), positionLength, firstIndex].join(' ');
}

function contentsOf(path: string, valueSize: number): ArrayBuffer {
  const fd = openPinned(path);
  assert.ok(fd !== undefined, `there is no map ${path}`);
  const { buffer, unmap } = mapMemory(fd, mapInfo(fd).maxEntries * valueSize);
  const contents = buffer.slice(0);
  unmap();
  closeSync(fd);
  return contents;
}
