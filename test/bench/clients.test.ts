// The played clients against the real sessions of the server, in virtual time: what is counted has to
// be what happened.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { formatIpv4, parseIpv4, parseIpv4Prefix } from '../../src/address.ts';
import { Clients } from '../../src/bench/clients.ts';
import { readEchoReply } from '../../src/bench/echo.ts';
import { type JournalLine, lineOf } from '../../src/bench/journal.ts';
import type { BenchPlan, OwnEndpoint } from '../../src/bench/plan.ts';
import { Tally } from '../../src/bench/tally.ts';
import { readDatagram, writeDatagram } from '../../src/tsp/framing.ts';
import type { Mechanism } from '../../src/tsp/messages.ts';
import { ha1Forms } from '../../src/tsp/sasl.ts';
import { scramCredential } from '../../src/tsp/scram.ts';
import { type ServerCommand, TspServer } from '../../src/tsp/server.ts';
import type { SessionResult } from '../../src/tsp/server-session.ts';
import { SETTINGS, willingBroker } from '../tsp/wire.ts';

const PLAN: BenchPlan = {
  server: { address: parseIpv4('192.0.2.53')!, port: 3653 },
  serverName: 'tb.example',
  from: parseIpv4Prefix('10.128.0.0/9')!,
  ports: 2,
  mechanism: 'DIGEST-MD5',
  namePrefix: 'bench-',
  users: 100,
  secret: 's3cret',
  prefixLength: undefined,
  pace: { type: 'closed', concurrency: 1 },
  hold: 0,
  warmupSeconds: 0,
  durationSeconds: 1,
  logins: undefined,
  loss: 0,
  duplication: 0,
  renewals: 0,
  moves: 0,
  leaving: 0,
  retrySeconds: undefined,
  journal: undefined,
  serverPid: undefined,
};

/** Clients, a server, and a line between them that takes no time. */
class Scene {
  readonly tally = new Tally();
  readonly clients: Clients;
  readonly server = new TspServer({
    ...SETTINGS,
    maxSessions: 10_000,
    maxSessionsPerAddress: 9999,
  });
  /** Users and endpoints of the tunnels that were accepted, in order. */
  readonly accepted: string[] = [];
  readonly deleted: string[] = [];
  readonly journal: (JournalLine & { readonly countedBefore: number })[] = [];
  /** Datagrams that are lost. */
  drops: (from: OwnEndpoint, bytes: Uint8Array) => boolean = () => false;
  answers: (command: ServerCommand) => SessionResult | undefined = willingBroker;
  nowMs = 1000;
  readonly #sessions = new Map<unknown, string>();
  readonly #sockets = new Map<string, number>();

  constructor(plan: Partial<BenchPlan> = {}) {
    const whole = { ...PLAN, ...plan };
    const transmit = (from: OwnEndpoint, bytes: Uint8Array) => this.#carry(from, bytes);
    this.clients = new Clients(whole, this.tally, transmit, this.nowMs, (user, from, tunnel) => {
      const endpoint = { address: from.address, port: 40_000 + from.socket };
      const line = JSON.parse(lineOf(user, endpoint, tunnel)) as JournalLine;
      this.journal.push({ ...line, countedBefore: this.tally.get('succeeded') });
    });
  }

  login(measured = true): boolean {
    return this.clients.beginVisitor(this.nowMs, measured, this.nowMs);
  }

  /** In steps of 50 ms. */
  pass(ms: number): void {
    for (const endMs = this.nowMs + ms; this.nowMs < endMs; ) {
      this.nowMs += 50;
      this.clients.expire(this.nowMs);
    }
  }

