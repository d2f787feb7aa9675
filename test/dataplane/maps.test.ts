// The contract of the maps: what put, remove, setPools, setOwner and reconcile leave in them, and
// what survives the process. The kernel's own maps; no network device.

import assert from 'node:assert/strict';
import { closeSync } from 'node:fs';
import { join } from 'node:path';
import { after, afterEach, beforeEach, describe, test } from 'node:test';
import { parseIpv6Prefix } from '../../src/address.ts';
import { type Attachment, Dataplane, type PoolMapping } from '../../src/dataplane/dataplane.ts';
import { CONFIG_OFFSET, CONFIG_SIZE } from '../../src/dataplane/layout.gen.ts';
import {
  openPinned,
  readMapElement,
  testRun,
  updateMapElement,
} from '../../src/dataplane/native.ts';
import { echo, ethernet, ipv4 } from './packets.ts';
import {
  address4,
  BROKER,
  CAPACITY,
  CLIENT,
  DELEGATIONS,
  LINKS,
  makeScratch,
  SETTINGS,
} from './scratch.ts';

const UDP_CLIENT: Attachment = {
  encapsulation: 'v6udpv4',
  client: { address: 0xffff_fffe, port: 65535 },
  interfaceId: 0x8000_0000_0000_0001n,
  mtu: 1400,
  silentUntilHeard: true,
};
const PLAIN_CLIENT: Attachment = {
  encapsulation: 'v6v4',
  client: { address: address4(CLIENT), port: 0 },
  interfaceId: 0n,
  mtu: 0,
};

const scratch = makeScratch();
let plane: Dataplane;

beforeEach(() => {
  plane = scratch.open();
  plane.reconcile({ pools: [], tunnels: [], owners: [] });
});
afterEach(() => plane.close());
after(() => scratch.remove());

/** A keepalive of the tunnel in `slot` of the link pool, so that it has counters. */
function exchangePacket(slot: number): void {
  plane.configure(SETTINGS);
  const link = `2001:db8:1000:${slot.toString(16)}::`;
  const request = echo(
    'request',
    { from: `${link}2`, to: `${link}1` },
    { identifier: 1, sequence: 1 },
  );
  const packet = ethernet('ipv4', ipv4({ from: CLIENT, to: BROKER, protocol: 41 }, request));
  assert.equal(testRun(plane.programFd('tunnel_ingress'), packet).verdict, 7);
}

function pool(
  purpose: 'link' | 'delegation',
  prefixText: string,
  positionLength: number,
  firstIndex: number,
): PoolMapping {
  const prefix = parseIpv6Prefix(prefixText);
  if (!prefix) throw new Error(prefixText);
  return { purpose, prefix, positionLength, firstIndex };
}

describe('a tunnel’s record', () => {
  test('says what was put, up to the largest values', () => {
    plane.put(0, UDP_CLIENT);
    plane.put(CAPACITY.tunnels - 1, PLAIN_CLIENT);
    assert.deepEqual(plane.attachment(0), UDP_CLIENT);
    assert.deepEqual(plane.attachment(CAPACITY.tunnels - 1), PLAIN_CLIENT);
    assert.equal(plane.attachment(1), undefined);
  });

  test('is detached by remove, whatever it was', () => {
    plane.put(7, UDP_CLIENT);
    plane.remove(7);
    plane.remove(8);
    assert.equal(plane.attachment(7), undefined);
    assert.equal(plane.attachment(8), undefined);
  });

  test('keeps its counters through remove and put, until they are reset', () => {
    plane.setPools([LINKS]);
    plane.put(7, PLAIN_CLIENT, { resetCounters: true });
    assert.deepEqual(plane.counters(7), {
      inPackets: 0n,
      inBytes: 0n,
      outPackets: 0n,
      outBytes: 0n,
    });
    exchangePacket(7);
    plane.remove(7);
    plane.put(7, { ...PLAIN_CLIENT, mtu: 1300 });
    assert.equal(plane.counters(7).inPackets, 1n);
    assert.equal(plane.counters(7).inBytes, 64n);
    plane.put(7, PLAIN_CLIENT, { resetCounters: true });
    assert.equal(plane.counters(7).inPackets, 0n);
    assert.equal(plane.counters(7).inLastSeenMs, undefined);
    assert.deepEqual(plane.attachment(7), PLAIN_CLIENT);
  });

  test('refuses what cannot be', () => {
    const client = { address: 1, port: 1 };
    assert.throws(() => plane.put(CAPACITY.tunnels, PLAIN_CLIENT), RangeError);
    assert.throws(() => plane.put(-1, PLAIN_CLIENT), RangeError);
    assert.throws(() => plane.put(1.5, PLAIN_CLIENT), RangeError);
    assert.throws(() => plane.put(0, { ...PLAIN_CLIENT, client }), RangeError);
    assert.throws(
      () => plane.put(0, { ...UDP_CLIENT, client: { ...client, port: 0 } }),
      RangeError,
    );
    assert.throws(() => plane.put(0, { ...PLAIN_CLIENT, mtu: 1279 }), RangeError);
    assert.throws(() => plane.put(0, { ...PLAIN_CLIENT, interfaceId: 1n }), RangeError);
    assert.equal(plane.attachment(0), undefined);
  });
});

