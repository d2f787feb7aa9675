// What people do with their account: second factor, password, address, tokens, erasure; and their mails.

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { People } from '../../src/broker/people.ts';
import { parseEmail } from '../../src/broker/people-parts.ts';
import type { SignedIn } from '../../src/broker/people-sign-in.ts';
import { totpCode, totpStep } from '../../src/broker/people-totp.ts';
import { fromBase32 } from '../web/shown-pages.ts';
import {
  collect,
  from,
  HOUR_MS,
  house,
  lastTo,
  open,
  PASSWORD,
  person,
  signIn,
  useHouse,
} from './people-house.ts';

useHouse();

describe('the second factor', () => {
  async function withTotp(people: People) {
    const ada = await person(people);
    const prepared = await people.account.preparedTotp(ada);
    const secret = fromBase32(prepared!.secret);
    const codes = await people.account.enableTotp(
      ada,
      totpCode(secret, totpStep(house.nowMs)),
      from(),
    );
    assert.ok(typeof codes !== 'string');
    house.nowMs += 60_000;
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
    const code = totpCode(secret, totpStep(house.nowMs));
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
      totpCode(secret, totpStep(house.nowMs)),
      home,
    );
    assert.ok(done.ok);
    house.nowMs += 60_000;
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
      totpCode(secret, totpStep(house.nowMs)),
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
    assert.ok(!house.letters.some(({ to }) => to === 'nobody@example.net'));
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
    house.nowMs += HOUR_MS;
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
    assert.equal(await house.store.people.find({ email: ada.email }), undefined);
    assert.equal(await house.store.user('ada'), undefined);
    const log = await house.store.people.audit.before(undefined, 100);
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
    const [waiting] = await house.store.people.mails.due(house.nowMs, 10);
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
    house.nowMs += 15_000;
    await assert.rejects(down.round());
    house.nowMs += 15_000;
    await down.round();
    assert.equal(tries, 2);
    await down.stop();
    house.nowMs += 30_000;
    await collect(people);
    lastTo('ada@example.net', 'verify');
    assert.equal(await house.store.people.mails.count(), 0);
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
    assert.equal(await house.store.people.mails.count(), 0);
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
