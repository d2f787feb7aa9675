// What strangers are told over UDP: how to log in by SCRAM, where else to go, and never much more
// than they sent.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseIpv4, parseIpv6 } from '../../src/address.ts';
import {
  AnswerBudget,
  BUDGET_OCTETS,
  BUDGET_OCTETS_PER_SECOND,
  twice,
} from '../../src/tsp/answer-budget.ts';
import { Crowd } from '../../src/tsp/crowd.ts';
import { HEADER_OCTETS } from '../../src/tsp/framing.ts';
import type { Mechanism } from '../../src/tsp/messages.ts';
import { VERSION_PADDING } from '../../src/tsp/opening.ts';
import { readBase64, writeBase64 } from '../../src/tsp/sasl.ts';
import { answerServerFirst, writeScramFirst } from '../../src/tsp/scram.ts';
import { TspServer } from '../../src/tsp/server.ts';
import { CAPABILITY, CREATE, crlf, FAILED, framed, SUCCESS, WHOLE_CAPABILITY } from './examples.ts';
import { ALICE, CLIENT, SETTINGS, Wire } from './wire.ts';

const BY_DEFAULT: readonly Mechanism[] = ['SCRAM-SHA-256', 'DIGEST-MD5'];
const IP_AND_UDP_OCTETS = 28;
const OTHER = { ...CLIENT, port: 40_001 };

/** The server's first message of SCRAM for a login that began at `sequence`. */
function challenge(wire: Wire, sequence: number, name = 'alice', from = CLIENT): string {
  assert.deepEqual(wire.say(sequence, 'AUTHENTICATE SCRAM-SHA-256\r\n', { from }), ['']);
  const [line = ''] = wire.say(sequence + 1, writeBase64(writeScramFirst(name, 'cnonce')), {
    from,
  });
  return line;
}

test('SCRAM-SHA-256 over UDP: a header, a challenge, a proof, and the 200 when it is fetched', () => {
  const wire = new Wire();
  const line = challenge(wire, 241);
  assert.equal(wire.server.sessionCount, 0, 'nothing is remembered before the proof of address');
  assert.match(readBase64(line) ?? '', /^r=cnonce\.[\w-]{32}[\w-]+,s=[^,]+,i=4096$/);
  const expected = answerServerFirst(readBase64(line) ?? '', ALICE, 'cnonce')!;
  assert.deepEqual(wire.say(243, wire.prove(line)), [writeBase64(expected.proof)]);
  assert.deepEqual(wire.did, ['look-up-credential', 'authentication']);
  assert.deepEqual(wire.say(243, wire.prove(line)), [writeBase64(expected.proof)]);
  assert.deepEqual(wire.did, ['count repetition']);
  assert.deepEqual(wire.say(244, ''), [SUCCESS]);
  assert.match(wire.say(245, CREATE)[0] ?? '', /200 Success/);
});

test('a wrong password and an unknown user differ in nothing that SCRAM shows', () => {
  const wire = new Wire();
  const stranger = readBase64(challenge(wire, 241, 'mallory')) ?? '';
  assert.match(stranger, /^r=cnonce\.[\w-]{32}[\w-]+,s=[^,]{24},i=4096$/);
  const again = readBase64(challenge(wire, 341, 'mallory')) ?? '';
  assert.equal(again.split(',')[1], stranger.split(',')[1], 'the salt stays');
  for (const [start, login] of [
    [441, { ...ALICE, password: 'wrong' }],
    [541, { ...ALICE, username: 'mallory' }],
  ] as const) {
    const line = challenge(wire, start, login.username);
    assert.deepEqual(wire.say(start + 2, wire.prove(line, login)), [FAILED]);
  }
});

test('a SCRAM nonce works once, at the address that it was given to', () => {
  const wire = new Wire();
  const line = challenge(wire, 241);
  assert.deepEqual(wire.say(243, wire.prove(line), { from: OTHER }), [FAILED]);
  assert.deepEqual(wire.did, ['count nonce-refused']);
  assert.equal(wire.say(243, wire.prove(line)).length, 1);
  assert.deepEqual(wire.say(900, wire.prove(line)), []);
  assert.deepEqual(wire.did, ['count stale']);
});

test('a user without SCRAM keys seems unknown; other mechanisms still work', () => {
  const wire = new Wire();
  const line = challenge(wire, 241);
  wire.answer = (command) =>
    command.type === 'look-up-credential'
      ? { type: 'credential-found', userId: 7, credential: { ha1s: [] } }
      : undefined;
  assert.deepEqual(wire.say(243, wire.prove(line)), [FAILED]);
});

