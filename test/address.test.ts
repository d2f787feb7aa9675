import assert from 'node:assert/strict';
import { isIPv4, isIPv6 } from 'node:net';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  formatIpv4,
  formatIpv6,
  formatIpv6Expanded,
  formatIpv6Prefix,
  formatPrefix,
  type Ipv6Prefix,
  ipv4PrefixAt,
  ipv4PrefixContains,
  parseIpv4,
  parseIpv4Prefix,
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

test('IPv4 prefixes survive a round trip, and nothing else is taken for one', () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 0, max: 0xffffffff }),
      fc.integer({ min: 0, max: 32 }),
      (bits, length) => {
        const prefix = { address: bits - (bits % 2 ** (32 - length)), length };
        assert.deepEqual(parseIpv4Prefix(formatPrefix(prefix)), prefix);
        assert.equal(ipv4PrefixContains(prefix, bits), true);
        const beyond = prefix.address + 2 ** (32 - length);
        for (const outside of [prefix.address - 1, beyond].filter((at) => at >= 0 && at < 2 ** 32))
          assert.equal(ipv4PrefixContains(prefix, outside), false);
      },
    ),
  );
  for (const text of ['10.0.0.1/8', '10.0.0.0/33', '10.0.0.0/08', '10.0.0.0', '10.0.0.0/8/8', '/8'])
    assert.equal(parseIpv4Prefix(text), undefined, text);
});

test('prefixes of one family overlap when one holds the other, those of two never', () => {
  const v4 = (text: string) => parseIpv4Prefix(text)!;
  const v6 = (text: string) => parseIpv6Prefix(text)!;
  assert.equal(prefixesOverlap(v4('255.0.0.0/8'), v4('255.1.0.0/16')), true);
  assert.equal(prefixesOverlap(v4('255.1.0.0/16'), v4('255.0.0.0/8')), true);
  assert.equal(prefixesOverlap(v4('10.0.0.0/9'), v4('10.128.0.0/9')), false);
  assert.equal(prefixesOverlap(v4('0.0.0.0/0'), v6('::/0')), false);
  assert.equal(prefixesOverlap(v6('::/0'), v4('0.0.0.0/0')), false);
});

test('the positions of an IPv4 pool are laid end to end', () => {
  const pool = parseIpv4Prefix('192.0.2.0/24')!;
  const positions = positionCount(pool, 30);
  assert.equal(positions, 64);
  assert.equal(formatPrefix(ipv4PrefixAt(pool, 30, 0)), '192.0.2.0/30');
  assert.equal(formatPrefix(ipv4PrefixAt(pool, 30, 63)), '192.0.2.252/30');
  assert.equal(formatPrefix(ipv4PrefixAt(pool, 32, 255)), '192.0.2.255/32');
});
