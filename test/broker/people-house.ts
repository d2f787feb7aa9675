// A house of people for tests: desks over a real store, a clock to be moved, and the letters that were
// sent.

import assert from 'node:assert/strict';
import { createSecretKey } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach } from 'node:test';
import { parseIpv4 } from '../../src/address.ts';
import { Accounts } from '../../src/broker/accounts.ts';
import { People } from '../../src/broker/people.ts';
import type { Letter } from '../../src/broker/people-mail.ts';
import type { PeoplePolicy, Visitor } from '../../src/broker/people-parts.ts';
import { Passwords } from '../../src/broker/people-passwords.ts';
import { openSqliteStore } from '../../src/store/sqlite.ts';
import type { Store } from '../../src/store/store.ts';

export const KEY = new Uint8Array(32).fill(3);
export const PASSWORD = 'correct horse battery staple';
export const HOUR_MS = 3_600_000;

interface House {
  store: Store;
  nowMs: number;
  letters: { to: string; letter: Letter }[];
}

export const house = {} as House;

/** Another one for each test. */
export function useHouse(): void {
  let directory: string;

  beforeEach(async () => {
    directory = mkdtempSync(join(tmpdir(), 'sixway-people-'));
    house.store = await openSqliteStore({ file: join(directory, 'sixway.db'), create: true });
    house.nowMs = Date.parse('2026-01-01T12:00:00Z');
    house.letters = [];
  });

  afterEach(async () => {
    await house.store.close();
    rmSync(directory, { recursive: true });
  });
}

export function from(address = '192.0.2.1'): Visitor {
  return { address: parseIpv4(address)!, userAgent: 'test', language: 'en' };
}

export function open(
  policy: Partial<PeoplePolicy> = {},
  parts: { readonly evenMs?: number } = {},
): People {
  const clock = () => house.nowMs;
  return new People({
    store: house.store,
    accounts: new Accounts(house.store, KEY, 'broker.example', clock),
    key: createSecretKey(KEY),
    policy: {
      signUp: 'open',
      domains: [],
      sessionIdleMs: 72 * HOUR_MS,
      sessionMaxMs: 30 * 24 * HOUR_MS,
      serviceName: 'Test',
      ...policy,
    },
    passwords: new Passwords(1024),
    // The words are the portal's; here the letter itself is what is sent.
    compose: (letter) => ({ subject: JSON.stringify(letter), text: '', html: '' }),
    clock,
    evenMs: 10,
    ...parts,
  });
}

export async function collect(people: People): Promise<void> {
  const postman = people.sendMail(
    async ({ to, subject }) => {
      house.letters.push({ to, letter: JSON.parse(subject) as Letter });
    },
    () => {},
    60_000,
  );
  await postman.round();
  await postman.stop();
}

export function lastTo<T extends Letter['type']>(
  email: string,
  type: T,
): Extract<Letter, { type: T }> {
  const found = house.letters.findLast(({ to, letter }) => to === email && letter.type === type);
  assert.ok(found, `no ${type} to ${email}`);
  return found.letter as Extract<Letter, { type: T }>;
}

export async function signUp(people: People, email: string, userName: string, code?: string) {
  const refusal = await people.signUps.signUp(
    { email, userName, password: PASSWORD, code },
    from(),
  );
  if (refusal !== undefined) return refusal;
  await collect(people);
  const { token } = lastTo(email, 'verify');
  return people.signUps.confirm(token, PASSWORD, undefined, from());
}

export async function person(people: People, email = 'ada@example.net', userName = 'ada') {
  const made = await signUp(people, email, userName);
  assert.ok(typeof made === 'object', String(made));
  return made;
}

export async function signIn(people: People, email = 'ada@example.net', visitor = from()) {
  const result = await people.signIns.signIn(email, PASSWORD, visitor);
  assert.ok(result.ok, JSON.stringify(result));
  const signedIn = await people.signIns.session(result.token);
  assert.ok(signedIn);
  return { ...result, signedIn };
}
