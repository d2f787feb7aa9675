// What a tunnel's situation is said to be: each situation in words, each finding in each language, and
// what holds for all of them together.

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { parseIpv4, parseIpv6, parseIpv6Prefix } from '../../src/address.ts';
import { diagnose, type Finding } from '../../src/broker/diagnosis.ts';
import { FINDING_KEYS, type Format, sentenceOf } from '../../src/broker/diagnosis-texts.ts';
import type { TunnelStatus } from '../../src/broker/tunnel-status.ts';
import type { StrayAt } from '../../src/dataplane/dataplane.ts';
import { FAULT_NAMES, type FaultName, OUTCOME_NAMES } from '../../src/dataplane/layout.gen.ts';

const NOW = Date.parse('2026-11-25T12:00:00Z');
const SECOND = 1000;
const HOME = { address: parseIpv4('198.51.100.10')!, port: 40_000 };
const MOVED = { address: HOME.address, port: 50_000 };

const counted = { inPackets: 90n, inBytes: 9000n, outPackets: 80n, outBytes: 8000n };
const noFaults = Object.fromEntries(FAULT_NAMES.map((name) => [name, 0])) as Record<
  FaultName,
  number
>;

/** Up for an hour, heard five seconds ago. */
const WORKING: TunnelStatus = {
  tunnelId: 7,
  slot: 3,
  family: 'ipv6',
  user: { id: 1, name: 'alice' },
  state: 'attached',
  disabled: undefined,
  encapsulation: 'v6udpv4',
  endpoint: HOME,
  attachedAtMs: NOW - 3600 * SECOND,
  createdAtMs: NOW - 86_400 * SECOND,
  lastLoginAtMs: NOW - 3600 * SECOND,
  expiresAtMs: undefined,
  keepaliveSeconds: 30,
  mtu: 1280,
  prefix: parseIpv6Prefix('2001:db8:2000::/56')!,
  counters: { ...counted, inLastSeenMs: NOW - 5 * SECOND, outLastSeenMs: NOW - 4 * SECOND },
  faults: { packets: noFaults },
  idle: false,
  nat: 'likely',
  strays: [],
};

const DOWN: Partial<TunnelStatus> = {
  state: 'detached',
  encapsulation: undefined,
  endpoint: undefined,
  attachedAtMs: undefined,
  nat: undefined,
};

function heard(secondsAgo: number, sentSecondsAgo = 4): TunnelStatus['counters'] {
  const at = (ago: number) => NOW - ago * SECOND;
  return { ...counted, inLastSeenMs: at(secondsAgo), outLastSeenMs: at(sentSecondsAgo) };
}

function stray(outcome: StrayAt['outcome'], client = MOVED, secondsAgo = 3): StrayAt {
  return {
    encapsulation: 'v6udpv4',
    client,
    source: parseIpv6('2a02::7')!,
    outcome,
    atMs: NOW - secondsAgo * SECOND,
    packets: 4,
  };
}

function dropped(
  fault: FaultName,
  outcome: (typeof OUTCOME_NAMES)[number],
  secondsAgo = 3,
): TunnelStatus['faults'] {
  return {
    packets: { ...noFaults, [fault]: 12 },
    last: { outcome, atMs: NOW - secondsAgo * SECOND },
  };
}

function said(change: Partial<TunnelStatus>): string[] {
  return diagnose({ ...WORKING, ...change }, NOW).map(({ severity, key }) => `${severity} ${key}`);
}

