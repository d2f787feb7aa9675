// Maps of the layout before this one: what they say is found again in maps of this one.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, test } from 'node:test';
import { type Attachment, Dataplane } from '../../src/dataplane/dataplane.ts';
import { LAYOUT_VERSION, TICK_SHIFT } from '../../src/dataplane/layout.gen.ts';
import {
  address4,
  address6,
  BROKER,
  CAPACITY,
  CLIENT,
  CLIENT6,
  DELEGATIONS,
  LINKS,
  unmountPins,
} from './scratch.ts';
import { becomeVersion3, makeVersion3, write } from './version-3.ts';

const SILENT: Attachment = {
  encapsulation: 'v6udpv4',
  client: { address: address4(CLIENT), port: 40_000 },
  interfaceId: 0xfedc_ba98_7654_3210n,
  mtu: 1400,
  silentUntilHeard: true,
};
const COUNTED = { inPackets: 11n, inBytes: 22n, outPackets: 33n, outBytes: 44n };
const TUNNELS = [{ slot: 5, attachment: SILENT }];
const V4V6 = [{ slot: 9, client: address6(CLIENT6) }];
const OWNERS = [{ index: 65_535, slot: 5 }];

let directory: string;
let plane: Dataplane | undefined;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'sixway-layout-'));
});
afterEach(() => {
  plane?.close();
  plane = undefined;
  unmountPins(directory);
  rmSync(directory, { recursive: true });
});

function open(capacity = CAPACITY): Dataplane {
  plane = Dataplane.open({ pinDirectory: directory, capacity });
  return plane;
}

/** One tunnel of each kind with a client, one without, an owner, two pools and settings. */
function leaveVersion3Behind(): void {
  makeVersion3(directory);
  const tick = Number(process.hrtime.bigint() >> BigInt(TICK_SHIFT)) - 100;
  const count = (value: DataView, at: number) => {
    for (const [i, number] of Object.values(COUNTED).entries())
      value.setBigUint64(at + 8 * i, number, true);
  };
  write(directory, 'tunnels', 5, (tunnel) => {
    tunnel.setUint32(0, address4(CLIENT), true);
    tunnel.setUint16(4, 40_000, true);
    tunnel.setUint8(6, 1);
    tunnel.setBigUint64(8, SILENT.interfaceId, true);
    count(tunnel, 16);
    tunnel.setUint32(48, tick, true);
    tunnel.setUint32(52, tick, true);
    tunnel.setUint32(56, tick, true);
    tunnel.setUint16(60, 1400, true);
    tunnel.setUint16(62, 1, true);
  });
  write(directory, 'tunnels', 6, (tunnel) => count(tunnel, 16));
  write(directory, 'tunnels_v4v6', 9, (tunnel) => {
    tunnel.setUint32(0, 4711, true);
    tunnel.setUint16(6, 0xffff, true); // when Packet Too Big was sent last
    tunnel.setBigUint64(8, V4V6[0]!.client >> 64n, true);
    tunnel.setBigUint64(16, BigInt.asUintN(64, V4V6[0]!.client), true);
    count(tunnel, 24);
    tunnel.setUint32(56, tick, true);
  });
  write(directory, 'tunnels_v4v6', 10, (tunnel) => tunnel.setUint16(6, 0xffff, true));
  write(directory, 'owners', 4095, (block) => block.setUint32(60, 6, true));
  for (const [key, pool] of [LINKS, DELEGATIONS].entries())
    write(directory, 'pools', key, (value) => {
      value.setBigUint64(0, pool.prefix.address >> 64n, true);
      value.setUint8(12, pool.prefix.length);
      value.setUint8(13, pool.positionLength);
      value.setUint8(14, key + 1);
    });
  write(directory, 'config', 0, (config) => {
    config.setUint32(0, 3, true);
    config.setUint32(4, address4(BROKER), true);
    config.setUint16(16, 3653, true);
    config.setUint8(18, 2);
    config.setBigUint64(40, 12_345n, true);
  });
}

describe('maps of layout version 3', () => {
  test('are carried over: tunnels, counters, times, owners, pools, settings', () => {
    leaveVersion3Behind();
    assert.equal(Dataplane.read(directory), undefined, 'nobody reads them as if they were today’s');
    const { inLastSeenMs = 0, outLastSeenMs, ...counted } = open().counters(5);
    assert.deepEqual(counted, COUNTED);
    assert.equal(inLastSeenMs, outLastSeenMs);
    assert.ok(Math.abs(Date.now() - 13_420 - inLastSeenMs) < 2000);
    assert.deepEqual(plane?.attachment(5), SILENT);
    assert.equal(plane?.standing(6), 'vacant');
    assert.equal(plane?.counters(6).inPackets, 11n);
    assert.deepEqual(plane?.attachmentV4v6(9), { client: V4V6[0]!.client });
    assert.equal(plane?.countersV4v6(9).outBytes, 44n);
    assert.equal(plane?.standingV4v6(10), 'vacant');
    assert.deepEqual(plane?.pools(), [LINKS, DELEGATIONS]);
    const { localAddress, localPort, poolCount, hashMultiplier } = plane!.settings();
    assert.deepEqual(
      [localAddress, localPort, poolCount, hashMultiplier],
      [address4(BROKER), 3653, 2, 12_345n],
    );
    assert.ok(plane?.outcomes().every(({ packets }) => packets === 0n));
  });

  test('leave nothing to do for who compares them with the store', () => {
    leaveVersion3Behind();
    const desired = { pools: [LINKS, DELEGATIONS], tunnels: TUNNELS, owners: OWNERS, v4v6: V4V6 };
    assert.deepEqual(open().reconcile(desired), { put: 0, removed: 0, kept: 2 });
    const owners = execFileSync(
      'bpftool',
      ['-j', 'map', 'lookup', 'pinned', join(directory, 'owners'), 'key', '255', '15', '0', '0'],
      { encoding: 'utf8' },
    );
    assert.deepEqual(JSON.parse(owners).value.slice(60), ['0x06', '0x00', '0x00', '0x00']);
  });

  test('are this layout’s afterwards', () => {
    leaveVersion3Behind();
    open().close();
    const reader = Dataplane.read(directory);
    assert.equal(reader?.settings().layoutVersion, LAYOUT_VERSION);
    assert.equal(reader?.counters(5).inPackets, 11n);
    reader?.close();
    assert.equal(open().counters(5).inPackets, 11n);
  });

  test('fit into larger and smaller maps', () => {
    leaveVersion3Behind();
    open({ tunnels: 6, owners: 16, v4v6: 4096 });
    assert.deepEqual(plane?.attachment(5), SILENT);
    assert.deepEqual(plane?.attachmentV4v6(9), { client: V4V6[0]!.client });
  });

  test('are carried over again after a crash halfway, when config was not yet pinned', () => {
    leaveVersion3Behind();
    open().close();
    becomeVersion3(directory);
    assert.deepEqual(open().attachment(5), SILENT);
    assert.equal(plane?.counters(5).outBytes, 44n);
    assert.deepEqual(plane?.attachmentV4v6(9), { client: V4V6[0]!.client });
  });

  test('that are not whole are given up', () => {
    leaveVersion3Behind();
    rmSync(join(directory, 'owners'));
    assert.equal(open().attachment(5), undefined);
  });
});

test('maps of a layout that nobody knows are given up', () => {
  leaveVersion3Behind();
  write(directory, 'config', 0, (config) => config.setUint32(0, 2, true));
  assert.equal(open().attachment(5), undefined);
  assert.deepEqual(plane?.pools(), []);
});
