// Whole dialogues over TCP, octet by octet, in the habits of real clients, and what a connection
// bears.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { parseIpv6 } from '../../src/address.ts';
import { LOGIN_LIMIT_MS, SEPARATION_MS, STEP_LIMIT_MS } from '../../src/tsp/connection.ts';
import { Reception } from '../../src/tsp/reception.ts';
import { readBase64, writeBase64 } from '../../src/tsp/sasl.ts';
import { answerServerFirst, writeScramFirst } from '../../src/tsp/scram.ts';
import { SESSION_IDLE_MS } from '../../src/tsp/server-session.ts';
import {
  ACCEPT,
  CREATE,
  crlf,
  DELETE,
  FAILED,
  framed,
  INFO,
  REJECT,
  SUCCESS,
  WHOLE_CAPABILITY,
} from './examples.ts';
import { Line } from './line.ts';
import { ALICE, CLIENT, offered, SETTINGS } from './wire.ts';

const VERSION = 'VERSION=2.0.2\r\n';
/** The address that the client states is the one that it has: no NAT. */
const CREATE_HERE = framed(
  CREATE.slice(CREATE.indexOf('\r\n') + 2).replace('10.20.30.40', '203.0.113.9'),
);
const IN_UDP = framed('303 Unsupported tunnel type\r\n');

const TUNNEL = framed(
  crlf(`200 Success
<tunnel action="info" type="v6v4" lifetime="10080">
<server>
<address type="ipv4">192.0.2.53</address>
<address type="ipv6">2001:0db8:0000:0001:0000:0000:0000:0010</address>
</server>
<client>
<address type="ipv4">203.0.113.9</address>
<address type="ipv6">2001:0db8:0000:0001:0000:0000:0000:0011</address>
<dns_server>
<address type="ipv6">2001:0db8:0000:0000:0000:0000:0000:0053</address>
</dns_server>
<keepalive interval="30">
<address type="ipv6">2001:0db8:0000:0001:0000:0000:0000:0010</address>
</keepalive>
</client>
</tunnel>
`),
);

const PLAIN_DIALOGUE = [
  VERSION,
  'AUTHENTICATE PLAIN\r\n\0',
  '\0alice\0s3cret\r\n',
  CREATE_HERE,
  ACCEPT,
].join('');

function loggedIn(mechanism: 'ANONYMOUS' | 'PLAIN' = 'PLAIN'): Line {
  const line = new Line();
  line.say(VERSION);
  line.say(`AUTHENTICATE ${mechanism}\r\n\0`);
  if (mechanism === 'PLAIN') line.say('\0alice\0s3cret\r\n');
  assert.deepEqual(line.segments, [WHOLE_CAPABILITY, SUCCESS]);
  return line;
}

test('gogoc logs in by PLAIN over TCP: no answer to its first line, none to accept', () => {
  const line = new Line();
  assert.deepEqual(line.say(VERSION), [WHOLE_CAPABILITY]);
  assert.deepEqual(line.say('AUTHENTICATE PLAIN\r\n\0'), []);
  assert.deepEqual(line.say('\0alice\0s3cret\r\n'), [SUCCESS]);
  assert.deepEqual(line.did, ['look-up-credential', 'authentication']);
  assert.deepEqual(line.say(CREATE_HERE), [TUNNEL]);
  assert.deepEqual(line.commands, [
    {
      type: 'open-tunnel',
      session: 1,
      user: { type: 'account', userId: 7, username: 'alice' },
      tunnelType: 'v6v4',
      source: CLIENT,
      endpoint: { ...CLIENT, port: 0 },
      proxy: false,
      statedAddress: CLIENT.address,
      prefixLength: 56,
      keepaliveSeconds: 30,
      nameServers: [],
    },
  ]);
  assert.deepEqual(line.say(ACCEPT), []);
  assert.deepEqual(line.did, ['accept-tunnel']);
  assert.equal(line.closed, false);
});

test('PLAIN is read with both NULs in one segment, split between them, and in base64', () => {
  for (const pieces of [
    ['AUTHENTICATE PLAIN\r\n\0\0alice\0s3cret\r\n'],
    ['AUTHENTICATE PLAIN\r\n\0', '\0alice\0s3cret', '\r\n'],
    ['AUTHENTICATE PLAIN\r', '\n\0\0alice', '\0s3cret\r'],
    ['AUTHENTICATE PLAIN\r\b', '\0alice\0s3cret\n'],
    ['AUTHENTICATE PLAIN\r\n', `${Buffer.from('\0alice\0s3cret').toString('base64')}\r\n`],
  ]) {
    const line = new Line();
    for (const piece of pieces) line.say(piece);
    assert.deepEqual(line.segments, [SUCCESS], JSON.stringify(pieces));
  }
});

