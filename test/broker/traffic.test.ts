// The sampler over real maps and a real store: what the kernel counted is in the history once, whatever
// happens to tunnels, slots and processes.

import assert from 'node:assert/strict';
import { closeSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { TrafficSampler } from '../../src/broker/traffic.ts';
import { TUNNEL_OFFSET, TUNNEL_SIZE } from '../../src/dataplane/layout.gen.ts';
import { mapMemory, openPinned } from '../../src/dataplane/native.ts';
import { type Counts, NO_COUNTS } from '../../src/store/buckets.ts';
import { AWAY, Fixture } from './fixture.ts';

const EVERY = 300_000;

describe('traffic history', () => {
  let fixture: Fixture;
  let sampler: TrafficSampler;
  let slots: { view: DataView; close(): void };
  let logins = { logins: 0, loginFailures: 0 };

  beforeEach(async () => {
    logins = { logins: 0, loginFailures: 0 };
    fixture = await Fixture.make({
      beforeReset: (family, slot) => sampler.beforeReset(family, slot),
    });
    sampler = make();
    slots = openSlots();
  });

  afterEach(async () => {
    slots.close();
    await fixture.remove();
  });

  function openSlots() {
    const fd = openPinned(join(fixture.pinDirectory, 'tunnels'))!;
    const { buffer, unmap } = mapMemory(fd, 1024 * TUNNEL_SIZE);
    const close = () => {
      unmap();
      closeSync(fd);
    };
    return { view: new DataView(buffer), close };
  }

  function make(): TrafficSampler {
    return new TrafficSampler({
      store: fixture.store,
      dataplane: fixture.dataplane,
      everyMs: EVERY,
      state: () => ({ sessions: 5, ...logins }),
      clock: () => fixture.nowMs,
    });
  }

  /** As the kernel would. */
  function move(slot: number, packets: number, bytes: number): void {
    const at = slot * TUNNEL_SIZE;
    for (const [offset, value] of [
      [TUNNEL_OFFSET.inPackets, packets],
      [TUNNEL_OFFSET.inBytes, bytes],
    ] as const)
      slots.view.setBigUint64(
        at + offset,
        slots.view.getBigUint64(at + offset, true) + BigInt(value),
        true,
      );
    fixture.hearInKernel(slot);
  }

  async function sample(): Promise<void> {
    fixture.nowMs += EVERY;
    await sampler.sample();
  }

  async function sumOf(tunnelId: number): Promise<Counts> {
    const points = await fixture.store.traffic.ofTunnel(
      tunnelId,
      'hours',
      fixture.nowMs - 86_400_000,
      fixture.nowMs + 86_400_000,
    );
    const sum = { ...NO_COUNTS } as { -readonly [K in keyof Counts]: number };
    for (const point of points) {
      sum.inPackets += point.inPackets;
      sum.inBytes += point.inBytes;
    }
    return sum;
  }

  async function totalBytes(): Promise<number> {
    const totals = await fixture.store.traffic.totals('days', 0, fixture.nowMs + 1e9);
    return totals.reduce((sum, { inBytes }) => sum + inBytes, 0);
  }

  it('keeps what came since the last time, for tunnels that moved something', async () => {
    const ada = await fixture.login({ userId: await fixture.addUser('ada') });
    const bob = await fixture.login({ userId: await fixture.addUser('bob'), client: AWAY });
    await sample();
    move(ada.slot, 3, 300);
    await sample();
    move(ada.slot, 2, 200);
    logins = { logins: 4, loginFailures: 1 };
    await sample();
    await sample();
    const fine = await fixture.store.traffic.ofTunnel(
      ada.tunnelId,
      '5-minutes',
      fixture.nowMs - 10 * EVERY,
      fixture.nowMs + EVERY,
    );
    assert.deepEqual(
      fine.map(({ inPackets, inBytes }) => [inPackets, inBytes]),
      [
        [3, 300],
        [2, 200],
      ],
    );
    assert.equal(fine[1]!.atMs - fine[0]!.atMs, EVERY);
    assert.deepEqual(await sumOf(bob.tunnelId), NO_COUNTS);
    const [day] = (await fixture.store.traffic.totals('days', 0, fixture.nowMs)).slice(-1);
    assert.deepEqual(
      [day?.inBytes, day?.logins, day?.loginFailures, day?.attached, day?.sessions],
      [500, 4, 1, 2, 5],
    );
  });

  it('loses nothing and counts nothing twice when the process ends', async () => {
    const ada = await fixture.login({ userId: await fixture.addUser('ada') });
    await sample();
    move(ada.slot, 3, 300);
    await sample();
    move(ada.slot, 2, 200);
    // Killed here; traffic flows on while nobody looks.
    await fixture.restart();
    sampler = make();
    move(ada.slot, 1, 100);
    await sample();
    assert.deepEqual(await sumOf(ada.tunnelId), { ...NO_COUNTS, inPackets: 6, inBytes: 600 });
    await sample();
    assert.equal(await totalBytes(), 600);
  });

  it('begins with what is counted from then on', async () => {
    const ada = await fixture.login({ userId: await fixture.addUser('ada') });
    move(ada.slot, 1000, 1_000_000);
    await sample();
    assert.deepEqual(await sumOf(ada.tunnelId), NO_COUNTS);
    move(ada.slot, 1, 100);
    await sample();
    assert.deepEqual(await sumOf(ada.tunnelId), { ...NO_COUNTS, inPackets: 1, inBytes: 100 });
  });

  it('a slot that changes hands leaves to each what is theirs', async () => {
    // One link to give: whoever comes next gets the slot of who left.
    await fixture.remove();
    fixture = await Fixture.make({
      links: '2001:db8::/63',
      beforeReset: (family, slot) => sampler.beforeReset(family, slot),
    });
    slots.close();
    slots = openSlots();
    sampler = make();
    const adaId = await fixture.addUser('ada');
    const ada = await fixture.login({ userId: adaId });
    await sample();
    move(ada.slot, 1, 100);
    await sample();
    move(ada.slot, 1, 50);
    await fixture.store.removeUser(adaId, fixture.nowMs);
    await fixture.broker.followChanges();
    const bob = await fixture.login({ userId: await fixture.addUser('bob') });
    assert.equal(bob.slot, ada.slot);
    move(bob.slot, 9, 900);
    await sample();
    assert.equal((await sumOf(ada.tunnelId)).inBytes, 150);
    assert.equal((await sumOf(bob.tunnelId)).inBytes, 900);
    assert.equal(await totalBytes(), 1050);
    // What the store remembers is bob's.
    sampler = make();
    await sample();
    assert.equal(await totalBytes(), 1050);
  });

  it('a tunnel that came and went between two samples is in the totals', async () => {
    const ada = await fixture.login({ userId: await fixture.addUser('ada') });
    await sample();
    const brief = await fixture.login({ client: AWAY });
    move(brief.slot, 1, 70);
    await fixture.store.closeTunnel(brief.tunnelId, fixture.nowMs);
    await fixture.broker.followChanges();
    move(ada.slot, 1, 30);
    await sample();
    assert.equal(await totalBytes(), 100);
  });

  it('keeps what could not be written for the next time', async () => {
    const ada = await fixture.login({ userId: await fixture.addUser('ada') });
    await sample();
    move(ada.slot, 1, 100);
    const { traffic } = fixture.store;
    const record = traffic.record;
    traffic.record = async () => {
      throw new Error('the disk is full');
    };
    await assert.rejects(sample(), /disk/);
    traffic.record = record;
    move(ada.slot, 1, 1);
    await sample();
    assert.equal((await sumOf(ada.tunnelId)).inBytes, 101);
    assert.equal(await totalBytes(), 101);
  });
});
