// The server's maps in a directory of bpffs, where they outlive the process: adopted when they fit,
// replaced when their layout is another (layout-migration.ts says what becomes of what they say), grown
// or shrunk with their contents when only their size is. It must not know what the records in them say.

import { closeSync, existsSync, mkdirSync, renameSync, rmSync, statfsSync } from 'node:fs';
import { join } from 'node:path';
import type { Capacity } from './contract.ts';
import {
  CONFIG_OFFSET,
  CONFIG_SIZE,
  LAYOUT_VERSION,
  MAX_POOLS,
  OUTCOME_COUNT_SIZE,
  OUTCOME_NAMES,
  OWNERS_PER_BLOCK,
  POOL_SIZE,
  readConfig,
  STRAY_SIZE,
  STRAYS_BITS,
  TUNNEL_FAULTS_SIZE,
  TUNNEL_RATE_SIZE,
  TUNNEL_SIZE,
  TUNNEL_V4V6_SIZE,
} from './layout.gen.ts';
import { carryOver, openFormerMaps } from './layout-migration.ts';
import {
  type LoadedObject,
  loadObject,
  type MapChoice,
  mapInfo,
  mapMemory,
  mountBpf,
  openPinned,
  pin,
  readMapElement,
  updateMapElement,
} from './native.ts';

/** In the order in which they are pinned: the last one says of which layout all of them are. */
export const MAP_NAMES = [
  'tunnels',
  'tunnels_v4v6',
  'owners',
  'faults',
  'faults_v4v6',
  'rates',
  'strays',
  'pools',
  'outcomes',
  'config',
] as const;
export type MapName = (typeof MAP_NAMES)[number];

/** Descriptors of every map; whoever has them closes them. */
export type MapDescriptors = Record<MapName, number>;

/** Octets of one word in `owners`. */
export const OWNER_SIZE = 4;

const VALUE_SIZES: Record<MapName, number> = {
  tunnels: TUNNEL_SIZE,
  tunnels_v4v6: TUNNEL_V4V6_SIZE,
  owners: OWNERS_PER_BLOCK * OWNER_SIZE,
  faults: TUNNEL_FAULTS_SIZE,
  faults_v4v6: TUNNEL_FAULTS_SIZE,
  rates: TUNNEL_RATE_SIZE,
  strays: STRAY_SIZE,
  pools: POOL_SIZE,
  config: CONFIG_SIZE,
  outcomes: OUTCOME_COUNT_SIZE,
};
const BPF_FILE_SYSTEM = 0xcafe4a11;

/** Makes the directory, on a bpffs mounted where there is none: at /sys/fs/bpf, or right there. */
export function preparePinDirectory(directory: string): void {
  const isBpf = (path: string) => statfsSync(path).type === BPF_FILE_SYSTEM;
  const usual = '/sys/fs/bpf';
  if (directory === usual || directory.startsWith(`${usual}/`)) {
    if (!isBpf(usual)) mountBpf(usual);
  }
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  if (!isBpf(directory)) mountBpf(directory);
}

/** The pinned maps, when all are there and of this program's layout. */
export function adoptMaps(directory: string): MapDescriptors | undefined {
  const found: Partial<MapDescriptors> = {};
  for (const name of MAP_NAMES) {
    const fd = openPinned(join(directory, name));
    if (fd !== undefined) found[name] = fd;
  }
  if (isComplete(found) && fits(found)) return found;
  for (const fd of Object.values(found)) closeSync(fd);
  return undefined;
}

/**
 * Loads the object with the pinned maps where they fit and with fresh ones where not, and pins the
 * fresh ones, which say what the old ones said. Programs that run on the old maps go on doing so until
 * they are replaced; what they count until then is lost.
 */
