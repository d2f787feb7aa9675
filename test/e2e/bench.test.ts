// `sixway bench` against the real server: what it reports is what the server's store and the kernel say.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { after, before, describe, test } from 'node:test';
import { parseIpv6, parseIpv6Prefix, positionOf } from '../../src/address.ts';
import type { BenchResult } from '../../src/bench/result.ts';
import { BROKER_IPV4, buildInternet, type Internet } from '../lab/internet.ts';
import { Lab } from '../lab/lab.ts';
import { type RunningBroker, startBroker } from '../lab/sixway.ts';

const FROM = '10.128.0.0/16';
const USERS = 40;

describe('the load generator', () => {
  const lab = new Lab();
  let net: Internet;
  let broker: RunningBroker;
  let secret: string;

  before(async () => {
    net = await buildInternet(lab);
    await net.backbone.ip(`route add local ${FROM} dev lo`);
    broker = await startBroker(net, {
      tsp:
        'mechanisms = ["SCRAM-SHA-256", "DIGEST-MD5", "PLAIN", "ANONYMOUS"]\n' +
        'packetsPerAddress = 0\npacketsPerNetwork = 0\npacketsTotal = 0',
      tunnel: 'keepaliveSeconds = 5\nmaxPerAddress = 0',
    });
    const prepared = await broker.sixway('bench', 'prepare', '--users', String(USERS), '--json');
    secret = (JSON.parse(prepared) as { secret: string }).secret;
  });
  after(() => lab.close());

  const command = (...args: string[]) => ['bench', 'run', BROKER_IPV4, '--from', FROM, ...args];
  const people = (mechanism: string) =>
    mechanism === 'ANONYMOUS' ? [] : ['--users', String(USERS), '--secret', secret];

  async function run(mechanism: string, ...args: string[]): Promise<BenchResult> {
    const words = ['--mechanism', mechanism, ...people(mechanism), '--json', ...args];
    const [file, ...first] = broker.command();
    assert.ok(file && first.length > 0);
    return JSON.parse(await net.backbone.run(file, command(...words), 60_000)) as BenchResult;
  }

  /** What a query of the store counts. */
  function count(what: string): number {
    const db = new DatabaseSync(broker.database, { readOnly: true });
    const row = db.prepare(`select count(*) as count from ${what}`).get();
    db.close();
    return Number(row?.count);
  }

  for (const mechanism of ['DIGEST-MD5', 'SCRAM-SHA-256', 'PLAIN', 'ANONYMOUS']) {
    test(`plays logins by ${mechanism}, and each is a tunnel in the store`, async () => {
      const startMs = Date.now();
      const result = await run(mechanism, '--logins', '20', '--concurrency', '4');
      assert.deepEqual(result.failuresByStatus, {});
      assert.deepEqual([result.logins, result.failures, result.unfinished], [20, 0, 0]);
      assert.ok(result.loginsPerSecond > 1 && result.p50Ms! > 0 && result.maxMs! >= result.p99Ms!);
      const who = mechanism === 'ANONYMOUS' ? 'user_id is null' : 'user_id is not null';
      assert.equal(count(`tunnels where ${who} and last_login_at_ms >= ${startMs}`), 20);
    });
  }

  test('clients have an address each, of those that were given', () => {
    assert.equal(count("attachments where client_address like '10.128.%'"), 40);
    assert.equal(count('(select distinct client_address from attachments)'), 40);
  });

  test('lost and doubled datagrams are repeated until all are in', async () => {
    const startMs = Date.now();
    const result = await run(
      'DIGEST-MD5',
      ...['--logins', '40', '--concurrency', '40', '--loss', '5', '--duplication', '10'],
    );
    const said = JSON.stringify(result);
    // A server that has not answered yet is tried three times; one client in a thousand gives up.
    assert.equal(result.logins + result.failures, 40, said);
    assert.ok(result.logins >= 37 && result.repetitions > 0, said);
    assert.deepEqual(result.failures, result.failuresByStatus['no-answer'] ?? 0, said);
    const told = count(`tunnels where user_id is not null and last_login_at_ms >= ${startMs}`);
    assert.ok(told >= result.logins && told <= 40, `${told} in the store: ${said}`);
  });

  test('the journal of logins says what the store says', async () => {
    const journal = join(lab.directory, 'logins.jsonl');
    await run('DIGEST-MD5', '--logins', '30', '--prefix-length', '56', '--journal', journal);
    const lines = readFileSync(journal, 'utf8').trimEnd().split('\n');
    assert.equal(lines.length, 30);
    const db = new DatabaseSync(broker.database, { readOnly: true });
    const held = db.prepare(
      `select client_address, pools.purpose, prefix, position from users
        join tunnels on user_id = users.id join attachments on attachments.tunnel_id = tunnels.id
        join leases on leases.tunnel_id = tunnels.id join pools on pools.id = pool_id
        where name = ?`,
    );
    for (const line of lines) {
      const login = JSON.parse(line) as Record<'user' | 'endpoint' | 'address' | 'prefix', string>;
      const rows = held.all(login.user);
      assert.deepEqual(
        new Set(rows.map((row) => row.client_address)),
        new Set([login.endpoint.split(':')[0]]),
      );
      const links = rows.filter(({ purpose }) => purpose === 'link');
      assert.equal(links.length, 1);
      const pool = parseIpv6Prefix(String(links[0]?.prefix))!;
      const address = parseIpv6(login.address)!;
      assert.equal(positionOf(pool, 64, address), Number(links[0]?.position));
      assert.match(login.prefix, /\/56$/);
    }
    db.close();
  });

  test('held tunnels are answered in the kernel, and whoever leaves is gone', async () => {
    const before = await keepalivesAnswered();
    const result = await run(
      'DIGEST-MD5',
      ...['--hold', '10', '--rate', '10', '--duration', '12', '--leave', '100'],
    );
    assert.deepEqual(result.failuresByStatus, {});
    assert.deepEqual([result.tunnelsHeld, result.tunnelsLost], [10, 0]);
    assert.ok(result.keepalivesSent >= 20, `${result.keepalivesSent} keepalives in 12 s`);
    // The last ones may have been under way when it ended.
    const answered = (await keepalivesAnswered()) - before;
    assert.ok(answered >= result.keepalivesAnswered && answered <= result.keepalivesSent);
    assert.ok(result.keepalivesAnswered >= result.keepalivesSent - 10);
    assert.equal(result.left, result.logins);
    // A user's addresses stay the user's; only nobody is there any more.
    assert.equal(count('attachments join tunnels on id = tunnel_id where user_id is not null'), 10);
  });

  test('renewals and moves keep the tunnel', async () => {
    const tunnels = count('tunnels where user_id is not null');
    const result = await run(
      'SCRAM-SHA-256',
      ...['--users', '10', '--logins', '60', '--concurrency', '2'],
      ...['--renewals', '30', '--moves', '40'],
    );
    assert.deepEqual([result.logins, result.failures], [60, 0], JSON.stringify(result));
    assert.equal(count('tunnels where user_id is not null'), tunnels);
  });

  test('a wrong secret is counted by its status, and nothing that succeeds is a failure', async () => {
    const wrong = ['--users', '40', '--secret', 'wrong', '--logins', '3', '--concurrency', '1'];
    const outcome = await net.backbone.try(
      broker.command()[0]!,
      command(...wrong, '--json'),
      60_000,
    );
    assert.equal(outcome.code, 1);
    assert.match(outcome.stderr, /not one login succeeded/);
    assert.deepEqual((JSON.parse(outcome.stdout) as BenchResult).failuresByStatus, { 300: 3 });
  });

  test('addresses that are not there are explained', async () => {
    const words = [
      'bench',
      'run',
      BROKER_IPV4,
      '--mechanism',
      'ANONYMOUS',
      '--from',
      '10.9.0.0/24',
    ];
    const outcome = await net.backbone.try(broker.command()[0]!, words, 60_000);
    assert.equal(outcome.code, 1);
    assert.match(outcome.stderr, /ip route add local 10\.9\.0\.0\/24 dev lo/);
  });

  test('Ctrl-C ends it with the summary', async () => {
    const words = command('--mechanism', 'ANONYMOUS', '--duration', '600', '--concurrency', '2');
    const service = net.backbone.start(broker.command()[0]!, words);
    await service.says(/Logging in/);
    await service.says(/logins\/s, [1-9]/, 20_000);
    assert.equal(await service.stop('SIGINT'), 0);
    assert.match(service.output, /logins: .* by ANONYMOUS/);
  });

  test('clean leaves nobody behind', async () => {
    const cleaned = JSON.parse(await broker.sixway('bench', 'clean', '--json'));
    assert.deepEqual(cleaned, { removed: USERS });
    assert.equal(count('users'), 0);
    assert.equal(count('tunnels where user_id is not null'), 0);
    assert.equal(count('leases join tunnels on tunnel_id = id where user_id is not null'), 0);
  });

  async function keepalivesAnswered(): Promise<number> {
    const outcomes = JSON.parse(await broker.sixway('counters', '--json')) as {
      outcome: string;
      packets: number;
    }[];
    return outcomes.find(({ outcome }) => outcome === 'in_echo_answered')?.packets ?? 0;
  }
});
