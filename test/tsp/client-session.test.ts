// The client against scripted servers: the answers are those of real servers, good and odd.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseIpv4, parseIpv6 } from '../../src/address.ts';
import {
  type ClientCommand,
  type ClientEnd,
  ClientSession,
  type ClientSettings,
} from '../../src/tsp/client-session.ts';
import {
  checkDigest,
  type DigestResponse,
  readDigestResponse,
  writeChallenge,
} from '../../src/tsp/digest-md5.ts';
import { readDatagram, writeDatagram } from '../../src/tsp/framing.ts';
import type { Mechanism } from '../../src/tsp/messages.ts';
import { ha1Forms, readBase64, writeBase64 } from '../../src/tsp/sasl.ts';
import { ACCEPT, CAPABILITY, crlf, DELETE, framed, INFO_BEHIND_NAT, SUCCESS } from './examples.ts';

const ALICE = { username: 'alice', password: 's3cret' };
const SETTINGS: ClientSettings = {
  transport: 'udp',
  version: '2.0.2',
  mechanisms: ['DIGEST-MD5', 'PLAIN', 'ANONYMOUS'],
  login: ALICE,
  serverName: 'tb.example.net',
  tunnelType: 'v6anyv4',
  clientAddress: parseIpv4('10.20.30.40')!,
  keepaliveSeconds: 30,
  prefixLength: 56,
  cnonce: 'c0ffee',
  jitterSeed: 0,
};

/** A client and the last thing it said. */
class Talk {
  readonly client: ClientSession;
  nowMs = 50_000;
  said: string | undefined;
  sequence = 0;
  timestamp = 0;
  commands: ClientCommand[] = [];

  constructor(settings: Partial<ClientSettings> = {}) {
    this.client = new ClientSession({ ...SETTINGS, ...settings });
    this.does({ type: 'start' });
  }

  does(event: Parameters<ClientSession['handle']>[0]): ClientCommand[] {
    this.commands = this.client.handle(event, this.nowMs);
    this.said = undefined;
    for (const command of this.commands) {
      if (command.type !== 'send') continue;
      const { header, payload } = readDatagram(command.bytes)!;
      this.said = Buffer.from(payload).toString('latin1');
      this.sequence = header.sequence;
      this.timestamp = header.timestamp;
    }
    return this.commands;
  }

  /** The server answers what the client said last; returns what it says to that. */
  hears(text: string, sequence = this.sequence): string | undefined {
    const header = { sequence, timestamp: this.timestamp };
    const bytes = writeDatagram(header, Buffer.from(text, 'latin1'));
    this.does({ type: 'received', bytes });
    return this.said;
  }

  /** Goes on to the next deadline. */
  waits(): string | undefined {
    this.nowMs = this.client.deadline() ?? this.nowMs;
    this.does({ type: 'tick' });
    return this.said;
  }

  get end(): ClientEnd | undefined {
    const last = this.commands.at(-1);
    return last?.type === 'ended' ? last.end : undefined;
  }
}

function challenged(charset = 'utf-8'): { talk: Talk; response: DigestResponse; proof: string } {
  const talk = new Talk();
  talk.hears(CAPABILITY);
  assert.equal(talk.said, 'AUTHENTICATE DIGEST-MD5\r\n');
  talk.hears(writeBase64(writeChallenge('r', 'n').replace('utf-8', charset)));
  const response = readDigestResponse(readBase64(talk.said ?? '') ?? '')!;
  const proof = checkDigest(response, 'r', { ha1s: ha1Forms('alice', 'r', 's3cret') }) ?? '';
  return { talk, response, proof: writeBase64(proof) };
}

const OFFER = framed(INFO_BEHIND_NAT);