test('salts that cannot be looked up are an error of the server, and are not looked up without end', () => {
  const server = new TspServer(SETTINGS);
  const first = writeBase64(writeScramFirst('alice', 'c'));
  const bytes = Buffer.concat([Buffer.from('f000000100000000', 'hex'), Buffer.from(first)]);
  const lookups = Array.from({ length: 300 }, () =>
    server.handle({ type: 'datagram', from: CLIENT, bytes }, 1000),
  ).flat();
  const asked = lookups.filter((command) => command.type === 'look-up-salt');
  assert.equal(asked.length, 200);
  assert.equal(lookups.filter((command) => command.type === 'count').length, 100);
  for (const { ticket, first: name } of asked) {
    const event = { type: 'salt-looked-up', first: name, ticket, found: 'failed' } as const;
    const [, answer] = server.handle(event, 1000);
    assert.ok(answer?.type === 'send');
    assert.match(Buffer.from(answer.bytes).toString('latin1'), /310 Server side error\r\n$/);
  }
  const [after] = server.handle({ type: 'datagram', from: CLIENT, bytes }, 1000);
  assert.equal(after?.type, 'look-up-salt');
});

test('mechanisms that are switched off are neither announced nor accepted', () => {
  const wire = new Wire({ mechanisms: ['DIGEST-MD5'] });
  const digestOnly = 'CAPABILITY TUNNEL=V6V4 TUNNEL=V6UDPV4 AUTH=DIGEST-MD5\r\n';
  assert.deepEqual(wire.say(1, `VERSION=2.0.2\r\n${VERSION_PADDING}`), [digestOnly]);
  for (const name of ['SCRAM-SHA-256', 'PLAIN', 'ANONYMOUS']) {
    assert.deepEqual(wire.say(2, `AUTHENTICATE ${name}\r\n`), [FAILED]);
  }
  const open = new Wire();
  const line = challenge(open, 241);
  assert.deepEqual(wire.say(3, writeBase64(writeScramFirst('alice', 'c'))), [FAILED]);
  assert.deepEqual(wire.say(3, open.prove(line)), [FAILED]);
});

const BROKERS = [
  { type: 'ipv4', text: '198.51.100.7' },
  { type: 'dn', text: 'tb2.example.net' },
] as const;
const AWAY = crlf(`1301 No more tunnels available
<tunnel action="list" type="broker">
<broker>
<address type="ipv4">198.51.100.7</address>
<address type="dn">tb2.example.net</address>
</broker>
</tunnel>
`);

test('a redirect answers VERSION, unframed, octet by octet', () => {
  assert.equal(AWAY.length, 193);
  const wire = new Wire({ redirect: { phase: 'version', brokers: BROKERS } });
  assert.deepEqual(wire.say(1, 'VERSION=2.0.2\r\n'), [AWAY]);
  assert.deepEqual(wire.did, ['count redirected']);
  assert.deepEqual(wire.say(1, 'VERSION=1.0\r\n'), ['302 Unsupported client version\r\n']);
  assert.deepEqual(wire.say(1, 'ECHO REQUEST'), [SUCCESS]);
});

test('a redirect answers AUTHENTICATE, unframed, and PLAIN after its credentials', () => {
  const wire = new Wire({ redirect: { phase: 'authentication', brokers: BROKERS } });
  assert.deepEqual(wire.say(1, 'VERSION=2.0.2\r\n'), [CAPABILITY]);
  for (const name of ['ANONYMOUS', 'DIGEST-MD5', 'SCRAM-SHA-256']) {
    assert.deepEqual(wire.say(2, `AUTHENTICATE ${name}\r\n\0`), [AWAY], name);
  }
  assert.deepEqual(wire.say(2, 'AUTHENTICATE PLAIN\r\n\0'), ['']);
  assert.deepEqual(wire.say(3, '\0alice\0s3cret\r\n'), [AWAY]);
  assert.deepEqual(wire.did, [], 'the password is not even looked at');
});

test('a redirect answers create with a length, and the session goes on', () => {
  const wire = new Wire({ redirect: { phase: 'create', brokers: BROKERS } });
  assert.deepEqual(wire.say(1, 'AUTHENTICATE ANONYMOUS\r\n'), [SUCCESS]);
  assert.deepEqual(wire.say(2, CREATE), [framed(AWAY)]);
  assert.deepEqual(wire.say(3, CREATE), [framed(AWAY)]);
});

test('without brokers there is no redirect', () => {
  const redirect = { phase: 'version', brokers: [] } as const;
  assert.throws(() => new TspServer({ ...SETTINGS, redirect }), RangeError);
});

