import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { parseIpv4, parseIpv6 } from '../../src/address.ts';
import { frame, MAX_ANSWER_OCTETS, writeStatus } from '../../src/tsp/framing.ts';
import { type Ipv6TunnelInfo, STATUS, type TunnelInfo } from '../../src/tsp/messages.ts';
import {
  readBrokers,
  readRequest,
  readTunnelInfo,
  writeAction,
  writeBrokers,
  writeCreate,
  writeTunnelInfo,
} from '../../src/tsp/vocabulary.ts';
import { crlf, INFO_BEHIND_NAT } from './examples.ts';

const v4 = (text: string) => parseIpv4(text)!;
const v6 = (text: string) => parseIpv6(text)!;

const behindNat: Ipv6TunnelInfo = {
  tunnelType: 'v6udpv4',
  lifetime: 10080,
  serverIpv4: v4('192.0.2.53'),
  serverIpv6: v6('2001:db8:0:1::10'),
  clientIpv4: v4('10.20.30.40'),
  clientIpv6: v6('2001:db8:0:1::11'),
  domainName: 'alice.users.tb.example',
  prefix: { address: v6('2001:db8:aa:bb00::'), length: 56 },
  keepalive: { intervalSeconds: 30, address: v6('2001:db8:0:1::10') },
};

test('a create with a wish for a prefix is read as a client indents it', () => {
  const text = crlf(`<tunnel action="create" type="v6anyv4" proxy="no">
 <client>
  <address type="ipv4">10.20.30.40</address>
  <keepalive interval="30"><address type="ipv6">::</address></keepalive>
  <router>
   <prefix length="56"/>
  </router>
 </client>
</tunnel>
`);
  assert.equal(text.length, 257);
  assert.deepEqual(readRequest(Buffer.from(text)), {
    action: 'create',
    tunnelType: 'v6anyv4',
    addresses: [{ type: 'ipv4', text: '10.20.30.40' }],
    proxy: false,
    keepaliveSeconds: 30,
    prefixLength: 56,
    nameServers: [],
  });
});

test('a create is read with blanks, other quotes, name servers and what we do not know', () => {
  const text = `<tunnel proxy='YES' type='V6UDPV4' lifetime='1440' action='create' x='y'><new/>
    <client><address type="ipv4" length=""> 10.0.0.1
    </address><router protocol="bgp"><prefix length="48"></prefix><as number="64512"/><dns_server>
    <address type="dn">ns1.example</address><address type="ipv6">2001:db8::53</address>
    </dns_server></router><keepalive interval="0"/></client></tunnel>`;
  assert.deepEqual(readRequest(Buffer.from(text)), {
    action: 'create',
    tunnelType: 'v6udpv4',
    addresses: [{ type: 'ipv4', text: '10.0.0.1' }],
    proxy: true,
    keepaliveSeconds: 0,
    prefixLength: 48,
    nameServers: ['ns1.example', '2001:db8::53'],
  });
});

test('accept, reject, info and delete need no type', () => {
  for (const action of ['accept', 'reject', 'info', 'delete'] as const) {
    assert.deepEqual(readRequest(Buffer.from(`<tunnel action="${action}"/>`)), { action });
    assert.deepEqual(readRequest(Buffer.from(writeAction(action))), { action });
  }
  assert.equal(writeAction('accept'), '<tunnel action="accept"></tunnel>\r\n');
});

test('requests without sense are unreadable', () => {
  for (const text of [
    '<tunnel/>',
    '<tunnel action="list" type="broker"/>',
    '<tunel action="accept"/>',
    '<tunnel action="create"/>',
    '<tunnel action="create" type="v6v4"><client><router><prefix/></router></client></tunnel>',
    '<tunnel action="create" type="v6v4"><client><router><prefix length="a"/></router></client></tunnel>',
    '<tunnel action="create" type="v6v4"><client><keepalive interval="-1"/></client></tunnel>',
  ]) {
    assert.equal(readRequest(Buffer.from(text)), undefined, text);
  }
});

test('our own create is read back', () => {
  const wish = {
    tunnelType: 'v6udpv4',
    clientAddress: v4('10.0.0.1'),
    keepaliveSeconds: 25,
    prefixLength: 60,
  } as const;
  assert.deepEqual(readRequest(Buffer.from(writeCreate(wish))), {
    action: 'create',
    tunnelType: 'v6udpv4',
    addresses: [{ type: 'ipv4', text: '10.0.0.1' }],
    proxy: false,
    keepaliveSeconds: 25,
    prefixLength: 60,
    nameServers: [],
  });
  const { prefixLength: _, ...host } = wish;
  assert.ok(!writeCreate(host).includes('router'));
});

