// What fuzzing holds: no octets and no order of events makes anything in this room throw, and no
// input yields more than one bounded answer.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { type ClientEvent, ClientSession } from '../../src/tsp/client-session.ts';
import { readChallenge, readDigestResponse } from '../../src/tsp/digest-md5.ts';
import {
  HEADER_OCTETS,
  MAX_ANSWER_OCTETS,
  readDatagram,
  readStatus,
  unframe,
  writeDatagram,
} from '../../src/tsp/framing.ts';
import { readCapability, readOpening } from '../../src/tsp/opening.ts';
import { readBase64, readPlain, writeBase64 } from '../../src/tsp/sasl.ts';
import { readScramFinal, readScramFirst, writeScramFirst } from '../../src/tsp/scram.ts';
import type { ServerCommand } from '../../src/tsp/server.ts';
import { SESSION_IDLE_MS, type SessionResult } from '../../src/tsp/server-session.ts';
import { readBrokers, readRequest, readTunnelInfo } from '../../src/tsp/vocabulary.ts';
import {
  ACCEPT,
  CAPABILITY,
  CREATE,
  DELETE,
  FAILED,
  framed,
  INFO,
  INFO_BEHIND_NAT,
  REJECT,
  SUCCESS,
} from './examples.ts';
import { CLIENT, offered, Wire, willingBroker } from './wire.ts';

const DIGEST_RESPONSE =
  'charset=utf-8,username="alice",realm="tb.example",nonce="n",nc=00000001,cnonce="c",' +
  'digest-uri="tsp/x",response=9f5e2548e6046f3b5474239f134010f5,qop=auth';

const TEXTS = [
  '',
  'VERSION=2.0.2\r\n',
  'VERSION=1.0\r\n',
  'ECHO REQUEST',
  'AUTHENTICATE ANONYMOUS\r\n\0',
  'AUTHENTICATE PLAIN\r\n\0',
  'AUTHENTICATE DIGEST-MD5\r\n\0',
  'AUTHENTICATE SCRAM-SHA-256\r\n',
  writeBase64(writeScramFirst('alice', 'cnonce')),
  '\0alice\0s3cret\r\n',
  '\0alice\0wrong\r\n',
  writeBase64(DIGEST_RESPONSE),
  CREATE,
  ACCEPT,
  REJECT,
  INFO,
  DELETE,
  CAPABILITY,
  SUCCESS,
  FAILED,
  framed(INFO_BEHIND_NAT),
  DIGEST_RESPONSE,
];

/** Octets at random, known texts, and known texts with a piece cut out or put in. */
const octets = fc.oneof(
  fc.uint8Array({ maxLength: 300 }),
  fc.constantFrom(...TEXTS).map((text) => Buffer.from(text, 'latin1')),
  fc
    .tuple(fc.constantFrom(...TEXTS), fc.nat(), fc.nat(30), fc.uint8Array({ maxLength: 20 }))
    .map(([text, at, length, piece]) => {
      const bytes = Buffer.from(text, 'latin1');
      const start = bytes.length === 0 ? 0 : at % bytes.length;
      return Buffer.concat([bytes.subarray(0, start), piece, bytes.subarray(start + length)]);
    }),
);

test('no octets make a reader throw', () => {
  fc.assert(
    fc.property(octets, (bytes) => {
      const text = Buffer.from(bytes).toString('latin1');
      readDatagram(bytes);
      unframe(bytes);
      readStatus(text);
      readOpening(bytes);
      readCapability(text);
      readPlain(bytes);
      readBase64(text);
      readChallenge(text);
      readDigestResponse(text);
      readScramFirst(text);
      readScramFinal(text);
      readRequest(bytes);
      readTunnelInfo(bytes);
      assert.ok(readBrokers(bytes).length <= 50);
    }),
    { numRuns: 3000 },
  );
});

test('the largest messages are read or refused at once', () => {
  const worst = [
    ' ',
    '\0',
    ',',
    '<',
    '<a>',
    '<a ',
    '&',
    '"',
    '\\',
    '=',
    'a=,',
    'a="b",',
    'A',
    '\r\n',
  ];
  const startMs = performance.now();
  for (const piece of worst) {
    const bytes = Buffer.from(piece.repeat(4096).slice(0, 4096));
    const text = bytes.toString('latin1');
    readOpening(bytes);
    readPlain(bytes);
    readChallenge(text);
    readDigestResponse(text);
    readRequest(bytes);
    readOpening(Buffer.from(writeBase64(text.slice(0, 3000))));
  }
  const perInputMs = (performance.now() - startMs) / worst.length;
  assert.ok(perInputMs < 50, `${perInputMs} ms for each input`);
});