/** Situation, what is different from a tunnel that works, and what is found. */
const CASES: readonly (readonly [string, Partial<TunnelStatus>, readonly string[]])[] = [
  ['all is well', {}, ['fine works']],
  ['the user is disabled', { state: 'disabled', disabled: 'user' }, ['problem user-disabled']],
  [
    'the tunnel is disabled',
    { state: 'disabled', disabled: 'tunnel' },
    ['problem tunnel-disabled'],
  ],
  [
    'disabled, and the client goes on sending',
    { state: 'disabled', disabled: 'tunnel', faults: dropped('closed_in', 'in_disabled') },
    ['problem tunnel-disabled'],
  ],
  ['nobody has logged in yet', { ...DOWN, lastLoginAtMs: undefined }, ['notice never-logged-in']],
  ['the client has gone', DOWN, ['problem logged-out']],
  [
    'the client has gone, and the addresses will go',
    { ...DOWN, expiresAtMs: NOW + 86_400 * SECOND },
    ['problem logged-out', 'notice addresses-expire'],
  ],
  [
    'the client has gone and goes on sending',
    { ...DOWN, strays: [stray('in_detached')], faults: dropped('closed_in', 'in_detached') },
    ['problem knocks-without-login', 'problem logged-out', 'notice came-while-down'],
  ],
  [
    'the client sent without a login an hour ago',
    { ...DOWN, strays: [stray('in_detached', MOVED, 3600)] },
    ['problem logged-out'],
  ],
  [
    'the kernel cannot be asked',
    { counters: undefined, faults: undefined },
    ['notice not-measured'],
  ],
  [
    'logged in three seconds ago, nothing heard',
    { attachedAtMs: NOW - 3 * SECOND, lastLoginAtMs: NOW - 3 * SECOND, counters: heard(600) },
    ['notice just-logged-in'],
  ],
  [
    'logged in by UDP, and the firewall lets nothing out',
    {
      attachedAtMs: NOW - 90 * SECOND,
      lastLoginAtMs: NOW - 90 * SECOND,
      counters: heard(600, 900),
    },
    ['problem unheard-udp'],
  ],
  [
    'logged in by UDP, packets go there and none comes',
    { attachedAtMs: NOW - 90 * SECOND, lastLoginAtMs: NOW - 90 * SECOND, counters: heard(600) },
    ['problem unheard-udp', 'notice one-way'],
  ],
  [
    'logged in for protocol 41, which the router does not pass',
    {
      encapsulation: 'v6v4',
      attachedAtMs: NOW - 90 * SECOND,
      lastLoginAtMs: NOW - 90 * SECOND,
      counters: { inPackets: 0n, inBytes: 0n, outPackets: 0n, outBytes: 0n },
    },
    ['problem unheard-protocol-41'],
  ],
  [
    'logged in for IPv4 in IPv6, nothing heard',
    {
      family: 'ipv4',
      encapsulation: 'v4v6',
      endpoint: { address: parseIpv6('2001:db8::1')!, port: 0 },
      attachedAtMs: NOW - 90 * SECOND,
      lastLoginAtMs: NOW - 90 * SECOND,
      counters: { inPackets: 0n, inBytes: 0n, outPackets: 0n, outBytes: 0n },
    },
    ['problem unheard-v4v6'],
  ],
  [
    'the NAT has given the client another port',
    {
      counters: heard(50),
      strays: [stray('in_wrong_endpoint')],
      faults: dropped('wrong_endpoint', 'in_wrong_endpoint'),
    },
    ['problem heard-elsewhere', 'notice one-way', 'notice others-with-our-addresses'],
  ],
  [
    'somebody else sends with the tunnel’s addresses, and the client is there',
    {
      strays: [stray('in_wrong_endpoint')],
      faults: dropped('wrong_endpoint', 'in_wrong_endpoint'),
    },
    ['notice others-with-our-addresses', 'fine works'],
  ],
  ['a keepalive is late', { counters: heard(45, 900) }, ['notice keepalive-late', 'fine works']],
  ['the client is silent', { counters: heard(120, 900) }, ['problem silent']],
  [
    'the client is silent while packets go to it',
    { counters: heard(120) },
    ['problem silent', 'notice one-way'],
  ],
  [
    'only keepalives: nothing was ever sent to the client',
    { counters: { ...counted, outPackets: 0n, outBytes: 0n, inLastSeenMs: NOW - SECOND } },
    ['notice only-keepalives', 'fine works'],
  ],
  [
    'the client sends with another connection’s address',
    { strays: [stray('in_outside_pools', HOME)] },
    ['problem foreign-source'],
  ],
  [
    'the client sends with a prefix that it had before',
    { strays: [stray('in_undelegated', HOME)] },
    ['problem former-prefix'],
  ],
  [
    'wrong address of the link',
    { faults: dropped('wrong_source', 'in_wrong_interface_id') },
    ['problem wrong-source'],
  ],
  [
    'the server’s address of the link',
    { faults: dropped('wrong_source', 'in_gateway_source') },
    ['problem wrong-source'],
  ],
  [
    'wrong address of the link before, a closed port now',
    {
      faults: {
        packets: { ...noFaults, wrong_source: 2, filtered: 1 },
        last: { outcome: 'in_filtered', atMs: NOW - SECOND },
      },
    },
    ['notice wrong-source', 'notice port-closed', 'fine works'],
  ],
  [
    'something asks the gateway for names',
    { faults: dropped('to_gateway', 'in_to_gateway') },
    ['notice to-gateway', 'fine works'],
  ],
  [
    'sent more than it may',
    { faults: dropped('rate_in', 'in_rate_limited') },
    ['notice rate-in', 'fine works'],
  ],
  [
    'more came than it may receive',
    { faults: dropped('rate_out', 'out_rate_limited') },
    ['notice rate-out', 'fine works'],
  ],
  ['too big', { faults: dropped('too_big', 'out_too_big') }, ['notice too-big', 'fine works']],
  [
    'came for the client while it was away',
    { faults: dropped('closed_out', 'out_detached') },
    ['notice not-deliverable', 'fine works'],
  ],
  [
    'somebody scans the link',
    { faults: dropped('wrong_destination', 'out_wrong_interface_id') },
    ['notice scanned-link', 'fine works'],
  ],
  [
    'the path is congested',
    { faults: dropped('congestion', 'in_congestion_lost') },
    ['notice congestion', 'fine works'],
  ],
  [
    'the server’s kernel refuses',
    { faults: dropped('other', 'out_push_failed') },
    ['problem server-refused'],
  ],
  [
    'whatever was dropped an hour ago',
    { faults: dropped('wrong_source', 'in_wrong_interface_id', 3600) },
    ['fine works'],
  ],
];

