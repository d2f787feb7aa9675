// More clients than the server can serve: those who come new are told to come back, those who are
// logging in get their tunnel, tunnels are not touched, and memory does not grow.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { DatabaseSync } from 'node:sqlite';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { BenchResult } from '../../src/bench/result.ts';
import { BROKER_IPV4, buildInternet, type Internet } from '../lab/internet.ts';
import { Lab } from '../lab/lab.ts';
import { type RunningBroker, startBroker } from '../lab/sixway.ts';

const FROM = '10.128.0.0/16';
const USERS = 2000;
const MAX_WAITING = 64;

describe('an overloaded server', () => {
  const lab = new Lab();
  let net: Internet;
  let broker: RunningBroker;
  let secret: string;

  before(async () => {
    net = await buildInternet(lab);
    await net.backbone.ip(`route add local ${FROM} dev lo`);
    broker = await startBroker(net, {
      server: 'logLevel = "warn"',
      tsp:
        `maxWaiting = ${MAX_WAITING}\nmaxSessions = 40000\n` +
        'packetsPerAddress = 0\npacketsPerNetwork = 0\npacketsTotal = 0',
      tunnel: 'maxPerAddress = 0',
    });
    const prepared = await broker.sixway('bench', 'prepare', '--users', String(USERS), '--json');
    secret = (JSON.parse(prepared) as { secret: string }).secret;
  });
  after(() => lab.close());

  async function load(...args: string[]): Promise<BenchResult> {
    const who = ['--users', String(USERS), '--secret', secret, '--from', FROM, '--json'];
    const words = ['bench', 'run', BROKER_IPV4, ...who, ...args];
    return JSON.parse(await net.backbone.run(broker.command()[0]!, words, 60_000)) as BenchResult;
  }

  async function metric(name: string): Promise<number> {
    const page = await net.broker.run('curl', ['-s', 'http://127.0.0.1:9653/metrics']);
    return Number(new RegExp(`^${name} (.*)$`, 'm').exec(page)?.[1]);
  }

  const residentMebibytes = () =>
    Number(
      /^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${broker.service.pid}/status`, 'utf8'))![1],
    ) / 1024;

  test('sends new clients away with 530 while it is full, and serves those it let in', async () => {
    await load('--duration', '3', '--concurrency', '1000');
    const before = residentMebibytes();
    const result = await load('--duration', '6', '--concurrency', '1000');
    assert.deepEqual(Object.keys(result.failuresByStatus), ['530'], JSON.stringify(result));
    assert.ok(result.logins > 100, JSON.stringify(result));
    assert.ok((await metric('sixway_tsp_oddities_total{kind="busy"}')) > 100);
    assert.ok(
      residentMebibytes() < before + 200,
      `${before} MiB before, ${residentMebibytes()} now`,
    );
    assert.equal(await metric('sixway_tsp_waiting'), 0);
    assert.equal(await metric('sixway_tsp_overloaded'), 0);
  });

  test('when the disk does not answer, those who wait get their tunnels once it does', async () => {
    const other = new DatabaseSync(broker.database);
    other.exec('begin immediate');
    const running = load('--logins', '400', '--rate', '100');
    await sleep(2500);
    assert.equal(await metric('sixway_tsp_overloaded'), 1);
    assert.ok((await metric('sixway_tsp_waiting')) > 10);
    other.exec('rollback');
    other.close();
    const result = await running;
    assert.deepEqual(Object.keys(result.failuresByStatus), ['530'], JSON.stringify(result));
    // Those of the first second at least, and those of the last.
    assert.ok(result.logins > 100, JSON.stringify(result));
    assert.equal(result.logins + result.failures, 400);
    assert.equal(await metric('sixway_tsp_overloaded'), 0);
  });
});