type Action =
  | { readonly type: 'say'; readonly port: number; readonly step: number; readonly text: string }
  /** What a client would say next that logs in without a name. */
  | { readonly type: 'proceed'; readonly port: number }
  | { readonly type: 'octets'; readonly bytes: Uint8Array }
  | { readonly type: 'respond'; readonly step: number }
  | { readonly type: 'result'; readonly session: number; readonly what: number }
  | { readonly type: 'wait'; readonly ms: number };

const action: fc.Arbitrary<Action> = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.record({
      type: fc.constant('say' as const),
      port: fc.integer({ min: 1, max: 2 }),
      // Mostly the next sequence, sometimes one before or after.
      step: fc.constantFrom(1, 1, 1, 1, 0, 0, -1, 2),
      text: fc.constantFrom(...TEXTS),
    }),
  },
  {
    weight: 8,
    arbitrary: fc.record({
      type: fc.constant('proceed' as const),
      port: fc.integer({ min: 1, max: 2 }),
    }),
  },
  { weight: 1, arbitrary: fc.record({ type: fc.constant('octets' as const), bytes: octets }) },
  {
    weight: 2,
    arbitrary: fc.record({ type: fc.constant('respond' as const), step: fc.constantFrom(1, 0) }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      type: fc.constant('result' as const),
      session: fc.integer({ min: 1, max: 6 }),
      what: fc.nat(6),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      type: fc.constant('wait' as const),
      ms: fc.constantFrom(1, 1000, 50_000, SESSION_IDLE_MS),
    }),
  },
);

test('no order of events makes the server throw, say much or lose an offer', () => {
  const reached = new Set<string>();
  fc.assert(
    fc.property(
      fc.array(action, { maxLength: 60, size: 'max' }),
      fc.boolean(),
      (actions, prompt) => {
        const wire = new Wire();
        let offers = 0;
        const fate = new Map<unknown, string[]>();
        const offer = (): SessionResult => {
          fate.set(++offers, []);
          return {
            type: 'tunnel-offered',
            offerId: offers,
            info: offered('v6udpv4', CLIENT.address),
          };
        };
        const settle = (command: ServerCommand) => {
          if (command.type === 'accept-tunnel' || command.type === 'reject-tunnel') {
            fate.get(command.offerId)?.push(command.type);
          }
        };
        wire.answer = (command) => {
          settle(command);
          reached.add(command.type);
          if (!prompt) return undefined;
          return command.type === 'open-tunnel' ? offer() : willingBroker(command);
        };
        const results: (() => SessionResult)[] = [
          offer,
          () => ({ type: 'tunnel-accepted' }),
          () => ({ type: 'tunnel-deleted' }),
          () => ({ type: 'refused', status: 310 }),
          () => ({ type: 'credential-missing' }),
          () => ({ type: 'credential-found', userId: 1, credential: { ha1s: [] } }),
          () => ({
            type: 'tunnel-described',
            info: offered('v6v4', 1),
          }),
        ];
        const sequences = [0, 240, 240];
        const proceeded = [0, 0, 0];
        let challenge = '';
        const say = (port: number, step: number, text: string) => {
          sequences[port] = sequences[port]! + step;
          const sent = wire.say(sequences[port]!, text, { from: { ...CLIENT, port } });
          assert.ok(sent.length <= 1 || prompt);
          if (text.startsWith('AUTHENTICATE DIGEST')) challenge = sent[0] ?? challenge;
          for (const answer of sent) assert.ok(answer.length <= MAX_ANSWER_OCTETS);
        };
        for (const next of actions) {
          switch (next.type) {
            case 'say':
              say(next.port, next.step, next.text);
              break;
            case 'proceed': {
              const course = ['AUTHENTICATE ANONYMOUS\r\n', CREATE, ACCEPT];
              const { port } = next;
              say(port, 1, course[proceeded[port]! % course.length]!);
              proceeded[port] = proceeded[port]! + 1;
              break;
            }
            case 'respond':
              if (challenge.startsWith('cmVh')) say(1, next.step, wire.respond(challenge));
              break;
            case 'octets': {
              const sent = wire.handle({ type: 'datagram', from: CLIENT, bytes: next.bytes });
              assert.ok(sent.every(({ text }) => text.length <= MAX_ANSWER_OCTETS));
              break;
            }
            case 'result': {
              const { session } = next;
              const sent = wire.handle({ ...results[next.what]!(), session });
              assert.ok(sent.length <= 1);
              break;
            }
            case 'wait':
              wire.nowMs += next.ms;
              wire.handle({ type: 'tick' });
          }
        }
        wire.nowMs += SESSION_IDLE_MS;
        wire.handle({ type: 'tick' });
        assert.equal(wire.server.sessionCount, 0);
        assert.equal(wire.server.deadline(), undefined);
        for (const [id, ends] of fate) assert.equal(ends.length, 1, `offer ${id}: ${ends}`);
      },
    ),
    { numRuns: 1500 },
  );
  for (const type of [
    'look-up-credential',
    'open-tunnel',
    'accept-tunnel',
    'reject-tunnel',
    'describe-tunnel',
    'delete-tunnel',
  ]) {
    assert.ok(reached.has(type), `${type} was never reached`);
  }
});

