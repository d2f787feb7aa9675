// What `sixway bench run` makes of its options, what it says of those that mean nothing, and how it
// tells a person what came out.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { formatEndpoint, formatPrefix } from '../../src/address.ts';
import type { BenchPlan } from '../../src/bench/plan.ts';
import { type BenchResult, resultOf } from '../../src/bench/result.ts';
import { Tally } from '../../src/bench/tally.ts';
import { planOf, type RunFlags } from '../../src/cli/bench-options.ts';
import { summaryOf } from '../../src/cli/bench-report.ts';

const DEFAULTS: RunFlags = {
  mechanism: 'DIGEST-MD5',
  prefixName: 'bench-',
  warmup: '0',
  hold: '0',
  renewals: '0',
  moves: '0',
  leave: '0',
  loss: '0',
  duplication: '0',
};
const PEOPLE = { users: '1000', secret: 's3cret' };

const plan = (flags: object = {}, target = '127.0.0.1') =>
  planOf(target, { ...DEFAULTS, ...PEOPLE, ...flags });

test('what is not said is a closed loop for ten seconds from the own address', async () => {
  const made = await plan();
  assert.equal(formatEndpoint(made.server), '127.0.0.1:3653');
  assert.equal(formatPrefix(made.from), '127.0.0.1/32');
  assert.deepEqual(made.pace, { type: 'closed', concurrency: 64 });
  assert.equal(made.durationSeconds, 10);
  assert.equal(made.ports, 1000);
});

test('with --from a few ports are enough', async () => {
  const made = await plan({ from: '10.128.0.0/9', rate: '2500.5', logins: '70' }, '127.0.0.1:99');
  assert.equal(formatEndpoint(made.server), '127.0.0.1:99');
  assert.equal(formatPrefix(made.from), '10.128.0.0/9');
  assert.equal(made.ports, 4);
  assert.deepEqual(made.pace, { type: 'open', perSecond: 2500.5 });
  assert.deepEqual([made.durationSeconds, made.logins], [undefined, 70]);
});

test('percentages are shares', async () => {
  const made = await plan({ loss: '2.5', duplication: '1%', leave: '100', renewals: '30' });
  assert.deepEqual(
    [made.loss, made.duplication, made.leaving, made.renewals],
    [0.025, 0.01, 1, 0.3],
  );
});

for (const [flags, message] of [
  [{ mechanism: 'CRAM' }, /--mechanism is one of/],
  [{ rate: '5', concurrency: '5' }, /--rate and --concurrency exclude each other/],
  [{ duration: '5', logins: '5' }, /--duration and --logins exclude each other/],
  [{ rate: '0' }, /--rate is more than 0/],
  [{ rate: 'fast' }, /--rate is a number, not 'fast'/],
  [{ duration: '0' }, /--duration is more than 0/],
  [{ logins: '0' }, /--logins is a whole number from 1/],
  [{ concurrency: '0' }, /--concurrency is a whole number from 1/],
  [{ retry: '0' }, /--retry is more than 0/],
  [{ journal: '/nowhere/journal' }, /--journal: .*no such file/],
  [{ loss: '100' }, /nothing would arrive/],
  [{ leave: '101' }, /--leave is a percentage/],
  [{ renewals: '60', moves: '60' }, /together are at most 100/],
  [{ from: '10.0.0.1/9' }, /--from is an IPv4 prefix/],
  [{ from: '10.0.0.0/4' }, /--from is an IPv4 prefix/],
  [{ prefixLength: '40' }, /--prefix-length is a whole number from 48 to 64/],
  [{ hold: '1000' }, /--hold is less than --users/],
  [{ mechanism: 'ANONYMOUS' }, /--users makes no sense with ANONYMOUS/],
  [{ mechanism: 'ANONYMOUS', users: undefined, moves: '5' }, /--moves makes no sense/],
  [{ serverPid: '4194304' }, /there is no process 4194304/],
  [{ serverPid: 'init' }, /--server-pid is a whole number/],
] as [{ [F in keyof RunFlags]?: RunFlags[F] | undefined }, RegExp][]) {
  test(`${JSON.stringify(flags)} is refused in so many words`, async () => {
    await assert.rejects(plan(flags), message);
  });
}