test('gogoc logs in by DIGEST-MD5 over TCP: the 200 follows rspauth in a segment of its own', () => {
  const line = new Line();
  line.say(VERSION);
  const [challenge = ''] = line.say('AUTHENTICATE DIGEST-MD5\r\n\0');
  assert.match(challenge, /^cmVhbG09[A-Za-z0-9+/]*={0,2}\r\n$/);
  const [proof = '', ...more] = line.say(line.respond(challenge));
  assert.match(Buffer.from(proof, 'base64').toString(), /^rspauth=[0-9a-f]{32}$/);
  assert.deepEqual(more, []);
  assert.equal(line.connection.deadline(), line.nowMs + SEPARATION_MS);
  line.nowMs += SEPARATION_MS - 1;
  assert.deepEqual(line.handle({ type: 'tick' }), []);
  line.nowMs += 1;
  assert.deepEqual(line.handle({ type: 'tick' }), [SUCCESS]);
  assert.deepEqual(line.say(CREATE_HERE), [TUNNEL]);
});

test('SCRAM-SHA-256 over TCP: nothing to the first line, proof and 200 apart', () => {
  const line = new Line();
  line.say(VERSION);
  assert.deepEqual(line.say('AUTHENTICATE SCRAM-SHA-256\r\n'), []);
  const [challenge = ''] = line.say(writeBase64(writeScramFirst('alice', 'mine')));
  const answer = answerServerFirst(readBase64(challenge) ?? '', ALICE, 'mine')!;
  assert.deepEqual(line.say(writeBase64(answer.final)), [writeBase64(answer.proof)]);
  assert.deepEqual(line.wait(), [SUCCESS]);
  assert.deepEqual(line.say(CREATE_HERE), [TUNNEL]);
});

test('the same octets in any segmentation give the same segments', () => {
  const bytes = Buffer.from(PLAIN_DIALOGUE, 'latin1');
  fc.assert(
    fc.property(fc.array(fc.nat(bytes.length), { maxLength: 40 }), (cuts) => {
      const line = new Line();
      const places = [0, ...cuts.toSorted((a, b) => a - b), bytes.length];
      for (const [index, place] of places.slice(1).entries()) {
        line.say(bytes.subarray(places[index], place));
      }
      assert.deepEqual(line.segments, [WHOLE_CAPABILITY, SUCCESS, TUNNEL]);
    }),
    { numRuns: 500 },
  );
  const line = new Line();
  for (const octet of bytes) line.say(Uint8Array.of(octet));
  assert.deepEqual(line.segments, [WHOLE_CAPABILITY, SUCCESS, TUNNEL]);
});

test('a client that sends everything at once and ends is answered in order, then let go', () => {
  const line = new Line();
  line.answer = () => undefined;
  assert.deepEqual(line.say(PLAIN_DIALOGUE), [WHOLE_CAPABILITY]);
  assert.deepEqual(line.did, ['look-up-credential']);
  line.handle({ type: 'peer-ended' });
  assert.equal(line.closed, false);
  line.handle({ type: 'refused', status: 530 });
  assert.deepEqual(line.segments, [WHOLE_CAPABILITY, '530 Server too busy\r\n']);
  assert.equal(line.closed, true);

  const prompt = new Line();
  prompt.say(PLAIN_DIALOGUE);
  prompt.handle({ type: 'peer-ended' });
  assert.deepEqual(prompt.segments, [WHOLE_CAPABILITY, SUCCESS, TUNNEL]);
  assert.equal(prompt.closed, true);
});

test('what comes while the 200 is held back is answered after it', () => {
  const line = new Line();
  const [challenge = ''] = line.say('AUTHENTICATE DIGEST-MD5\r\n\0');
  line.say(line.respond(challenge));
  assert.deepEqual(line.say(CREATE_HERE), []);
  assert.deepEqual(line.wait(), [SUCCESS, TUNNEL]);
});

test('over TCP the server decides for protocol 41 or refuses, and never for UDP', () => {
  const line = loggedIn();
  assert.deepEqual(line.say(CREATE), [IN_UDP]);
  const inUdp = CREATE_HERE.slice(CREATE_HERE.indexOf('\r\n') + 2).replace('v6anyv4', 'v6udpv4');
  assert.deepEqual(line.say(framed(inUdp)), [IN_UDP]);
  assert.deepEqual(line.say(CREATE_HERE), [TUNNEL]);
  assert.equal(line.closed, false);
});

