// What the desks for people decide, over a real store: who may come, what is told to whom, what works
// once, what ends what.

import assert from 'node:assert/strict';
import { createSecretKey } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { parseIpv4 } from '../../src/address.ts';
import { Accounts } from '../../src/broker/accounts.ts';
import { People } from '../../src/broker/people.ts';
import type { Letter } from '../../src/broker/people-mail.ts';
import type { PeoplePolicy, Visitor } from '../../src/broker/people-parts.ts';
import { parseEmail } from '../../src/broker/people-parts.ts';
import { Passwords } from '../../src/broker/people-passwords.ts';
import type { SignedIn } from '../../src/broker/people-sign-in.ts';
import { hashToken } from '../../src/broker/people-tokens.ts';
import { totpCode, totpStep } from '../../src/broker/people-totp.ts';
import { openSqliteStore } from '../../src/store/sqlite.ts';
import type { Store } from '../../src/store/store.ts';
import { fromBase32 } from '../web/shown-pages.ts';

const KEY = new Uint8Array(32).fill(3);
const PASSWORD = 'correct horse battery staple';
const HOUR_MS = 3_600_000;

let directory: string;
let store: Store;
let nowMs: number;
let letters: { to: string; letter: Letter }[];

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), 'sixway-people-'));
  store = await openSqliteStore({ file: join(directory, 'sixway.db'), create: true });
  nowMs = Date.parse('2026-01-01T12:00:00Z');
  letters = [];
});

afterEach(async () => {
  await store.close();
  rmSync(directory, { recursive: true });
});

function from(address = '192.0.2.1'): Visitor {
  return { address: parseIpv4(address)!, userAgent: 'test', language: 'en' };
}

