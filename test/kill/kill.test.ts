// kill -9 in the middle of 10,000 logins, again and again, at random moments: afterwards no prefix is
// held twice, no answered login is missing, and the kernel's maps equal the store. The real server and
// the real load generator; what they left is read by test/kill's own means.
//
// SIXWAY_KILLS: how often (20). SIXWAY_SEED: the moments of an earlier run.

import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { formatIpv4 } from '../../src/address.ts';
import type { JournalLine } from '../../src/bench/journal.ts';
import { buildInternet } from '../lab/internet.ts';
import { eventually, sleep, withLab } from '../lab/lab.ts';
import { type RunningBroker, startBroker } from '../lab/sixway.ts';
import {
  differenceOf,
  endpointOf,
  type Fault,
  type KernelMaps,
  readKernelMaps,
} from './kernel-maps.ts';
import { Load } from './load.ts';
import { readAtRest, readLive, type Stored } from './store-at-rest.ts';

const KILLS = Number(process.env.SIXWAY_KILLS ?? 20);
const LOGINS = 10_000;
const SEED = Number(process.env.SIXWAY_SEED ?? Math.floor(Math.random() * 2 ** 32));
const KILLS_PER_LOAD = 2;
/** As a share of the logins: so many are left that they cannot all be answered before the kill. */
const LAST_MOMENT = 0.93;
/** Of the users of so many loads the last ones keep their tunnels; what the others had is given anew. */
const CROWDS_KEPT = 2;
/** As long as a start takes, about. */
const START_MS = 800;

const random = randomOf(SEED);
process.env.NODE_OPTIONS = `--import=${join(import.meta.dirname, 'slow-disk.ts')}`;

test(`killed ${KILLS} times in the middle of ${LOGINS} logins it has lost nothing`, async (t) => {
  t.diagnostic(`SIXWAY_SEED=${SEED}`);
  await withLab(async (lab) => {
    const net = await buildInternet(lab);
    await net.backbone.ip('route add local 10.0.0.0/8 dev lo');
    const broker = await startBroker(net, {
      tsp: 'packetsPerAddress = 0\npacketsPerNetwork = 0\npacketsTotal = 0',
      tunnel: 'maxPerAddress = 0',
    });
    /** The last answered login of every user who is still there. */
    const promised = new Map<string, JournalLine>();
    let secret = '';
    let kills = 0;
    for (let round = 1; kills < KILLS; round++) {
      // Newcomers, and then the same people from elsewhere.
      const isFresh = round % 2 === 1;
      const crowd = (round + 1) >> 1;
      if (isFresh) {
        await takeAway(broker, crowd - CROWDS_KEPT, promised);
        const words = ['--users', String(LOGINS), '--prefix-name', nameOf(crowd), '--json'];
        const prepared = await broker.sixway('bench', 'prepare', ...words);
        ({ secret } = JSON.parse(prepared) as { secret: string });
      }
      const load = new Load(net.backbone, {
        sixway: broker.command()[0]!,
        logins: LOGINS,
        namePrefix: nameOf(crowd),
        secret,
        from: `10.${round % 256}.0.0/16`,
        journal: join(lab.directory, `journal-${round}`),
      });
      try {
        for (let i = 0; i < KILLS_PER_LOAD && kills < KILLS; i++) {
          const said = await killDuring(load, broker, join(lab.directory, 'copy.db'), promised);
          const people = isFresh ? 'newcomers' : 'returning users';
          t.diagnostic(`kill ${++kills}, ${people}: ${said}`);
        }
        await finish(load, broker, promised);
      } catch (cause) {
        const text = `after ${kills} kills, SIXWAY_SEED=${SEED}: ${cause}`;
        throw new Error(text, { cause });
      } finally {
        load.close();
      }
    }
  });
});

/** One kill, and all that has to hold then and after the next start; adds to `promised`. */
async function killDuring(
  load: Load,
  broker: RunningBroker,
  scratch: string,
  promised: Map<string, JournalLine>,
): Promise<string> {
  const { database, pinDirectory } = broker;
  const before = load.answered;
  await load.hasAnswered(Math.floor(before + random() * (LAST_MOMENT * LOGINS - before)));
  await sleep(random() * 20);
  await broker.service.stop('SIGKILL');
  await load.hold();
  const answered = load.journal();
  assert.ok(answered.length < LOGINS, 'all logins were answered before the kill');
  for (const line of answered) promised.set(line.user!, line);
  const underWay = new Map(load.people());
  for (const { user } of answered) underWay.delete(user!);

  // As the server left it. Who had an answer is in the store, and in the map already.
  let stored = readAtRest(database, scratch);
  let maps = readKernelMaps(pinDirectory);
  checkPromises(stored, promised, underWay);
  checkAnsweredInMaps(stored, maps, promised, underWay);
  checkNone(differenceOf(maps, stored).faults.filter(({ user = '' }) => !underWay.has(user)));

  const again = random() < 0.25;
  if (again) {
    const [file = '', ...words] = broker.command('serve');
    const service = broker.host.start(file, words);
    await sleep(random() * START_MS);
    await service.stop('SIGKILL');
    stored = readAtRest(database, scratch);
    maps = readKernelMaps(pinDirectory);
    checkPromises(stored, promised, underWay);
  }

  const { kept, put, removed } = differenceOf(maps, stored);
  await broker.restart();
  const [line] = await broker.service.says(/agree with the store: .*/);
  const counts = `${kept} tunnels kept, ${put} put, ${removed} removed`;
  assert.equal(line, `agree with the store: ${counts}`, 'what the server found at its start');
  checkAllEqual(broker, promised, underWay);
  load.goOn();
  return `after ${answered.length} answers${again ? ', and while it started' : ''}; ${counts}`;
}

