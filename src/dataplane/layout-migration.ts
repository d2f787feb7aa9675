// Maps that an earlier version of the program has pinned, and how what they say comes into maps of
// this version's layout: tunnels with their counters and times, owners, pools, settings. Counts of
// outcomes begin anew, since their numbers mean other things. A layout that is not known here is
// given up: the maps are filled from the store instead.
//
// A layout that changes keeps a reader here for those before it. Carrying over what was carried over
// already changes nothing, so a crash halfway is no matter; `config` has the version and is pinned last.

import { closeSync } from 'node:fs';
import { join } from 'node:path';
import {
  CONFIG_SIZE,
  LAYOUT_VERSION,
  MAX_POOLS,
  OWNERS_PER_BLOCK,
  POOL_SIZE,
  readConfig,
  TUNNEL_ASSIGNED,
  TUNNEL_OFFSET,
  TUNNEL_SIZE,
  TUNNEL_V4V6_OFFSET,
  TUNNEL_V4V6_SIZE,
  writeConfig,
} from './layout.gen.ts';
import { mapInfo, mapMemory, openPinned, readMapElement, updateMapElement } from './native.ts';

const CARRIED = ['tunnels', 'tunnels_v4v6', 'owners', 'pools', 'config'] as const;
type Carried = Record<(typeof CARRIED)[number], number>;

/** Descriptors of an earlier version's maps; whoever has them closes them. */
export interface FormerMaps {
  readonly version: number;
  readonly maps: Carried;
  close(): void;
}

interface Migration {
  /** Octets of the values of that version. */
  readonly valueSizes: Carried;
  readonly carry: (former: Carried, maps: Carried) => void;
}

const MIGRATIONS: Readonly<Record<number, Migration>> = {
  3: {
    valueSizes: {
      tunnels: 64,
      tunnels_v4v6: 64,
      owners: 64,
      pools: 16,
      config: 72,
    },
    carry(former, maps) {
      // The same record, but nothing said whose a slot is.
      carryArray(former.tunnels, maps.tunnels, TUNNEL_SIZE, (octets) => {
        const endpoints = new BigUint64Array(octets.buffer);
        const flags = new Uint16Array(octets.buffer);
        for (let at = 0; at < octets.length; at += TUNNEL_SIZE)
          if (endpoints[at / 8] !== 0n) flags[(at + TUNNEL_OFFSET.flags) / 2]! |= TUNNEL_ASSIGNED;
      });
      // Where 16 bits said when Packet Too Big was sent last, 8 do, and the other 8 are flags.
      carryArray(former.tunnels_v4v6, maps.tunnels_v4v6, TUNNEL_V4V6_SIZE, (octets) => {
        const versions = new Uint32Array(octets.buffer);
        for (let at = 0; at < octets.length; at += TUNNEL_V4V6_SIZE) {
          octets[at + TUNNEL_V4V6_OFFSET.lastTooBig] = 0;
          octets[at + TUNNEL_V4V6_OFFSET.flags] = versions[at / 4] === 0 ? 0 : TUNNEL_ASSIGNED;
        }
      });
      carryArray(former.owners, maps.owners, OWNERS_PER_BLOCK * 4, () => {});
      for (let key = 0; key < MAX_POOLS; key++)
        updateMapElement(maps.pools, key, read(former.pools, key, POOL_SIZE));
      // What came since is zero in the former config, or beyond its end: attaching says it.
      const config = new DataView(new ArrayBuffer(CONFIG_SIZE));
      new Uint8Array(config.buffer).set(read(former.config, 0, 72));
      writeConfig(config, 0, { ...readConfig(config, 0), layoutVersion: LAYOUT_VERSION });
      updateMapElement(maps.config, 0, new Uint8Array(config.buffer));
    },
  },
};

/** The maps pinned there, when they are of an earlier layout that is known. */
export function openFormerMaps(directory: string): FormerMaps | undefined {
  const found: Partial<Carried> = {};
  const close = () => {
    for (const fd of Object.values(found)) closeSync(fd);
  };
  for (const name of CARRIED) {
    const fd = openPinned(join(directory, name));
    if (fd !== undefined) found[name] = fd;
  }
  const version = found.config === undefined ? undefined : versionOf(found.config);
  const sizes = version === undefined ? undefined : MIGRATIONS[version]?.valueSizes;
  if (version !== undefined && sizes && isOfSizes(found, sizes))
    return { version, maps: found, close };
  close();
  return undefined;
}

/** Into maps that no program uses yet. Smaller ones get what fits. */
export function carryOver({ version, maps: former }: FormerMaps, maps: Carried): void {
  MIGRATIONS[version]!.carry(former, maps);
}

function versionOf(configFd: number): number | undefined {
  const { valueSize } = mapInfo(configFd);
  return valueSize < 4 ? undefined : new Uint32Array(read(configFd, 0, valueSize).buffer)[0];
}

function isOfSizes(found: Partial<Carried>, sizes: Carried): found is Carried {
  return CARRIED.every((name) => {
    const fd = found[name];
    return fd !== undefined && mapInfo(fd).valueSize === sizes[name];
  });
}

/** `amend` gets the octets on their way, a copy that no program sees. */
function carryArray(
  from: number,
  to: number,
  valueSize: number,
  amend: (octets: Uint8Array<ArrayBuffer>) => void,
): void {
  const size = Math.min(mapInfo(from).maxEntries, mapInfo(to).maxEntries) * valueSize;
  const [source, target] = [mapMemory(from, size), mapMemory(to, size)];
  const octets = new Uint8Array(source.buffer.slice(0));
  amend(octets);
  new Uint8Array(target.buffer).set(octets);
  source.unmap();
  target.unmap();
}

function read(fd: number, key: number, octets: number): Uint8Array<ArrayBuffer> {
  const value = new Uint8Array(octets);
  readMapElement(fd, key, value);
  return value;
}