test('the answer to a client behind a NAT is the known text, octet by octet', () => {
  const text = writeStatus(STATUS.success) + writeTunnelInfo(behindNat);
  assert.equal(text, INFO_BEHIND_NAT);
  assert.equal(text.length, 610);
  assert.ok(frame(text).startsWith('Content-length: 610\r\n200 Success\r\n<tunnel '));
});

test('the client is told a resolver inside client, the keepalive stays last', () => {
  const text = writeTunnelInfo({ ...behindNat, resolver: v6('2001:db8::53') });
  assert.match(
    text,
    /<client>\r\n.*<dns_server>\r\n<address type="ipv6">2001:0db8:0000:0000:0000:0000:0000:0053<\/address>\r\n<\/dns_server>\r\n<router>/s,
  );
  assert.match(text, /<\/keepalive>\r\n<\/client>\r\n<\/tunnel>\r\n$/);
});

test('the name servers of a delegated prefix come back, as many as fit, and never without it', () => {
  const nameServers = ['ns1.example.net', '192.0.2.7', '2001:db8::7'];
  assert.match(
    writeTunnelInfo({ ...behindNat, nameServers }),
    /<router>\r\n<prefix length="56">[^<]*<\/prefix>\r\n<dns_server>\r\n<address type="dn">ns1.example.net<\/address>\r\n<address type="ipv4">192.0.2.7<\/address>\r\n<address type="ipv6">2001:db8::7<\/address>\r\n<\/dns_server>\r\n<\/router>/,
  );
  const read = readTunnelInfo(Buffer.from(writeTunnelInfo({ ...behindNat, nameServers })));
  assert.deepEqual(read?.tunnelType !== 'v4v6' && read?.nameServers, nameServers);
  const { prefix: _, ...host } = behindNat;
  assert.ok(!writeTunnelInfo({ ...host, nameServers }).includes('ns1'));
  const long = Array.from({ length: 8 }, (_, index) => `${index}.${'a'.repeat(60)}.example.net`);
  const text = writeTunnelInfo({ ...behindNat, nameServers: long }, 1100);
  assert.ok(text.length <= 1100 && text.includes(long[3]!) && !text.includes(long[7]!));
});

test('IPv4 in IPv6 is told with the length of its link, and read back', () => {
  const { prefix: _, tunnelType: __, keepalive: ___, ...common } = behindNat;
  const info: TunnelInfo = {
    ...common,
    tunnelType: 'v4v6',
    linkLength: 30,
    serverIpv4: v4('203.0.113.5'),
    clientIpv4: v4('203.0.113.6'),
    keepalive: { intervalSeconds: 30, address: v4('203.0.113.5') },
  };
  const text = writeTunnelInfo(info);
  assert.ok(text.includes('<address type="ipv4" length="30">203.0.113.6</address>'));
  assert.deepEqual(readTunnelInfo(Buffer.from(text)), info);
});

test('text that would need an entity is left out, never escaped', () => {
  for (const domainName of ['a&b', 'a<b', 'a b', '', 'é', 'x'.repeat(256)]) {
    const text = writeTunnelInfo({ ...behindNat, domainName });
    assert.ok(!text.includes('"dn"'), domainName);
  }
});

const ipv4 = fc.integer({ min: 0, max: 0xffffffff });
const ipv6 = fc.bigInt({ min: 0n, max: (1n << 128n) - 1n });
const prefix = fc.tuple(ipv6, fc.integer({ min: 1, max: 128 })).map(([address, length]) => {
  const hostBits = BigInt(128 - length);
  return { address: (address >> hostBits) << hostBits, length };
});
const tunnelInfo: fc.Arbitrary<TunnelInfo> = fc.record(
  {
    tunnelType: fc.constantFrom('v6v4', 'v6udpv4'),
    lifetime: fc.nat(999_999_999),
    serverIpv4: ipv4,
    serverIpv6: ipv6,
    clientIpv4: ipv4,
    clientIpv6: ipv6,
    domainName: fc.stringMatching(/^[A-Za-z0-9.-]{1,255}$/),
    prefix,
    keepalive: fc.record(
      {
        intervalSeconds: fc.integer({ min: 1, max: 3600 }),
        address: ipv6.filter((address) => address !== 0n),
      },
      { noNullPrototype: true },
    ),
    resolver: ipv6,
  },
  {
    noNullPrototype: true,
    requiredKeys: [
      'tunnelType',
      'lifetime',
      'serverIpv4',
      'serverIpv6',
      'clientIpv4',
      'clientIpv6',
    ],
  },
);