test('a client logs in by DIGEST-MD5, creates, accepts and is up', () => {
  const { talk, response, proof } = challenged();
  assert.equal(response.digestUri, 'tsp/tb.example.net');
  assert.equal(talk.hears(proof), '');
  const create = talk.hears(SUCCESS) ?? '';
  assert.equal(
    create,
    framed(
      crlf(`<tunnel action="create" type="v6anyv4" proxy="no">
<client>
<address type="ipv4">10.20.30.40</address>
<router>
<prefix length="56"/>
</router>
<keepalive interval="30">
<address type="ipv6">::</address>
</keepalive>
</client>
</tunnel>
`),
    ),
  );
  assert.equal(talk.hears(OFFER), ACCEPT);
  talk.hears('');
  assert.deepEqual(talk.commands, [
    {
      type: 'tunnel-up',
      tunnel: {
        tunnelType: 'v6udpv4',
        lifetime: 10080,
        serverIpv4: parseIpv4('192.0.2.53'),
        serverIpv6: parseIpv6('2001:db8:0:1::10'),
        clientIpv4: parseIpv4('10.20.30.40'),
        clientIpv6: parseIpv6('2001:db8:0:1::11'),
        domainName: 'alice.users.tb.example',
        prefix: { address: parseIpv6('2001:db8:aa:bb00::'), length: 56 },
        keepalive: { intervalSeconds: 30, address: parseIpv6('2001:db8:0:1::10') },
      },
    },
  ]);
});

test('the first packet has timestamp 0; each message counts one on', () => {
  const talk = new Talk();
  assert.deepEqual([talk.said, talk.sequence, talk.timestamp], ['VERSION=2.0.2\r\n', 240, 0]);
  talk.nowMs += 61;
  talk.hears(CAPABILITY);
  assert.deepEqual([talk.sequence, talk.timestamp], [241, 61]);
});

test('sequences begin anywhere, with the marker in the first octet and the last', () => {
  const seeds = [0, 1, 0xfffff, 0xffffffff, 0x12345678, -1];
  const begins = seeds.map((seed) => new Talk({ jitterSeed: seed }).sequence);
  assert.deepEqual(begins, [0xf0, 0x1f0, 0xffffff0, 0xffffff0, 0x45678f0, 0xffffff0]);
});

test('PLAIN and ANONYMOUS are spoken as gogoc speaks them', () => {
  const plain = new Talk({ mechanisms: ['PLAIN'] });
  assert.equal(plain.hears(CAPABILITY), 'AUTHENTICATE PLAIN\r\n');
  assert.equal(plain.hears(''), '\0alice\0s3cret\r\n');
  assert.match(plain.hears(SUCCESS) ?? '', /action="create"/);

  const anonymous = new Talk({ mechanisms: ['ANONYMOUS'] });
  assert.equal(anonymous.hears(CAPABILITY), 'AUTHENTICATE ANONYMOUS\r\n');
  assert.match(anonymous.hears('200 OK') ?? '', /action="create"/);
});

test('the client’s preference decides among what the server offers', () => {
  const offer = 'CAPABILITY TUNNEL=V6UDPV4 AUTH=ANONYMOUS auth=plain';
  assert.equal(new Talk().hears(offer), 'AUTHENTICATE PLAIN\r\n');
  const { login: _, ...noLogin } = SETTINGS;
  const client = new ClientSession(noLogin);
  client.handle({ type: 'start' }, 0);
  const answer = writeDatagram({ sequence: 240, timestamp: 0 }, Buffer.from(offer));
  const [sent] = client.handle({ type: 'received', bytes: answer }, 0);
  assert.ok(sent?.type === 'send');
  assert.equal(Buffer.from(sent.bytes.subarray(8)).toString(), 'AUTHENTICATE ANONYMOUS\r\n');
});

test('a server without a common mechanism or tunnel type ends it', () => {
  const talk = new Talk({ mechanisms: ['DIGEST-MD5'] });
  talk.hears('CAPABILITY TUNNEL=V6UDPV4 AUTH=PLAIN AUTH=X\r\n');
  assert.deepEqual(talk.end, { reason: 'no-common-mechanism', offered: ['PLAIN', 'X'] });
  const other = new Talk({ tunnelType: 'v6v4' });
  other.hears('CAPABILITY TUNNEL=V6UDPV4 AUTH=PLAIN\r\n');
  assert.deepEqual(other.end, { reason: 'tunnel-type-not-offered', offered: ['V6UDPV4'] });
});

test('a refused version names the next one to try, from another port', () => {
  for (const [version, next] of [
    ['2.0.2', '2.0.1'],
    ['2.0.1', '2.0.0'],
    ['2.0.0', undefined],
  ] as const) {
    const talk = new Talk({ version });
    assert.equal(talk.said, `VERSION=${version}\r\n`);
    talk.hears('302 Unsupported client version\r\n');
    assert.deepEqual(talk.end, { reason: 'version-refused', next });
  }
});

