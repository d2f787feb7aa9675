import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { judgePassword, Passwords, PasswordsBusy } from '../../src/broker/people-passwords.ts';

const PASSWORD = 'correct horse battery staple';

describe('passwords', () => {
  it('are argon2id with OWASP’s parameters, each with a salt of its own', async () => {
    const passwords = new Passwords();
    const [one, two] = [await passwords.hash(PASSWORD), await passwords.hash(PASSWORD)];
    assert.match(one, /^\$argon2id\$v=19\$m=47104,t=1,p=1\$[A-Za-z0-9+/]{22}\$[A-Za-z0-9+/]{43}$/);
    assert.notEqual(one, two);
    assert.equal(await passwords.matches(PASSWORD, one), true);
    assert.equal(await passwords.matches(`${PASSWORD} `, one), false);
    assert.equal(passwords.isOutdated(one), false);
    assert.equal(new Passwords(1024).isOutdated(one), true);
  });

  it('agree with a hash that another program made', async () => {
    // The reference implementation's own test: argon2id, t=2, m=256, p=1, "password", "somesalt".
    const phc =
      '$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4';
    assert.equal(await new Passwords(1024).matches('password', phc), true);
    assert.equal(await new Passwords(1024).matches('passwore', phc), false);
  });

  it('match nothing where there is no hash, in the same way', async () => {
    assert.equal(await new Passwords(1024).matches(PASSWORD, undefined), false);
  });

  it('are the same however a letter is composed', async () => {
    const passwords = new Passwords(1024);
    const hash = await passwords.hash('cafe\u0301 au lait encore');
    assert.equal(await passwords.matches('caf\u00e9 au lait encore', hash), true);
  });

  it('are refused when too many wait, and then work again', async () => {
    const passwords = new Passwords(1024);
    const results = await Promise.allSettled(
      Array.from({ length: 60 }, () => passwords.hash(PASSWORD)),
    );
    const refused = results.filter(({ status }) => status === 'rejected');
    assert.equal(refused.length, 60 - 34);
    assert.ok(refused.every((each) => 'reason' in each && each.reason instanceof PasswordsBusy));
    await passwords.hash(PASSWORD);
  });

  it('may be anything long enough that is not who one is', () => {
    const judge = (password: string) =>
      judgePassword(password, ['ada@example.net', 'ada', 'lovelace']);
    assert.equal(judge(PASSWORD), undefined);
    assert.equal(judge('كلمة مرور طويلة'), undefined);
    assert.equal(judge('short one'), 'password-short');
    assert.equal(judge('x'.repeat(300)), 'password-long');
    assert.equal(judge('aaaaaaaaaaaaaaaa'), 'password-obvious');
    assert.equal(judge('password12'.padEnd(12, '1')), 'password-obvious');
    assert.equal(judge('ada@example.net'), 'password-obvious');
    assert.equal(judge('LovelaceLovelace1'), 'password-obvious');
  });
});
