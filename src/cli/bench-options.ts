// What the options of `sixway bench run` mean, with a clear line for each that means nothing.

import { createSocket } from 'node:dgram';
import { lookup } from 'node:dns/promises';
import { closeSync, existsSync, openSync } from 'node:fs';
import {
  formatIpv4,
  type Ipv4Address,
  type Ipv4Endpoint,
  type Ipv4Prefix,
  parseIpv4,
  parseIpv4Prefix,
} from '../address.ts';
import type { BenchPlan } from '../bench/plan.ts';
import type { Mechanism } from '../tsp/messages.ts';
import { readSecret } from './input.ts';
import { fail, wholeNumber } from './output.ts';

export interface RunFlags {
  mechanism: string;
  users?: string;
  secret?: string;
  secretFile?: string;
  prefixName: string;
  prefixLength?: string;
  from?: string;
  ports?: string;
  concurrency?: string;
  rate?: string;
  duration?: string;
  logins?: string;
  warmup: string;
  hold: string;
  renewals: string;
  moves: string;
  leave: string;
  loss: string;
  duplication: string;
  retry?: string;
  journal?: string;
  serverPid?: string;
  json?: boolean;
}

export const MECHANISMS: readonly Mechanism[] = [
  'DIGEST-MD5',
  'SCRAM-SHA-256',
  'PLAIN',
  'ANONYMOUS',
];
export const MAX_USERS = 10_000_000;
const MAX_PORTS = 20_000;
const DEFAULT_CONCURRENCY = 64;
const DEFAULT_SECONDS = 10;

export async function planOf(target: string, flags: RunFlags): Promise<BenchPlan> {
  const mechanism = MECHANISMS.find((name) => name === flags.mechanism.toUpperCase());
  if (!mechanism) fail(`--mechanism is one of ${MECHANISMS.join(', ')}`);
  if (flags.rate !== undefined && flags.concurrency !== undefined) {
    fail(
      '--rate and --concurrency exclude each other: logins begin at a rate, or one after another',
    );
  }
  if (flags.duration !== undefined && flags.logins !== undefined) {
    fail('--duration and --logins exclude each other');
  }
  const concurrency = wholeNumber(
    '--concurrency',
    flags.concurrency ?? String(DEFAULT_CONCURRENCY),
    1,
    1_000_000,
  );
  const hold = wholeNumber('--hold', flags.hold, 0, 1_000_000);
  const logins = flags.logins && wholeNumber('--logins', flags.logins, 1, 1_000_000_000);
  const from = flags.from === undefined ? undefined : prefixOf(flags.from);
  const ports = wholeNumber(
    '--ports',
    flags.ports ?? String(from ? 4 : Math.min(MAX_PORTS, Math.max(1000, hold + concurrency))),
    1,
    MAX_PORTS,
  );
  const people = await peopleOf(mechanism, hold, flags);
  const [renewals, moves] = [share('--renewals', flags.renewals), share('--moves', flags.moves)];
  if (moves > 0 && mechanism === 'ANONYMOUS') fail('--moves makes no sense with ANONYMOUS');
  if (renewals + moves > 1) fail('--renewals and --moves together are at most 100');
  const plan = {
    serverName: hostOf(target),
    ports,
    mechanism,
    namePrefix: flags.prefixName,
    ...people,
    prefixLength:
      flags.prefixLength === undefined
        ? undefined
        : wholeNumber('--prefix-length', flags.prefixLength, 48, 64),
    pace:
      flags.rate === undefined
        ? ({ type: 'closed', concurrency } as const)
        : ({ type: 'open', perSecond: positive('--rate', flags.rate) } as const),
    hold,
    warmupSeconds: number('--warmup', flags.warmup),
    durationSeconds: logins
      ? undefined
      : positive('--duration', flags.duration ?? String(DEFAULT_SECONDS)),
    logins: logins || undefined,
    loss: share('--loss', flags.loss),
    duplication: share('--duplication', flags.duplication),
    renewals,
    moves,
    leaving: share('--leave', flags.leave),
    retrySeconds: flags.retry === undefined ? undefined : positive('--retry', flags.retry),
    journal: flags.journal === undefined ? undefined : journalAt(flags.journal),
    serverPid:
      flags.serverPid === undefined
        ? undefined
        : wholeNumber('--server-pid', flags.serverPid, 1, 2 ** 22),
  };
  if (plan.serverPid !== undefined && !existsSync(`/proc/${plan.serverPid}`)) {
    fail(`there is no process ${plan.serverPid} on this machine: see --server-pid`);
  }
  if (plan.loss === 1) fail('--loss is less than 100: nothing would arrive');
  const server = await serverOf(target);
  const own = from ?? { address: await localAddressTowards(server), length: 32 };
  const room = 2 ** (32 - own.length) * ports;
  if (hold >= room) fail(`--hold is less than the ${room} endpoints that --from and --ports make`);
  return { ...plan, server, from: own };
}

