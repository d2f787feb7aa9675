// The TCP side with real sockets on the loopback interface. Nobody logs in here, so the broker is
// never asked.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type AddressInfo, createConnection, createServer, type Server } from 'node:net';
import { after, test } from 'node:test';
import { pino } from 'pino';
import { Metrics } from '../../src/metrics.ts';
import { Reception } from '../../src/tsp/reception.ts';
import type { BrokerDesk } from '../../src/tsp-server/broker-desk.ts';
import { StreamListener } from '../../src/tsp-server/streams.ts';
import { FAILED, WHOLE_CAPABILITY } from './examples.ts';
import { SETTINGS } from './wire.ts';

const BUSY = '530 Server too busy\r\n';
const servers: Server[] = [];
const listeners: StreamListener[] = [];
after(() => {
  for (const listener of listeners) listener.close();
  for (const server of servers) server.close();
});

async function listen(maxConnections = 8, maxConnectionsPerClient = 4) {
  const server = createServer({ allowHalfOpen: true });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { realm, tunnelTypes } = SETTINGS;
  const metrics = new Metrics({
    outcomes: () => [],
    sessions: () => 0,
    load: () => ({ waiting: 0, tooMuch: false }),
  });
  const listener = new StreamListener([server], {
    reception: new Reception(SETTINGS, 100),
    facts: { realm, tunnelTypes },
    maxConnections,
    maxConnectionsPerClient,
    desk: undefined as unknown as BrokerDesk,
    metrics,
    log: pino({ level: 'silent' }),
  });
  servers.push(server);
  listeners.push(listener);
  return { listener, metrics, port: (server.address() as AddressInfo).port };
}

/** Everything that is received until the other side ends. */
async function heard(port: number, text: string, from = '127.0.0.1'): Promise<string> {
  const socket = createConnection({ port, host: '127.0.0.1', localAddress: from });
  let all = '';
  socket.on('data', (bytes: Buffer) => {
    all += bytes.toString('latin1');
  });
  socket.on('error', () => {});
  socket.end(text);
  await once(socket, 'close');
  return all;
}

async function open(port: number, from = '127.0.0.1') {
  const socket = createConnection({ port, host: '127.0.0.1', localAddress: from });
  socket.on('error', () => {});
  await once(socket, 'connect');
  return socket;
}

async function settles(what: () => boolean): Promise<void> {
  for (let i = 0; i < 200 && !what(); i++) await new Promise((done) => setTimeout(done, 10));
  assert.ok(what());
}

test('who sends everything at once and ends is answered before the end', async () => {
  const { listener, port } = await listen();
  assert.equal(
    await heard(port, 'VERSION=2.0.2\r\nAUTHENTICATE NOTHING\r\nmore and more'),
    WHOLE_CAPABILITY + FAILED,
  );
  assert.equal(await heard(port, 'VERSION=2.0.2\r\nhalf a'), WHOLE_CAPABILITY);
  assert.equal(await heard(port, ''), '');
  await settles(() => listener.connectionCount === 0);
});

test('one client cannot take all connections, and nobody more than there are', async () => {
  const { listener, metrics, port } = await listen(6, 4);
  const own = await Promise.all([1, 2, 3, 4].map(() => open(port)));
  await settles(() => listener.connectionCount === 4);
  assert.equal(await heard(port, 'VERSION=2.0.2\r\n'), BUSY);
  const others = await Promise.all(['127.0.0.2', '127.0.0.3'].map((from) => open(port, from)));
  await settles(() => listener.connectionCount === 6);
  assert.equal(await heard(port, 'VERSION=2.0.2\r\n', '127.0.0.4'), BUSY);
  assert.match(await metrics.page(), /sixway_tsp_oddities_total\{kind="busy"\} 2/);
  for (const socket of [...own, ...others]) socket.destroy();
  await settles(() => listener.connectionCount === 0);
  assert.equal(await heard(port, 'VERSION=2.0.2\r\n'), WHOLE_CAPABILITY);
});

test('resets in the middle of anything are borne', async () => {
  const { listener, port } = await listen();
  for (const text of ['', 'VERS', 'VERSION=2.0.2\r\n', 'AUTHENTICATE PLAIN\r\n\0']) {
    const socket = await open(port);
    socket.write(text);
    await new Promise((done) => setTimeout(done, 20));
    socket.resetAndDestroy();
  }
  await settles(() => listener.connectionCount === 0);
  assert.equal(await heard(port, 'VERSION=2.0.2\r\n'), WHOLE_CAPABILITY);
});

test('a listener that closes lets go of its connections', async () => {
  const { listener, port } = await listen();
  const socket = await open(port);
  await settles(() => listener.connectionCount === 1);
  listener.close();
  await once(socket, 'close');
});
