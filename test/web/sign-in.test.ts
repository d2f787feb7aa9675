// From signing up to signing out, by real requests.

import assert from 'node:assert/strict';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { Browser, linkIn, openPortal, PASSWORD, signUp, type TestPortal } from './portal.ts';

describe('signing up and in', () => {
  let portal: TestPortal;

  beforeEach(async () => {
    portal = await openPortal();
  });

  afterEach(() => portal.close());

  it('makes a person and a tunnel user, once the address is verified', async () => {
    const browser = new Browser(portal);
    await browser.get('/sign-up');
    const sent = await browser.submit('/sign-up', {
      email: 'Ada@Example.net',
      userName: 'ada',
      password: PASSWORD,
    });
    assert.match(sent.text, /We have sent a mail/);
    assert.equal(await portal.store.user('ada'), undefined);
    const [mail] = await portal.mailsTo('ada@example.net');
    const verify = await browser.get(linkIn(mail));
    assert.match(verify.text, /Type the password that you chose/);
    // The link may be looked at by what reads mails before its owner does.
    await browser.get(linkIn(mail));
    const wrong = await browser.submit('/verify', { password: 'something else entirely' });
    assert.equal(wrong.status, 422);
    const account = await browser.submit('/verify', { password: PASSWORD });
    assert.equal(account.path, '/tunnels');
    assert.match(account.text, /Welcome!/);
    const person = await portal.store.people.find({ email: 'ada@example.net' });
    assert.equal(person?.user?.name, 'ada');
    assert.equal(person?.state, 'active');
    assert.equal((await browser.get(linkIn(mail))).status, 404);
  });

  it('signs out, and in again', async () => {
    const browser = new Browser(portal);
    await signUp(portal, browser, 'ada@example.net', 'ada');
    const before = browser.cookies.get('sixway-session');
    await browser.get('/tunnels');
    const front = await browser.submit('/sign-out', {});
    assert.match(front.text, /You are signed out/);
    assert.equal(browser.cookies.has('sixway-session'), false);
    assert.equal((await browser.get('/tunnels')).path, '/sign-in?next=%2Ftunnels');
    const account = await browser.submit('/sign-in', {
      email: 'ada@example.net',
      password: PASSWORD,
    });
    assert.equal(account.path, '/tunnels');
    assert.notEqual(browser.cookies.get('sixway-session'), before);
  });
});
