import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseIpv4Prefix, parseIpv6 } from '../../src/address.ts';
import { readEchoReply, writeEcho } from '../../src/bench/echo.ts';
import { Endpoints, userName } from '../../src/bench/plan.ts';

test('every endpoint comes once before any comes again, and is found by what it is', () => {
  for (const [prefix, ports] of [
    ['10.1.0.0/22', 4],
    ['10.1.0.0/24', 3],
    ['192.0.2.7/32', 50],
    ['192.0.2.6/31', 1],
  ] as const) {
    const endpoints = new Endpoints(parseIpv4Prefix(prefix)!, ports);
    const keys = new Set<number>();
    for (let index = 0; index < endpoints.count; index++) {
      const { address, socket, key } = endpoints.at(index);
      assert.equal(endpoints.keyOf(address, socket), key);
      keys.add(key);
    }
    assert.equal(keys.size, endpoints.count, prefix);
    assert.deepEqual(endpoints.at(endpoints.count), endpoints.at(0));
    const { address } = parseIpv4Prefix(prefix)!;
    assert.equal(endpoints.keyOf(address - 1, 0), undefined);
    assert.equal(endpoints.keyOf(address + endpoints.count / ports, 0), undefined);
  }
});

test('a thousand clients in a row come from as many networks of 256', () => {
  const endpoints = new Endpoints(parseIpv4Prefix('10.128.0.0/9')!, 4);
  const networks = new Set<number>();
  for (let index = 0; index < 1000; index++) networks.add(endpoints.at(index).address >>> 8);
  assert.equal(networks.size, 1000);
});

test('users have six digits, more where six do not do', () => {
  assert.equal(userName('bench-', 0), 'bench-000001');
  assert.equal(userName('bench-', 999_999), 'bench-1000000');
});

test('an echo request adds up, and its reply is known again', () => {
  const [from, to] = [parseIpv6('2001:db8::2')!, parseIpv6('2001:db8::1')!];
  const request = writeEcho(from, to, 0xabcd);
  assert.equal(readEchoReply(request), undefined);
  // RFC 1071: with the checksum in place, the sum is all ones.
  const view = new DataView(request.buffer);
  let sum = 8 + 58;
  for (let at = 8; at < request.length; at += 2) sum += view.getUint16(at);
  assert.equal((sum & 0xffff) + (sum >>> 16), 0xffff);
  const reply = request.slice();
  reply[40] = 129;
  assert.equal(readEchoReply(reply), 0xabcd);
  assert.equal(readEchoReply(reply.subarray(0, 47)), undefined);
  reply[44] = 0;
  assert.equal(readEchoReply(reply), undefined, 'somebody else’s');
});
