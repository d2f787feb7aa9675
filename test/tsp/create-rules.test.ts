import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseIpv4, parseIpv6 } from '../../src/address.ts';
import { announcedTypes, decideCreate } from '../../src/tsp/create-rules.ts';
import type { ConcreteTunnelType, CreateRequest } from '../../src/tsp/messages.ts';

const HOME = '203.0.113.9';
const PRIVATE = '10.0.0.1';
const BOTH: readonly ConcreteTunnelType[] = ['v6v4', 'v6udpv4'];

const ALL: readonly ConcreteTunnelType[] = ['v6v4', 'v6udpv4', 'v4v6'];
const SOURCE = { address: parseIpv4(HOME)!, port: 4000 };

function decide(...how: Parameters<typeof decideWhole>) {
  const decision = decideWhole(...how);
  return decision.ok ? decision.tunnelType : decision.status;
}

function decideWhole(
  change: Partial<CreateRequest>,
  { stated = PRIVATE, transport = 'udp' as 'udp' | 'tcp', offered = BOTH } = {},
) {
  const request: CreateRequest = {
    action: 'create',
    tunnelType: 'v6anyv4',
    addresses: [{ type: 'ipv4', text: stated }],
    proxy: false,
    nameServers: [],
    ...change,
  };
  return decideCreate(request, SOURCE, transport, offered);
}

test('the server decides for UDP behind a NAT and for protocol 41 without one', () => {
  assert.equal(decide({}), 'v6udpv4');
  assert.equal(decide({}, { stated: HOME }), 'v6v4');
  assert.equal(decide({}, { stated: HOME, offered: ['v6udpv4'] }), 'v6udpv4');
  assert.equal(decide({}, { offered: ['v6v4'] }), 303);
});

test('an explicit type is given or refused, never replaced', () => {
  assert.equal(decide({ tunnelType: 'v6udpv4' }, { stated: HOME }), 'v6udpv4');
  assert.equal(decide({ tunnelType: 'v6v4' }, { stated: HOME }), 'v6v4');
  assert.equal(decide({ tunnelType: 'v6v4' }, { stated: HOME, offered: ['v6udpv4'] }), 303);
  for (const tunnelType of ['v4v6', '', 'V6V4', 'constructor']) {
    assert.equal(decide({ tunnelType }), 303, tunnelType);
  }
});

test('no tunnel leads to an address that is only claimed', () => {
  assert.equal(decide({ tunnelType: 'v6v4' }), 501);
  assert.equal(decide({ tunnelType: 'v4v6', proxy: true }), 303);
});

test('with proxy the tunnel leads to the stated address, by protocol 41 only', () => {
  const there = '198.51.100.8';
  for (const tunnelType of ['v6v4', 'v6anyv4']) {
    const decision = decideWhole({ proxy: true, tunnelType }, { stated: there });
    assert.deepEqual(decision, {
      ok: true,
      tunnelType: 'v6v4',
      statedAddress: parseIpv4(there),
      endpoint: { address: parseIpv4(there), port: 0 },
    });
  }
  assert.equal(decide({ proxy: true, tunnelType: 'v6udpv4' }, { stated: there }), 303);
  assert.equal(decide({ proxy: true }, { stated: there, offered: ['v6udpv4'] }), 303);
  assert.equal(decide({ proxy: true }, { stated: 'x' }), 501);
  for (const nobody of ['0.0.0.0', '127.0.0.1', '224.0.0.5', '240.0.0.1', '255.255.255.255']) {
    assert.equal(decide({ proxy: true }, { stated: nobody }), 501, nobody);
  }
});

test('the endpoint is where the packet came from, with a port only for tunnels in UDP', () => {
  const inUdp = decideWhole({ tunnelType: 'v6udpv4' });
  assert.deepEqual(inUdp.ok && inUdp.endpoint, SOURCE);
  const byProtocol41 = decideWhole({ tunnelType: 'v6v4' }, { stated: HOME });
  assert.deepEqual(byProtocol41.ok && byProtocol41.endpoint, { ...SOURCE, port: 0 });
});

