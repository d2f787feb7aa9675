// The real client and the real server end of a TCP connection against each other, in virtual time,
// with segments cut and joined at random and a broker that takes its time.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type ClientEnd, type ClientEvent, ClientSession } from '../../src/tsp/client-session.ts';
import {
  type ConnectionCommand,
  type ConnectionEvent,
  TspConnection,
} from '../../src/tsp/connection.ts';
import type { Mechanism, TunnelInfo } from '../../src/tsp/messages.ts';
import { Reception } from '../../src/tsp/reception.ts';
import { ALICE, ALICES_CREDENTIAL, CLIENT, SETTINGS, willingBroker } from './wire.ts';

const MECHANISMS: readonly Mechanism[] = ['SCRAM-SHA-256', 'DIGEST-MD5', 'PLAIN', 'ANONYMOUS'];

interface Happening {
  readonly atMs: number;
  readonly run: () => void;
}

/** One direction: octets arrive in order, in any pieces. */
class Pipe {
  #lastMs = 0;
  readonly #chance: () => number;
  readonly #later: (atMs: number, run: () => void) => void;

  constructor(chance: () => number, later: (atMs: number, run: () => void) => void) {
    this.#chance = chance;
    this.#later = later;
  }

  send(bytes: Uint8Array, nowMs: number, deliver: (bytes: Uint8Array) => void): void {
    let from = 0;
    while (from < bytes.length) {
      const to = Math.min(bytes.length, from + 1 + Math.floor(this.#chance() * 300));
      const piece = bytes.subarray(from, to);
      this.#lastMs = Math.max(this.#lastMs, nowMs) + this.#chance() * 100;
      this.#later(this.#lastMs, () => deliver(piece));
      from = to;
    }
  }
}

function meet(seed: number, mechanism: Mechanism, password = ALICE.password) {
  let random = seed;
  const chance = () => {
    random = (Math.imul(random, 1664525) + 1013904223) >>> 0;
    return random / 2 ** 32;
  };
  const queue: Happening[] = [];
  const later = (atMs: number, run: () => void) => {
    queue.push({ atMs, run });
    queue.sort((a, b) => a.atMs - b.atMs);
  };
  let nowMs = 1_000_000;
  const up = new Pipe(chance, later);
  const down = new Pipe(chance, later);
  const client = new ClientSession({
    transport: 'tcp',
    version: '2.0.2',
    mechanisms: [mechanism],
    login: { ...ALICE, password },
    serverName: 'tb.example',
    tunnelType: 'v6anyv4',
    clientAddress: CLIENT.address,
    keepaliveSeconds: 30,
    cnonce: `c${seed}`,
    jitterSeed: seed,
  });
  const { realm, tunnelTypes } = SETTINGS;
  const server = new TspConnection(
    new Reception(SETTINGS, 10),
    { id: 1, source: CLIENT, realm, tunnelTypes },
    nowMs,
  );
  let tunnel: TunnelInfo | undefined;
  let end: ClientEnd | undefined;
  const fates: string[] = [];
  const feed = (event: ClientEvent) => {
    for (const command of client.handle(event, nowMs)) {
      if (command.type === 'send') {
        up.send(command.bytes, nowMs, (bytes) => serve({ type: 'octets', bytes }));
      }
      if (command.type === 'tunnel-up') tunnel = command.tunnel;
      if (command.type === 'ended') end = command.end;
    }
  };
  const resultOf = (command: ConnectionCommand): ConnectionEvent | undefined => {
    if (command.type !== 'look-up-salt') return willingBroker(command);
    return { type: 'salt-looked-up', first: command.first, found: ALICES_CREDENTIAL.scram };
  };
  const serve = (event: ConnectionEvent) => {
    for (const command of server.handle(event, nowMs)) {
      if (command.type === 'send') {
        const bytes = Buffer.from(command.data, 'latin1');
        down.send(bytes, nowMs, (piece) => feed({ type: 'received', bytes: piece }));
      }
      if (command.type === 'accept-tunnel' || command.type === 'reject-tunnel') {
        fates.push(command.type);
      }
      const result = resultOf(command);
      if (result) later(nowMs + chance() * 3000, () => serve(result));
    }
  };
  feed({ type: 'start' });
  for (let steps = 0; steps < 10_000 && !end; steps++) {
    const next = Math.min(
      queue[0]?.atMs ?? Number.POSITIVE_INFINITY,
      server.deadline() ?? Number.POSITIVE_INFINITY,
      tunnel ? Number.POSITIVE_INFINITY : (client.deadline() ?? Number.POSITIVE_INFINITY),
    );
    if (!Number.isFinite(next)) break;
    nowMs = Math.max(nowMs, next);
    if (queue[0] && queue[0].atMs <= nowMs) queue.shift()?.run();
    serve({ type: 'tick' });
    if (!tunnel) feed({ type: 'tick' });
  }
  return { tunnel, end, fates };
}

test('over TCP both ends agree, however the octets are cut', () => {
  for (let seed = 1; seed <= 400; seed++) {
    const { tunnel, end, fates } = meet(seed, MECHANISMS[seed % 4]!);
    assert.equal(end, undefined, `${seed} ${JSON.stringify(end)}`);
    assert.equal(tunnel?.tunnelType, 'v6v4', `${seed}`);
    assert.deepEqual(fates, ['accept-tunnel'], `${seed}`);
  }
});

test('over TCP a wrong password is refused by each mechanism', () => {
  for (const mechanism of ['SCRAM-SHA-256', 'DIGEST-MD5', 'PLAIN'] as const) {
    const { end } = meet(7, mechanism, 'wrong');
    assert.deepEqual(end, {
      reason: 'authentication-refused',
      mechanism,
      text: 'Authentication failed',
    });
  }
});
