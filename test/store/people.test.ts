// People in the store: what hangs together goes together, and what others hold stays.

import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { afterEach, beforeEach, describe, it } from 'node:test';
import type { NewPerson, Person } from '../../src/store/person.ts';
import type { Store } from '../../src/store/store.ts';
import { openStore } from './open-store.ts';
import { NOW, sealed } from './requests.ts';

const AUDIT = { act: 'test' };
const LATER = NOW + 1000;

let directory: string;
let file: string;
let store: Store;

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), 'sixway-people-'));
  file = join(directory, 'sixway.db');
  store = await openStore(`sqlite:${file}`);
});

afterEach(async () => {
  await store.close();
  rmSync(directory, { recursive: true });
});

async function add(email: string, more: Partial<NewPerson> = {}): Promise<Person> {
  const [name = ''] = email.split('@');
  const person = await store.people.add(
    {
      email,
      emailVerified: true,
      passwordHash: 'hash',
      role: 'user',
      state: 'active',
      language: undefined,
      user: { name, secret: sealed(name) },
      ...more,
    },
    AUDIT,
    NOW,
  );
  assert.ok(typeof person === 'object', String(person));
  return person;
}

function rows(table: string): number {
  const db = new DatabaseSync(file, { readOnly: true });
  const { count } = db.prepare(`select count(*) as count from ${table}`).get() as { count: number };
  db.close();
  return count;
}

async function fill(person: Person): Promise<void> {
  const { people } = store;
  const personId = person.id;
  await people.sessions.begin(
    {
      personId,
      tokenHash: `session ${personId}`,
      stage: 'signed-in',
      address: '192.0.2.1',
      userAgent: 'test',
      expiresAtMs: LATER,
      replaces: undefined,
    },
    AUDIT,
    NOW,
  );
  const token = { personId, name: 'x', tokenHash: `token ${personId}`, scopes: ['a', 'b'] };
  await people.tokens.add({ ...token, expiresAtMs: undefined }, 5, AUDIT, NOW);
  await people.addEmailToken(
    {
      personId,
      purpose: 'reset',
      tokenHash: `mail ${personId}`,
      newEmail: undefined,
      expiresAtMs: LATER,
    },
    ['sealed'],
    { max: 1, sinceMs: 0 },
    undefined,
    NOW,
  );
  await people.prepareTotp(personId, 'sealed', NOW);
  await people.enableTotp(personId, 1, ['code'], undefined, AUDIT, NOW);
  await people.invitations.add(
    {
      codeHash: `code ${personId}`,
      email: undefined,
      role: 'user',
      userId: undefined,
      invitedBy: personId,
      expiresAtMs: LATER,
    },
    undefined,
    AUDIT,
    NOW,
  );
}

describe('a person', () => {
  it('is found by number, address and user', async () => {
    const ada = await add('ada@example.net');
    assert.deepEqual(await store.people.find({ id: ada.id }), ada);
    assert.deepEqual(await store.people.find({ email: 'ada@example.net' }), ada);
    assert.deepEqual(await store.people.find({ userId: ada.user!.id }), ada);
    assert.equal(await store.people.find({ email: 'Ada@example.net' }), undefined);
  });

  it('is one for an address and for a user, and a refusal leaves no user behind', async () => {
    const ada = await add('ada@example.net');
    const ask = (email: string, user: NewPerson['user']) =>
      store.people.add(
        {
          email,
          emailVerified: false,
          passwordHash: undefined,
          role: 'user',
          state: 'active',
          language: undefined,
          user,
        },
        AUDIT,
        NOW,
      );
    const other = { name: 'other', secret: sealed('other') };
    assert.equal(await ask('ada@example.net', other), 'email-taken');
    assert.equal(await store.user('other'), undefined);
    assert.equal(await ask('b@example.net', { id: ada.user!.id }), 'user-taken');
    assert.equal(await ask('b@example.net', { ...other, name: 'ada' }), 'name-taken');
  });

  it('goes with its user and takes along what is theirs; what others did stays', async () => {
    const [ada, bob] = [await add('ada@example.net'), await add('bob@example.net')];
    await fill(ada);
    await fill(bob);
    assert.equal(await store.removeUser(ada.user!.id, NOW), true);
    assert.equal(await store.people.find({ id: ada.id }), undefined);
    for (const table of ['people', 'web_sessions', 'api_tokens', 'email_tokens', 'recovery_codes'])
      assert.equal(rows(table), 1, table);
    assert.equal(rows('invitations'), 2);
    assert.equal((await store.people.find({ id: bob.id }))?.user?.name, 'bob');
  });

  it('of staff stays when its user goes', async () => {
    const root = await add('root@example.net', { role: 'administrator' });
    await store.removeUser(root.user!.id, NOW);
    const left = await store.people.find({ id: root.id });
    assert.equal(left?.user, undefined);
    assert.equal(left?.role, 'administrator');
  });

  it('goes with users who are removed by the thousand', async () => {
    await add('b-1@example.net');
    await store.removeNumberedUsers('b-', '', 10, NOW);
    assert.equal(rows('people'), 0);
  });

  it('that is erased frees the user name, and the feed says so', async () => {
    const ada = await add('ada@example.net');
    await fill(ada);
    const before = await store.latestChangeId();
    assert.equal(await store.people.erase(ada.id, { ...AUDIT, personId: ada.id }, NOW), true);
    assert.equal(await store.people.erase(ada.id, AUDIT, NOW), false);
    assert.equal(rows('users'), 0);
    const fed = await store.changesSince(before);
    assert.ok(fed.complete);
    assert.deepEqual(
      fed.changes.map(({ kind, subject }) => [kind, subject]),
      [['user', ada.user!.id]],
    );
  });
});