describe('a tunnel’s situation', () => {
  for (const [situation, change, findings] of CASES)
    it(situation, () => assert.deepEqual(said(change), findings));
});

const FORMAT: Format = {
  time: (atMs) => `<${Math.round((NOW - atMs) / SECOND)} s ago>`,
  count: (count) => `<${count}>`,
};

describe('the sentences', () => {
  const found = new Map<string, Finding>();
  for (const [, change] of CASES)
    for (const finding of diagnose({ ...WORKING, ...change }, NOW)) found.set(finding.key, finding);

  it('there is a situation for each finding', () => {
    assert.deepEqual([...found.keys()].sort(), [...FINDING_KEYS].sort());
  });

  it('say every value that they have, in each language, and end with a full stop', () => {
    for (const finding of found.values())
      for (const language of ['en', 'ar'] as const) {
        const sentence = sentenceOf(finding, language, FORMAT);
        assert.match(sentence, /\.$/, finding.key);
        assert.doesNotMatch(sentence, /undefined|NaN/);
        for (const [name, value] of Object.entries(finding.values)) {
          const shown =
            typeof value === 'string' ? value : name.endsWith('Ms') ? 's ago>' : `<${value}>`;
          assert.ok(sentence.includes(shown), `${language} ${finding.key} without its ${name}`);
        }
      }
  });

  it('read well', () => {
    assert.equal(
      sentenceOf(found.get('heard-elsewhere')!, 'en', FORMAT),
      'We hear the client, but from 198.51.100.10:50000 (last <3 s ago>) and not from ' +
        '198.51.100.10:40000, where it logged in: its NAT has given it another address or port, so let ' +
        'it log in again and send keepalives.',
    );
  });
});

describe('whatever the situation', () => {
  const ago = fc.option(fc.integer({ min: 0, max: 8000 }), { nil: undefined });
  const outcome = fc.constantFrom(...OUTCOME_NAMES);
  const status = fc
    .record({
      state: fc.constantFrom('attached', 'detached', 'disabled'),
      encapsulation: fc.constantFrom('v6v4', 'v6udpv4', 'v4v6'),
      attached: fc.integer({ min: 0, max: 8000 }),
      login: ago,
      heard: ago,
      sent: ago,
      outPackets: fc.bigInt({ min: 0n, max: 9n }),
      faults: fc.array(fc.constantFrom(...FAULT_NAMES), { maxLength: 3 }),
      last: outcome,
      lastFault: ago,
      strays: fc.array(
        fc.record({ outcome, client: fc.constantFrom(HOME, MOVED), ago: fc.nat(900) }),
        { maxLength: 3 },
      ),
    })
    .map((each): TunnelStatus => {
      const at = (seconds: number) => NOW - seconds * SECOND;
      const up = each.state === 'attached' || each.state === 'disabled';
      return {
        ...WORKING,
        ...(up ? {} : DOWN),
        state: each.state as TunnelStatus['state'],
        disabled: each.state === 'disabled' ? 'user' : undefined,
        ...(up && {
          encapsulation: each.encapsulation as TunnelStatus['encapsulation'],
          attachedAtMs: at(each.attached),
        }),
        lastLoginAtMs: each.login === undefined ? undefined : at(each.login),
        counters: {
          ...counted,
          outPackets: each.outPackets,
          ...(each.heard !== undefined && { inLastSeenMs: at(each.heard) }),
          ...(each.sent !== undefined && { outLastSeenMs: at(each.sent) }),
        },
        faults: {
          packets: { ...noFaults, ...Object.fromEntries(each.faults.map((name) => [name, 1])) },
          ...(each.lastFault !== undefined && {
            last: { outcome: each.last, atMs: at(each.lastFault) },
          }),
        },
        strays: each.strays.map((one) => stray(one.outcome, one.client, one.ago)),
      };
    });

  it('something is said, problems come first, and what works has none', () => {
    fc.assert(
      fc.property(status, (each) => {
        const findings = diagnose(each, NOW);
        assert.ok(findings.length > 0, 'nothing is said');
        const order = findings.map(({ severity }) =>
          ['problem', 'notice', 'fine'].indexOf(severity),
        );
        assert.deepEqual(order, order.toSorted());
        const keys = findings.map(({ key }) => key);
        if (keys.includes('works')) assert.equal(order[0] === 0, false);
        if (each.disabled) assert.deepEqual(keys, ['user-disabled']);
        for (const finding of findings) sentenceOf(finding, 'en', FORMAT);
      }),
      { numRuns: 2000 },
    );
  });
});