  #carry(from: OwnEndpoint, bytes: Uint8Array): void {
    if (this.drops(from, bytes)) return;
    if (bytes[0]! >>> 4 === 6) {
      const reply = bytes.slice();
      reply[40] = 129;
      this.clients.receive(from.socket, from.address, reply, this.nowMs);
      return;
    }
    const peer = { address: from.address, port: 40_000 + from.socket };
    this.#sockets.set(`${from.address} ${peer.port}`, from.socket);
    this.#serve(this.server.handle({ type: 'datagram', from: peer, bytes }, this.nowMs));
  }

  #serve(commands: readonly ServerCommand[]): void {
    for (const command of commands) {
      if (command.type === 'send') {
        const { address, port } = command.to;
        const socket = this.#sockets.get(`${address} ${port}`)!;
        this.clients.receive(socket, Number(address), command.bytes, this.nowMs);
      } else if (command.type === 'look-up-salt') {
        const { first, ticket } = command;
        const found = credentialOf(first.username).scram;
        this.#serve(
          this.server.handle({ type: 'salt-looked-up', first, found, ticket }, this.nowMs),
        );
      } else if ('session' in command) {
        const result = this.#resultOf(command);
        if (result) {
          this.#serve(this.server.handle({ ...result, session: command.session }, this.nowMs));
        }
      }
    }
  }

  #resultOf(command: ServerCommand): SessionResult | undefined {
    if (command.type === 'look-up-credential') {
      const { username } = command;
      return { type: 'credential-found', userId: username, credential: credentialOf(username) };
    }
    if (command.type === 'open-tunnel') {
      const { user, source, session } = command;
      const who = user.type === 'account' ? user.username : 'nobody';
      this.#sessions.set(session, `${who} ${source.address}:${source.port}`);
    }
    if (command.type === 'accept-tunnel') {
      this.accepted.push(this.#sessions.get(command.session)!);
    }
    if (command.type === 'delete-tunnel') this.deleted.push(this.#sessions.get(command.session)!);
    return this.answers(command);
  }
}

function credentialOf(username: string) {
  return {
    ha1s: ha1Forms(username, SETTINGS.realm, PLAN.secret),
    scram: scramCredential(PLAN.secret, new Uint8Array(16)),
  };
}

for (const mechanism of ['DIGEST-MD5', 'SCRAM-SHA-256', 'PLAIN', 'ANONYMOUS'] as Mechanism[]) {
  test(`logins by ${mechanism} are counted, each from an endpoint of its own`, () => {
    const scene = new Scene({ mechanism });
    for (let i = 0; i < 10; i++) assert.equal(scene.login(), true);
    assert.equal(scene.clients.underWay, 0);
    assert.equal(scene.tally.get('succeeded'), 10);
    assert.equal(scene.tally.latency.count, 10);
    assert.equal(new Set(scene.accepted.map((who) => who.split(' ')[1])).size, 10);
    const first = mechanism === 'ANONYMOUS' ? 'nobody' : 'bench-000001';
    assert.equal(scene.accepted[0]?.split(' ')[0], first);
    assert.deepEqual([...scene.clients.failures], []);
  });
}

test('after the last user the first one logs in again, from the same endpoint', () => {
  const scene = new Scene({ users: 3 });
  for (let i = 0; i < 4; i++) scene.login();
  assert.equal(scene.accepted[3], scene.accepted[0]);
});

test('a login that is not measured leaves no figure', () => {
  const scene = new Scene();
  scene.login(false);
  assert.equal(scene.accepted.length, 1);
  assert.equal(scene.tally.get('succeeded'), 0);
  assert.equal(scene.tally.latency.count, 0);
});

test('latency counts from when the login was due', () => {
  const scene = new Scene();
  scene.clients.beginVisitor(scene.nowMs - 250, true, scene.nowMs);
  assert.ok(Math.abs(scene.tally.latency.percentileMs(1)! - 250) < 2);
});

test('what is lost is repeated and counted, and whoever gets no answer has failed', () => {
  const scene = new Scene();
  let dropped = 0;
  scene.drops = () => dropped++ < 2;
  scene.login();
  scene.pass(10_000);
  assert.equal(scene.tally.get('repetitions'), 2);
  assert.equal(scene.tally.get('succeeded'), 1);
  assert.ok(scene.tally.latency.percentileMs(1)! >= 4000);

  scene.drops = () => true;
  scene.login();
  assert.equal(scene.clients.underWay, 1);
  scene.pass(60_000);
  assert.equal(scene.clients.underWay, 0);
  assert.deepEqual([...scene.clients.failures], [['no-answer', 1]]);
  assert.equal(scene.tally.get('failed'), 1);
});

test('refusals are counted by their status', () => {
  const scene = new Scene();
  scene.answers = (command) =>
    command.type === 'open-tunnel' ? { type: 'refused', status: 301 } : willingBroker(command);
  scene.login();
  scene.answers = willingBroker;
  assert.deepEqual([...scene.clients.failures], [[301, 1]]);

  const wrong = new Scene({ secret: 'another' });
  wrong.login();
  assert.deepEqual([...wrong.clients.failures], [[300, 1]]);
});