test('create, info, delete, reject and accept follow each other in one connection', () => {
  const line = loggedIn();
  const info = /^Content-length: \d+\r\n200 Success\r\n<tunnel action="info"/;
  assert.deepEqual(line.say(CREATE_HERE), [TUNNEL]);
  assert.deepEqual(line.say(REJECT), []);
  assert.deepEqual(line.did, ['reject-tunnel']);
  assert.deepEqual(line.say(CREATE_HERE), [TUNNEL]);
  assert.match(line.say(INFO)[0] ?? '', info);
  assert.deepEqual(line.say(ACCEPT), []);
  assert.match(line.say(INFO)[0] ?? '', info);
  assert.deepEqual(line.say(CREATE_HERE), [TUNNEL]);
  assert.deepEqual(line.did, ['open-tunnel']);
  assert.deepEqual(line.say(ACCEPT), []);
  assert.deepEqual(line.say(DELETE), [framed(SUCCESS)]);
  assert.deepEqual(line.did, ['delete-tunnel']);
  assert.equal(line.closed, false);
});

test('an accept that the broker cannot keep is the one that is answered', () => {
  const line = loggedIn();
  line.say(CREATE_HERE);
  line.answer = () => ({ type: 'refused', status: 310 });
  assert.deepEqual(line.say(ACCEPT), [framed('310 Server side error\r\n')]);
});

test('failures before the tunnel are one unframed line, and the end', () => {
  const cases: readonly [string, string, string?][] = [
    ['VERSION=1.0.1\r\n', '302 Unsupported client version\r\n'],
    ['AUTHENTICATE PASSDSS-3DES-1\r\n\0', FAILED],
    ['AUTHENTICATE PLAIN\r\n\0\0alice\0wrong\r\n', FAILED],
    ['AUTHENTICATE PLAIN\r\n\0\0mallory\0s3cret\r\n', FAILED],
    ['AUTHENTICATE PLAIN\r\nnonsense\r\n', FAILED],
    ['GET / HTTP/1.1\r\n', '500 Invalid request format or length\r\n'],
    [`${'A'.repeat(5000)}`, '500 Invalid request format or length\r\n'],
  ];
  for (const [text, status] of cases) {
    const line = new Line();
    assert.deepEqual(line.say(text), [status], text);
    assert.equal(line.closed, true);
    assert.deepEqual(line.say(PLAIN_DIALOGUE), []);
    assert.equal(line.connection.deadline(), undefined);
  }
});

test('a nonce serves once, whichever connection it comes over', () => {
  const reception = new Reception(SETTINGS, 100);
  const first = new Line({}, CLIENT, reception);
  const [challenge = ''] = first.say('AUTHENTICATE DIGEST-MD5\r\n');
  const response = first.respond(challenge);
  assert.match(first.say(response)[0] ?? '', /^cnNwYXV0aD/);
  const again = new Line({}, CLIENT, reception);
  assert.deepEqual(again.say(response), [FAILED]);
  assert.deepEqual(again.did, ['count stale', 'close']);
  const elsewhere = new Line({}, { ...CLIENT, port: 1 }, reception);
  const [other = ''] = elsewhere.say('AUTHENTICATE DIGEST-MD5\r\n');
  assert.deepEqual(new Line({}, CLIENT, reception).say(elsewhere.respond(other)), [FAILED]);
});

test('a request whose end cannot be found is answered 500, and is the end', () => {
  for (const text of [
    'HELLO\r\n',
    'Content-length: 0\r\n',
    'Content-length: 9999\r\n',
    'x'.repeat(64),
  ]) {
    const line = loggedIn();
    assert.deepEqual(line.say(text), [framed('500 Invalid request format or length\r\n')], text);
    assert.equal(line.closed, true);
  }
  const line = loggedIn();
  assert.deepEqual(line.say(framed('<tunnel action="dance"/>\r\n')), [
    framed('500 Invalid request format or length\r\n'),
  ]);
  assert.equal(line.closed, false, 'its length was right, so the next one can be found');
});

test('a client that says nothing is let go after ten seconds, one that only greets after a minute', () => {
  const silent = new Line();
  assert.equal(silent.connection.deadline(), silent.nowMs + STEP_LIMIT_MS);
  assert.deepEqual(silent.wait(), []);
  assert.deepEqual(silent.did, ['count timed-out', 'close']);

  const greeting = new Line();
  const startMs = greeting.nowMs;
  while (!greeting.closed) {
    greeting.nowMs += STEP_LIMIT_MS - 1;
    greeting.handle({ type: 'tick' });
    if (!greeting.closed) greeting.say(VERSION);
    assert.ok(greeting.nowMs <= startMs + LOGIN_LIMIT_MS + STEP_LIMIT_MS);
  }
  assert.deepEqual(greeting.did, ['count timed-out', 'close']);
});