test('what has to be said besides is asked for', async () => {
  await assert.rejects(planOf('127.0.0.1', { ...DEFAULTS, secret: 'x' }), /needs --users/);
  await assert.rejects(plan({ secret: '' }), /no secret/);
  await assert.rejects(plan({}, '[::1]:3653'), /over IPv4/);
  await assert.rejects(plan({}, 'nowhere.invalid'), /no IPv4 address that could be found/);
  const many = { ...DEFAULTS, mechanism: 'ANONYMOUS', hold: '50', ports: '50' };
  await assert.rejects(planOf('127.0.0.1', many), /less than the 50 endpoints/);
});

function resultWith(
  made: BenchPlan,
  counts: Partial<Record<Parameters<Tally['count']>[0], number>>,
  latenciesMs: readonly number[],
): BenchResult {
  const tally = new Tally();
  for (const [name, count] of Object.entries(counts)) {
    tally.count(name as Parameters<Tally['count']>[0], count);
  }
  for (const ms of latenciesMs) tally.record(ms);
  const ended = {
    seconds: 10,
    completed: tally.get('succeeded'),
    generatorCpuSeconds: 4,
    serverCpuSeconds: made.serverPid === undefined ? undefined : 8,
    failures: [
      [530, 7],
      ['no-answer', 2],
    ] as const,
    unfinished: 0,
  };
  return resultOf(made, tally, ended, 2);
}

test('machines read the figures under names that stay', async () => {
  const made = await plan({ serverPid: '1' });
  const counts = { succeeded: 40_000, failed: 9, repetitions: 3 };
  const result = resultWith(made, counts, [1, 2, 3, 4, 5, 6, 7, 8, 9, 1000]);
  const { p50Ms, p90Ms, p99Ms, maxMs, ...rest } = result;
  assert.ok(p50Ms! > 4.9 && p50Ms! < 5.1);
  assert.ok(p90Ms! > 8.9 && p90Ms! < 9.1);
  assert.ok(p99Ms! > 990 && p99Ms! <= 1000);
  assert.equal(maxMs, 1000);
  assert.equal(rest.loginsPerSecond, 4000);
  assert.equal(rest.failures, 9);
  assert.deepEqual(rest.failuresByStatus, { 530: 7, 'no-answer': 2 });
  assert.equal(rest.serverCpuSecondsPer1000, 0.2);
  assert.equal(rest.generatorCpuSecondsPer1000, 0.1);
  assert.equal(rest.generatorShareOfMachine, 0.2);
  assert.equal(rest.seconds, 10);
});

test('people read them in words, and nothing of what did not happen', async () => {
  const made = await plan({ serverPid: '1', hold: '500' });
  const counts = {
    succeeded: 40_000,
    failed: 9,
    repetitions: 3,
    held: 500,
    lost: 1,
    keepalivesSent: 70,
    keepalivesAnswered: 69,
  };
  const lines = summaryOf(made, resultWith(made, counts, [5, 12.34, 1500, 61_000])).join('\n');
  for (const part of [
    /logins: +4,000 a second by DIGEST-MD5: 40,000 in 10 s/,
    /p50 12\.\d ms, .*longest 61\.0 s/,
    /failed: +9/,
    /7 × 530 Server too busy/,
    /2 × no answer/,
    /500 tunnels, 1 of them lost/,
    /70 sent, 69 answered/,
    /server: +0\.200 CPU seconds per 1000 logins/,
    /generator: +0\.100 CPU seconds per 1000 logins, 20 % of this machine/,
  ])
    assert.match(lines, part);
  assert.doesNotMatch(lines, /deleted|no room|no free user/);
  const quiet = await plan();
  assert.doesNotMatch(summaryOf(quiet, resultWith(quiet, counts, [])).join('\n'), /held|server:/);
});
