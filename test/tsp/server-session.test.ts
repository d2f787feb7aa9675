// Whole dialogues, octet by octet, in the habits of real clients; through TspServer, which is how
// clients meet a session.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseIpv4, parseIpv6 } from '../../src/address.ts';
import { digestValues, readChallenge } from '../../src/tsp/digest-md5.ts';
import { readBase64, writeBase64 } from '../../src/tsp/sasl.ts';
import type { ServerCommand } from '../../src/tsp/server.ts';
import { SESSION_IDLE_MS } from '../../src/tsp/server-session.ts';
import {
  ACCEPT,
  CAPABILITY,
  CREATE,
  crlf,
  DELETE,
  FAILED,
  framed,
  INFO,
  INFO_BEHIND_NAT,
  REJECT,
  SUCCESS,
} from './examples.ts';
import { ALICE, CLIENT, offered, Wire, willingBroker } from './wire.ts';

const behindNat = framed(
  INFO_BEHIND_NAT.replace(
    '<router>',
    crlf(`<dns_server>
<address type="ipv6">2001:0db8:0000:0000:0000:0000:0000:0053</address>
</dns_server>
<router>`),
  ),
);

function offersWithPrefix(command: ServerCommand) {
  if (command.type !== 'open-tunnel') return willingBroker(command);
  const prefix = { address: parseIpv6('2001:db8:aa:bb00::')!, length: 56 };
  const info = offered(command.tunnelType, command.statedAddress, {
    prefix,
    domainName: 'alice.users.tb.example',
  });
  return { type: 'tunnel-offered', offerId: 1, info } as const;
}

test('gogoc gets an anonymous tunnel in UDP', () => {
  const wire = new Wire();
  wire.answer = offersWithPrefix;
  assert.deepEqual(wire.say(240, 'VERSION=2.0.2\r\n', { timestamp: 7 }), [CAPABILITY]);
  assert.equal(wire.server.sessionCount, 0);
  assert.deepEqual(wire.say(241, 'AUTHENTICATE ANONYMOUS\r\n\0', { timestamp: 61 }), [SUCCESS]);
  assert.deepEqual(wire.commands, [
    {
      type: 'authentication',
      source: CLIENT,
      forgeable: true,
      username: undefined,
      mechanism: 'ANONYMOUS',
      outcome: 'accepted',
    },
  ]);
  assert.deepEqual(wire.say(242, CREATE, { timestamp: 118 }), [behindNat]);
  assert.deepEqual(wire.commands, [
    {
      type: 'open-tunnel',
      session: 1,
      user: { type: 'anonymous' },
      tunnelType: 'v6udpv4',
      source: CLIENT,
      endpoint: CLIENT,
      proxy: false,
      statedAddress: parseIpv4('10.20.30.40'),
      prefixLength: 56,
      keepaliveSeconds: 30,
      nameServers: [],
    },
  ]);
  assert.deepEqual(wire.say(243, ACCEPT, { timestamp: 190 }), ['']);
  assert.deepEqual(wire.commands, [{ type: 'accept-tunnel', session: 1, offerId: 1 }]);
});

test('gogoc logs in by DIGEST-MD5 and fetches the 200 with an empty packet', () => {
  const wire = new Wire();
  wire.say(240, 'VERSION=2.0.2\r\n');
  const [challenge = ''] = wire.say(241, 'AUTHENTICATE DIGEST-MD5\r\n\0');
  assert.match(challenge, /^[A-Za-z+/][A-Za-z0-9+/]*={0,2}\r\n$/);
  assert.equal(wire.server.sessionCount, 0);
  const [proof = ''] = wire.say(242, wire.respond(challenge));
  assert.match(Buffer.from(proof, 'base64').toString(), /^rspauth=[0-9a-f]{32}$/);
  assert.deepEqual(wire.did, ['look-up-credential', 'authentication']);
  assert.deepEqual(wire.say(243, ''), [SUCCESS]);
  // A client that has read the 200 elsewhere asks at once; one that asks again gets a header.
  assert.deepEqual(wire.say(243, ''), [SUCCESS]);
  assert.deepEqual(wire.say(244, ''), ['']);
  wire.say(245, CREATE);
  assert.deepEqual(wire.commands[0], {
    type: 'open-tunnel',
    session: 1,
    user: { type: 'account', userId: 7, username: 'alice' },
    tunnelType: 'v6udpv4',
    source: CLIENT,
    endpoint: CLIENT,
    proxy: false,
    statedAddress: parseIpv4('10.20.30.40'),
    prefixLength: 56,
    keepaliveSeconds: 30,
    nameServers: [],
  });
});

test('a client that does not fetch the 200 may go on with create', () => {
  const wire = new Wire();
  const [challenge = ''] = wire.say(2, 'AUTHENTICATE DIGEST-MD5\r\n');
  wire.say(3, wire.respond(challenge));
  assert.match(wire.say(4, CREATE)[0] ?? '', /^Content-length: \d+\r\n200 Success\r\n<tunnel/);
  assert.deepEqual(wire.say(5, ''), ['']);
});