/** Everybody has come in at last. */
async function finish(
  load: Load,
  broker: RunningBroker,
  promised: Map<string, JournalLine>,
): Promise<void> {
  const code = await load.service.ended;
  assert.equal(code, 0, load.service.output);
  const all = load.journal();
  assert.equal(all.length, LOGINS, `not all logged in:\n${load.service.output}`);
  assert.equal(new Set(all.map(({ user }) => user)).size, LOGINS);
  for (const each of all) promised.set(each.user!, each);
  checkAllEqual(broker, promised, new Map());
}

/** With the server running, and nothing under way. */
function checkAllEqual(
  { database, pinDirectory }: RunningBroker,
  promised: ReadonlyMap<string, JournalLine>,
  underWay: ReadonlyMap<string, number>,
): void {
  const stored = readLive(database);
  checkPromises(stored, promised, underWay);
  checkNone(differenceOf(readKernelMaps(pinDirectory), stored).faults);
}

function checkNone(faults: readonly Fault[]): void {
  assert.deepEqual(faults.slice(0, 5), [], `${faults.length} entries of the maps are wrong`);
}

/**
 * `underWay`: users whose login was not answered, with the address that they speak from. It may have
 * come as far as the store, or not.
 */
function checkPromises(
  { tunnels }: Stored,
  promised: ReadonlyMap<string, JournalLine>,
  underWay: ReadonlyMap<string, number>,
): void {
  for (const [user, promise] of promised) {
    const tunnel = tunnels.get(user);
    assert.ok(tunnel, `${user} was answered and has no tunnel`);
    const { address, prefix, endpoint } = tunnel;
    assert.deepEqual({ user, address, prefix }, pick(promise), 'what a user was told');
    if (!underWay.has(user)) assert.equal(endpoint, promise.endpoint, `where ${user} is`);
  }
  for (const [user, from] of underWay) {
    const endpoint = tunnels.get(user)?.endpoint;
    if (!endpoint || endpoint === promised.get(user)?.endpoint) continue;
    assert.equal(endpoint.split(':')[0], formatIpv4(from), `where ${user} may be`);
  }
  for (const user of tunnels.keys())
    assert.ok(promised.has(user) || underWay.has(user), `${user} has a tunnel out of nothing`);
}

/** An answer leaves when the packets flow. */
function checkAnsweredInMaps(
  { tunnels }: Stored,
  { endpoints, owners }: KernelMaps,
  promised: ReadonlyMap<string, JournalLine>,
  underWay: ReadonlyMap<string, number>,
): void {
  for (const [user, { endpoint }] of promised) {
    if (underWay.has(user)) continue;
    const { slot, ownerIndex } = tunnels.get(user)!;
    assert.equal(endpoints[slot], endpointOf(endpoint), `where the kernel has ${user}`);
    assert.equal(owners[ownerIndex!], slot + 1, `whose the prefix of ${user} is in the kernel`);
  }
}

function pick({ user, address, prefix }: JournalLine) {
  return { user, address, prefix };
}

/** Their addresses are free for newcomers. */
async function takeAway(
  broker: RunningBroker,
  crowd: number,
  promised: Map<string, JournalLine>,
): Promise<void> {
  if (crowd < 1) return;
  await broker.sixway('bench', 'clean', '--prefix-name', nameOf(crowd), '--json');
  for (const user of promised.keys()) if (user.startsWith(nameOf(crowd))) promised.delete(user);
  // Another process did it, of whom the server hears in a moment.
  const { database, pinDirectory } = broker;
  await eventually('the maps have followed', async () => {
    const { faults } = differenceOf(readKernelMaps(pinDirectory), readLive(database));
    return faults.length === 0;
  });
  checkAllEqual(broker, promised, new Map());
}

function nameOf(crowd: number): string {
  return `crowd${crowd}-`;
}

/** Mulberry32. */
function randomOf(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let word = Math.imul(state ^ (state >>> 15), state | 1);
    word ^= word + Math.imul(word ^ (word >>> 7), word | 61);
    return ((word ^ (word >>> 14)) >>> 0) / 2 ** 32;
  };
}
