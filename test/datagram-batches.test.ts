// Datagrams by the batch over real sockets: what goes in comes out, whoever it is from.

import assert from 'node:assert/strict';
import { randomInt } from 'node:crypto';
import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { closeSync } from 'node:fs';
import { afterEach, beforeEach, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Endpoint, formatIp, parseIp } from '../src/address.ts';
import { DatagramBatches, divert, openUdp, shareAddress } from '../src/datagram-batches.ts';

const LOOPBACK = { IPv4: '127.0.0.1', IPv6: '::1' } as const;

for (const family of ['IPv4', 'IPv6'] as const)
  describe(`datagrams over ${family}`, () => {
    let fd: number;
    let port: number;
    let other: Socket;
    let batches: DatagramBatches;
    let refused: { bytes: Uint8Array; to: Endpoint }[];
    let otherGot: string[];

    async function open(): Promise<Socket> {
      const opened = createSocket({
        type: family === 'IPv4' ? 'udp4' : 'udp6',
        recvBufferSize: 1 << 20,
      });
      opened.bind(0, LOOPBACK[family]);
      await once(opened, 'listening');
      return opened;
    }

    beforeEach(async () => {
      other = await open();
      [fd, port] = openSomewhere();
      refused = [];
      otherGot = [];
      batches = new DatagramBatches(fd, family, (bytes, to) => refused.push({ bytes, to }));
      other.on('message', (bytes) => otherGot.push(bytes.toString()));
    });
    afterEach(async () => {
      await batches.close();
      closeSync(fd);
      other.close();
    });

    /** No socket of Node's, which would read what comes. */
    function openSomewhere(): [fd: number, port: number] {
      const address = parseIp(LOOPBACK[family])!;
      for (;;) {
        const at = { address, port: randomInt(20_000, 60_000) };
        try {
          return [openUdp(at), at.port];
        } catch (error) {
          assert.equal((error as { code?: string }).code, 'EADDRINUSE');
        }
      }
    }

    const otherEnd = (): Endpoint => ({
      address: parseIp(LOOPBACK[family])!,
      port: other.address().port,
    });

    function send(text: string): Promise<void> {
      return new Promise((resolve, reject) => {
        other.send(text, port, LOOPBACK[family], (error) => (error ? reject(error) : resolve()));
      });
    }

    test('what has come is read in its order, with its sender, the empty one too', async () => {
      const texts = Array.from({ length: 150 }, (_, i) => `datagram ${i}`).concat(
        '',
        'x'.repeat(8000),
      );
      for (const text of texts) await send(text);
      const got: string[] = [];
      const { count, waitedMs } = batches.receive((bytes, from) => {
        got.push(Buffer.from(bytes).toString());
        assert.deepEqual(
          [formatIp(from.address), from.port],
          [LOOPBACK[family], other.address().port],
        );
      });
      assert.deepEqual(got, texts);
      assert.equal(count, texts.length);
      assert.ok(waitedMs >= 0 && waitedMs < 10_000);
      assert.deepEqual(batches.receive(assert.fail), { count: 0, waitedMs: 0 });
    });

    test('of two sockets that share an address each gets its own', async () => {
      const at = { address: parseIp(LOOPBACK[family])!, port };
      assert.throws(() => openUdp(at, true), { code: 'EADDRINUSE' });
      shareAddress(fd);
      const second = openUdp(at, true);
      const diverted = new DatagramBatches(second, family, assert.fail);
      divert(fd, 2, 0x56455253);
      const texts = ['xxVERSION', 'VERSION', 'xxVERS', 'xxVER', '', 'xxversion'];
      for (const text of texts) await send(text);
      const got: { [where in 'first' | 'second']: string[] } = { first: [], second: [] };
      batches.receive((bytes) => got.first.push(Buffer.from(bytes).toString()));
      diverted.receive((bytes) => got.second.push(Buffer.from(bytes).toString()));
      assert.deepEqual(got, {
        first: ['VERSION', 'xxVER', '', 'xxversion'],
        second: ['xxVERSION', 'xxVERS'],
      });
      // One socket alone again gets all.
      await diverted.close();
      closeSync(second);
      await send('xxVERSION');
      assert.equal(batches.receive(() => {}).count, 1);
    });

    test('it is told how long the first one has waited', async () => {
      await send('early');
      await sleep(120);
      await send('late');
      const { waitedMs } = batches.receive(() => {});
      assert.ok(waitedMs >= 100 && waitedMs < 10_000, `${waitedMs} ms`);
    });

    for (const [amount, how] of [
      [3, 'at once'],
      [200, 'by a thread'],
      [2500, 'in part at once and in part by a thread'],
    ] as const)
      test(`${amount} are sent ${how}`, async () => {
        for (let i = 0; i < amount; i++) batches.put(otherEnd(), Buffer.from(`datagram ${i}`));
        batches.flush();
        await batches.close();
        for (let waits = 0; otherGot.length < amount && waits < 100; waits++) await sleep(20);
        const expected = Array.from({ length: amount }, (_, i) => `datagram ${i}`);
        assert.deepEqual(new Set(otherGot), new Set(expected));
        assert.equal(refused.length, 0);
      });

    test('what is put while others are being sent goes after them', async () => {
      for (let round = 0; round < 20; round++) {
        for (let i = 0; i < 10; i++) batches.put(otherEnd(), Buffer.from(`${round} ${i}`));
        batches.flush();
      }
      await batches.close();
      for (let waits = 0; otherGot.length < 200 && waits < 100; waits++) await sleep(20);
      assert.equal(new Set(otherGot).size, 200);
    });

    test('what the system will not take is given back, and the others go', async () => {
      const nowhere = { address: otherEnd().address, port: 0 };
      for (let i = 0; i < 10; i++)
        batches.put(i === 4 ? nowhere : otherEnd(), Buffer.from(`datagram ${i}`));
      batches.put(otherEnd(), Buffer.alloc(1537));
      batches.flush();
      await batches.close();
      for (let waits = 0; otherGot.length < 9 && waits < 100; waits++) await sleep(20);
      assert.equal(otherGot.length, 9);
      assert.deepEqual(
        refused.map(({ bytes, to }) => [bytes.length, to.port]),
        [
          [1537, otherEnd().port],
          [10, 0],
        ],
      );
    });
  });