test('gogoc logs in by PLAIN with a raw line, and each of its packets is answered', () => {
  const wire = new Wire();
  wire.say(240, 'VERSION=2.0.2\r\n');
  assert.deepEqual(wire.say(241, 'AUTHENTICATE PLAIN\r\n\0'), ['']);
  assert.deepEqual(wire.say(242, '\0alice\0s3cret\r\n'), [SUCCESS]);
  assert.deepEqual(wire.did, ['look-up-credential', 'authentication']);
  assert.match(wire.say(243, CREATE)[0] ?? '', /200 Success/);
});

test('a wrong password, an unknown user and nonsense fail in the same words', () => {
  for (const line of ['\0alice\0wrong\r\n', '\0mallory\0s3cret\r\n', 'nonsense\r\n']) {
    const wire = new Wire();
    wire.say(241, 'AUTHENTICATE PLAIN\r\n\0');
    assert.deepEqual(wire.say(242, line), [FAILED], line);
    const outcome = wire.commands.at(-1);
    assert.ok(outcome?.type === 'authentication' && outcome.outcome === 'rejected');
    // The session is closed: its answer is repeated, nothing else is said.
    assert.deepEqual(wire.say(242, line), [FAILED]);
    assert.deepEqual(wire.say(243, CREATE), []);
  }
  for (const login of [
    { ...ALICE, password: 'wrong' },
    { ...ALICE, username: 'mallory' },
  ]) {
    const wire = new Wire();
    const [challenge = ''] = wire.say(241, 'AUTHENTICATE DIGEST-MD5\r\n\0');
    const response = wire.respond(challenge, login);
    assert.deepEqual(wire.say(242, response), [FAILED]);
    assert.deepEqual(wire.say(242, response), [FAILED]);
    assert.deepEqual(wire.say(243, ''), []);
  }
});

test('no response is right for a user who does not exist, whatever it was made from', () => {
  const wire = new Wire();
  const [line = ''] = wire.say(241, 'AUTHENTICATE DIGEST-MD5\r\n');
  const challenge = readChallenge(readBase64(line) ?? '')!;
  const input = { nonce: challenge.nonce, cnonce: 'c', digestUri: 'tsp/x' };
  const { response } = digestValues(new Uint8Array(16), input);
  const forged =
    `username="mallory",nonce="${input.nonce}",nc=00000001,cnonce="c",digest-uri="tsp/x",` +
    `response=${response},qop=auth`;
  assert.deepEqual(wire.say(242, writeBase64(forged)), [FAILED]);
});

test('a login that the broker cannot judge is told so, unframed', () => {
  const wire = new Wire();
  wire.answer = () => ({ type: 'refused', status: 310 });
  wire.say(241, 'AUTHENTICATE PLAIN\r\n\0');
  assert.deepEqual(wire.say(242, '\0alice\0s3cret\r\n'), ['310 Server side error\r\n']);
});

function loggedIn(): Wire {
  const wire = new Wire();
  wire.say(1, 'AUTHENTICATE ANONYMOUS\r\n');
  return wire;
}

test('refusals of create are framed, and the client may ask for something else', () => {
  const wire = loggedIn();
  const create = (change: (text: string) => string) => {
    const [, body = ''] = /\r\n(.*)$/s.exec(CREATE) ?? [];
    return framed(change(body));
  };
  const refusals: [string, string][] = [
    [create((text) => text.replace('v6anyv4', 'v4v6')), '303 Unsupported tunnel type'],
    [create((text) => text.replace('10.20.30.40', 'x')), '501 Invalid IPv4 address'],
    [create((text) => text.replace('v6anyv4', 'v6v4')), '501 Invalid IPv4 address'],
    [
      create((text) => text.replace('anyv4" proxy="no"', 'udpv4" proxy="yes"')),
      '303 Unsupported tunnel type',
    ],
    [create((text) => text.replace('</client>', '')), '500 Invalid request format or length'],
    [CREATE.slice(0, -20), '500 Invalid request format or length'],
    [`${CREATE}x`, '500 Invalid request format or length'],
    [ACCEPT, '500 Invalid request format or length'],
    ['HELLO\r\n', '500 Invalid request format or length'],
  ];
  let sequence = 2;
  for (const [request, status] of refusals) {
    assert.deepEqual(wire.say(sequence, request), [framed(`${status}\r\n`)], request);
    sequence++;
  }
  assert.match(wire.say(sequence, CREATE)[0] ?? '', /200 Success/);
});

test('what the broker refuses is told with its status, or with where else to go', () => {
  const wire = loggedIn();
  wire.answer = () => ({ type: 'refused', status: 507 });
  assert.deepEqual(wire.say(2, CREATE), [
    framed('507 Requested prefix length cannot be assigned\r\n'),
  ]);
  const brokers = [
    { type: 'ipv4', text: '198.51.100.7' },
    { type: 'dn', text: 'tb2.example.net' },
  ] as const;
  wire.answer = () => ({ type: 'refused', status: 301, brokers });
  const [redirect = ''] = wire.say(3, CREATE);
  assert.match(
    redirect,
    /^Content-length: 193\r\n1301 No more tunnels available\r\n<tunnel action="list"/,
  );
});

