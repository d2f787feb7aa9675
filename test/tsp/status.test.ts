// Every status code that a server sends, and what earns it (RFC 5572 appendix B). A code that is not
// in the table, or cannot be earned, fails.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { STATUS, STATUS_TEXT } from '../../src/tsp/messages.ts';
import { ACCEPT, CREATE, crlf, DELETE, framed, INFO } from './examples.ts';
import { Wire } from './wire.ts';

function create(change: (xml: string) => string = (xml) => xml): string {
  return framed(change(CREATE.slice(CREATE.indexOf('\r\n') + 2)));
}

function loggedIn(): Wire {
  const wire = new Wire();
  wire.say(1, 'AUTHENTICATE ANONYMOUS\r\n');
  return wire;
}

/** The broker's verdict on the next request, as the socket layer passes it on. */
function refusing(status: Exclude<keyof typeof STATUS_TEXT, 200>): Wire {
  const wire = loggedIn();
  wire.answer = () => ({ type: 'refused', status });
  return wire;
}

const EARNED: readonly [keyof typeof STATUS, string, () => string | undefined][] = [
  ['success', 'ECHO REQUEST', () => new Wire().say(1, 'ECHO REQUEST')[0]],
  ['success', 'a login', () => new Wire().say(1, 'AUTHENTICATE ANONYMOUS\r\n')[0]],
  ['success', 'create', () => loggedIn().say(2, CREATE)[0]],
  ['success', 'info', () => loggedIn().say(2, INFO)[0]],
  ['success', 'delete', () => loggedIn().say(2, DELETE)[0]],
  [
    'authenticationFailed',
    'a mechanism that is not there',
    () => new Wire().say(1, 'AUTHENTICATE X\r\n')[0],
  ],
  ['authenticationFailed', 'a user disabled since', () => refusing(300).say(2, CREATE)[0]],
  ['noTunnelsLeft', 'an empty pool', () => refusing(301).say(2, CREATE)[0]],
  ['versionNotSupported', 'an old version', () => new Wire().say(1, 'VERSION=1.0.1\r\n')[0]],
  [
    'tunnelTypeNotSupported',
    'a type that is not offered',
    () =>
      loggedIn().say(
        2,
        create((xml) => xml.replace('v6anyv4', 'v4v6')),
      )[0],
  ],
  [
    'tunnelTypeNotSupported',
    'proxy by somebody who is not trusted with it',
    () =>
      refusing(303).say(
        2,
        create((xml) => xml.replace('"no"', '"yes"')),
      )[0],
  ],
  ['serverError', 'info about no tunnel', () => refusing(310).say(2, INFO)[0]],
  ['serverError', 'delete of no tunnel', () => refusing(310).say(2, DELETE)[0]],
  ['invalidRequest', 'XML that is none', () => loggedIn().say(2, framed('<tunnel'))[0]],
  ['invalidRequest', 'accept without an offer', () => loggedIn().say(2, ACCEPT)[0]],
  [
    'invalidRequest',
    'a name server that is none',
    () =>
      loggedIn().say(
        2,
        create((xml) =>
          xml.replace(
            '<prefix length="56"/>',
            '<prefix length="56"/><dns_server><address type="dn">no name</address></dns_server>',
          ),
        ),
      )[0],
  ],
  [
    'invalidIpv4Address',
    'an address that is none',
    () =>
      loggedIn().say(
        2,
        create((xml) => xml.replace('10.20.30.40', '10.20.30.400')),
      )[0],
  ],
  [
    'invalidIpv4Address',
    'protocol 41 to an address that is only claimed',
    () =>
      loggedIn().say(
        2,
        create((xml) => xml.replace('v6anyv4', 'v6v4')),
      )[0],
  ],
  [
    'invalidIpv6Address',
    'an IPv6 address that is none',
    () =>
      loggedIn().say(
        2,
        create((xml) => xml.replace('type="ipv4">10.20.30.40', 'type="ipv6">10.20.30.40')),
      )[0],
  ],
  ['ipv4AddressInUse', 'an address with a tunnel', () => refusing(506).say(2, CREATE)[0]],
  ['prefixNotAssignable', 'a length that is not given', () => refusing(507).say(2, CREATE)[0]],
  [
    'prefixNotAssignable',
    'a length that no prefix has',
    () =>
      loggedIn().say(
        2,
        create((xml) => xml.replace('"56"', '"129"')),
      )[0],
  ],
  [
    'requestInProgress',
    'a second create during the first',
    () => {
      const wire = loggedIn();
      wire.answer = () => undefined;
      wire.say(2, CREATE);
      return wire.say(3, create())[0];
    },
  ],
  [
    'busy',
    'VERSION at a full server',
    () => {
      const wire = new Wire({ maxSessions: 0 });
      return wire.say(1, 'VERSION=2.0.2\r\n')[0];
    },
  ],
  ['busy', 'a store that is locked', () => refusing(530).say(2, CREATE)[0]],
];

for (const [name, how, earn] of EARNED) {
  test(`${STATUS[name]} is earned by ${how}`, () => {
    const line = `${STATUS[name]} ${STATUS_TEXT[STATUS[name]]}\r\n`;
    const answer = earn() ?? '';
    const [head = '', ...rest] = answer.split(crlf('\n'));
    const status = head.startsWith('Content-length') ? rest.join('\r\n') : answer;
    assert.ok(status.startsWith(line), answer);
  });
}

test('every code of the table of codes is earned by something', () => {
  const earned = new Set(EARNED.map(([name]) => name));
  assert.deepEqual([...earned].toSorted(), Object.keys(STATUS).toSorted());
});
