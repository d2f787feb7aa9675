import assert from 'node:assert/strict';
import { test } from 'node:test';
import { formatEndpoint } from '../../src/address.ts';
import type { Mechanism } from '../../src/tsp/messages.ts';
import { Pair, type PairOptions } from './pair.ts';

const MECHANISMS: readonly Mechanism[] = ['DIGEST-MD5', 'PLAIN', 'ANONYMOUS', 'SCRAM-SHA-256'];

/** The client is up with exactly what the server granted it last, and nothing is left open. */
function assertAgreement(pair: Pair, options: PairOptions): void {
  const context = JSON.stringify(options);
  const up = pair.run();
  assert.deepEqual(pair.faults, [], context);
  assert.ok(up, `never up: ${JSON.stringify(pair.ends)} ${context}`);
  const endpoint = formatEndpoint(pair.endpoint);
  const accepted = [...pair.offers.values()].filter(({ fate }) => fate === 'accepted');
  const last = accepted.findLast(({ from }) => from === endpoint);
  assert.equal(last?.address, pair.tunnel?.clientIpv6, context);
  for (const [id, { fate }] of pair.offers) assert.notEqual(fate, 'open', `offer ${id} ${context}`);
  assert.equal(pair.server.sessionCount, 0, context);
}

test('over a good network each login takes one round of messages and one offer', () => {
  for (const mechanism of MECHANISMS) {
    const options = {
      seed: 1,
      loss: 0,
      duplication: 0,
      maxDelayMs: 100,
      maxBrokerDelayMs: 100,
      mechanism,
    };
    const pair = new Pair(options);
    assertAgreement(pair, options);
    assert.equal(pair.offers.size, 1);
    assert.deepEqual(pair.ends, []);
    assert.equal(
      pair.datagrams,
      { 'SCRAM-SHA-256': 14, 'DIGEST-MD5': 12, PLAIN: 10, ANONYMOUS: 8 }[mechanism as string],
    );
  }
});

test('under loss, duplication, delay and reordering both ends agree in the end', () => {
  for (let seed = 1; seed <= 1200; seed++) {
    const options = {
      seed,
      loss: (seed % 5) * 0.08,
      duplication: (seed % 4) * 0.15,
      maxDelayMs: [50, 400, 1500, 4000][(seed >> 2) % 4]!,
      maxBrokerDelayMs: [0, 500, 5000, 9000][(seed >> 4) % 4]!,
      mechanism: MECHANISMS[seed % 4]!,
    };
    assertAgreement(new Pair(options), options);
  }
});

test('a client that crashes and comes back on its port agrees with the server too', () => {
  for (let seed = 1; seed <= 600; seed++) {
    const options = {
      seed,
      loss: (seed % 4) * 0.08,
      duplication: (seed % 2) * 0.2,
      maxDelayMs: [50, 1000][(seed >> 1) % 2]!,
      maxBrokerDelayMs: [10, 2000][(seed >> 2) % 2]!,
      mechanism: MECHANISMS[seed % 4]!,
      crashMs: (seed * 37) % 20_000,
    };
    assertAgreement(new Pair(options), options);
  }
});