function open(
  policy: Partial<PeoplePolicy> = {},
  parts: { readonly evenMs?: number } = {},
): People {
  const clock = () => nowMs;
  return new People({
    store,
    accounts: new Accounts(store, KEY, 'broker.example', clock),
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

async function collect(people: People): Promise<void> {
  const postman = people.sendMail(
    async ({ to, subject }) => {
      letters.push({ to, letter: JSON.parse(subject) as Letter });
    },
    () => {},
    60_000,
  );
  await postman.round();
  await postman.stop();
}

function lastTo<T extends Letter['type']>(email: string, type: T): Extract<Letter, { type: T }> {
  const found = letters.findLast(({ to, letter }) => to === email && letter.type === type);
  assert.ok(found, `no ${type} to ${email}`);
  return found.letter as Extract<Letter, { type: T }>;
}

async function signUp(people: People, email: string, userName: string, code?: string) {
  const refusal = await people.signUps.signUp(
    { email, userName, password: PASSWORD, code },
    from(),
  );
  if (refusal !== undefined) return refusal;
  await collect(people);
  const { token } = lastTo(email, 'verify');
  return people.signUps.confirm(token, PASSWORD, undefined, from());
}

async function person(people: People, email = 'ada@example.net', userName = 'ada') {
  const made = await signUp(people, email, userName);
  assert.ok(typeof made === 'object', String(made));
  return made;
}

async function signIn(people: People, email = 'ada@example.net', visitor = from()) {
  const result = await people.signIns.signIn(email, PASSWORD, visitor);
  assert.ok(result.ok, JSON.stringify(result));
  const signedIn = await people.signIns.session(result.token);
  assert.ok(signedIn);
  return { ...result, signedIn };
}

describe('who may sign up', () => {
  const ask = (people: People, email: string, code?: string) =>
    people.signUps.signUp({ email, userName: 'ada', password: PASSWORD, code }, from());

  it('nobody, when it is closed', async () => {
    assert.equal(await ask(open({ signUp: 'closed' }), 'a@example.net'), 'closed');
  });

  it('only the listed domains, and not what merely ends like one', async () => {
    const people = open({ signUp: 'domains', domains: ['example.net'] });
    assert.equal(await ask(people, 'a@example.net'), undefined);
    assert.equal(await ask(people, 'a@notexample.net'), 'domain-not-allowed');
    assert.equal(await ask(people, 'a@sub.example.net'), 'domain-not-allowed');
    assert.equal(await ask(people, 'example.net@evil.test'), 'domain-not-allowed');
  });

  it('who was invited, once, and with the address that the invitation is for', async () => {
    const people = open({ signUp: 'invitation' });
    assert.equal(await ask(people, 'a@example.net'), 'closed');
    assert.equal(await ask(people, 'a@example.net', 'x'.repeat(32)), 'no-such-invitation');
    const made = await people.signUps.invite(
      { email: 'Ada@Example.net', role: 'support', userName: undefined, language: undefined },
      undefined,
    );
    assert.ok(made.ok);
    await collect(people);
    assert.equal(lastTo('ada@example.net', 'invitation').code, made.code);
    assert.equal(await ask(people, 'eve@example.net', made.code), 'email-not-invited');
    const ada = await signUp(people, 'ada@example.net', '', made.code);
    assert.ok(typeof ada === 'object');
    assert.equal(ada.role, 'support');
    assert.equal(ada.user, undefined);
    assert.equal(await ask(people, 'ada@example.net', made.code), 'no-such-invitation');
  });

  it('an invitation gives a user who exists to its person, and to one only', async () => {
    const people = open({ signUp: 'closed' });
    const accounts = new Accounts(store, KEY, 'broker.example');
    await accounts.add('old-timer', 'secret');
    const invite = () =>
      people.signUps.invite(
        { email: undefined, role: 'user', userName: 'old-timer', language: undefined },
        undefined,
      );
    const [first, second] = [await invite(), await invite()];
    assert.ok(first.ok && second.ok);
    const ada = await signUp(people, 'ada@example.net', 'ignored', first.code);
    assert.ok(typeof ada === 'object');
    assert.equal(ada.user?.name, 'old-timer');
    // The secret that the client logs in with is still the old one.
    assert.ok(await accounts.credential('old-timer'));
    assert.equal(await signUp(people, 'eve@example.net', '', second.code), 'user-taken');
    assert.deepEqual(await invite(), { ok: false, refusal: 'user-taken' });
  });

  it('everybody, but an administrator has to approve; until then nobody is in', async () => {
    const people = open({ signUp: 'approval' });
    const ada = await person(people);
    assert.equal(ada.state, 'waiting-approval');
    assert.equal(ada.user?.disabled, true);
    const result = await people.signIns.signIn(ada.email, PASSWORD, from());
    assert.deepEqual(result, { ok: false, refusal: 'waiting-approval' });
    const before = await store.latestChangeId();
    await people.staff.activate(ada, undefined);
    assert.ok((await store.latestChangeId()) > before);
    await collect(people);
    lastTo(ada.email, 'approved');
    const { signedIn } = await signIn(people);
    assert.equal(signedIn.person.user?.disabled, false);
  });

  it('not too many from one place', async () => {
    const people = open();
    const asked = await Promise.all(
      Array.from({ length: 31 }, (_, i) => ask(people, `a${i}@example.net`)),
    );
    assert.equal(asked.filter((each) => each === 'too-many').length, 1);
    const elsewhere = await people.signUps.signUp(
      { email: 'b@example.net', userName: 'b', password: PASSWORD, code: undefined },
      from('198.51.100.1'),
    );
    assert.equal(elsewhere, undefined);
  });
});

describe('a sign-up', () => {
  it('takes no address and no name before it is verified', async () => {
    const people = open();
    const ask = (email: string, userName: string) =>
      people.signUps.signUp({ email, userName, password: PASSWORD, code: undefined }, from());
    assert.equal(await ask('eve@example.net', 'ada'), undefined);
    await collect(people);
    const eve = lastTo('eve@example.net', 'verify').token;
    const ada = await person(people);
    assert.equal(ada.user?.name, 'ada');
    assert.equal(await ask('mal@example.net', 'ada'), 'name-taken');
    // Eve's turn: the name is gone, another one is not.
    assert.equal(await people.signUps.confirm(eve, PASSWORD, undefined, from()), 'name-taken');
    const renamed = await people.signUps.confirm(eve, PASSWORD, 'eve', from());
    assert.ok(typeof renamed === 'object');
    assert.equal(renamed.user?.name, 'eve');
  });

  it('with another’s address cannot be confirmed by its owner, who has not the password', async () => {
    const people = open();
    await people.signUps.signUp(
      {
        email: 'victim@example.net',
        userName: 'v',
        password: 'the attacker knows this',
        code: undefined,
      },
      from(),
    );
    await collect(people);
    const { token } = lastTo('victim@example.net', 'verify');
    assert.equal(
      await people.signUps.confirm(token, PASSWORD, undefined, from()),
      'password-wrong',
    );
    // And the owner signs up themselves, beside it.
    const victim = await person(people, 'victim@example.net', 'victim');
    assert.equal(victim.user?.name, 'victim');
    const late = await people.signUps.confirm(token, 'the attacker knows this', undefined, from());
    assert.equal(late, 'no-such-token');
  });

  it('says the same for a known address, and the owner is told', async () => {
    const people = open();
    await person(people);
    const ask = (email: string, userName: string) =>
      people.signUps.signUp({ email, userName, password: PASSWORD, code: undefined }, from());
    assert.equal(await ask('ada@example.net', 'other'), undefined);
    assert.equal(await ask('bob@example.net', 'other'), undefined);
    await collect(people);
    lastTo('ada@example.net', 'already-known');
    lastTo('bob@example.net', 'verify');
  });

  it('fills nobody’s letter box', async () => {
    const people = open();
    for (let i = 0; i < 6; i++)
      await people.signUps.signUp(
        { email: 'ada@example.net', userName: 'ada', password: PASSWORD, code: undefined },
        from(`192.0.2.${i}`),
      );
    await collect(people);
    assert.equal(letters.length, 3);
  });

  it('is good for a day', async () => {
    const people = open();
    await people.signUps.signUp(
      { email: 'ada@example.net', userName: 'ada', password: PASSWORD, code: undefined },
      from(),
    );
    await collect(people);
    const { token } = lastTo('ada@example.net', 'verify');
    nowMs += 24 * HOUR_MS;
    assert.equal(await people.signUps.pending(token), undefined);
    assert.equal(await people.signUps.confirm(token, PASSWORD, undefined, from()), 'no-such-token');
  });
});

describe('signing in', () => {
  it('is held back for a name at an address, and for nobody elsewhere', async () => {
    const people = open();
    await person(people);
    const attack = (email: string) => people.signIns.signIn(email, 'not the password', from());
    for (let i = 0; i < 5; i++)
      assert.deepEqual(await attack('ada@example.net'), { ok: false, refusal: 'wrong' });
    assert.deepEqual(await attack('ada@example.net'), { ok: false, refusal: 'held-back' });
    const right = await people.signIns.signIn('ada@example.net', PASSWORD, from());
    assert.deepEqual(right, { ok: false, refusal: 'held-back' });
    await signIn(people, 'ada@example.net', from('198.51.100.7'));
    nowMs += 10 * 60_000;
    await signIn(people);
  });

  it('holds back an address where many names were tried', async () => {
    const people = open();
    await person(people);
    for (let i = 0; i < 32; i++)
      await people.signIns.signIn(`u${i}@example.net`, 'not the password', from());
    const held = await people.signIns.signIn('ada@example.net', PASSWORD, from());
    assert.deepEqual(held, { ok: false, refusal: 'held-back' });
  });

  it('keeps only hashes of what proves something', async () => {
    const people = open();
    await person(people);
    const { token } = await signIn(people);
    assert.ok(await store.people.sessions.find(hashToken(token), nowMs));
    assert.equal(await store.people.sessions.find(token, nowMs), undefined);
  });

  it('ends after idleness, and after its longest time however busy', async () => {
    const people = open();
    await person(people);
    const idle = await signIn(people);
    nowMs += 71 * HOUR_MS;
    assert.ok(await people.signIns.session(idle.token));
    nowMs += 73 * HOUR_MS;
    assert.equal(await people.signIns.session(idle.token), undefined);
    const busy = await signIn(people);
    for (let day = 0; day < 29; day++) {
      nowMs += 24 * HOUR_MS;
      assert.ok(await people.signIns.session(busy.token), `day ${day}`);
    }
    nowMs += 24 * HOUR_MS;
    assert.equal(await people.signIns.session(busy.token), undefined);
  });

  it('ends everywhere when somebody is disabled, and takes the tunnel’s client away', async () => {
    const people = open();
    const ada = await person(people);
    const { token } = await signIn(people);
    const before = await store.latestChangeId();
    await people.staff.disable(ada, undefined);
    assert.equal(await people.signIns.session(token), undefined);
    assert.deepEqual(await people.signIns.signIn(ada.email, PASSWORD, from()), {
      ok: false,
      refusal: 'disabled',
    });
    const fed = await store.changesSince(before);
    assert.ok(fed.complete);
    assert.ok(fed.changes.some(({ kind, subject }) => kind === 'user' && subject === ada.user?.id));
  });
});

describe('the second factor', () => {
  async function withTotp(people: People) {
    const ada = await person(people);
    const prepared = await people.account.preparedTotp(ada);
    const secret = fromBase32(prepared!.secret);
    const codes = await people.account.enableTotp(ada, totpCode(secret, totpStep(nowMs)), from());
    assert.ok(typeof codes !== 'string');
    nowMs += 60_000;
    return { secret, codes };
  }

  const half = async (people: People, visitor = from()): Promise<SignedIn> => {
    const { stage, signedIn } = await signIn(people, 'ada@example.net', visitor);
    assert.equal(stage, 'second-factor');
    return signedIn;
  };

  it('is on only when a code has shown that the app has the secret', async () => {
    const people = open();
    const ada = await person(people);
    assert.equal(await people.account.enableTotp(ada, '000000', from()), 'code-wrong');
    await people.account.preparedTotp(ada);
    assert.equal(await people.account.enableTotp(ada, '000000', from()), 'code-wrong');
    assert.equal((await signIn(people)).stage, 'signed-in');
  });

  it('takes each code once, and makes a session of its own', async () => {
    const people = open();
    const { secret } = await withTotp(people);
    const first = await half(people);
    const code = totpCode(secret, totpStep(nowMs));
    const result = await people.signIns.secondFactor(first, code, from());
    assert.ok(result.ok);
    assert.equal((await people.signIns.session(result.token))?.session.stage, 'signed-in');
    assert.deepEqual(await people.signIns.secondFactor(await half(people), code, from()), {
      ok: false,
      refusal: 'wrong',
    });
  });

  it('takes each recovery code once, however it is typed', async () => {
    const people = open();
    const { codes } = await withTotp(people);
    const typed = codes[3]!.toUpperCase().replaceAll('-', ' ');
    assert.ok((await people.signIns.secondFactor(await half(people), typed, from())).ok);
    const again = await people.signIns.secondFactor(await half(people), codes[3]!, from());
    assert.deepEqual(again, { ok: false, refusal: 'wrong' });
  });

  it('cannot be guessed from many addresses, and its owner comes in from where they were', async () => {
    const people = open();
    const { secret } = await withTotp(people);
    const home = from('203.0.113.5');
    const done = await people.signIns.secondFactor(
      await half(people, home),
      totpCode(secret, totpStep(nowMs)),
      home,
    );
    assert.ok(done.ok);
    nowMs += 60_000;
    let held = false;
    for (let i = 0; i < 25; i++) {
      const visitor = from(`198.51.100.${i}`);
      const guess = await people.signIns.secondFactor(
        await half(people, visitor),
        '000000',
        visitor,
      );
      held ||= !guess.ok && guess.refusal === 'held-back';
    }
    assert.ok(held);
    const owner = await people.signIns.secondFactor(
      await half(people, home),
      totpCode(secret, totpStep(nowMs)),
      home,
    );
    assert.ok(owner.ok);
  });
});

describe('the account', () => {
  it('gets another password by a link that works once, and all sessions end', async () => {
    const people = open();
    await person(people);
    const { token: session } = await signIn(people);
    assert.equal(await people.account.askForReset('ADA@example.net', from()), 'sent');
    assert.equal(await people.account.askForReset('nobody@example.net', from()), 'sent');
    await collect(people);
    assert.ok(!letters.some(({ to }) => to === 'nobody@example.net'));
    const { token } = lastTo('ada@example.net', 'reset');
    assert.equal(await people.account.reset(token, 'short', from()), 'password-short');
    assert.equal(await people.account.reset(token, 'quite another password', from()), undefined);
    assert.equal(
      await people.account.reset(token, 'quite another password', from()),
      'no-such-token',
    );
    assert.equal(await people.signIns.session(session), undefined);
    assert.ok(
      (await people.signIns.signIn('ada@example.net', 'quite another password', from())).ok,
    );
    await collect(people);
    lastTo('ada@example.net', 'password-changed');
  });

  it('answers a reset for a known and an unknown address after the same time', async () => {
    const people = open({}, { evenMs: 250 });
    await person(people);
    const took = async (email: string) => {
      const beganMs = performance.now();
      await people.account.askForReset(email, from());
      return Math.round((performance.now() - beganMs) / 250);
    };
    // Whole quarters of a second: what the work itself takes does not show.
    assert.equal(await took('ada@example.net'), await took('nobody@example.net'));
  });

  it('changes its address by a link to the new one, for who is signed in only', async () => {
    const people = open();
    const ada = await person(people);
    const bob = await person(people, 'bob@example.net', 'bob');
    assert.equal(await people.account.askForEmailChange(ada, 'new@example.net', from()), 'sent');
    await collect(people);
    const { token } = lastTo('new@example.net', 'change-email');
    assert.equal(lastTo('ada@example.net', 'email-changing').newEmail, 'new@example.net');
    assert.equal(await people.account.changeEmail(bob, token, from()), 'no-such-token');
    assert.equal(await people.account.changeEmail(ada, token, from()), 'changed');
    assert.equal(await people.account.changeEmail(ada, token, from()), 'no-such-token');
    await signIn(people, 'new@example.net');
    assert.equal(await people.account.askForEmailChange(bob, 'new@example.net', from()), 'sent');
    await collect(people);
    lastTo('new@example.net', 'already-known');
  });

  it('has tokens with scopes, which end', async () => {
    const people = open();
    const ada = await person(people);
    const made = await people.account.addToken(ada, 'router', ['account:read'], HOUR_MS, from());
    assert.ok(made.ok);
    assert.match(made.token, /^sixway_[\w-]{32}$/);
    const found = await people.signIns.apiToken(made.token);
    assert.equal(found?.person.id, ada.id);
    assert.deepEqual(found?.scopes, ['account:read']);
    nowMs += HOUR_MS;
    assert.equal(await people.signIns.apiToken(made.token), undefined);
    const [listed] = await people.account.tokens(ada);
    assert.equal(await people.account.removeToken(ada, listed!.id, from()), true);
    assert.deepEqual(await people.account.tokens(ada), []);
  });

  it('is erased with everything; the log keeps that something was done', async () => {
    const people = open();
    const ada = await person(people);
    await signIn(people);
    await people.account.addToken(ada, 'router', ['account:read'], undefined, from());
    const exported = JSON.stringify(await people.account.exportAll(ada));
    assert.match(exported, /ada@example\.net/);
    assert.doesNotMatch(exported, /argon2|[0-9a-f]{64}/);
    assert.equal(await people.account.erase(ada, from()), 'erased');
    assert.equal(await store.people.find({ email: ada.email }), undefined);
    assert.equal(await store.user('ada'), undefined);
    const log = await store.people.audit.before(undefined, 100);
    assert.ok(log.some(({ act }) => act === 'erase'));
    assert.ok(log.every(({ address, email }) => address === undefined && email === undefined));
  });

  it('of staff is not erased by itself', async () => {
    const people = open();
    const ada = await person(people);
    await people.staff.setRole(ada, 'abuse', undefined);
    const { signedIn } = await signIn(people);
    assert.equal(await people.account.erase(signedIn.person, from()), 'is-staff');
  });
});

describe('mail', () => {
  it('waits in the store while the mail server is down, sealed, and is lost by nobody', async () => {
    const people = open();
    await people.signUps.signUp(
      { email: 'ada@example.net', userName: 'ada', password: PASSWORD, code: undefined },
      from(),
    );
    const [waiting] = await store.people.mails.due(nowMs, 10);
    assert.doesNotMatch(waiting!.sealed, /ada|verify/);
    let tries = 0;
    const down = people.sendMail(
      async () => {
        tries++;
        throw new Error('connection refused');
      },
      () => {},
      60_000,
    );
    await assert.rejects(down.round(), /connection refused/);
    await down.round();
    assert.equal(tries, 1);
    nowMs += 15_000;
    await assert.rejects(down.round());
    nowMs += 15_000;
    await down.round();
    assert.equal(tries, 2);
    await down.stop();
    nowMs += 30_000;
    await collect(people);
    lastTo('ada@example.net', 'verify');
    assert.equal(await store.people.mails.count(), 0);
  });

  it('that is refused for good is given up, and the log does not say whose', async () => {
    const people = open();
    await people.signUps.signUp(
      { email: 'ada@example.net', userName: 'ada', password: PASSWORD, code: undefined },
      from(),
    );
    const log: string[] = [];
    const postman = people.sendMail(
      async () => {
        throw Object.assign(new Error('no such letter box'), {
          responseCode: 550,
          code: 'EENVELOPE',
        });
      },
      (message) => log.push(message),
      60_000,
    );
    await postman.round();
    await postman.stop();
    assert.equal(await store.people.mails.count(), 0);
    assert.equal(log.length, 1);
    assert.doesNotMatch(log[0]!, /ada/);
  });
});

describe('e-mail addresses', () => {
  it('are read as the domain name system does, and nothing else', () => {
    assert.equal(parseEmail(' Ada.Lovelace+x@Example.NET '), 'ada.lovelace+x@example.net');
    assert.equal(parseEmail('ada@bücher.example'), 'ada@xn--bcher-kva.example');
    for (const bad of [
      '',
      'ada',
      'ada@',
      '@example.net',
      'a b@example.net',
      'a@b@example.net',
      'a@localhost',
      'a@192.0.2.1',
      'a@[192.0.2.1]',
      'a@example.net/x',
      'a@example.net:25',
      'a@example.net\nbcc: b@example.net',
      '"a"@example.net',
      `${'a'.repeat(65)}@example.net`,
    ])
      assert.equal(parseEmail(bad), undefined, bad);
  });
});
