// What the maps say of a slot beyond where its client is: whose it is, whether it is closed, what it
// may do and what was dropped. The kernel's own maps; no packet.

import assert from 'node:assert/strict';
import { closeSync } from 'node:fs';
import { join } from 'node:path';
import { after, afterEach, beforeEach, describe, test } from 'node:test';
import type { Attachment, Dataplane, Standing } from '../../src/dataplane/dataplane.ts';
import {
  OUTCOME_NAMES,
  readTunnel,
  readTunnelV4v6,
  STRAY_SIZE,
  TICK_SHIFT,
  TUNNEL_ASSIGNED,
  TUNNEL_DISABLED,
  TUNNEL_FAULTS_SIZE,
  TUNNEL_LIMITED,
  TUNNEL_RATE_SIZE,
  TUNNEL_SILENT_UNTIL_HEARD,
  TUNNEL_UNFILTERED,
  writeStray,
  writeTunnelFaults,
} from '../../src/dataplane/layout.gen.ts';
import {
  findMapElement,
  openPinned,
  readMapElement,
  updateMapElement,
} from '../../src/dataplane/native.ts';
import { endpointValue, strayPlace } from '../../src/dataplane/records.ts';
import { address4, address6, CAPACITY, CLIENT, CLIENT6, makeScratch, SETTINGS } from './scratch.ts';

const CLIENT_AT: Attachment = {
  encapsulation: 'v6udpv4',
  client: { address: address4(CLIENT), port: 40_000 },
  interfaceId: 2n,
  mtu: 0,
};
const CLIENT6_AT = { client: address6(CLIENT6) };
const RATES = { inBitsPerSecond: 20_000_000, outBitsPerSecond: 0 };
const NOTHING = { pools: [], tunnels: [], owners: [] };
const V4V6_KEY = 2 ** 31;

const scratch = makeScratch();
let plane: Dataplane;

beforeEach(() => {
  plane = scratch.open();
  plane.reconcile(NOTHING);
});
afterEach(() => plane.close());
after(() => scratch.remove());

function withMap<T>(name: string, act: (fd: number) => T): T {
  const fd = openPinned(join(scratch.pinDirectory, name));
  assert.ok(fd !== undefined);
  try {
    return act(fd);
  } finally {
    closeSync(fd);
  }
}

function flagsOf(slot: number, map: 'tunnels' | 'tunnels_v4v6' = 'tunnels'): number {
  const value = new Uint8Array(64);
  withMap(map, (fd) => readMapElement(fd, slot, value));
  const view = new DataView(value.buffer);
  return map === 'tunnels' ? readTunnel(view, 0).flags : readTunnelV4v6(view, 0).flags;
}

/** Cost in and out, or undefined: there is no entry. */
function rateOf(key: number): number[] | undefined {
  const value = new Uint8Array(TUNNEL_RATE_SIZE);
  const found = withMap('rates', (fd) => findMapElement(fd, key, value));
  return found ? [...new Uint32Array(value.buffer, 16)] : undefined;
}

function drop(slot: number, map: 'faults' | 'faults_v4v6' = 'faults'): void {
  const value = new Uint8Array(TUNNEL_FAULTS_SIZE);
  const packets = Array.from({ length: 12 }, (_, fault) => fault);
  const lastTick = Number(process.hrtime.bigint() >> BigInt(TICK_SHIFT));
  const lastOutcome = OUTCOME_NAMES.indexOf('in_wrong_interface_id');
  writeTunnelFaults(new DataView(value.buffer), 0, { packets, lastTick, lastOutcome });
  withMap(map, (fd) => updateMapElement(fd, slot, value));
}

