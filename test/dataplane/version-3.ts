// Pinned maps as version 3 of the layout had them, made by hand: what a broker of that version leaves
// behind. The numbers are written out here, since nothing else knows them any more.

import { execFileSync } from 'node:child_process';
import { closeSync, existsSync, renameSync } from 'node:fs';
import { join } from 'node:path';
import {
  mapInfo,
  openPinned,
  readMapElement,
  updateMapElement,
} from '../../src/dataplane/native.ts';
import { preparePinDirectory } from '../../src/dataplane/pinned-maps.ts';

const MMAPABLE = 0x400;
const CONFIG_SIZE = 72;

export function makeVersion3(directory: string): void {
  preparePinDirectory(directory);
  createMap(directory, 'tunnels', 64, 256, MMAPABLE);
  createMap(directory, 'tunnels_v4v6', 64, 1024, MMAPABLE);
  createMap(directory, 'owners', 64, 4096, MMAPABLE);
  createMap(directory, 'pools', 16, 16);
  createMap(directory, 'config', CONFIG_SIZE, 1);
  createMap(directory, 'outcomes', 16, 40, 0, 'percpu_array');
  write(directory, 'config', 0, (config) => config.setUint32(0, 3, true));
}

/** Writes an entry that is zero but for what `fill` says. */
export function write(
  directory: string,
  name: string,
  key: number,
  fill: (value: DataView) => void,
): void {
  const fd = openPinned(join(directory, name))!;
  const value = new Uint8Array(mapInfo(fd).valueSize);
  fill(new DataView(value.buffer));
  updateMapElement(fd, key, value);
  closeSync(fd);
}

/**
 * Makes the pins those of version 3 as far as it is told by, though programs of today run on the maps:
 * the config is what says so, and is shorter.
 */
export function becomeVersion3(directory: string): void {
  const fd = openPinned(join(directory, 'config'))!;
  const value = new Uint8Array(mapInfo(fd).valueSize);
  readMapElement(fd, 0, value);
  closeSync(fd);
  createMap(directory, 'config_3', CONFIG_SIZE, 1);
  write(directory, 'config_3', 0, (config) => {
    new Uint8Array(config.buffer).set(value.subarray(0, CONFIG_SIZE));
    config.setUint32(0, 3, true);
  });
  renameSync(join(directory, 'config_3'), join(directory, 'config'));
}

function createMap(
  directory: string,
  name: string,
  valueSize: number,
  entries: number,
  flags = 0,
  type = 'array',
): void {
  const path = join(directory, name);
  if (existsSync(path)) throw new Error(`${path} is there already`);
  const numbers = { key: 4, value: valueSize, entries, flags };
  execFileSync('bpftool', [
    ...['map', 'create', path, 'type', type, 'name', name],
    ...Object.entries(numbers).flatMap(([word, number]) => [word, String(number)]),
  ]);
}