test('a server that does not know the secret is found out', () => {
  const scene = new Scene();
  const serve = scene.clients.receive.bind(scene.clients);
  scene.clients.receive = (socket, address, bytes, nowMs) => {
    const datagram = readDatagram(bytes);
    const text = datagram && Buffer.from(datagram.payload).toString('latin1');
    const forged =
      datagram && text?.startsWith('cnNwYXV0')
        ? writeDatagram(datagram.header, Buffer.from('cnNwYXV0aD0wMDAw\r\n'))
        : bytes;
    serve(socket, address, forged, nowMs);
  };
  scene.login();
  assert.deepEqual([...scene.clients.failures], [['server-not-proven', 1]]);
});

test('held tunnels are kept alive by answered echoes, and lost when these stop', () => {
  const scene = new Scene({ hold: 5 });
  for (let i = 0; i < 5; i++) scene.clients.beginResident(i, scene.nowMs);
  assert.equal(scene.tally.get('held'), 5);
  scene.pass(120_000);
  const sent = scene.tally.get('keepalivesSent');
  assert.ok(sent >= 5 * 4 && sent <= 5 * 6, `${sent} keepalives`);
  assert.equal(scene.tally.get('keepalivesAnswered'), sent);
  assert.equal(scene.tally.get('lost'), 0);
  // Visitors are others.
  scene.login();
  assert.match(scene.accepted.at(-1)!, /^bench-000006 /);

  scene.drops = (_, bytes) => bytes[0]! >>> 4 === 6;
  scene.pass(200_000);
  assert.equal(scene.tally.get('lost'), 5);
  assert.equal(readEchoReply(new Uint8Array(3)), undefined);
});

test('renewals come from the same endpoint, moves from another', () => {
  const renewed = new Scene({ renewals: 1 });
  for (let i = 0; i < 5; i++) renewed.login();
  assert.equal(new Set(renewed.accepted).size, 1);

  const moved = new Scene({ moves: 1 });
  for (let i = 0; i < 5; i++) moved.login();
  assert.equal(new Set(moved.accepted.map((who) => who.split(' ')[0])).size, 1);
  assert.equal(new Set(moved.accepted).size, 5);
});

test('whoever leaves deletes the tunnel', () => {
  const scene = new Scene({ leaving: 1 });
  scene.login();
  assert.deepEqual(scene.deleted, scene.accepted);
  assert.equal(scene.tally.get('left'), 1);
  assert.equal(scene.tally.get('failed'), 0);
});

test('with a patience a login is begun anew until it is there, and counts from the first try', () => {
  const scene = new Scene({ retrySeconds: 2 });
  scene.drops = () => true;
  scene.login();
  scene.pass(5000);
  assert.equal(scene.tally.get('retried'), 2);
  scene.drops = () => false;
  scene.pass(2000);
  assert.equal(scene.tally.get('succeeded'), 1);
  assert.equal(scene.clients.underWay, 0);
  assert.ok(scene.tally.latency.percentileMs(1)! >= 5500);
  scene.pass(10_000);
  assert.equal(scene.tally.get('retried'), 3, 'nobody tries again after the login');
});

test('with a patience a refusal is waited out', () => {
  const scene = new Scene({ retrySeconds: 2 });
  scene.answers = (command) =>
    command.type === 'open-tunnel' ? { type: 'refused', status: 301 } : willingBroker(command);
  scene.login();
  scene.pass(5000);
  assert.equal(scene.tally.get('retried'), 2);
  assert.equal(scene.tally.get('failed'), 0);
  scene.answers = willingBroker;
  scene.pass(2000);
  assert.equal(scene.tally.get('succeeded'), 1);
});

test('the journal has each login that was answered, before it is counted', () => {
  const scene = new Scene({ prefixLength: 56 });
  scene.login();
  scene.drops = () => true;
  scene.login();
  scene.drops = () => false;
  scene.login();
  const said = scene.journal.map(
    ({ user, endpoint, countedBefore }) => `${user} ${endpoint} ${countedBefore}`,
  );
  const heard = scene.accepted.map((who, index) => {
    const [user, from = ''] = who.split(' ');
    const [address, port] = from.split(':');
    return `${user} ${formatIpv4(Number(address))}:${port} ${index}`;
  });
  assert.equal(said.length, 2);
  assert.deepEqual(said, heard);
  assert.match(scene.journal[0]!.address, /^[0-9a-f:]+$/);
});

test('nobody logs in twice at once', () => {
  const scene = new Scene({ users: 2 });
  scene.drops = () => true;
  assert.equal(scene.login(), true);
  assert.equal(scene.login(), true);
  assert.equal(scene.login(), false);
});
