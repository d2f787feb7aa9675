import assert from 'node:assert/strict';
import { test } from 'node:test';
import { TspServer } from '../../src/tsp/server.ts';
import { SESSION_IDLE_MS } from '../../src/tsp/server-session.ts';
import { ACCEPT, CAPABILITY, CREATE, FAILED, SUCCESS } from './examples.ts';
import { CLIENT, offered, SETTINGS, Wire, willingBroker } from './wire.ts';

const BUSY = '530 Server too busy\r\n';
const OTHER = { ...CLIENT, port: 40_001 };

/** VERSION from `start` on, to the point where alice is logged in; the next sequence is start+4. */
function loginByDigest(wire: Wire, start = 240): void {
  wire.say(start, 'VERSION=2.0.2\r\n');
  const [challenge = ''] = wire.say(start + 1, 'AUTHENTICATE DIGEST-MD5\r\n\0');
  wire.say(start + 2, wire.respond(challenge));
  assert.deepEqual(wire.say(start + 3, ''), [SUCCESS]);
}

test('every 2.0.x is welcome, other versions and old ones are not', () => {
  const wire = new Wire();
  for (const version of ['2.0.0', '2.0.1', '2.0.2', '2.0.17', '2.0']) {
    assert.deepEqual(wire.say(1, `VERSION=${version}\r\n`), [CAPABILITY], version);
  }
  for (const version of ['1.0.1', '1.0', '2.1.0', '3.0.0', '2.0.0.1']) {
    assert.deepEqual(wire.say(1, `VERSION=${version}\r\n`), ['302 Unsupported client version\r\n']);
    assert.deepEqual(wire.did, ['count version-refused']);
  }
});

test('nothing before authentication costs memory or amplifies much', () => {
  const wire = new Wire();
  for (const [text, most] of [
    ['VERSION=2.0.2\r\n', CAPABILITY.length],
    ['VERSION=9\r\n', 40],
    ['ECHO REQUEST', 13],
    ['AUTHENTICATE DIGEST-MD5\r\n\0', 160],
    ['AUTHENTICATE PASSDSS-3DES-1\r\n\0', 27],
  ] as const) {
    const [answer] = wire.say(7, text);
    assert.ok(answer && answer.length <= most, `${text} ${answer?.length}`);
  }
  assert.equal(wire.server.sessionCount, 0);
  assert.equal(wire.server.deadline(), undefined);
});

test('an echo request is answered with 200 wherever a session stands', () => {
  const wire = new Wire();
  assert.deepEqual(wire.say(240, 'ECHO REQUEST'), [SUCCESS]);
  loginByDigest(wire);
  assert.deepEqual(wire.say(244, 'ECHO REQUEST'), [SUCCESS]);
  assert.match(wire.say(244, CREATE)[0] ?? '', /200 Success/);
});

test('a mechanism that is not offered fails', () => {
  const wire = new Wire({ mechanisms: ['DIGEST-MD5'] });
  for (const name of ['ANONYMOUS', 'PLAIN', 'PASSDSS-3DES-1']) {
    assert.deepEqual(wire.say(1, `AUTHENTICATE ${name}\r\n`), [FAILED]);
    assert.deepEqual(wire.did, ['count mechanism-refused']);
  }
  const plainOnly = new Wire({ mechanisms: ['PLAIN'] });
  const [challenge = ''] = wire.say(1, 'AUTHENTICATE DIGEST-MD5\r\n');
  assert.deepEqual(plainOnly.say(2, wire.respond(challenge)), [FAILED]);
});

test('junk is dropped without an answer and counted', () => {
  const wire = new Wire();
  const bytes = Buffer.from('6000000000000000', 'hex');
  assert.deepEqual(wire.handle({ type: 'datagram', from: CLIENT, bytes }), []);
  assert.deepEqual(wire.did, ['count not-tsp']);
  for (const text of ['', '\0', 'HELLO\r\n', CREATE, ACCEPT, 'AAAA', 'VERSION=2.0.2 x']) {
    assert.deepEqual(wire.say(1, text), [], text);
    assert.deepEqual(wire.did, ['count unrecognised']);
  }
  assert.deepEqual(wire.say(1, `VERSION=2.0.2${' '.repeat(4096)}`), []);
  assert.deepEqual(wire.did, ['count oversized']);
  assert.equal(wire.server.sessionCount, 0);
});

