// The client over TCP against scripted servers, good and odd; and SCRAM, which it prefers.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseIpv4, parseIpv6 } from '../../src/address.ts';
import {
  type ClientCommand,
  ClientSession,
  type ClientSettings,
} from '../../src/tsp/client-session.ts';
import { writeChallenge } from '../../src/tsp/digest-md5.ts';
import { readDatagram, writeDatagram } from '../../src/tsp/framing.ts';
import { readBase64, writeBase64 } from '../../src/tsp/sasl.ts';
import {
  checkScram,
  readScramFinal,
  readScramFirst,
  scramCredential,
  writeServerFirst,
} from '../../src/tsp/scram.ts';
import { ACCEPT, crlf, framed, INFO_BEHIND_NAT, SUCCESS } from './examples.ts';
import { ALICE } from './wire.ts';

const CAPABILITY =
  'CAPABILITY TUNNEL=V6V4 TUNNEL=V6UDPV4 TUNNEL=V4V6 AUTH=SCRAM-SHA-256 AUTH=DIGEST-MD5 AUTH=PLAIN AUTH=ANONYMOUS\r\n';
const TUNNEL = framed(INFO_BEHIND_NAT.replace('v6udpv4', 'v6v4'));

class Talk {
  readonly client: ClientSession;
  nowMs = 5000;
  said = '';
  commands: ClientCommand[] = [];

  constructor(settings: Partial<ClientSettings> = {}) {
    this.client = new ClientSession({
      transport: 'tcp',
      version: '2.0.2',
      mechanisms: ['ANONYMOUS'],
      login: ALICE,
      serverName: 'tb.example.net',
      tunnelType: 'v6anyv4',
      clientAddress: parseIpv4('10.20.30.40')!,
      keepaliveSeconds: 30,
      cnonce: 'c0ffee',
      jitterSeed: 0,
      ...settings,
    });
    this.does({ type: 'start' });
  }

  does(event: Parameters<ClientSession['handle']>[0]): string {
    this.commands = this.client.handle(event, this.nowMs);
    this.said = this.commands
      .map((command) =>
        command.type === 'send' ? Buffer.from(command.bytes).toString('latin1') : '',
      )
      .join('|');
    return this.said;
  }

  hears(text: string): string {
    return this.does({ type: 'received', bytes: Buffer.from(text, 'latin1') });
  }

  waits(): string {
    this.nowMs = this.client.deadline() ?? this.nowMs;
    return this.does({ type: 'tick' });
  }

  get end() {
    const last = this.commands.at(-1);
    return last?.type === 'ended' ? last.end : undefined;
  }

  get isUp(): boolean {
    return this.commands.some(({ type }) => type === 'tunnel-up');
  }
}

test('over TCP there are no headers, and nobody waits for an answer that does not come', () => {
  const talk = new Talk({ mechanisms: ['PLAIN'] });
  assert.equal(talk.said, 'VERSION=2.0.2\r\n');
  assert.equal(talk.hears(CAPABILITY), 'AUTHENTICATE PLAIN\r\n|\0alice\0s3cret\r\n');
  assert.match(talk.hears(SUCCESS), /^Content-length: \d+\r\n<tunnel action="create"/);
  assert.equal(talk.hears(TUNNEL), `${ACCEPT}|`);
  assert.ok(talk.isUp);
});

test('SCRAM-SHA-256 is preferred, and its server has to prove itself', () => {
  const credential = scramCredential(ALICE.password, Buffer.from('0123456789abcdef'));
  for (const forged of [false, true]) {
    const talk = new Talk({ mechanisms: ['SCRAM-SHA-256', 'DIGEST-MD5'] });
    const [line, opening = ''] = talk.hears(CAPABILITY).split('|');
    assert.equal(line, 'AUTHENTICATE SCRAM-SHA-256\r\n');
    const first = readScramFirst(readBase64(opening) ?? '')!;
    assert.deepEqual([first.username, first.cnonce], ['alice', 'c0ffee']);
    const reply = talk.hears(writeBase64(writeServerFirst(first, 'n'.repeat(32), credential)));
    const proof = checkScram(readScramFinal(readBase64(reply) ?? '')!, credential) ?? '';
    assert.match(proof, /^v=/);
    talk.hears(writeBase64(forged ? proof.replace(/.=$/, 'A=') : proof));
    if (forged) assert.deepEqual(talk.end, { reason: 'server-not-proven' });
    else assert.match(talk.hears(SUCCESS), /action="create"/);
  }
});

test('over UDP the client asks for room for SCRAM, and not where it cannot use it', () => {
  const first = (settings: Partial<ClientSettings>) => {
    const talk = new Talk({ transport: 'udp', ...settings });
    const [command] = talk.commands;
    assert.ok(command?.type === 'send');
    return Buffer.from(readDatagram(command.bytes)!.payload).toString();
  };
  assert.equal(first({}), 'VERSION=2.0.2\r\n');
  assert.equal(first({ mechanisms: ['SCRAM-SHA-256'] }), `VERSION=2.0.2\r\n${' '.repeat(20)}`);
  assert.equal(first({ mechanisms: ['SCRAM-SHA-256'], version: '2.0.1' }), 'VERSION=2.0.1\r\n');
});

test('SCRAM over UDP goes on when it is answered with a header', () => {
  const talk = new Talk({ transport: 'udp', mechanisms: ['SCRAM-SHA-256'] });
  let sequence = 240;
  const hears = (text: string) => {
    const header = { sequence, timestamp: 0 };
    sequence++;
    talk.does({ type: 'received', bytes: writeDatagram(header, Buffer.from(text)) });
    return talk.said.slice(8);
  };
  assert.equal(hears(CAPABILITY), 'AUTHENTICATE SCRAM-SHA-256\r\n');
  assert.equal(readBase64(hears('')), 'n,,n=alice,r=c0ffee');
  hears('300 Authentication failed\r\n');
  assert.equal(talk.end?.reason, 'authentication-refused');
});

