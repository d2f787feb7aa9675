// `sixway bench …`: options of the load generator, its progress and its summary.

import type { Command } from 'commander';
import { formatPrefix } from '../address.ts';
import { type BenchPlan, userName } from '../bench/plan.ts';
import type { BenchResult } from '../bench/result.ts';
import { BenchFailed, startBench } from '../bench.ts';
import { makeSecret } from '../broker/accounts.ts';
import { openAccounts, withStore } from '../parts.ts';
import { MAX_USERS, MECHANISMS, planOf, type RunFlags } from './bench-options.ts';
import { followBench, ownAddresses, printSummary } from './bench-report.ts';
import { addConfigOption, configOf } from './config-option.ts';
import { fail, printJson, wholeNumber } from './output.ts';
import { Progress } from './progress.ts';
import { explainAccount } from './users.ts';

const DEFAULT_PREFIX = 'bench-';

interface StoreFlags {
  config?: string;
  users?: string;
  prefixName: string;
  group?: string;
  secret?: string;
  json?: boolean;
}

export function addBenchCommands(program: Command): void {
  const bench = program
    .command('bench')
    .description('measure how many logins a server bears, with clients that are played');

  addConfigOption(bench.command('prepare'))
    .description('on the server: add users for a measurement, all with one secret')
    .requiredOption('--users <n>', 'how many: bench-000001 and so on')
    .option('--prefix-name <text>', 'what their names begin with', DEFAULT_PREFIX)
    .option('--group <name>', 'put them into this group')
    .option('--secret <text>', 'their secret; else one is made and shown once')
    .option('--json', 'for machines')
    .action(prepare);

  addConfigOption(bench.command('clean'))
    .description('on the server: remove these users and their tunnels')
    .option('--prefix-name <text>', 'what their names begin with', DEFAULT_PREFIX)
    .option('--json', 'for machines')
    .action(clean);

  bench
    .command('run <server>')
    .description('on another machine, or beside the server: play clients against server[:port]')
    .option('--mechanism <name>', `how they log in: ${MECHANISMS.join(', ')}`, 'DIGEST-MD5')
    .option('--users <n>', 'how many users there are, from `sixway bench prepare`')
    .option('--secret <text>', 'their secret; else $SIXWAY_SECRET')
    .option('--secret-file <file>', 'read the secret from a file, - for standard input')
    .option('--prefix-name <text>', 'what the users’ names begin with', DEFAULT_PREFIX)
    .option('--from <prefix>', 'own IPv4 addresses to speak from, such as 10.128.0.0/9: see below')
    .option('--ports <n>', 'own ports on each address (default: 4 with --from, else 1000)')
    .option('--concurrency <n>', 'logins at once, a new one for each that ends (default: 64)')
    .option('--rate <n>', 'logins a second instead, whatever the server answers')
    .option('--duration <seconds>', 'how long to measure (default: 10)')
    .option('--logins <n>', 'how many logins to measure instead')
    .option('--warmup <seconds>', 'the same before, without measuring', '0')
    .option('--hold <n>', 'tunnels that are up first and are kept alive all the while', '0')
    .option('--renewals <percent>', 'logins of somebody who has a tunnel, from the same place', '0')
    .option('--moves <percent>', 'logins of somebody who has a tunnel, from another place', '0')
    .option('--leave <percent>', 'users who delete their tunnel after the login', '0')
    .option('--retry <seconds>', 'begin a login anew that has not come to a tunnel after so long')
    .option('--journal <file>', 'write a line of JSON for each login that was answered')
    .option('--prefix-length <n>', 'ask for a delegated prefix of this length (48 … 64)')
    .option('--loss <percent>', 'datagrams lost, each way', '0')
    .option('--duplication <percent>', 'datagrams that come twice, each way', '0')
    .option('--server-pid <pid>', 'report this process’s CPU time too: a server on this machine')
    .option('--json', 'for machines')
    .addHelpText('after', FROM_HELP)
    .action(run);
}

const FROM_HELP = `
Without --from all clients have this machine's address, and a server lets one address and network
do only so much (tsp.packetsPerAddress and others, tunnel.maxPerAddress). With --from each has an
address of its own. For 10.128.0.0/9, say on this machine and on the server:
  ip route add local 10.128.0.0/9 dev lo
  ip route add 10.128.0.0/9 via ADDRESS-OF-THIS-MACHINE`;

async function prepare(flags: StoreFlags): Promise<void> {
  const { config } = configOf(flags);
  const users = wholeNumber('--users', flags.users ?? '', 1, MAX_USERS);
  const secret = flags.secret ?? makeSecret();
  const names = { count: users, at: (index: number) => userName(flags.prefixName, index) };
  const progress = new Progress(users, 'users');
  const result = await withStore(config, async (store) => {
    const group = flags.group === undefined ? undefined : await store.group(flags.group);
    if (flags.group !== undefined && !group) fail(`there is no group ${flags.group}`);
    const accounts = await openAccounts(config, store);
    return accounts.putMany(names, secret, group?.id, (done) => progress.show(done));
  });
  progress.end();
  if (!result.ok) fail(explainAccount(result.refusal, names.at(0)));
  const made = flags.secret === undefined && { secret };
  const last = names.at(users - 1);
  if (flags.json) printJson({ users, first: names.at(0), last, ...made });
  else {
    console.log(`There are ${users} users, ${names.at(0)} to ${last}`);
    if (made) console.log(`Their secret, shown only this once: ${secret}`);
  }
}

async function clean(flags: StoreFlags): Promise<void> {
  const { config } = configOf(flags);
  const progress = new Progress(undefined, 'users');
  const removed = await withStore(config, async (store) => {
    const accounts = await openAccounts(config, store);
    return accounts.removeNumbered(flags.prefixName, (done) => progress.show(done));
  });
  progress.end();
  if (flags.json) printJson({ removed });
  else console.log(`Removed ${removed} users and their tunnels`);
}

async function run(target: string, flags: RunFlags): Promise<void> {
  const plan = await planOf(target, flags);
  const bench = startBench(plan);
  const stop = () => bench.stop();
  for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(name, stop);
  const follower = followBench(plan, bench.tally, target);
  try {
    const result = await bench.result;
    follower.end();
    // Every name is always there.
    if (flags.json) printJson(withNulls(result));
    else printSummary(plan, result);
    if (result.logins === 0) fail(explainNothing(target, plan, result));
  } catch (error) {
    follower.end();
    if (error instanceof BenchFailed) fail(explainFailure(error, plan));
    throw error;
  } finally {
    for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.off(name, stop);
  }
}

function withNulls(from: object): object {
  return Object.fromEntries(Object.entries(from).map(([name, value]) => [name, value ?? null]));
}

function explainNothing(target: string, plan: BenchPlan, result: BenchResult): string {
  if (result.datagramsReceived > 0) return 'not one login succeeded';
  return (
    `nothing came back from ${target}: does it run, and do its answers find their way to ` +
    `${ownAddresses(plan)}?`
  );
}

function explainFailure({ message, code }: BenchFailed, { from }: BenchPlan): string {
  if (code === 'EMFILE') return `${message}: take fewer --ports, or raise \`ulimit -n\``;
  if (code !== 'EINVAL' && code !== 'ENETUNREACH') return message;
  const prefix = formatPrefix(from);
  return (
    `the addresses of ${prefix} cannot be spoken from (${code}). If they are not this machine’s own ` +
    `yet: ip route add local ${prefix} dev lo`
  );
}
