// The local socket over a real store and real maps: what it says, what it refuses, and what its client
// makes of a server that is not there.

import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { connect, createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { LiveClient } from '../../src/live/client.ts';
import { LiveServer } from '../../src/live.ts';
import { AWAY, Fixture } from '../broker/fixture.ts';

describe('the local socket', () => {
  let fixture: Fixture;
  let directory: string;
  let path: string;
  let server: LiveServer;
  let client: LiveClient;
  let tunnelId: number;
  let slot: number;
  const complaints: unknown[] = [];

  before(async () => {
    directory = mkdtempSync(join(tmpdir(), 'sixway-live-'));
    path = join(directory, 'live.sock');
    fixture = await Fixture.make();
    ({ tunnelId, slot } = await fixture.login({ userId: await fixture.addUser('ada') }));
    server = make();
    await server.listen(path, '');
    client = new LiveClient({ socket: path });
  });

  after(async () => {
    client.close();
    await server.close();
    await fixture.remove();
    rmSync(directory, { recursive: true });
  });

  function make(): LiveServer {
    return new LiveServer({
      store: fixture.store,
      dataplane: fixture.dataplane,
      version: '1.2.3',
      defaultMtu: 1280,
      state: () => ({ sessions: 3, waiting: 1, overloaded: false, logins: 7, loginFailures: 2 }),
      log: (message, error) => complaints.push([message, error]),
    });
  }

  async function raw(text: string): Promise<string> {
    return new Promise((resolve) => {
      let said = '';
      const socket = connect(path, () => socket.end(text));
      socket.on('data', (part) => {
        said += part;
      });
      socket.on('error', () => {});
      socket.on('close', () => resolve(said));
    });
  }

  const get = (url: string) =>
    raw(`GET ${url} HTTP/1.1\r\nhost: sixway\r\nconnection: close\r\n\r\n`);

  it('is open to its owner and group, and to nobody else', () => {
    assert.equal(statSync(path).mode & 0o777, 0o660);
  });

  it('says how the server is', async () => {
    const health = await client.health();
    assert.ok(health.ok);
    const { nowMs, startedAtMs, ...rest } = health.value;
    assert.ok(startedAtMs <= nowMs && nowMs - startedAtMs < 60_000);
    assert.deepEqual(rest, { version: '1.2.3', sessions: 3, waiting: 1, overloaded: false });
  });

  it('says all that is known of a tunnel', async () => {
    fixture.countInKernel(slot, 5);
    fixture.hearInKernel(slot);
    const asked = await client.tunnel(tunnelId);
    assert.ok(asked.ok);
    const tunnel = asked.value;
    assert.equal(tunnel.user?.name, 'ada');
    assert.deepEqual(
      [tunnel.state, tunnel.endpoint, tunnel.encapsulation, tunnel.nat, tunnel.idle, tunnel.mtu],
      ['attached', '192.0.2.1:40000', 'v6udpv4', 'likely', false, 1280],
    );
    assert.equal(tunnel.counters.inPackets, 5);
    assert.ok(Math.abs((tunnel.counters.inLastSeenMs ?? 0) - Date.now()) < 5000);
    assert.equal(tunnel.faults.packets.wrong_endpoint, 0);
    assert.deepEqual(
      tunnel.findings.map(({ key }) => key),
      ['only-keepalives', 'works'],
    );
  });

  it('says what is counted, at once', async () => {
    const before = await client.counters(tunnelId);
    fixture.countInKernel(slot, 9);
    const after = await client.counters(tunnelId);
    assert.ok(before.ok && after.ok);
    assert.deepEqual([before.value.inPackets, after.value.inPackets], [5, 9]);
    assert.deepEqual([after.value.state, after.value.drops], ['attached', 0]);
  });

  it('is watched until it is enough', async () => {
    const enough = new AbortController();
    let seen = 0;
    for await (const asked of client.watch(tunnelId, 5, enough.signal)) {
      assert.ok(asked.ok);
      if (++seen === 3) enough.abort();
    }
    assert.equal(seen, 3);
  });

  it('says how all tunnels stand, and what happened to packets', async () => {
    await fixture.login({ userId: await fixture.addUser('bob'), client: AWAY });
    const totals = await client.totals();
    assert.ok(totals.ok);
    const { attached, down, disabled, logins, loginFailures, outcomes } = totals.value;
    assert.deepEqual([attached, down, disabled, logins, loginFailures], [2, 0, 0, 7, 2]);
    assert.deepEqual(outcomes.in_decapsulated, { packets: 0, bytes: 0 });
  });

  it('says which packets from an address led nowhere', async () => {
    const strays = await client.strays('192.0.2.1');
    assert.ok(strays.ok);
    assert.deepEqual(strays.value.strays, []);
    assert.equal((await client.strays('nonsense')).ok, false);
  });

  it('knows no tunnel that is not there', async () => {
    const asked = await client.tunnel(999);
    assert.deepEqual(asked, { ok: false, why: 'not-found', detail: 'There is no tunnel 999.' });
    assert.equal((await client.counters(999)).ok, false);
  });

  it('refuses what it does not understand, as problem+json', async () => {
    for (const [url, status] of [
      ['/', 404],
      ['/tunnels', 404],
      ['/tunnels/', 404],
      ['/tunnels/0', 400],
      ['/tunnels/-1', 400],
      ['/tunnels/1e3', 400],
      ['/tunnels/9999999999999999999', 400],
      ['/tunnels/%31', 400],
      ['/tunnels/1/stream/x', 404],
      ['/strays', 400],
      ['/strays?address=2001:db8::1', 400],
      ['/strays?address[]=1', 400],
      ['*', 404],
    ] as const) {
      const said = await get(url);
      assert.match(said, new RegExp(`^HTTP/1.1 ${status} `), url);
      assert.match(said, /content-type: application\/problem\+json/, url);
    }
  });

  it('can only be read', async () => {
    for (const method of ['POST', 'PUT', 'DELETE', 'PATCH', 'HEAD', 'OPTIONS']) {
      const said = await raw(
        `${method} /tunnels/1 HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 0\r\n\r\n`,
      );
      assert.match(said, /^HTTP\/1.1 405 [\s\S]*allow: GET/, method);
    }
  });

  it('bears junk and long lines', async () => {
    assert.match(await raw('nonsense\r\n\r\n'), /^HTTP\/1.1 400 /);
    assert.match(await get(`/${'a'.repeat(20_000)}`), /^HTTP\/1.1 431 /);
    assert.equal((await client.health()).ok, true);
    assert.deepEqual(complaints, []);
  });

  it('a store that fails is said, and the server stays', async () => {
    const { store } = fixture;
    const tunnel = store.tunnel;
    store.tunnel = () => Promise.reject(new Error('broken'));
    const asked = await client.tunnel(tunnelId);
    store.tunnel = tunnel;
    assert.deepEqual(asked, {
      ok: false,
      why: 'refused',
      detail: 'The server failed; its log says how.',
    });
    assert.equal(complaints.length, 1);
    assert.equal((await client.tunnel(tunnelId)).ok, true);
  });

  it('a client goes on with a server that was started anew', async () => {
    assert.equal((await client.health()).ok, true);
    await server.close();
    assert.equal(((await client.health()) as { why?: string }).why, 'unreachable');
    server = make();
    await server.listen(path, '');
    assert.equal((await client.health()).ok, true);
  });

  it('a second server does not take the socket of the first, but that of one that is gone', async () => {
    const second = make();
    await assert.rejects(second.listen(path, ''), /another server listens/);
    const left = join(directory, 'left.sock');
    writeFileSync(left, '');
    await second.listen(left, String(process.getgid?.() ?? 0));
    await second.close();
    await assert.rejects(make().listen(left, 'no-such-group'), /there is no group/);
  });

  it('a server that is not there, or does not answer, is unreachable within the time', async () => {
    const deaf: Server = createServer(() => {});
    const deafPath = join(directory, 'deaf.sock');
    await new Promise<void>((resolve) => deaf.listen(deafPath, resolve));
    const began = performance.now();
    for (const socket of ['', join(directory, 'none.sock'), deafPath]) {
      const other = new LiveClient({ socket, timeoutMs: 100 });
      const asked = await other.totals();
      assert.ok(!asked.ok);
      assert.equal(asked.why, 'unreachable');
      other.close();
    }
    assert.ok(performance.now() - began < 3000);
    deaf.close();
  });
});