describe('pools and owners', () => {
  test('are in the map as they were set', () => {
    const pools = [LINKS, DELEGATIONS, pool('delegation', '2001:db8:4000::/64', 64, 65535)];
    plane.setPools([LINKS]);
    assert.deepEqual(plane.pools(), [LINKS]);
    assert.throws(() => plane.setPools(pools), /shares indices/);
    assert.deepEqual(plane.pools(), [LINKS], 'a refused set changes nothing');
  });

  test('stay where they are when others come and go', () => {
    const [a, b, c] = [
      pool('link', '2001:db8:a::/60', 64, 0),
      pool('link', '2001:db8:b::/60', 64, 16),
      pool('link', '2001:db8:c::/60', 64, 32),
    ];
    plane.setPools([a, b]);
    plane.setPools([b]);
    plane.setPools([c, b]);
    assert.deepEqual(plane.pools(), [c, b], 'b kept its entry, c took the free one');
  });

  test('must be possible', () => {
    const refused: [PoolMapping[], RegExp][] = [
      [[pool('link', '2001:db8:a::/60', 63, 0)], /every link is a \/64/],
      [[pool('delegation', '2001:db8:a::/60', 56, 0)], /cannot have positions of \/56/],
      [[pool('delegation', '2001:db8:a::/60', 65, 0)], /cannot have positions/],
      [[pool('link', '2001:db8:a::/48', 64, 0)], /beyond the capacity/],
      [[pool('link', '2001:db8:a::/60', 64, 250)], /beyond the capacity/],
      [
        [pool('link', '2001:db8:a::/60', 64, 0), pool('link', '2001:db8:a::/61', 64, 16)],
        /overlaps/,
      ],
      [
        Array.from({ length: 17 }, (_, i) => pool('link', `2001:db8:${i + 1}::/64`, 64, i)),
        /17 pools/,
      ],
    ];
    for (const [pools, message] of refused) assert.throws(() => plane.setPools(pools), message);
  });

  test('an owner index or slot out of range is refused', () => {
    assert.throws(() => plane.setOwner(plane.capacity.owners, 0), RangeError);
    assert.throws(() => plane.setOwner(0, CAPACITY.tunnels), RangeError);
  });
});

describe('reconcile', () => {
  const tunnels = [
    { slot: 1, attachment: UDP_CLIENT },
    { slot: 2, attachment: PLAIN_CLIENT },
  ];

  test('puts what is missing, removes what is too much, keeps what is right', () => {
    plane.put(2, PLAIN_CLIENT);
    plane.put(3, PLAIN_CLIENT);
    const result = plane.reconcile({ pools: [LINKS], tunnels, owners: [] });
    assert.deepEqual(result, { put: 1, removed: 1, kept: 1 });
    assert.deepEqual(plane.attachment(1), UDP_CLIENT);
    assert.equal(plane.attachment(3), undefined);
    assert.deepEqual(plane.pools(), [LINKS]);
  });

  test('has nothing to do the second time', () => {
    plane.reconcile({ pools: [LINKS], tunnels, owners: [{ index: 4, slot: 1 }] });
    const again = plane.reconcile({ pools: [LINKS], tunnels, owners: [{ index: 4, slot: 1 }] });
    assert.deepEqual(again, { put: 0, removed: 0, kept: 2 });
  });

  test('puts what differs in any respect', () => {
    plane.reconcile({ pools: [], tunnels, owners: [] });
    const changes: Partial<Attachment>[] = [
      { client: { address: 1, port: 65535 } },
      { client: { address: 0xffff_fffe, port: 1 } },
      { interfaceId: 9n },
      { mtu: 0 },
      { silentUntilHeard: false },
    ];
    for (const change of changes) {
      const attachment = { ...UDP_CLIENT, ...change };
      const changed = [{ slot: 1, attachment }, tunnels[1]!];
      const result = plane.reconcile({ pools: [], tunnels: changed, owners: [] });
      assert.deepEqual(result, { put: 1, removed: 0, kept: 1 });
      plane.reconcile({ pools: [], tunnels, owners: [] });
    }
  });

  test('refuses impossible wishes before it changes any tunnel', () => {
    plane.reconcile({ pools: [LINKS], tunnels, owners: [] });
    const impossible = [{ slot: CAPACITY.tunnels, attachment: PLAIN_CLIENT }];
    assert.throws(
      () => plane.reconcile({ pools: [LINKS], tunnels: impossible, owners: [] }),
      RangeError,
    );
    assert.deepEqual(plane.attachment(1), UDP_CLIENT);
  });

  test('writes owners and takes them away', () => {
    plane.setPools([LINKS, DELEGATIONS]);
    plane.configure(SETTINGS);
    // The last position of the pool, in the last block of the map.
    const request = echo(
      'request',
      { from: '2001:db8:20ff:ff00::1', to: '2001:db8:1000:2::1' },
      { identifier: 1, sequence: 1 },
    );
    const packet = ethernet('ipv4', ipv4({ from: CLIENT, to: BROKER, protocol: 41 }, request));
    const verdict = () => testRun(plane.programFd('tunnel_ingress'), packet).verdict;
    const pools = [LINKS, DELEGATIONS];
    plane.reconcile({ pools, tunnels, owners: [{ index: 65535, slot: 2 }] });
    assert.equal(verdict(), 7);
    plane.reconcile({ pools, tunnels, owners: [{ index: 65534, slot: 2 }] });
    assert.equal(verdict(), 2);
  });
});