test('a rejected offer goes back, and the client may ask again', () => {
  const wire = loggedIn();
  wire.say(2, CREATE);
  assert.deepEqual(wire.say(3, REJECT), ['']);
  assert.deepEqual(wire.commands, [{ type: 'reject-tunnel', session: 1, offerId: 'offer 1' }]);
  assert.match(wire.say(4, CREATE)[0] ?? '', /200 Success/);
});

test('asking anew or deleting gives back the offer that was open', () => {
  for (const request of [CREATE, DELETE]) {
    const wire = loggedIn();
    wire.say(2, CREATE);
    wire.say(3, request);
    assert.equal(wire.did[0], 'reject-tunnel');
    assert.equal(wire.did[1], request === CREATE ? 'open-tunnel' : 'delete-tunnel');
  }
});

test('an offer that the broker cannot keep is refused at accept', () => {
  const wire = loggedIn();
  wire.say(2, CREATE);
  wire.answer = () => ({ type: 'refused', status: 310 });
  assert.deepEqual(wire.say(3, ACCEPT), [framed('310 Server side error\r\n')]);
});

test('an open offer goes back also when its session ends in the middle of an info', () => {
  const wire = loggedIn();
  wire.say(2, CREATE);
  wire.answer = () => undefined;
  assert.deepEqual(wire.say(3, INFO), []);
  wire.nowMs += SESSION_IDLE_MS;
  wire.handle({ type: 'tick' });
  assert.deepEqual(wire.commands, [{ type: 'reject-tunnel', session: 1, offerId: 'offer 1' }]);
});

test('info and delete work before, between and after', () => {
  const wire = loggedIn();
  const info = /^Content-length: \d+\r\n200 Success\r\n<tunnel action="info" type="v6udpv4"/;
  assert.match(wire.say(2, INFO)[0] ?? '', info);
  assert.deepEqual(wire.commands, [
    { type: 'describe-tunnel', session: 1, user: { type: 'anonymous' }, source: CLIENT },
  ]);
  wire.say(3, CREATE);
  assert.match(wire.say(4, INFO)[0] ?? '', info);
  assert.deepEqual(wire.say(5, ACCEPT), ['']);
  assert.match(wire.say(6, INFO)[0] ?? '', info);
  assert.deepEqual(wire.say(7, DELETE), [framed(SUCCESS)]);
  assert.deepEqual(wire.commands, [
    { type: 'delete-tunnel', session: 1, user: { type: 'anonymous' }, source: CLIENT },
  ]);
  wire.answer = () => ({ type: 'refused', status: 310 });
  assert.deepEqual(wire.say(8, INFO), [framed('310 Server side error\r\n')]);
  assert.deepEqual(wire.say(9, DELETE), [framed('310 Server side error\r\n')]);
});

test('every packet of a session is answered, one without text by a header', () => {
  const wire = loggedIn();
  assert.deepEqual(wire.say(2, ''), ['']);
  wire.say(3, CREATE);
  assert.deepEqual(wire.say(4, '\r\n\0'), ['']);
  assert.deepEqual(wire.say(5, ACCEPT), ['']);
  assert.deepEqual(wire.say(6, ''), ['']);
});

test('a second request while the broker works is told to wait; the first is answered still', () => {
  const wire = loggedIn();
  wire.answer = () => undefined;
  assert.deepEqual(wire.say(2, CREATE, { timestamp: 55 }), []);
  assert.deepEqual(wire.say(3, CREATE), [framed('521 Request already in progress\r\n')]);
  const [answer] = wire.handle({
    type: 'tunnel-offered',
    session: 1,
    offerId: 9,
    info: offered('v6udpv4', CLIENT.address),
  });
  assert.deepEqual([answer?.sequence, answer?.timestamp], [2, 55]);
  assert.match(answer?.text ?? '', /200 Success/);
  assert.deepEqual(wire.say(3, CREATE), [framed('521 Request already in progress\r\n')]);
  wire.answer = willingBroker;
  assert.deepEqual(wire.say(4, ACCEPT), ['']);
});

test('results that nobody waits for change nothing, and their offers go back', () => {
  const wire = loggedIn();
  for (const result of [
    { type: 'tunnel-accepted' },
    { type: 'tunnel-deleted' },
    { type: 'credential-missing' },
    { type: 'refused', status: 310 },
  ] as const) {
    assert.deepEqual(wire.handle({ ...result, session: 1 }), []);
    assert.deepEqual(wire.commands, []);
    assert.deepEqual(wire.handle({ ...result, session: 99 }), []);
    assert.deepEqual(wire.commands, []);
  }
  for (const session of [1, 99]) {
    assert.deepEqual(
      wire.handle({
        type: 'tunnel-offered',
        session,
        offerId: 5,
        info: offered('v6udpv4', CLIENT.address),
      }),
      [],
    );
    assert.deepEqual(wire.commands, [{ type: 'reject-tunnel', session, offerId: 5 }]);
  }
  assert.match(wire.say(2, CREATE)[0] ?? '', /200 Success/);
});