test('before authentication a packet yields one packet, and when the budget is spent at most twice its size', () => {
  const IP_AND_UDP_OCTETS = 28;
  const wire = new Wire({ mechanisms: ['SCRAM-SHA-256', 'DIGEST-MD5'] });
  let refused = 0;
  for (let i = 0; i < 400; i++) refused += 1 - wire.say(i, 'AUTHENTICATE DIGEST-MD5\r\n').length;
  assert.ok(refused > 0, 'the budget is spent');
  let answered = 0;
  let excess = 0;
  fc.assert(
    fc.property(octets, fc.nat(2 ** 28 - 1), (payload, sequence) => {
      const bytes = writeDatagram({ sequence, timestamp: 0 }, payload);
      const sent = wire.handle({ type: 'datagram', from: CLIENT, bytes });
      assert.ok(sent.length <= 1);
      answered += sent.length;
      const answer = sent[0] ? sent[0].text.length + HEADER_OCTETS + IP_AND_UDP_OCTETS : 0;
      excess += Math.max(0, answer - 2 * (bytes.length + IP_AND_UDP_OCTETS));
      assert.equal(wire.server.sessionCount, 0);
    }),
    { numRuns: 2000 },
  );
  assert.ok(answered > 50);
  assert.ok(excess < 60, 'what one more challenge would have taken');
});

const clientEvent = fc.oneof(
  fc.record({
    type: fc.constant('datagram' as const),
    offset: fc.constantFrom(0, 0, 0, 0, 1, -1),
    payload: octets,
  }),
  fc.record({ type: fc.constant('octets' as const), payload: octets }),
  fc.record({
    type: fc.constantFrom('start', 'tunnel-traffic', 'tick', 'stop', 'disconnected' as const),
  }),
  fc.record({ type: fc.constant('keepalive-answered' as const), sequence: fc.nat(70_000) }),
);

test('no order of events makes the client throw, or speak after its end', () => {
  fc.assert(
    fc.property(
      fc.array(clientEvent, { maxLength: 40, size: 'max' }),
      fc.constantFrom('SCRAM-SHA-256', 'DIGEST-MD5', 'PLAIN', 'ANONYMOUS' as const),
      fc.constantFrom('udp', 'tcp' as const),
      (events, mechanism, transport) => {
        const client = new ClientSession({
          transport,
          version: '2.0.2',
          mechanisms: [mechanism],
          login: { username: 'alice', password: 's3cret' },
          serverName: 'tb.example',
          tunnelType: 'v6anyv4',
          clientAddress: CLIENT.address,
          keepaliveSeconds: 30,
          cnonce: 'c',
          jitterSeed: 0,
        });
        let nowMs = 0;
        let ended = false;
        let sequence = 240;
        const handle = (event: ClientEvent) => {
          nowMs = Math.max(nowMs + 10, event.type === 'tick' ? (client.deadline() ?? nowMs) : 0);
          const commands = client.handle(event, nowMs);
          if (ended) assert.deepEqual(commands, []);
          for (const command of commands) {
            if (command.type === 'send' && transport === 'udp') {
              assert.ok(command.bytes.length <= HEADER_OCTETS + MAX_ANSWER_OCTETS);
              sequence = readDatagram(command.bytes)!.header.sequence;
            }
            if (command.type === 'ended') ended = true;
          }
          if (ended) assert.equal(client.deadline(), undefined);
        };
        handle({ type: 'start' });
        for (const event of events) {
          switch (event.type) {
            case 'datagram': {
              const header = { sequence: sequence + event.offset, timestamp: nowMs };
              const bytes =
                transport === 'udp' ? writeDatagram(header, event.payload) : event.payload;
              handle({ type: 'received', bytes });
              break;
            }
            case 'octets':
              handle({ type: 'received', bytes: event.payload });
              break;
            case 'keepalive-answered':
              handle(event);
              break;
            default:
              handle({ type: event.type } as ClientEvent);
          }
        }
      },
    ),
    { numRuns: 2000 },
  );
});