test('IPv4 in IPv6 needs the stated address to be the source', () => {
  const HERE = '2001:db8:9::20';
  const ask = (
    text: string,
    { source = parseIpv6(HERE) as number | bigint, more = {}, offered = ALL } = {},
  ) => {
    const request = {
      action: 'create',
      tunnelType: 'v4v6',
      addresses: text === '' ? [] : [{ type: 'ipv6', text }],
      proxy: false,
      nameServers: [],
      ...more,
    } as const;
    const decision = decideCreate(request, { address: source!, port: 9 }, 'tcp', offered);
    return decision.ok ? decision : decision.status;
  };
  assert.deepEqual(ask(HERE), {
    ok: true,
    tunnelType: 'v4v6',
    statedAddress: parseIpv6(HERE),
    endpoint: { address: parseIpv6(HERE), port: 0 },
  });
  for (const wrong of ['', '2001:db8:9::21', 'x', '203.0.113.9']) assert.equal(ask(wrong), 502);
  assert.equal(ask(HERE, { source: 5 }), 303);
  assert.equal(ask(HERE, { more: { proxy: true } }), 303);
  assert.equal(ask(HERE, { more: { prefixLength: 24 } }), 507);
  assert.equal(ask(HERE, { offered: BOTH }), 303);
});

test('name servers are names or addresses, eight at most', () => {
  const fine = [
    'ns.example.net',
    'NS1.Example',
    '192.0.2.1',
    '2001:db8::1',
    'a-b.c1',
    'x.',
    '_a.b',
  ];
  assert.equal(decide({ nameServers: fine }), 'v6udpv4');
  for (const bad of [
    '-a.b',
    'a..b',
    'a b',
    'a_b!',
    '1.2.3',
    '1.2.3.400',
    `${'a'.repeat(64)}.b`,
    '<',
  ]) {
    assert.equal(decide({ nameServers: [bad] }), 500, bad);
  }
  assert.equal(decide({ nameServers: [`${'a.'.repeat(126)}bc`] }), 500);
  assert.equal(decide({ nameServers: new Array<string>(9).fill('ns.example.net') }), 500);
});

test('each family is told of what can be had from it', () => {
  assert.deepEqual(announcedTypes(ALL, SOURCE), BOTH);
  assert.deepEqual(announcedTypes(ALL, { address: 1n, port: 1 }), ['v4v6']);
  assert.deepEqual(announcedTypes(BOTH, { address: 1n, port: 1 }), []);
});

test('over TCP there is no tunnel in UDP', () => {
  assert.equal(decide({ tunnelType: 'v6udpv4' }, { transport: 'tcp' }), 303);
  assert.equal(decide({}, { transport: 'tcp' }), 303);
  assert.equal(decide({}, { transport: 'tcp', stated: HOME }), 'v6v4');
});

test('a missing or unreadable address has its own status', () => {
  assert.equal(decide({ addresses: [] }), 501);
  assert.equal(decide({}, { stated: '10.0.0.256' }), 501);
  assert.equal(decide({ addresses: [{ type: 'ipv6', text: '2001:db8::1' }] }), 501);
  assert.equal(decide({ addresses: [{ type: 'ipv6', text: '2001:db8::g' }] }), 502);
});

test('a prefix length that no prefix can have is refused', () => {
  assert.equal(decide({ prefixLength: 0 }), 507);
  assert.equal(decide({ prefixLength: 129 }), 507);
  assert.equal(decide({ prefixLength: 56 }), 'v6udpv4');
});

test('a client on IPv6 gets no IPv6 tunnel', () => {
  const request = {
    action: 'create',
    tunnelType: 'v6anyv4',
    proxy: false,
    nameServers: [],
  } as const;
  const addresses = [{ type: 'ipv4', text: HOME }];
  const decision = decideCreate({ ...request, addresses }, { address: 1n, port: 1 }, 'udp', BOTH);
  assert.deepEqual(decision, { ok: false, status: 303 });
});