test('by default VERSION is answered with at most twice its octets; who wants SCRAM asks for room', () => {
  const wire = new Wire({ mechanisms: BY_DEFAULT });
  const short = 'VERSION=2.0.2\r\n';
  const [toGogoc = ''] = wire.say(1, short);
  assert.equal(toGogoc, 'CAPABILITY TUNNEL=V6V4 TUNNEL=V6UDPV4 AUTH=DIGEST-MD5\r\n');
  const [toOurs = ''] = wire.say(1, short + VERSION_PADDING);
  assert.match(toOurs, /AUTH=SCRAM-SHA-256 AUTH=DIGEST-MD5\r\n$/);
  const onTheWire = (text: string) => IP_AND_UDP_OCTETS + HEADER_OCTETS + text.length;
  assert.ok(onTheWire(toGogoc) <= 2 * onTheWire(short));
  assert.ok(onTheWire(toOurs) <= 2 * onTheWire(short + VERSION_PADDING));
  // The figures of docs/tsp.md.
  assert.deepEqual([onTheWire(short), onTheWire(toGogoc)], [51, 91]);
  assert.deepEqual([onTheWire(short + VERSION_PADDING), onTheWire(toOurs)], [71, 110]);
  assert.deepEqual(new Wire().say(1, short + VERSION_PADDING), [WHOLE_CAPABILITY]);
});

test('what is more than twice comes out of a budget for each network', () => {
  const wire = new Wire({ mechanisms: BY_DEFAULT });
  const request = 'AUTHENTICATE DIGEST-MD5\r\n';
  let answered = 0;
  while (wire.say(1, request).length > 0) answered++;
  assert.deepEqual(wire.did, ['count over-budget']);
  const octets = (wire.say(1, request, { from: { ...CLIENT, address: 1 } })[0] ?? '').length;
  const excess = octets - twice(CLIENT, request.length);
  assert.ok(excess > 0 && answered === Math.floor(BUDGET_OCTETS / excess), `${answered} ${excess}`);

  const neighbour = { ...CLIENT, address: CLIENT.address ^ 7 };
  assert.deepEqual(wire.say(1, request, { from: neighbour }), [], 'the same /24');
  assert.equal(wire.say(1, 'VERSION=2.0.2\r\n').length, 1, 'twice is always sent');
  assert.equal(wire.say(1, 'ECHO REQUEST').length, 1);
  wire.nowMs += 1000;
  let later = 0;
  while (wire.say(1, request).length > 0) later++;
  assert.ok(Math.abs(later - BUDGET_OCTETS_PER_SECOND / excess) <= 2, `${later}`);
});

test('who may be forged is sent what it asks for out of the budget too', () => {
  const wire = new Wire();
  wire.say(1, 'AUTHENTICATE ANONYMOUS\r\n');
  const small = framed(
    '<tunnel action="create" type="v6udpv4"><client><address type="ipv4">1.2.3.4</address></client></tunnel>',
  );
  let sequence = 2;
  while (wire.say(sequence, small).length > 0) sequence++;
  assert.ok(wire.did.includes('count over-budget'));
  assert.ok(sequence < 200);
  // Whoever has returned a nonce receives at that address.
  const [line = ''] = new Wire().say(1, 'AUTHENTICATE DIGEST-MD5\r\n');
  assert.notEqual(line, '');
});

test('budgets of IPv6 are those of a /48, and no two networks are told apart by the key alone', () => {
  const budget = new AnswerBudget(new Uint8Array(32));
  const here = { address: parseIpv6('2001:db8:1:2::3')!, port: 1 };
  assert.equal(twice(here, 100), 2 * (48 + 8 + 100) - 56);
  assert.equal(budget.allows(here, 0, BUDGET_OCTETS + twice(here, 0), 0), true);
  const same = { address: parseIpv6('2001:db8:1:ffff::1')!, port: 2 };
  assert.equal(budget.allows(same, 0, twice(same, 0) + 1, 0), false);
  const other = { address: parseIpv6('2001:db8:2::1')!, port: 2 };
  assert.equal(budget.allows(other, 0, twice(other, 0) + 1, 0), true);
  assert.equal(budget.allows(same, 0, twice(same, 0) + 1, 1000), true);
});

test('a crowd counts in all and by client, which on IPv6 is a /64', () => {
  const crowd = new Crowd(4, 2);
  const v4 = parseIpv4('192.0.2.1')!;
  crowd.enter(v4);
  crowd.enter(v4);
  assert.equal(crowd.hasRoomFor(v4), false);
  assert.equal(crowd.hasRoomFor(v4 + 1), true);
  crowd.enter(parseIpv6('2001:db8::1')!);
  crowd.enter(parseIpv6('2001:db8::2')!);
  assert.equal(crowd.hasRoomFor(v4 + 1), false);
  crowd.leave(v4);
  assert.equal(crowd.hasRoomFor(v4), true);
  assert.equal(crowd.hasRoomFor(parseIpv6('2001:db8::3')!), false);
  assert.equal(crowd.hasRoomFor(parseIpv6('2001:db8:0:1::3')!), true);
  assert.equal(crowd.count, 3);
});