test('a nonce works once, for its client, in its time', () => {
  const wire = new Wire();
  const [challenge = ''] = wire.say(241, 'AUTHENTICATE DIGEST-MD5\r\n\0');
  const response = wire.respond(challenge);
  assert.deepEqual(wire.say(242, response, { from: OTHER }), [FAILED]);
  assert.deepEqual(wire.did, ['count nonce-refused']);
  assert.equal(wire.say(242, response).length, 1);
  assert.equal(wire.server.sessionCount, 1);
  // Replayed under another sequence, it is nobody's.
  assert.deepEqual(wire.say(500, response), []);
  assert.deepEqual(wire.did, ['count stale']);

  const late = new Wire();
  const [old = ''] = late.say(241, 'AUTHENTICATE DIGEST-MD5\r\n\0');
  late.nowMs += 121_000;
  assert.deepEqual(late.say(242, late.respond(old)), [FAILED]);
});

test('a repetition is answered from memory, under its own header, and changes nothing', () => {
  const wire = new Wire();
  loginByDigest(wire);
  const [offer] = wire.say(244, CREATE, { timestamp: 1000 });
  assert.deepEqual(wire.did, ['open-tunnel']);
  assert.deepEqual(wire.say(244, CREATE, { timestamp: 3000 }), [offer]);
  assert.deepEqual(wire.did, ['count repetition']);
  wire.say(245, ACCEPT);
  assert.deepEqual(wire.did, ['accept-tunnel']);
  assert.deepEqual(wire.say(245, ACCEPT, { timestamp: 9000 }), ['']);
  assert.deepEqual(wire.did, ['count repetition']);
});

test('a repetition while the broker works is dropped; the answer comes once', () => {
  const wire = new Wire();
  loginByDigest(wire);
  wire.answer = () => undefined;
  assert.deepEqual(wire.say(244, CREATE, { timestamp: 5 }), []);
  assert.deepEqual(wire.say(244, CREATE, { timestamp: 6 }), []);
  assert.deepEqual(wire.did, ['count repetition']);
  const result = {
    type: 'tunnel-offered',
    session: 1,
    offerId: 1,
    info: offered('v6udpv4', CLIENT.address),
  } as const;
  const answers = wire.handle(result);
  assert.equal(answers.length, 1);
  assert.equal(answers[0]?.timestamp, 5);
  assert.deepEqual(wire.say(244, CREATE, { timestamp: 7 }), [answers[0]?.text]);
});

test('what is neither the last message nor the next is dropped', () => {
  const wire = new Wire();
  loginByDigest(wire);
  wire.say(244, CREATE);
  for (const [sequence, text] of [
    [244, ACCEPT],
    [243, ''],
    [246, ACCEPT],
    [9, CREATE],
  ] as const) {
    assert.deepEqual(wire.say(sequence, text), [], `${sequence} ${text}`);
    assert.deepEqual(wire.did, ['count stale']);
  }
  assert.deepEqual(wire.say(245, ACCEPT), ['']);
});

test('sequences go on after 28 bits', () => {
  const wire = new Wire();
  wire.say(2 ** 28 - 1, 'AUTHENTICATE ANONYMOUS\r\n');
  assert.match(wire.say(0, CREATE)[0] ?? '', /200 Success/);
});

test('sessions of different ports know nothing of each other', () => {
  const wire = new Wire();
  loginByDigest(wire);
  assert.deepEqual(wire.say(244, CREATE, { from: OTHER }), []);
  assert.deepEqual(wire.say(244, ACCEPT, { from: { ...CLIENT, address: 5 } }), []);
});

test('a client that starts again on its port gets a new session, from the same sequences', () => {
  const wire = new Wire();
  loginByDigest(wire);
  wire.say(244, CREATE);
  wire.say(245, ACCEPT);
  wire.nowMs += 5000;
  wire.say(240, 'VERSION=2.0.2\r\n');
  const [challenge = ''] = wire.say(241, 'AUTHENTICATE DIGEST-MD5\r\n\0');
  wire.say(242, wire.respond(challenge));
  assert.equal(wire.server.sessionCount, 2);
  assert.deepEqual(wire.say(243, ''), [SUCCESS]);
  assert.equal(wire.server.sessionCount, 1);
  assert.match(wire.say(244, CREATE)[0] ?? '', /200 Success/);
  // The tunnel of the first session is the broker's; only what was signalled is forgotten.
  assert.deepEqual(wire.did, ['open-tunnel']);
  assert.deepEqual(wire.say(245, ACCEPT), ['']);
  assert.deepEqual(wire.commands, [{ type: 'accept-tunnel', session: 2, offerId: 'offer 2' }]);
});