describe('a slot without a client', () => {
  const cases: readonly [Standing, number][] = [
    ['vacant', 0],
    ['down', TUNNEL_ASSIGNED],
    ['disabled', TUNNEL_ASSIGNED | TUNNEL_DISABLED],
  ];
  for (const [standing, flags] of cases) {
    test(`says when it is ${standing}`, () => {
      plane.put(3, CLIENT_AT);
      assert.equal(flagsOf(3), TUNNEL_ASSIGNED);
      assert.equal(plane.standing(3), 'attached');
      plane.remove(3, standing);
      assert.equal(flagsOf(3), flags);
      assert.equal(plane.standing(3), standing);
      plane.putV4v6(3, CLIENT6_AT);
      assert.equal(flagsOf(3, 'tunnels_v4v6'), TUNNEL_ASSIGNED);
      plane.removeV4v6(3, standing);
      assert.equal(flagsOf(3, 'tunnels_v4v6'), flags);
      assert.equal(plane.standingV4v6(3), standing);
    });
  }

  test('is vacant when nobody says otherwise', () => {
    plane.put(3, CLIENT_AT);
    plane.remove(3);
    assert.equal(plane.standing(3), 'vacant');
  });

  test('is made by reconcile what it should be, and not counted unless it had a client', () => {
    plane.put(1, CLIENT_AT);
    plane.remove(2, 'disabled');
    plane.putV4v6(1, CLIENT6_AT);
    const result = plane.reconcile({
      ...NOTHING,
      tunnels: [
        { slot: 1, standing: 'down' },
        { slot: 3, standing: 'disabled' },
      ],
      v4v6: [
        { slot: 1, standing: 'disabled' },
        { slot: 2, standing: 'down' },
      ],
    });
    assert.deepEqual(result, { put: 0, removed: 2, kept: 0 });
    assert.deepEqual(
      [1, 2, 3].map((slot) => plane.standing(slot)),
      ['down', 'vacant', 'disabled'],
    );
    assert.deepEqual(
      [1, 2].map((slot) => plane.standingV4v6(slot)),
      ['disabled', 'down'],
    );
  });
});

describe('what a tunnel may do', () => {
  const limited: Attachment = { ...CLIENT_AT, rates: RATES, unfiltered: true };

  test('is in its flags and in the map of rates', () => {
    plane.put(3, { ...limited, silentUntilHeard: true });
    const all = TUNNEL_ASSIGNED | TUNNEL_LIMITED | TUNNEL_UNFILTERED | TUNNEL_SILENT_UNTIL_HEARD;
    assert.equal(flagsOf(3), all);
    assert.deepEqual(rateOf(3), [409_600, 0]);
    assert.deepEqual(plane.attachment(3), { ...limited, silentUntilHeard: true });
    plane.putV4v6(3, { ...CLIENT6_AT, rates: RATES, unfiltered: true });
    assert.deepEqual(rateOf(V4V6_KEY + 3), [409_600, 0]);
    assert.deepEqual(plane.attachmentV4v6(3), { ...CLIENT6_AT, rates: RATES, unfiltered: true });
  });

  test('is forgotten when it is without limits or without a client', () => {
    plane.put(3, limited);
    plane.put(3, { ...CLIENT_AT, rates: { inBitsPerSecond: 0, outBitsPerSecond: 0 } });
    assert.equal(flagsOf(3), TUNNEL_ASSIGNED);
    assert.equal(rateOf(3), undefined);
    plane.put(3, limited);
    plane.remove(3, 'down');
    assert.equal(rateOf(3), undefined);
    plane.putV4v6(3, { ...CLIENT6_AT, rates: RATES });
    plane.removeV4v6(3, 'down');
    assert.equal(rateOf(V4V6_KEY + 3), undefined);
  });

  test('does not begin anew when the same is said again', () => {
    plane.put(3, limited);
    const paid = new Uint8Array(TUNNEL_RATE_SIZE);
    withMap('rates', (fd) => readMapElement(fd, 3, paid));
    paid[0] = 77;
    withMap('rates', (fd) => updateMapElement(fd, 3, paid));
    plane.put(3, limited);
    plane.reconcile({ ...NOTHING, tunnels: [{ slot: 3, attachment: limited }] });
    const after = new Uint8Array(TUNNEL_RATE_SIZE);
    withMap('rates', (fd) => readMapElement(fd, 3, after));
    assert.deepEqual(after, paid);
  });

  test('is put by reconcile when it differs', () => {
    const reconcile = (attachment: Attachment) =>
      plane.reconcile({ ...NOTHING, tunnels: [{ slot: 3, attachment }] });
    assert.equal(reconcile(limited).put, 1);
    assert.equal(reconcile(limited).kept, 1);
    const faster = { ...RATES, outBitsPerSecond: 8000 };
    assert.equal(reconcile({ ...limited, rates: faster }).put, 1);
    assert.deepEqual(rateOf(3), [409_600, 1_024_000_000]);
    assert.equal(reconcile({ ...limited, unfiltered: false }).put, 1);
    assert.equal(reconcile(CLIENT_AT).put, 1);
    assert.equal(rateOf(3), undefined);
    plane.reconcile(NOTHING);
  });

  test('must be possible', () => {
    for (const inBitsPerSecond of [-1, 1, 7999, 2e12, Number.NaN]) {
      const rates = { inBitsPerSecond, outBitsPerSecond: 0 };
      assert.throws(() => plane.put(3, { ...CLIENT_AT, rates }), RangeError);
      assert.throws(() => plane.putV4v6(3, { ...CLIENT6_AT, rates }), RangeError);
    }
  });

  test('has room for as many tunnels with limits as was asked for', () => {
    plane.close();
    plane = scratch.open({ ...CAPACITY, limited: 1 });
    plane.put(3, limited);
    assert.throws(() => plane.put(4, limited), /no room for another tunnel with limited rates/);
    plane.put(4, CLIENT_AT);
    const tunnels = [3, 4].map((slot) => ({ slot, attachment: limited }));
    assert.throws(() => plane.reconcile({ ...NOTHING, tunnels }), /More than 1 tunnels/);
    assert.deepEqual(plane.attachment(3), limited);
  });

  test('changes without an instant in which the tunnel is closed', () => {
    plane.put(3, CLIENT_AT);
    const stores: bigint[] = [];
    const { store } = Atomics;
    Atomics.store = ((...args: Parameters<typeof store>) => {
      if (typeof args[2] === 'bigint') stores.push(args[2]);
      return store(...args);
    }) as typeof store;
    try {
      plane.put(3, { ...limited, mtu: 1400 });
    } finally {
      Atomics.store = store;
    }
    assert.ok(stores.length > 0 && !stores.includes(0n));
  });
});

