// One server program on the test bench: two tunnels and a delegation in its maps, packets in, and
// what became of them. Every packet must end in exactly one outcome.

import assert from 'node:assert/strict';
import { after, afterEach, beforeEach } from 'node:test';
import type { Attachment, Dataplane, OutcomeName } from '../../src/dataplane/dataplane.ts';
import { type TestRunResult, testRun } from '../../src/dataplane/native.ts';
import {
  address4,
  CLIENT,
  CLIENT_PORT,
  DELEGATIONS,
  LINKS,
  makeScratch,
  SETTINGS,
} from './scratch.ts';

/** TC_ACT_OK, TC_ACT_SHOT, TC_ACT_REDIRECT. */
export const [PASS, DROP, SEND] = [0, 2, 7];

/** In UDP, with interface identifier 2; owns position 3 of the delegations. */
export const SLOT = 5;
export const INSIDE = '2001:db8:1000:5::2';
export const GATEWAY = '2001:db8:1000:5::1';
export const DELEGATED = '2001:db8:2000:300::99';
/** In protocol 41, with any interface identifier. */
export const SITE_SLOT = 6;
export const SITE = '2001:db8:1000:6::2';
export const ELSEWHERE = '2001:db8:80::80';

export const ATTACHMENT: Attachment = {
  encapsulation: 'v6udpv4',
  client: { address: address4(CLIENT), port: CLIENT_PORT },
  interfaceId: 2n,
  mtu: 0,
};

/** What the kernel is made to believe of the buffer: that it is a super-packet. */
export interface Context {
  gsoSize?: number;
  gsoSegments?: number;
}

export interface Bench {
  readonly plane: Dataplane;
  readonly pinDirectory: string;
  run(packet: Uint8Array, context?: Context): TestRunResult;
  /** Runs, compares outcome and verdict, and returns the packet that came out. */
  expect(outcome: OutcomeName, verdict: number, packet: Uint8Array, context?: Context): Uint8Array;
}

/** Fresh settings for each test of the file; the maps' counters go on. */
export function setUpBench(program: 'tunnel_ingress' | 'tunnel_egress'): Bench {
  const scratch = makeScratch();
  let plane: Dataplane;

  beforeEach(() => {
    plane = scratch.open();
    plane.configure(SETTINGS);
    const site: Attachment = {
      encapsulation: 'v6v4',
      client: { address: address4(CLIENT), port: 0 },
      interfaceId: 0n,
      mtu: 0,
    };
    plane.reconcile({
      pools: [LINKS, DELEGATIONS],
      tunnels: [
        { slot: SLOT, attachment: ATTACHMENT },
        { slot: SITE_SLOT, attachment: site },
      ],
      owners: [{ index: 3, slot: SLOT }],
    });
  });
  afterEach(() => plane.close());
  after(() => scratch.remove());

  const run = (packet: Uint8Array, context?: Context) =>
    testRun(plane.programFd(program), packet, context);
  return {
    pinDirectory: scratch.pinDirectory,
    get plane() {
      return plane;
    },
    run,
    expect(outcome, verdict, packet, context) {
      const before = new Map(plane.outcomes().map((count) => [count.outcome, count.packets]));
      const result = run(packet, context);
      const changed = plane
        .outcomes()
        .map((count) => [count.outcome, count.packets - (before.get(count.outcome) ?? 0n)])
        .filter(([, packets]) => packets !== 0n);
      assert.deepEqual(changed, [[outcome, 1n]]);
      assert.equal(result.verdict, verdict);
      return result.packet;
    },
  };
}