test('redirects are followed by whoever drives the client, at each stage', () => {
  const brokers = [
    { type: 'ipv4', text: '198.51.100.7' },
    { type: 'dn', text: 'tb2.example.net' },
  ];
  const list = crlf(`<tunnel action="list" type="broker"><broker>
<address type="ipv4">198.51.100.7</address></broker><broker>
<address type="dn">tb2.example.net</address></broker></tunnel>
`);
  const atVersion = new Talk();
  atVersion.hears(`1302 Unsupported client version\r\n${list}`);
  assert.deepEqual(atVersion.end, { reason: 'redirected', status: 302, brokers });
  const atLogin = new Talk();
  atLogin.hears(CAPABILITY);
  atLogin.hears(`1200 Elsewhere\r\n${list}`);
  assert.deepEqual(atLogin.end, { reason: 'redirected', status: 200, brokers });
  const atCreate = new Talk({ mechanisms: ['ANONYMOUS'] });
  atCreate.hears(CAPABILITY);
  atCreate.hears(SUCCESS);
  atCreate.hears(framed(`1301 No more tunnels available\r\n${list}`));
  assert.deepEqual(atCreate.end, { reason: 'redirected', status: 301, brokers });
  const toNowhere = new Talk();
  toNowhere.hears('1302 Unsupported client version\r\n');
  assert.equal(toNowhere.end?.reason, 'refused');
});

test('a server that is busy or has nothing says so in its own words', () => {
  const busy = new Talk();
  busy.hears('530 Later, please\r\n');
  assert.deepEqual(busy.end, {
    reason: 'refused',
    during: 'version',
    status: 530,
    text: 'Later, please',
  });
  for (const answer of [framed('507 No prefix\r\n'), '507 No prefix\r\n']) {
    const talk = new Talk({ mechanisms: ['ANONYMOUS'] });
    talk.hears(CAPABILITY);
    talk.hears(SUCCESS);
    talk.hears(answer);
    assert.deepEqual(talk.end, {
      reason: 'refused',
      during: 'create',
      status: 507,
      text: 'No prefix',
    });
  }
  const atAccept = accepting();
  atAccept.hears(framed('310 Server side error\r\n'));
  assert.equal(atAccept.end?.reason, 'refused');
});

test('wrong credentials end it, whichever mechanism and step', () => {
  const answer = '300 Authentication failed\r\n';
  const expected = (mechanism: Mechanism) => ({
    reason: 'authentication-refused',
    mechanism,
    text: 'Authentication failed',
  });
  const { talk } = challenged();
  talk.hears(answer);
  assert.deepEqual(talk.end, expected('DIGEST-MD5'));
  const early = new Talk();
  early.hears(CAPABILITY);
  early.hears(answer);
  assert.deepEqual(early.end, expected('DIGEST-MD5'));
  const plain = new Talk({ mechanisms: ['PLAIN'] });
  plain.hears(CAPABILITY);
  plain.hears('');
  plain.hears(answer);
  assert.deepEqual(plain.end, expected('PLAIN'));
});

test('a server that does not prove that it knows the password is not trusted', () => {
  for (const answer of [
    SUCCESS,
    '',
    writeBase64('rspauth=00000000000000000000000000000000'),
    'junk!',
  ]) {
    const { talk } = challenged();
    talk.hears(answer);
    assert.deepEqual(talk.end, { reason: 'server-not-proven' }, answer);
  }
});

test('the 200 may come with the proof, without a line end between, or after many fetches', () => {
  for (const glue of ['', '\r\n']) {
    const { talk, proof } = challenged('utf8');
    assert.match(talk.hears(proof.trim() + glue + SUCCESS) ?? '', /action="create"/);
  }
  const { talk, proof } = challenged();
  assert.equal(talk.hears(proof), '');
  for (let fetches = 1; fetches < 8; fetches++) assert.equal(talk.hears(''), '');
  talk.hears('');
  assert.deepEqual(talk.end, { reason: 'unreadable-answer', during: 'authentication' });
});

test('an answer in pieces is fetched with empty packets', () => {
  const talk = new Talk({ mechanisms: ['ANONYMOUS'] });
  talk.hears(CAPABILITY);
  talk.hears(SUCCESS);
  assert.equal(talk.hears(OFFER.slice(0, 100)), '');
  assert.equal(talk.hears(OFFER.slice(100, 400)), '');
  assert.equal(talk.hears(OFFER.slice(400)), ACCEPT);

  const never = new Talk({ mechanisms: ['ANONYMOUS'] });
  never.hears(CAPABILITY);
  never.hears(SUCCESS);
  never.hears(OFFER.slice(0, 100));
  for (let fetches = 0; fetches < 8; fetches++) never.hears('');
  assert.deepEqual(never.end, { reason: 'unreadable-answer', during: 'create' });
});