describe('faults', () => {
  test('are told by name, with the last one’s outcome and time', () => {
    plane.put(3, CLIENT_AT);
    drop(3);
    const { packets, last } = plane.faults(3);
    assert.equal(packets.wrong_source, 1);
    assert.equal(packets.other, 11);
    assert.equal(last?.outcome, 'in_wrong_interface_id');
    assert.ok(Math.abs(Date.now() - last.atMs) < 1000);
    assert.equal(plane.faults(4).last, undefined);
  });

  test('go with the counters, and only with them', () => {
    plane.put(3, CLIENT_AT);
    drop(3);
    plane.put(3, { ...CLIENT_AT, mtu: 1400 });
    assert.equal(plane.faults(3).packets.other, 11);
    plane.put(3, CLIENT_AT, { resetCounters: true });
    assert.equal(plane.faults(3).packets.other, 0);
    drop(3);
    plane.remove(3, 'down', { resetCounters: true });
    assert.equal(plane.faults(3).last, undefined);
    assert.equal(plane.standing(3), 'down');
    drop(3, 'faults_v4v6');
    assert.equal(plane.faultsV4v6(3).packets.other, 11);
    plane.putV4v6(3, CLIENT6_AT, { resetCounters: true });
    assert.equal(plane.faultsV4v6(3).packets.other, 0);
  });
});

describe('a stray', () => {
  test('is found by its endpoint, and is nobody else’s', () => {
    plane.configure(SETTINGS);
    const { encapsulation, client } = CLIENT_AT;
    const endpoint = endpointValue(encapsulation, client);
    const value = new Uint8Array(STRAY_SIZE);
    const write = (owner: bigint) => {
      writeStray(new DataView(value.buffer), 0, {
        endpoint: owner,
        sourceHigh: 0x2001_0db8_0000_0000n,
        sourceLow: 9n,
        lastTick: 1,
        packets: 4,
        outcome: 17,
      });
      const place = strayPlace(endpoint, plane.settings().hashMultiplier);
      withMap('strays', (fd) => updateMapElement(fd, place, value));
    };
    write(endpoint);
    const stray = plane.stray({ encapsulation, client });
    assert.equal(stray?.source, address6('2001:db8::9'));
    assert.equal(stray.packets, 4);
    write(endpoint + 1n);
    assert.equal(plane.stray({ encapsulation, client }), undefined);
  });
});