async function peopleOf(
  mechanism: Mechanism,
  hold: number,
  flags: RunFlags,
): Promise<{ users: number; secret: string }> {
  if (mechanism === 'ANONYMOUS') {
    if (flags.users !== undefined) fail('--users makes no sense with ANONYMOUS');
    return { users: 0, secret: '' };
  }
  if (flags.users === undefined) {
    fail(`a login by ${mechanism} needs --users: how many \`sixway bench prepare\` has made`);
  }
  const users = wholeNumber('--users', flags.users, 1, MAX_USERS);
  if (hold >= users) fail('--hold is less than --users: somebody has to log in besides');
  const secret =
    flags.secret ?? (await readSecret('Secret of the users: ', flags.secretFile)) ?? '';
  if (secret === '') fail('no secret: give --secret, --secret-file or $SIXWAY_SECRET');
  return { users, secret };
}

/** Made now: the generator's thread could only say so in a stack trace. */
function journalAt(file: string): string {
  try {
    closeSync(openSync(file, 'w'));
  } catch (error) {
    fail(`--journal: ${(error as Error).message}`);
  }
  return file;
}

function hostOf(target: string): string {
  return /^(.*?)(?::\d{1,5})?$/.exec(target)?.[1] ?? target;
}

async function serverOf(target: string): Promise<Ipv4Endpoint> {
  const [, host = '', port = '3653'] = /^([^:]+)(?::(\d{1,5}))?$/.exec(target) ?? [];
  if (host === '') fail(`'${target}' is not server[:port]; the server is spoken to over IPv4`);
  const { address } = await lookup(host, { family: 4 }).catch(() =>
    fail(`${host} has no IPv4 address that could be found`),
  );
  return { address: parseIpv4(address) ?? 0, port: wholeNumber('port', port, 1, 65535) };
}

async function localAddressTowards(server: Ipv4Endpoint): Promise<Ipv4Address> {
  const probe = createSocket('udp4');
  try {
    return await new Promise((resolve, reject) => {
      probe.once('error', reject);
      probe.connect(server.port, formatIpv4(server.address), () =>
        resolve(parseIpv4(probe.address().address) ?? 0),
      );
    });
  } catch {
    fail(`there is no route to ${formatIpv4(server.address)}`);
  } finally {
    probe.close();
  }
}

function prefixOf(text: string): Ipv4Prefix {
  const prefix = parseIpv4Prefix(text.includes('/') ? text : `${text}/32`);
  if (!prefix || prefix.length < 8) {
    fail('--from is an IPv4 prefix such as 10.128.0.0/9, no larger than a /8');
  }
  return prefix;
}

/** A percentage as a share. */
function share(name: string, text: string): number {
  const value = number(name, text.replace(/%$/, ''));
  if (value > 100) fail(`${name} is a percentage, 0 to 100`);
  return value / 100;
}

function positive(name: string, text: string): number {
  const value = number(name, text);
  if (value === 0) fail(`${name} is more than 0`);
  return value;
}

function number(name: string, text: string): number {
  if (!/^\d{1,9}(\.\d{1,6})?$/.test(text)) fail(`${name} is a number, not '${text}'`);
  return Number(text);
}