test('an answer may come in any pieces, and several in one', () => {
  const talk = new Talk();
  for (const octet of CAPABILITY.slice(0, -1)) assert.equal(talk.hears(octet), '');
  assert.equal(talk.hears('\n'), 'AUTHENTICATE ANONYMOUS\r\n');
  assert.match(
    talk.hears(SUCCESS + TUNNEL),
    new RegExp(`action="create"[^|]*\\|${ACCEPT.slice(0, 18)}`),
  );
  assert.ok(talk.isUp);
});

test('a challenge without a line end is taken after a moment of silence', () => {
  const talk = new Talk({ mechanisms: ['DIGEST-MD5'] });
  talk.hears(CAPABILITY);
  assert.equal(talk.hears(writeBase64(writeChallenge('r', 'n')).trim()), '');
  assert.equal(talk.client.deadline(), talk.nowMs + 500);
  assert.match(readBase64(talk.waits()) ?? '', /username="alice"/);
});

test('a redirect is read to the end of its list', () => {
  const away = crlf(`1301 No more tunnels available
<tunnel action="list" type="broker">
<broker>
<address type="ipv4">198.51.100.7</address>
</broker>
</tunnel>
`);
  const expected = {
    reason: 'redirected',
    status: 301,
    brokers: [{ type: 'ipv4', text: '198.51.100.7' }],
  };
  const atVersion = new Talk();
  for (const octet of away) atVersion.hears(octet);
  // The rest of the list's line end comes when nobody listens any more.
  assert.ok(atVersion.commands.length === 0);
  const whole = new Talk();
  whole.hears(away);
  assert.deepEqual(whole.end, expected);
  const atCreate = new Talk();
  atCreate.hears(CAPABILITY);
  atCreate.hears(SUCCESS);
  const text = framed(away);
  atCreate.hears(text.slice(0, 100));
  assert.equal(atCreate.end, undefined);
  atCreate.hears(text.slice(100));
  assert.deepEqual(atCreate.end, expected);
});

test('an unframed refusal of create is understood', () => {
  const talk = new Talk();
  talk.hears(CAPABILITY);
  talk.hears(SUCCESS);
  talk.hears('301 No more tunnels available\r\n');
  assert.equal(talk.end?.reason, 'refused');
});

test('a server that ends the connection or says nothing for 20 seconds is given up', () => {
  const ended = new Talk();
  ended.does({ type: 'disconnected' });
  assert.deepEqual(ended.end, { reason: 'no-answer', during: 'version', answered: false });
  const silent = new Talk();
  silent.hears(CAPABILITY);
  assert.equal(silent.client.deadline(), silent.nowMs + 20_000);
  silent.waits();
  assert.deepEqual(silent.end, { reason: 'no-answer', during: 'authentication', answered: true });
});

test('the tunnel outlives its connection, but not a server that could not keep its offer', () => {
  const up = () => {
    const talk = new Talk();
    talk.hears(CAPABILITY);
    talk.hears(SUCCESS);
    talk.hears(TUNNEL);
    return talk;
  };
  const closed = up();
  assert.equal(closed.does({ type: 'disconnected' }), '');
  assert.equal(closed.end, undefined);
  const thanked = up();
  thanked.hears(framed(SUCCESS));
  assert.equal(thanked.end, undefined);
  const refused = up();
  refused.hears(framed('310 Server side error\r\n'));
  assert.equal(refused.end?.reason, 'refused');
});

test('a tunnel in UDP that comes over TCP is rejected, and so is one for IPv4 that nobody wanted', () => {
  for (const offer of [framed(INFO_BEHIND_NAT), TUNNEL.replace('"v6v4"', '"v4v6"')]) {
    const talk = new Talk();
    talk.hears(CAPABILITY);
    talk.hears(SUCCESS);
    assert.match(talk.hears(offer), /action="reject"/);
    assert.deepEqual(talk.end, { reason: 'unreadable-answer', during: 'create' });
  }
});

test('IPv4 in IPv6 is asked for from an IPv6 address, and kept alive by IPv4', () => {
  const talk = new Talk({ tunnelType: 'v4v6', clientAddress: parseIpv6('2001:db8:9::20')! });
  talk.hears(CAPABILITY);
  const create = talk.hears(SUCCESS);
  assert.match(create, /type="v4v6"/);
  assert.match(create, /<client>\r\n<address type="ipv6">2001:db8:9::20<\/address>/);
  assert.match(create, /<keepalive interval="30">\r\n<address type="ipv4">127.0.0.1<\/address>/);
  talk.hears(
    framed(
      crlf(`200 Success
<tunnel action="info" type="v4v6" lifetime="10080">
<server>
<address type="ipv4" length="30">203.0.113.5</address>
<address type="ipv6">2001:db8:53::53</address>
</server>
<client>
<address type="ipv4" length="30">203.0.113.6</address>
<address type="ipv6">2001:db8:9::20</address>
<keepalive interval="30">
<address type="ipv4">203.0.113.5</address>
</keepalive>
</client>
</tunnel>
`),
    ),
  );
  const up = talk.commands.find(({ type }) => type === 'tunnel-up');
  assert.ok(up?.type === 'tunnel-up' && up.tunnel.tunnelType === 'v4v6');
  assert.equal(up.tunnel.linkLength, 30);
  assert.deepEqual(up.tunnel.keepalive, {
    intervalSeconds: 30,
    address: parseIpv4('203.0.113.5'),
  });
});