test('any tunnel can be told in one datagram, in a form that gogoc reads, and is read back', () => {
  fc.assert(
    fc.property(tunnelInfo, (info) => {
      const text = writeTunnelInfo(info);
      assert.deepEqual(readTunnelInfo(Buffer.from(text)), info);
      assert.ok(frame(writeStatus(STATUS.success) + text).length <= MAX_ANSWER_OCTETS);
      // One element or text a line, no blanks but before attributes, nothing empty or self-closed.
      for (const line of text.split('\r\n').slice(0, -1)) {
        assert.match(line, /^<\/?[a-z_]+( [a-z]+="[^"<>&\s]+")*>([^<>&\s]+<\/[a-z]+>)?$/);
      }
      for (const [, address] of text.matchAll(/"ipv6">([^<]*)</g)) {
        assert.match(address ?? '', /^([0-9a-f]{4}:){7}[0-9a-f]{4}$/);
      }
    }),
  );
});

test('a client reads what other servers write: blanks, cut and unclean prefixes, order', () => {
  const text = `<tunnel type="v6v4" action="info" mtu="1280">
    <client><address type="ipv6"> 2001:db8::2 </address><address type="ipv4">10.0.0.1</address>
    <router><prefix length="48"> 2001:0db8:0c18:ffff </prefix></router>
    <keepalive interval="30"></keepalive></client>
    <server><address type="ipv4">
    192.0.2.1</address><address type="ipv6" length="128">2001:db8::1</address></server></tunnel>`;
  assert.deepEqual(readTunnelInfo(Buffer.from(text)), {
    tunnelType: 'v6v4',
    lifetime: 0,
    serverIpv4: v4('192.0.2.1'),
    serverIpv6: v6('2001:db8::1'),
    clientIpv4: v4('10.0.0.1'),
    clientIpv6: v6('2001:db8::2'),
    prefix: { address: v6('2001:db8:c18::'), length: 48 },
  });
});

test('a keepalive that would go nowhere is no keepalive', () => {
  const read = (keepalive: Ipv6TunnelInfo['keepalive']) =>
    readTunnelInfo(Buffer.from(writeTunnelInfo({ ...behindNat, keepalive: keepalive! })))
      ?.keepalive;
  assert.ok(read({ intervalSeconds: 30, address: 1n }));
  assert.equal(read({ intervalSeconds: 30, address: 0n }), undefined);
  assert.equal(read({ intervalSeconds: 0, address: 1n }), undefined);
});

test('an answer that lacks an address or decides no type is unreadable', () => {
  const text = writeTunnelInfo(behindNat);
  const without = (part: string | RegExp, by = '') =>
    readTunnelInfo(Buffer.from(text.replace(part, by)));
  assert.ok(without('nothing'));
  assert.equal(without('v6udpv4', 'v6anyv4'), undefined);
  assert.equal(without('192.0.2.53'), undefined);
  assert.equal(without('10.20.30.40'), undefined);
  assert.equal(
    without(/<address type="ipv6">2001:0db8:0000:0001:0000:0000:0000:0011<\/address>/),
    undefined,
  );
  assert.equal(without(/<server>.*<\/server>/s), undefined);
  assert.equal(without('length="56"', 'length="129"'), undefined);
});

test('a list of brokers is the known text, and both of its shapes are read', () => {
  const brokers = [
    { type: 'ipv4', text: '198.51.100.7' },
    { type: 'dn', text: 'tb2.example.net' },
  ] as const;
  const text = writeBrokers(brokers, 1000);
  assert.equal(
    writeStatus(STATUS.noTunnelsLeft, true) + text,
    crlf(`1301 No more tunnels available
<tunnel action="list" type="broker">
<broker>
<address type="ipv4">198.51.100.7</address>
<address type="dn">tb2.example.net</address>
</broker>
</tunnel>
`),
  );
  assert.equal((writeStatus(STATUS.noTunnelsLeft, true) + text).length, 193);
  assert.deepEqual(readBrokers(Buffer.from(text)), brokers);
  const apart = text.replace('</address>\r\n<address', '</address></broker><broker><address');
  assert.deepEqual(readBrokers(Buffer.from(apart)), brokers);
});

test('a list of brokers is cut to the room there is', () => {
  const many = Array.from(
    { length: 80 },
    (_, i) => ({ type: 'dn', text: `tb${i}.example` }) as const,
  );
  const text = writeBrokers(many, 600);
  assert.ok(text.length <= 600);
  assert.deepEqual(
    readBrokers(Buffer.from(text)),
    many.slice(0, readBrokers(Buffer.from(text)).length),
  );
  assert.ok(readBrokers(Buffer.from(text)).length > 5);
  assert.equal(readBrokers(Buffer.from(writeBrokers(many, 1e6))).length, 50);
});
