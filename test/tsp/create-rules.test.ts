import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseIpv4 } from '../../src/address.ts';
import { decideCreate } from '../../src/tsp/create-rules.ts';
import type { ConcreteTunnelType, CreateRequest } from '../../src/tsp/messages.ts';

const HOME = '203.0.113.9';
const PRIVATE = '10.0.0.1';
const BOTH: readonly ConcreteTunnelType[] = ['v6v4', 'v6udpv4'];

function decide(
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
  const source = { address: parseIpv4(HOME)!, port: 4000 };
  const decision = decideCreate(request, source, transport, offered);
  return decision.ok ? decision.tunnelType : decision.status;
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
  assert.equal(decide({ proxy: true }), 303);
  assert.equal(decide({ proxy: true, tunnelType: 'v6v4' }, { stated: HOME }), 303);
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