test('an offer that cannot be used is rejected once', () => {
  for (const offer of [
    framed(INFO_BEHIND_NAT.replace('192.0.2.53', 'here')),
    framed(INFO_BEHIND_NAT.replace('v6udpv4', 'v6v4')),
  ]) {
    const talk = new Talk({ mechanisms: ['ANONYMOUS'], tunnelType: 'v6udpv4' });
    talk.hears(CAPABILITY);
    talk.hears(SUCCESS);
    assert.match(talk.hears(offer) ?? '', /action="reject"/);
    assert.deepEqual(talk.end, { reason: 'unreadable-answer', during: 'create' });
    assert.equal(talk.client.deadline(), undefined);
  }
});

function accepting(settings: Partial<ClientSettings> = {}): Talk {
  const talk = new Talk({ mechanisms: ['ANONYMOUS'], ...settings });
  talk.hears(CAPABILITY);
  talk.hears(SUCCESS);
  assert.equal(talk.hears(OFFER), ACCEPT);
  return talk;
}

test('any good answer to accept will do, and so will traffic from the tunnel', () => {
  for (const answer of ['', SUCCESS, framed(SUCCESS), '\r\n']) {
    const talk = accepting();
    talk.hears(answer);
    assert.equal(talk.commands[0]?.type, 'tunnel-up', answer);
  }
  const talk = accepting();
  talk.does({ type: 'tunnel-traffic' });
  assert.equal(talk.commands[0]?.type, 'tunnel-up');
  assert.deepEqual(talk.does({ type: 'tunnel-traffic' }), []);
});

test('answers to other messages, data and junk are ignored', () => {
  const talk = new Talk();
  assert.equal(talk.hears(CAPABILITY, 239), undefined);
  assert.equal(talk.hears(CAPABILITY, 241), undefined);
  talk.does({ type: 'received', bytes: Buffer.from('6000000000000000', 'hex') });
  assert.deepEqual(talk.commands, []);
  assert.equal(talk.hears(CAPABILITY), 'AUTHENTICATE DIGEST-MD5\r\n');
  // A second copy of the first answer.
  assert.equal(talk.hears(CAPABILITY, 240), undefined);
});

/** Times, from the first transmission, at which the outstanding message went out again. */
function repetitions(talk: Talk): number[] {
  const startMs = talk.nowMs;
  const { sequence } = talk;
  const times = [];
  while (!talk.end) {
    const text = talk.waits();
    if (text === undefined) continue;
    assert.equal(talk.sequence, sequence);
    times.push(talk.nowMs - startMs);
  }
  return [...times, talk.nowMs - startMs];
}

test('a server that never answers is given up after three tries and six seconds', () => {
  const talk = new Talk();
  assert.deepEqual(repetitions(talk), [2000, 4000, 6000]);
  assert.deepEqual(talk.end, { reason: 'no-answer', during: 'version', answered: false });
});

test('one that has answered is given eight tries with growing pauses', () => {
  const talk = accepting();
  assert.deepEqual(repetitions(talk), [2000, 4000, 6000, 8000, 12_000, 20_000, 36_000, 66_000]);
  assert.deepEqual(talk.end, { reason: 'no-answer', during: 'accept', answered: true });
});

test('a repetition has its own timestamp, and a slow server gets more time', () => {
  const talk = new Talk();
  talk.waits();
  assert.equal(talk.timestamp, 2000);
  talk.nowMs += 1900;
  talk.hears(CAPABILITY);
  const sentMs = talk.nowMs;
  // The estimate of UNP §22.5 after one sample of 1.9 s: 0.2375 s + 4 × 0.85 s.
  assert.equal((talk.client.deadline() ?? 0) - sentMs, 3637.5);
});

