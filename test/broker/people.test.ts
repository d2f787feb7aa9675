// What the desks for people decide: who may come, what a sign-up takes, what ends a session.

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Accounts } from '../../src/broker/accounts.ts';
import type { People } from '../../src/broker/people.ts';
import { hashToken } from '../../src/broker/people-tokens.ts';
import {
  collect,
  from,
  HOUR_MS,
  house,
  KEY,
  lastTo,
  open,
  PASSWORD,
  person,
  signIn,
  signUp,
  useHouse,
} from './people-house.ts';

useHouse();

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
    const accounts = new Accounts(house.store, KEY, 'broker.example');
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
    const before = await house.store.latestChangeId();
    await people.staff.activate(ada, undefined);
    assert.ok((await house.store.latestChangeId()) > before);
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
    assert.equal(house.letters.length, 3);
  });

  it('is good for a day', async () => {
    const people = open();
    await people.signUps.signUp(
      { email: 'ada@example.net', userName: 'ada', password: PASSWORD, code: undefined },
      from(),
    );
    await collect(people);
    const { token } = lastTo('ada@example.net', 'verify');
    house.nowMs += 24 * HOUR_MS;
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
    house.nowMs += 10 * 60_000;
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
    assert.ok(await house.store.people.sessions.find(hashToken(token), house.nowMs));
    assert.equal(await house.store.people.sessions.find(token, house.nowMs), undefined);
  });

  it('ends after idleness, and after its longest time however busy', async () => {
    const people = open();
    await person(people);
    const idle = await signIn(people);
    house.nowMs += 71 * HOUR_MS;
    assert.ok(await people.signIns.session(idle.token));
    house.nowMs += 73 * HOUR_MS;
    assert.equal(await people.signIns.session(idle.token), undefined);
    const busy = await signIn(people);
    for (let day = 0; day < 29; day++) {
      house.nowMs += 24 * HOUR_MS;
      assert.ok(await people.signIns.session(busy.token), `day ${day}`);
    }
    house.nowMs += 24 * HOUR_MS;
    assert.equal(await people.signIns.session(busy.token), undefined);
  });

  it('ends everywhere when somebody is disabled, and takes the tunnel’s client away', async () => {
    const people = open();
    const ada = await person(people);
    const { token } = await signIn(people);
    const before = await house.store.latestChangeId();
    await people.staff.disable(ada, undefined);
    assert.equal(await people.signIns.session(token), undefined);
    assert.deepEqual(await people.signIns.signIn(ada.email, PASSWORD, from()), {
      ok: false,
      refusal: 'disabled',
    });
    const fed = await house.store.changesSince(before);
    assert.ok(fed.complete);
    assert.ok(fed.changes.some(({ kind, subject }) => kind === 'user' && subject === ada.user?.id));
  });
});