test('a version that falls back on the same port and sequence is not answered from memory', () => {
  const wire = new Wire();
  wire.say(240, 'VERSION=1.0.1\r\n');
  assert.deepEqual(wire.say(240, 'VERSION=2.0.0\r\n'), [CAPABILITY]);
});

test('a forged VERSION ends nothing', () => {
  const wire = new Wire();
  loginByDigest(wire);
  assert.deepEqual(wire.say(240, 'VERSION=2.0.2\r\n'), [CAPABILITY]);
  assert.match(wire.say(244, CREATE)[0] ?? '', /200 Success/);
  assert.deepEqual(wire.say(99, 'VERSION=2.0.2\r\n'), [CAPABILITY]);
  assert.deepEqual(wire.say(100, 'AUTHENTICATE PLAIN\r\n'), ['']);
  assert.deepEqual(wire.say(101, '\0alice\0wrong\r\n'), [FAILED]);
  assert.deepEqual(wire.say(102, CREATE), []);
  assert.deepEqual(wire.say(245, ACCEPT), ['']);
  assert.deepEqual(wire.commands, [{ type: 'accept-tunnel', session: 1, offerId: 'offer 1' }]);
});

test('a login that has succeeded is not ended by one that only begins', () => {
  const wire = new Wire();
  loginByDigest(wire);
  const [challenge = ''] = wire.say(501, 'AUTHENTICATE DIGEST-MD5\r\n');
  wire.say(502, wire.respond(challenge));
  assert.equal(wire.server.sessionCount, 2);
  assert.deepEqual(wire.say(900, 'AUTHENTICATE PLAIN\r\n'), ['']);
  assert.equal(wire.server.sessionCount, 2);
  assert.deepEqual(wire.say(503, ''), [SUCCESS]);
  assert.match(wire.say(504, CREATE)[0] ?? '', /200 Success/);
});

test('after a failed login the same octets are heard again at once', () => {
  const wire = new Wire();
  const login = (password: string) => {
    wire.say(240, 'VERSION=2.0.2\r\n');
    assert.deepEqual(wire.say(241, 'AUTHENTICATE PLAIN\r\n'), ['']);
    return wire.say(242, `\0alice\0${password}\r\n`);
  };
  assert.deepEqual(login('wrong'), [FAILED]);
  assert.deepEqual(login('s3cret'), [SUCCESS]);
});

test('late copies of a whole login end nothing, and a client that means them is heard soon', () => {
  const wire = new Wire();
  const beginning = () => [
    wire.say(240, 'VERSION=2.0.2\r\n'),
    wire.say(241, 'AUTHENTICATE ANONYMOUS\r\n'),
    wire.say(242, CREATE),
  ];
  beginning();
  assert.deepEqual(beginning().slice(0, 2), [[CAPABILITY], []]);
  assert.deepEqual(wire.say(243, ACCEPT), ['']);
  assert.deepEqual(wire.commands, [{ type: 'accept-tunnel', session: 1, offerId: 'offer 1' }]);
  assert.deepEqual(beginning(), [[CAPABILITY], [], []]);
  assert.deepEqual(wire.say(243, ACCEPT), ['']);
  assert.deepEqual(wire.did, ['count repetition']);

  wire.nowMs += 10_000;
  assert.deepEqual(beginning().slice(0, 2), [[CAPABILITY], [SUCCESS]]);
  wire.say(243, ACCEPT);
  assert.deepEqual(wire.commands, [{ type: 'accept-tunnel', session: 2, offerId: 'offer 2' }]);
});

test('a client that begins again with other octets is heard at once', () => {
  const wire = new Wire();
  wire.say(241, 'AUTHENTICATE ANONYMOUS\r\n');
  wire.say(242, CREATE);
  assert.deepEqual(wire.say(241, 'AUTHENTICATE PLAIN\r\n'), ['']);
  assert.deepEqual(wire.say(242, '\0alice\0wrong\r\n'), [FAILED]);
  assert.deepEqual(wire.say(243, ACCEPT), ['']);
  assert.deepEqual(wire.commands, [{ type: 'accept-tunnel', session: 1, offerId: 'offer 1' }]);
});