describe('what is pinned', () => {
  test('is found again by the next process, with its counters', () => {
    plane.setPools([LINKS]);
    plane.put(9, PLAIN_CLIENT, { resetCounters: true });
    exchangePacket(9);
    plane.close();
    plane = scratch.open();
    assert.deepEqual(plane.attachment(9), PLAIN_CLIENT);
    assert.equal(plane.counters(9).inPackets, 1n);
    assert.deepEqual(plane.pools(), [LINKS]);
  });

  test('can be read without loading programs, but not attached', () => {
    plane.put(9, PLAIN_CLIENT);
    const reader = Dataplane.read(scratch.pinDirectory);
    assert.ok(reader);
    assert.deepEqual(reader.attachment(9), PLAIN_CLIENT);
    assert.deepEqual(reader.outcomes(), plane.outcomes());
    assert.throws(() => reader.programFd('tunnel_egress'), /reading only/);
    reader.close();
  });

  test('moves into larger maps with all it says', () => {
    plane.setPools([LINKS]);
    plane.put(9, PLAIN_CLIENT, { resetCounters: true });
    exchangePacket(9);
    plane.close();
    plane = scratch.open({ tunnels: 512, owners: 131072 });
    assert.deepEqual(plane.capacity, { tunnels: 512, owners: 131072, v4v6: 1, limited: 512 });
    assert.deepEqual(plane.attachment(9), PLAIN_CLIENT);
    assert.equal(plane.counters(9).inPackets, 1n);
    plane.put(511, PLAIN_CLIENT);
    plane.close();
    plane = scratch.open();
    assert.equal(plane.capacity.tunnels, CAPACITY.tunnels);
    assert.deepEqual(plane.attachment(9), PLAIN_CLIENT);
  });

  test('of another layout is replaced, and not read', () => {
    plane.put(9, PLAIN_CLIENT);
    writeLayoutVersion(scratch.pinDirectory, 999);
    assert.equal(Dataplane.read(scratch.pinDirectory), undefined);
    plane.close();
    plane = scratch.open();
    assert.equal(plane.attachment(9), undefined);
  });

  test('is nothing where there is nothing', () => {
    assert.equal(Dataplane.read('/nonexistent/sixway'), undefined);
  });

  test('goes away with uninstall', () => {
    plane.close();
    const actions = Dataplane.uninstall(scratch.pinDirectory, 'swtest-none');
    assert.ok(actions.some((action) => action.endsWith('/tunnels')));
    assert.equal(Dataplane.read(scratch.pinDirectory), undefined);
    plane = scratch.open();
    assert.equal(plane.attachment(1), undefined);
  });
});

function writeLayoutVersion(directory: string, version: number): void {
  const fd = openPinned(join(directory, 'config'));
  assert.ok(fd !== undefined);
  const value = new Uint8Array(CONFIG_SIZE);
  readMapElement(fd, 0, value);
  new DataView(value.buffer).setUint32(CONFIG_OFFSET.layoutVersion, version, true);
  updateMapElement(fd, 0, value);
  closeSync(fd);
}
