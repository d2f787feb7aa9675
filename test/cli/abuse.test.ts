// `sixway abuse` in words, for every kind of answer, and its times.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseIpv4, parseIpv6, parseIpv6Prefix } from '../../src/address.ts';
import { formatCsv } from '../../src/broker/csv.ts';
import { inWords, spanOf } from '../../src/cli/abuse.ts';
import type { AttachmentTenure, LeaseTenure } from '../../src/store/history.ts';

const T0 = Date.parse('2026-11-01T10:00:00Z');
const T1 = Date.parse('2026-11-02T10:00:00Z');
const now = Date.parse('2026-11-25T00:00:00Z');
const span = { fromMs: T0 + 5, untilMs: T0 + 5 };

const lease: LeaseTenure = {
  tunnelId: 7,
  user: { id: 3, name: 'alice' },
  fromMs: T0,
  untilMs: T1,
  purpose: 'delegation',
  prefix: parseIpv6Prefix('2001:db8:2000::/56')!,
};
const attachment: AttachmentTenure = {
  tunnelId: 7,
  user: { id: 3, name: 'alice' },
  fromMs: T0,
  untilMs: undefined,
  encapsulation: 'v6udpv4',
  client: parseIpv4('198.51.100.10')!,
  port: 40_000,
};

function words(
  asked: string,
  port: number | undefined,
  answer: Partial<Parameters<typeof inWords>[3]>,
  keptSinceMs = 0,
) {
  const whole = { holders: [], clients: [], truncated: false, ...answer };
  return inWords(asked, port, span, whole, keptSinceMs, now);
}

test('an address out of a prefix', () => {
  assert.deepEqual(
    words('2001:db8:2000::5', undefined, { holders: [{ lease, attachments: [attachment] }] }),
    [
      '2001:db8:2000::5 at 2026-11-01T10:00:00.005Z belonged to alice (user 3, tunnel 7): the prefix ' +
        '2001:db8:2000::/56, from 2026-11-01T10:00:00.000Z until 2026-11-02T10:00:00.000Z.',
      '  The client was at 198.51.100.10:40000 by v6udpv4, from 2026-11-01T10:00:00.000Z until now.',
    ],
  );
});

test('a client’s address and port', () => {
  const nobody = { ...attachment, user: undefined };
  assert.deepEqual(
    words('198.51.100.10', 40_000, { clients: [{ attachment: nobody, leases: [lease] }] }),
    [
      '198.51.100.10, port 40000, at 2026-11-01T10:00:00.005Z was where an anonymous user (tunnel 7) ' +
        'came from: 198.51.100.10:40000 by v6udpv4, from 2026-11-01T10:00:00.000Z until now.',
      '  It had the prefix 2001:db8:2000::/56, from 2026-11-01T10:00:00.000Z until ' +
        '2026-11-02T10:00:00.000Z.',
    ],
  );
});

test('no client meanwhile, a client without ports, and more than fits', () => {
  const v4v6 = { ...attachment, encapsulation: 'v4v6', client: parseIpv6('2001:db8::7')!, port: 0 };
  const [, silent] = words('x', undefined, { holders: [{ lease, attachments: [] }] });
  assert.equal(silent, '  The tunnel had no client meanwhile.');
  const [first, more] = words('2001:db8::7', undefined, {
    clients: [{ attachment: v4v6 as AttachmentTenure, leases: [] }],
    truncated: true,
  });
  assert.match(first ?? '', /came from: 2001:db8::7 by v4v6, from /);
  assert.match(more ?? '', /^There is more/);
});

test('nobody, and that others may have had it before what is kept', () => {
  assert.deepEqual(words('192.0.2.1', 9, {}), [
    'Nobody had 192.0.2.1, port 9 at 2026-11-01T10:00:00.005Z.',
  ]);
  assert.equal(words('192.0.2.1', undefined, {}, T1).length, 2);
});

test('times are ISO 8601, UTC unless they say otherwise', () => {
  const of = (at: string) => new Date(spanOf({ at }, now).fromMs).toISOString();
  assert.equal(of('2026-11-25T09:30:00Z'), '2026-11-25T09:30:00.000Z');
  assert.equal(of('2026-11-25 09:30'), '2026-11-25T09:30:00.000Z');
  assert.equal(of('2026-11-25T09:30+02:00'), '2026-11-25T07:30:00.000Z');
  assert.equal(of('2026-11-25'), '2026-11-25T00:00:00.000Z');
  assert.deepEqual(spanOf({ from: '2026-11-01' }, now), {
    fromMs: Date.parse('2026-11-01'),
    untilMs: now,
  });
  for (const wrong of [
    { at: 'yesterday' },
    { at: '2026-13-01' },
    { at: '2026-11-25', from: '2026-11-25' },
    { until: '2026-11-25' },
    { from: '2026-11-25', until: '2026-11-24' },
  ])
    assert.throws(() => spanOf(wrong, now), { message: /--/ });
});

test('CSV is quoted where it must be, and no cell is a formula', () => {
  assert.equal(
    formatCsv(
      ['a', 'b'],
      [
        ['=1+1', 2],
        ['x,"y"', -3],
      ],
    ),
    'a,b\r\n\'=1+1,2\r\n"x,""y""",-3\r\n',
  );
});