describe('tokens', () => {
  it('of links are limited, looked at without being used, and used once', async () => {
    const ada = await add('ada@example.net');
    await fill(ada);
    const limit = { max: 1, sinceMs: NOW - 1 };
    const asked = {
      personId: ada.id,
      purpose: 'reset',
      tokenHash: 'another',
      newEmail: undefined,
      expiresAtMs: LATER,
    } as const;
    const again = store.people.addEmailToken(asked, ['sealed'], limit, undefined, NOW);
    assert.equal(await again, 'too-many');
    const hash = `mail ${ada.id}`;
    for (let i = 0; i < 2; i++) assert.ok(await store.people.emailToken('reset', hash, NOW));
    assert.equal(await store.people.emailToken('change', hash, NOW), undefined);
    assert.equal(await store.people.emailToken('reset', hash, LATER), undefined);
    const reset = () => store.people.resetPassword(hash, 'new', () => 'sealed', '192.0.2.1', NOW);
    assert.equal((await reset())?.id, ada.id);
    assert.equal(await reset(), undefined);
    assert.equal((await store.people.proofs(ada.id))?.passwordHash, 'new');
  });

  it('of the second factor go forward only', async () => {
    const ada = await add('ada@example.net');
    await fill(ada);
    assert.equal(await store.people.useTotpStep(ada.id, 1, NOW), false);
    assert.equal(await store.people.useTotpStep(ada.id, 3, NOW), true);
    assert.equal(await store.people.useTotpStep(ada.id, 2, NOW), false);
    // What is enabled cannot be replaced by preparing another one.
    await store.people.prepareTotp(ada.id, 'other', NOW);
    assert.equal((await store.people.proofs(ada.id))?.sealedTotp, 'sealed');
  });

  it('that have expired are pruned', async () => {
    await fill(await add('ada@example.net'));
    await store.people.prune(LATER);
    for (const table of ['web_sessions', 'email_tokens']) assert.equal(rows(table), 0);
    assert.equal(rows('api_tokens'), 1);
  });
});

describe('the audit log', () => {
  it('is read from the latest back, and by whom it is about', async () => {
    const [ada, bob] = [await add('ada@example.net'), await add('bob@example.net')];
    const { audit } = store.people;
    await audit.append({ personId: bob.id, act: 'look', subject: `person:${ada.id}` }, NOW);
    await audit.append({ act: 'tidy', details: { rows: 3 } }, LATER);
    const [latest, before] = await audit.before(undefined, 2);
    assert.deepEqual([latest?.act, latest?.details, latest?.atMs], ['tidy', { rows: 3 }, LATER]);
    assert.equal(before?.email, 'bob@example.net');
    assert.equal((await audit.before(before!.id, 10)).length, 2);
    assert.deepEqual(
      (await audit.about(ada.id, 10)).map(({ act }) => act),
      ['look'],
    );
  });
});

describe('waiting mails', () => {
  it('are claimed by one sender', async () => {
    await store.people.mails.add('sealed', NOW);
    const [mail] = await store.people.mails.due(NOW, 10);
    assert.equal(await store.people.mails.claim(mail!.id, LATER, NOW), true);
    assert.equal(await store.people.mails.claim(mail!.id, LATER, NOW), false);
    assert.deepEqual(await store.people.mails.due(NOW, 10), []);
    assert.equal((await store.people.mails.due(LATER, 10)).length, 1);
  });
});
