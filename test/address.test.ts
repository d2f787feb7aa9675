import assert from 'node:assert/strict';
import { isIPv4, isIPv6 } from 'node:net';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  formatIpv4,
  formatIpv6,
  formatIpv6Expanded,
  formatIpv6Prefix,
  type Ipv6Prefix,
  parseIpv4,
  parseIpv6,
  parseIpv6Prefix,
  positionCount,
  positionOf,
  prefixAt,
  prefixContains,
  prefixesOverlap,
} from '../src/address.ts';

const ipv6 = fc.bigInt({ min: 0n, max: (1n << 128n) - 1n });
// Addresses with runs of zero groups, where the compression of RFC 5952 has its choices.
const sparseIpv6 = fc
  .array(fc.constantFrom(0, 0, 0, 1, 0xff, 0xffff), { minLength: 8, maxLength: 8 })
  .map((groups) => groups.reduce((value, group) => (value << 16n) | BigInt(group), 0n));

test('IPv4 addresses survive a round trip through text', () => {
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 0xffffffff }), (address) => {
      assert.equal(parseIpv4(formatIpv4(address)), address);
    }),
  );
});

test('IPv6 addresses survive a round trip through both forms of text', () => {
  fc.assert(
    fc.property(fc.oneof(ipv6, sparseIpv6), (address) => {
      assert.equal(parseIpv6(formatIpv6(address)), address);
      assert.equal(parseIpv6(formatIpv6Expanded(address)), address);
      assert.match(formatIpv6Expanded(address), /^([0-9a-f]{4}:){7}[0-9a-f]{4}$/);
    }),
  );
});

test('IPv6 text is the one that the platform writes (RFC 5952)', () => {
  fc.assert(
    fc.property(sparseIpv6, (address) => {
      // The platform writes v4-compatible addresses with a dotted end; those are left out.
      if (address >> 32n === 0n || address >> 32n === 0xffffn) return;
      const platform = new URL(`http://[${formatIpv6Expanded(address)}]/`).hostname.slice(1, -1);
      assert.equal(formatIpv6(address), platform);
    }),
  );
});

test('what is read as an address is what the platform takes for one', () => {
  const near = fc.oneof(
    fc.string({ unit: fc.constantFrom('0', '1', 'f', ':', '.', '::', '255', 'g'), maxLength: 20 }),
    sparseIpv6.map(formatIpv6),
  );
  fc.assert(
    fc.property(near, (text) => {
      assert.equal(parseIpv6(text) !== undefined, isIPv6(text), text);
      assert.equal(parseIpv4(text) !== undefined, isIPv4(text), text);
    }),
    { numRuns: 5000 },
  );
});

test('positions in a pool and prefixes are each other’s inverse', () => {
  const pool = parseIpv6Prefix('2001:db8:8000::/36') as Ipv6Prefix;
  assert.equal(positionCount(pool, 56), 1 << 20);
  assert.equal(formatIpv6Prefix(prefixAt(pool, 56, 0)), '2001:db8:8000::/56');
  assert.equal(formatIpv6Prefix(prefixAt(pool, 56, 0xfffff)), '2001:db8:8fff:ff00::/56');
  fc.assert(
    fc.property(fc.integer({ min: 0, max: (1 << 20) - 1 }), ipv6, (position, noise) => {
      const prefix = prefixAt(pool, 56, position);
      const inside = prefix.address | (noise & ((1n << 72n) - 1n));
      assert.ok(prefixContains(prefix, inside));
      assert.equal(positionOf(pool, 56, inside), position);
    }),
  );
});

test('a prefix with host bits, a bad length or trailing text is refused', () => {
  for (const text of ['2001:db8::1/64', '2001:db8::/129', '2001:db8::', '::/0/0', '/0', '::/-1']) {
    assert.equal(parseIpv6Prefix(text), undefined, text);
  }
});

test('overlap is symmetric and means containment of one in the other', () => {
  const a = parseIpv6Prefix('2001:db8::/32') as Ipv6Prefix;
  const b = parseIpv6Prefix('2001:db8:5::/48') as Ipv6Prefix;
  const c = parseIpv6Prefix('2001:db9::/32') as Ipv6Prefix;
  assert.deepEqual([prefixesOverlap(a, b), prefixesOverlap(b, a)], [true, true]);
  assert.deepEqual([prefixesOverlap(a, c), prefixesOverlap(c, b)], [false, false]);
});
