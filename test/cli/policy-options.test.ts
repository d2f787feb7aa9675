// What people write for rates, MTU and ports, and what is made of it.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { formatRate } from '../../src/cli/output.ts';
import { policyChangeOf } from '../../src/cli/policy-options.ts';

test('what is not mentioned stays', () => {
  assert.deepEqual(policyChangeOf({}), {});
  assert.deepEqual(policyChangeOf({ mtu: '1400' }), { mtu: 1400 });
});

test('default takes a word back, none is a word', () => {
  assert.deepEqual(policyChangeOf({ mtu: 'default', rateIn: 'default', rateOut: 'none' }), {
    mtu: undefined,
    inBitsPerSecond: undefined,
    outBitsPerSecond: 0,
  });
  assert.deepEqual(policyChangeOf({ openPorts: true }), { ports: 'open' });
  assert.deepEqual(policyChangeOf({ closePorts: true }), { ports: 'closed' });
  assert.deepEqual(policyChangeOf({ defaultPorts: true }), { ports: undefined });
});

test('rates have units', () => {
  for (const [text, rate] of [
    ['8000', 8000],
    ['64k', 64_000],
    ['2.5M', 2_500_000],
    ['1G', 1e9],
  ] as const) {
    assert.deepEqual(policyChangeOf({ rateIn: text }), { inBitsPerSecond: rate });
  }
  assert.deepEqual([0, 8500, 20e6, 1.25e9].map(formatRate), [
    'none',
    '8.5 kbit/s',
    '20 Mbit/s',
    '1.25 Gbit/s',
  ]);
});

test('what cannot be is refused with what could be', () => {
  for (const rateIn of ['7999', '2000G', '-1', 'fast', '1T', ''])
    assert.throws(
      () => policyChangeOf({ rateIn }),
      /--rate-in is none, default, or from 8 kbit\/s/,
    );
  for (const mtu of ['1279', '1473', 'big'])
    assert.throws(() => policyChangeOf({ mtu }), /--mtu is a whole number from 1280 to 1472/);
  assert.throws(() => policyChangeOf({ openPorts: true, closePorts: true }), /say one of/);
});