test('who comes again as somebody else gets nothing of what the port was offered before', () => {
  const wire = new Wire();
  loginByDigest(wire);
  wire.say(244, CREATE);
  wire.say(242, 'VERSION=2.0.2\r\n');
  wire.say(243, 'AUTHENTICATE ANONYMOUS\r\n');
  assert.equal(wire.did.at(-1), 'authentication');
  // The same octets under the same sequence as alice's create belong to the one who came last.
  wire.say(244, CREATE);
  assert.deepEqual(wire.did, ['reject-tunnel', 'open-tunnel']);
  assert.deepEqual(wire.say(245, ACCEPT), ['']);
  assert.deepEqual(wire.commands, [{ type: 'accept-tunnel', session: 2, offerId: 'offer 2' }]);
});

test('an offer that arrives after its session was replaced goes back', () => {
  const wire = new Wire();
  loginByDigest(wire);
  wire.answer = (command) => (command.type === 'open-tunnel' ? undefined : willingBroker(command));
  wire.say(244, CREATE);
  loginByDigest(wire, 1000);
  wire.say(1004, CREATE);
  assert.deepEqual(wire.did, ['open-tunnel']);
  wire.handle({
    type: 'tunnel-offered',
    session: 1,
    offerId: 'late',
    info: offered('v6udpv4', CLIENT.address),
  });
  assert.deepEqual(wire.commands, [{ type: 'reject-tunnel', session: 1, offerId: 'late' }]);
});

test('sessions end when they idle; an open offer goes back, an accepted one stays', () => {
  const wire = new Wire();
  loginByDigest(wire);
  wire.say(244, CREATE);
  assert.equal(wire.server.deadline(), wire.nowMs + SESSION_IDLE_MS);
  wire.nowMs += SESSION_IDLE_MS - 1;
  wire.handle({ type: 'tick' });
  assert.deepEqual(wire.commands, []);
  wire.nowMs += 1;
  wire.handle({ type: 'tick' });
  assert.deepEqual(wire.commands, [{ type: 'reject-tunnel', session: 1, offerId: 'offer 1' }]);
  assert.equal(wire.server.sessionCount, 0);
  assert.equal(wire.server.deadline(), undefined);

  loginByDigest(wire);
  wire.say(244, CREATE);
  wire.nowMs += 20_000;
  wire.say(245, ACCEPT);
  wire.nowMs += SESSION_IDLE_MS - 1;
  assert.deepEqual(wire.say(245, ACCEPT), ['']);
  wire.nowMs += 1;
  wire.handle({ type: 'tick' });
  assert.deepEqual(wire.commands, []);
  assert.equal(wire.server.sessionCount, 0);
});

test('the deadline is that of whoever has been silent longest', () => {
  const wire = new Wire();
  const begin = wire.nowMs;
  wire.say(1, 'AUTHENTICATE ANONYMOUS\r\n');
  wire.nowMs += 1000;
  wire.say(1, 'AUTHENTICATE ANONYMOUS\r\n', { from: OTHER });
  assert.equal(wire.server.deadline(), begin + SESSION_IDLE_MS);
  wire.nowMs += 1000;
  wire.say(2, '');
  assert.equal(wire.server.deadline(), begin + 1000 + SESSION_IDLE_MS);
  wire.nowMs = begin + 1000 + SESSION_IDLE_MS;
  wire.handle({ type: 'tick' });
  assert.equal(wire.server.sessionCount, 1);
  assert.equal(wire.server.deadline(), begin + 2000 + SESSION_IDLE_MS);
});

test('a full server says so at VERSION and at the login, and takes clients again later', () => {
  const wire = new Wire({ maxSessions: 2 });
  const third = { ...CLIENT, port: 40_002 };
  const [challenge = ''] = wire.say(241, 'AUTHENTICATE DIGEST-MD5\r\n', { from: third });
  wire.say(1, 'AUTHENTICATE ANONYMOUS\r\n');
  wire.say(1, 'AUTHENTICATE ANONYMOUS\r\n', { from: OTHER });
  assert.deepEqual(wire.say(1, 'VERSION=2.0.2\r\n', { from: third }), [BUSY]);
  assert.deepEqual(wire.did, ['count busy']);
  assert.deepEqual(wire.say(2, 'AUTHENTICATE PLAIN\r\n', { from: third }), [BUSY]);
  assert.deepEqual(wire.say(242, wire.respond(challenge), { from: third }), [BUSY]);
  assert.equal(wire.server.sessionCount, 2);
  // Who has a session already is greeted, as before it.
  assert.deepEqual(wire.say(1, 'VERSION=2.0.2\r\n'), [CAPABILITY]);
  wire.nowMs += SESSION_IDLE_MS;
  // Being turned away has not used up the nonce.
  assert.match(wire.say(242, wire.respond(challenge), { from: third })[0] ?? '', /^cnNwYXV0aD/);
});