export function loadOverMaps(
  objectPath: string,
  directory: string,
  capacity: Capacity,
): { object: LoadedObject; maps: MapDescriptors; adopted: boolean } {
  const pinned = adoptMaps(directory);
  const former = pinned ? undefined : openFormerMaps(directory);
  const sizes: Partial<Record<MapName, number>> = {
    tunnels: capacity.tunnels,
    tunnels_v4v6: Math.max(1, capacity.v4v6 ?? 0), // no map is empty
    owners: Math.ceil(capacity.owners / OWNERS_PER_BLOCK),
    faults: capacity.tunnels,
    faults_v4v6: Math.max(1, capacity.v4v6 ?? 0),
    // A hash needs 16 octets for every entry that it may ever have.
    rates: Math.max(1, capacity.limited ?? capacity.tunnels + (capacity.v4v6 ?? 0)),
  };
  const choices: Record<string, MapChoice> = {};
  for (const name of MAP_NAMES) {
    const size = sizes[name];
    const fd = pinned?.[name];
    if (fd !== undefined && (size === undefined || mapInfo(fd).maxEntries === size))
      choices[name] = { reuseFd: fd };
    else if (size !== undefined) choices[name] = { maxEntries: size };
  }
  try {
    const object = loadObject(objectPath, choices);
    const maps = Object.fromEntries(
      MAP_NAMES.map((name) => [name, object.mapFd(name)]),
    ) as MapDescriptors;
    if (former) carryOver(former, maps);
    for (const name of MAP_NAMES) {
      if (choices[name]?.reuseFd !== undefined) continue;
      const fd = maps[name];
      const old = pinned?.[name];
      if (old !== undefined && name !== 'rates') copyEntries(old, fd, VALUE_SIZES[name]);
      if (name === 'config' && !former) writeVersion(fd);
      pinOver(fd, join(directory, name));
    }
    return { object, maps, adopted: pinned !== undefined };
  } finally {
    for (const fd of Object.values(pinned ?? {})) closeSync(fd);
    former?.close();
  }
}

/** Pins in place of whatever is pinned there, without a moment in which nothing is. */
export function pinOver(fd: number, path: string): void {
  const passing = `${path}_replacement`;
  rmSync(passing, { force: true });
  pin(fd, passing);
  renameSync(passing, path);
}

/** Removes what of the named pins there is. Returns their paths. */
export function removePins(directory: string, names: readonly string[]): string[] {
  const paths = names.map((name) => join(directory, name)).filter((path) => existsSync(path));
  for (const path of paths) rmSync(path);
  return paths;
}

function isComplete(found: Partial<MapDescriptors>): found is MapDescriptors {
  return MAP_NAMES.every((name) => found[name] !== undefined);
}

function fits(maps: MapDescriptors): boolean {
  const fixed: Partial<Record<MapName, number>> = {
    pools: MAX_POOLS,
    config: 1,
    strays: 2 ** STRAYS_BITS,
    outcomes: OUTCOME_NAMES.length,
  };
  for (const name of MAP_NAMES) {
    const { valueSize, maxEntries } = mapInfo(maps[name]);
    if (valueSize !== VALUE_SIZES[name] || maxEntries !== (fixed[name] ?? maxEntries)) return false;
  }
  const config = new Uint8Array(CONFIG_SIZE);
  readMapElement(maps.config, 0, config);
  return readConfig(new DataView(config.buffer), 0).layoutVersion === LAYOUT_VERSION;
}

function writeVersion(configFd: number): void {
  const config = new Uint8Array(CONFIG_SIZE);
  new Uint32Array(config.buffer)[CONFIG_OFFSET.layoutVersion / 4] = LAYOUT_VERSION;
  updateMapElement(configFd, 0, config);
}

function copyEntries(from: number, to: number, valueSize: number): void {
  const octets = Math.min(mapInfo(from).maxEntries, mapInfo(to).maxEntries) * valueSize;
  const [source, target] = [mapMemory(from, octets), mapMemory(to, octets)];
  new Uint8Array(target.buffer).set(new Uint8Array(source.buffer));
  source.unmap();
  target.unmap();
}