test('half a message may take ten seconds, however steadily it drips', () => {
  for (const [line, text] of [
    [new Line(), 'AUTHENTICATE '.padEnd(60, 'x')],
    [loggedIn(), 'Content-length: 500\r\n<tunnel'.padEnd(60, ' ')],
  ] as const) {
    const startMs = line.nowMs;
    for (const octet of text) {
      if (line.closed) break;
      line.say(octet);
      line.nowMs += 500;
      line.handle({ type: 'tick' });
    }
    assert.equal(line.closed, true);
    assert.equal(line.nowMs, startMs + STEP_LIMIT_MS);
  }
});

test('logged in a client may think for 90 seconds; with its tunnel up it may stay', () => {
  const idle = loggedIn();
  idle.say(CREATE_HERE);
  assert.equal(idle.connection.deadline(), idle.nowMs + SESSION_IDLE_MS);
  idle.wait();
  assert.deepEqual(idle.did, ['count timed-out', 'reject-tunnel', 'close']);

  const up = loggedIn();
  up.say(CREATE_HERE);
  up.say(ACCEPT);
  assert.equal(up.connection.deadline(), undefined);
  up.nowMs += 86_400_000;
  assert.deepEqual(up.say(DELETE), [framed(SUCCESS)]);
});

test('a connection that goes takes its open offer along, and leaves the tunnel', () => {
  const open = loggedIn();
  open.say(CREATE_HERE);
  open.handle({ type: 'disconnected' });
  assert.deepEqual(open.did, ['reject-tunnel']);

  const up = loggedIn();
  up.say(CREATE_HERE);
  up.say(ACCEPT);
  up.handle({ type: 'disconnected' });
  assert.deepEqual(up.did, []);

  const late = loggedIn();
  late.answer = () => undefined;
  late.say(CREATE_HERE);
  late.handle({ type: 'disconnected' });
  late.handle({ type: 'tunnel-offered', offerId: 3, info: offered('v6v4', CLIENT.address) });
  assert.deepEqual(late.commands, [{ type: 'reject-tunnel', session: 1, offerId: 3 }]);
});

test('a client that talks on while it is not heard is let go', () => {
  const line = loggedIn();
  line.answer = () => undefined;
  line.say(CREATE_HERE);
  for (let i = 0; i < 4; i++) line.say(Buffer.alloc(4096));
  assert.equal(line.closed, false);
  line.say('x');
  assert.deepEqual(line.did, ['count oversized', 'close']);
});

test('IPv4 in IPv6 is offered, given and described over IPv6', () => {
  const source = { address: parseIpv6('2001:db8:9::20')!, port: 40_000 };
  const line = new Line({ tunnelTypes: ['v6v4', 'v6udpv4', 'v4v6'] }, source);
  const [capability = ''] = line.say(VERSION);
  assert.match(capability, /^CAPABILITY TUNNEL=V4V6 AUTH=/);
  line.say('AUTHENTICATE ANONYMOUS\r\n');
  const create = (address: string) =>
    framed(
      crlf(`<tunnel action="create" type="v4v6" proxy="no">
<client>
${address}<keepalive interval="30">
<address type="ipv4">127.0.0.1</address>
</keepalive>
</client>
</tunnel>
`),
    );
  const invalid = framed('502 Invalid IPv6 address\r\n');
  assert.deepEqual(line.say(create('')), [invalid]);
  assert.deepEqual(line.say(create('<address type="ipv6">2001:db8:9::21</address>\r\n')), [
    invalid,
  ]);
  const [tunnel = ''] = line.say(create('<address type="ipv6">2001:db8:9::20</address>\r\n'));
  assert.deepEqual(line.did, ['open-tunnel']);
  assert.equal(
    tunnel,
    framed(
      crlf(`200 Success
<tunnel action="info" type="v4v6" lifetime="10080">
<server>
<address type="ipv4" length="30">203.0.113.5</address>
<address type="ipv6">2001:0db8:0000:0001:0000:0000:0000:0010</address>
</server>
<client>
<address type="ipv4" length="30">203.0.113.6</address>
<address type="ipv6">2001:0db8:0009:0000:0000:0000:0000:0020</address>
<dns_server>
<address type="ipv6">2001:0db8:0000:0000:0000:0000:0000:0053</address>
</dns_server>
<keepalive interval="30">
<address type="ipv4">203.0.113.5</address>
</keepalive>
</client>
</tunnel>
`),
    ),
  );
});
