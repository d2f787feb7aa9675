// What must hold at the end of every random schedule, and the schedules, by number.

import assert from 'node:assert/strict';
import type { Mechanism } from '../../src/tsp/messages.ts';
import type { Pair, PairOptions } from './pair.ts';

export const MECHANISMS: readonly Mechanism[] = [
  'DIGEST-MD5',
  'PLAIN',
  'ANONYMOUS',
  'SCRAM-SHA-256',
];

/**
 * Every client is up with exactly what the server granted it last; no offer is left open, no address
 * was given to two, none is lost; the server remembers nobody.
 */
export function assertAgreement(pair: Pair, options: PairOptions): void {
  const context = JSON.stringify(options);
  const up = pair.run();
  assert.deepEqual(pair.faults, [], context);
  assert.ok(up, `never up: ${JSON.stringify(pair.ends)} ${context}`);
  assert.deepEqual(pair.leases.atRest(), [], context);
  for (const { endpoint, tunnel } of pair.parties) {
    assert.equal(pair.leases.addressAt(endpoint), tunnel?.clientIpv6, context);
  }
  const addresses = pair.parties.map(({ tunnel }) => tunnel?.clientIpv6);
  assert.equal(new Set(addresses).size, addresses.length, context);
  assert.equal(pair.server.sessionCount, 0, context);
}

/** Loss, duplication, delay, reordering, a slow broker; two clients of any mechanisms. */
export function roughSchedule(seed: number): PairOptions {
  return {
    seed,
    loss: (seed % 5) * 0.08,
    duplication: (seed % 4) * 0.15,
    maxDelayMs: [50, 400, 1500, 4000][(seed >> 2) % 4]!,
    maxBrokerDelayMs: [0, 500, 5000, 9000][(seed >> 4) % 4]!,
    mechanisms: [MECHANISMS[seed % 4]!, MECHANISMS[(seed >> 6) % 4]!],
  };
}

/** The same, and both clients crash and come back on their ports. */
export function crashSchedule(seed: number): PairOptions {
  return {
    seed,
    loss: (seed % 4) * 0.08,
    duplication: (seed % 2) * 0.2,
    maxDelayMs: [50, 1000][(seed >> 1) % 2]!,
    maxBrokerDelayMs: [10, 2000][(seed >> 2) % 2]!,
    mechanisms: [MECHANISMS[seed % 4]!, MECHANISMS[(seed >> 3) % 4]!],
    crashMs: (seed * 37) % 20_000,
  };
}