test('a timestamp that is not ours says nothing about the time', () => {
  for (const timestamp of [0xffffffff, 1900]) {
    const talk = new Talk();
    talk.nowMs += 500;
    talk.timestamp = timestamp;
    talk.hears(CAPABILITY);
    assert.equal((talk.client.deadline() ?? 0) - talk.nowMs, 2000);
  }
  // That of an earlier message would make the server look slow.
  const talk = new Talk();
  talk.nowMs += 10;
  talk.hears(CAPABILITY);
  talk.nowMs += 1000;
  talk.timestamp = 0;
  talk.hears(writeBase64(writeChallenge('r', 'n')));
  assert.equal((talk.client.deadline() ?? 0) - talk.nowMs, 2000);
});

test('in a live tunnel the client pings between 75 and 100 % of the interval', () => {
  const times = [1, 2, 3, 4, 5, 6, 7, 8].map((jitterSeed) => {
    const talk = accepting({ jitterSeed });
    talk.hears('');
    let lastMs = talk.nowMs;
    return [0, 1, 2, 3].map((sequence) => {
      talk.waits();
      const address = parseIpv6('2001:db8:0:1::10');
      assert.deepEqual(talk.commands, [{ type: 'send-keepalive', sequence, address }]);
      talk.does({ type: 'keepalive-answered', sequence });
      const pauseMs = talk.nowMs - lastMs;
      lastMs = talk.nowMs;
      assert.ok(pauseMs >= 22_500 && pauseMs <= 30_000, String(pauseMs));
      return pauseMs;
    });
  });
  assert.ok(new Set(times.flat()).size > 20);
});

test('three missed answers in a row are the end; a late one is an answer', () => {
  const talk = accepting();
  talk.hears('');
  const waitsForPings = (most: number) => {
    let sent = 0;
    while (!talk.end && sent < most) {
      talk.waits();
      sent += talk.commands.filter(({ type }) => type === 'send-keepalive').length;
    }
    return sent;
  };
  assert.equal(waitsForPings(2), 2);
  // Both are missed by now; then the second is answered after all.
  talk.nowMs += 5000;
  talk.does({ type: 'tick' });
  talk.does({ type: 'keepalive-answered', sequence: 1 });
  assert.equal(waitsForPings(10), 3);
  assert.deepEqual(talk.end, { reason: 'keepalive-lost' });
});

test('without an order to keep alive the client is silent', () => {
  const talk = new Talk({ mechanisms: ['ANONYMOUS'] });
  talk.hears(CAPABILITY);
  talk.hears(SUCCESS);
  talk.hears(framed(INFO_BEHIND_NAT.replace(/<keepalive.*<\/keepalive>\r\n/s, '')));
  talk.hears('');
  assert.equal(talk.commands[0]?.type, 'tunnel-up');
  assert.equal(talk.client.deadline(), undefined);
});

test('a client that leaves deletes its tunnel, repeats that, and says nothing more', () => {
  const talk = accepting();
  assert.deepEqual(talk.does({ type: 'leave' }), [], 'there is no tunnel yet');
  talk.hears('');
  assert.equal(talk.commands[0]?.type, 'tunnel-up');
  talk.does({ type: 'leave' });
  assert.equal(talk.said, DELETE);
  const { sequence } = talk;
  assert.equal(talk.waits(), DELETE);
  assert.equal(talk.sequence, sequence);
  talk.hears(framed(SUCCESS));
  assert.deepEqual(talk.end, { reason: 'stopped' });
  assert.equal(talk.client.deadline(), undefined);
  assert.deepEqual(talk.does({ type: 'leave' }), []);
});

test('a client that may not or cannot leave says why', () => {
  const refused = accepting();
  refused.hears('');
  refused.does({ type: 'leave' });
  refused.hears(framed('310 Server side error\r\n'));
  assert.deepEqual(refused.end, {
    reason: 'refused',
    during: 'delete',
    status: 310,
    text: 'Server side error',
  });

  const alone = accepting();
  alone.hears('');
  alone.does({ type: 'leave' });
  while (!alone.end) alone.waits();
  assert.deepEqual(alone.end, { reason: 'no-answer', during: 'delete', answered: true });
});

test('a client that is stopped says nothing more', () => {
  for (const talk of [new Talk(), accepting()]) {
    talk.does({ type: 'stop' });
    assert.deepEqual(talk.commands, [{ type: 'ended', end: { reason: 'stopped' } }]);
    assert.equal(talk.client.deadline(), undefined);
    for (const event of [{ type: 'start' }, { type: 'tick' }, { type: 'stop' }] as const) {
      assert.deepEqual(talk.does(event), []);
    }
    assert.equal(talk.hears(''), undefined);
  }
});