test('in a full house a login that is done makes room after ten seconds, others do not', () => {
  const wire = new Wire({ maxSessions: 2 });
  const third = { ...CLIENT, port: 40_002 };
  wire.say(1, 'AUTHENTICATE ANONYMOUS\r\n');
  wire.say(2, CREATE);
  wire.say(3, ACCEPT);
  wire.say(1, 'AUTHENTICATE ANONYMOUS\r\n', { from: OTHER });
  wire.nowMs += 9_999;
  assert.deepEqual(wire.say(1, 'VERSION=2.0.2\r\n', { from: third }), [BUSY]);
  wire.nowMs += 1;
  assert.deepEqual(wire.say(1, 'VERSION=2.0.2\r\n', { from: third }), [CAPABILITY]);
  assert.equal(wire.server.sessionCount, 2);
  assert.match(wire.say(2, 'AUTHENTICATE ANONYMOUS\r\n', { from: third })[0] ?? '', /^200 /);
  assert.equal(wire.server.sessionCount, 2);
  // The other one has not come to an end, and its client may be about to go on.
  const fourth = { ...CLIENT, port: 40_003 };
  assert.deepEqual(wire.say(1, 'VERSION=2.0.2\r\n', { from: fourth }), [BUSY]);
  assert.match(wire.say(2, CREATE, { from: OTHER })[0] ?? '', /200 Success/);
});

test('an overloaded server sends newcomers away at VERSION, and goes on with the others', () => {
  let isOverloaded = false;
  const wire = new Wire({ isOverloaded: () => isOverloaded });
  const [challenge = ''] = wire.say(1, 'AUTHENTICATE DIGEST-MD5\r\n');
  isOverloaded = true;
  assert.deepEqual(wire.say(1, 'VERSION=2.0.2\r\n', { from: OTHER }), [BUSY]);
  assert.deepEqual(wire.did, ['count busy']);
  assert.match(wire.say(2, wire.respond(challenge))[0] ?? '', /^cnNwYXV0aD/);
  isOverloaded = false;
  assert.deepEqual(wire.say(2, 'VERSION=2.0.2\r\n', { from: OTHER }), [CAPABILITY]);
});

test('one address cannot take all sessions, nor can those who may be forged', () => {
  const wire = new Wire({ maxSessionsPerAddress: 1 });
  wire.say(1, 'AUTHENTICATE ANONYMOUS\r\n');
  assert.deepEqual(wire.say(1, 'AUTHENTICATE ANONYMOUS\r\n', { from: OTHER }), [BUSY]);
  const elsewhere = { ...CLIENT, address: 1 };
  assert.deepEqual(wire.say(1, 'AUTHENTICATE ANONYMOUS\r\n', { from: elsewhere }), [SUCCESS]);
  wire.nowMs += SESSION_IDLE_MS;
  assert.deepEqual(wire.say(1, 'AUTHENTICATE ANONYMOUS\r\n', { from: OTHER }), [SUCCESS]);

  const guarded = new Wire({ maxUnprovenSessions: 1 });
  guarded.say(1, 'AUTHENTICATE ANONYMOUS\r\n');
  assert.deepEqual(guarded.say(1, 'AUTHENTICATE PLAIN\r\n', { from: OTHER }), [BUSY]);
  const [challenge = ''] = guarded.say(1, 'AUTHENTICATE DIGEST-MD5\r\n', { from: OTHER });
  assert.match(guarded.say(2, guarded.respond(challenge), { from: OTHER })[0] ?? '', /^cnNw/);
  guarded.nowMs += SESSION_IDLE_MS;
  assert.deepEqual(guarded.say(1, 'AUTHENTICATE PLAIN\r\n', { from: OTHER }), ['']);
});

test('settings that clients could not read are refused', () => {
  for (const realm of ['', 'a,b', 'a"b', 'a b', 'a\\b', 'é', 'x'.repeat(101)]) {
    assert.throws(() => new TspServer({ ...SETTINGS, realm }), RangeError, realm);
  }
  assert.throws(() => new TspServer({ ...SETTINGS, nonceKey: new Uint8Array(8) }), RangeError);
});
