// What people do with their account, by real requests.

import assert from 'node:assert/strict';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { totpCode, totpStep } from '../../src/broker/people-totp.ts';
import { Browser, linkIn, openPortal, PASSWORD, signUp, type TestPortal } from './portal.ts';
import { fromBase32 } from './shown-pages.ts';

const EMAIL = 'ada@example.net';

describe('my account', () => {
  let portal: TestPortal;
  let browser: Browser;

  beforeEach(async () => {
    portal = await openPortal();
    browser = new Browser(portal);
    await signUp(portal, browser, EMAIL, 'ada');
  });

  afterEach(() => portal.close());

  const signIn = async (password: string) => {
    const other = new Browser(portal, { 'user-agent': 'Mozilla/5.0 (X11; Linux) Firefox/1' });
    await other.get('/sign-in');
    await other.submit('/sign-in', { email: EMAIL, password });
    return other;
  };

  it('changes the password, and ends the other sessions', async () => {
    const other = await signIn(PASSWORD);
    await browser.get('/account/password');
    const wrong = await browser.submit('/account/password', {
      password: 'not the password',
      newPassword: 'a whole new password',
    });
    assert.match(wrong.text, /href="#password">The password is not right/);
    assert.match(wrong.text, /aria-invalid="true"/);
    await browser.submit('/account/password', {
      password: PASSWORD,
      newPassword: 'a whole new password',
    });
    assert.equal(browser.shown?.path, '/account');
    assert.match((await other.get('/tunnels')).path, /^\/sign-in/);
    assert.equal((await signIn('a whole new password')).shown?.path, '/tunnels');
  });

  it('gets another password by mail', async () => {
    const stranger = new Browser(portal);
    await stranger.get('/reset');
    await stranger.submit('/reset', { email: EMAIL });
    const link = linkIn((await portal.mailsTo(EMAIL)).at(-1));
    await stranger.get(link);
    await stranger.get(link);
    await stranger.submit('/reset/set', { password: 'a whole new password' });
    assert.match(stranger.shown?.text ?? '', /The password is set/);
    assert.equal((await stranger.get(link)).status, 404);
    assert.match((await browser.get('/account')).path, /^\/sign-in/);
  });

  it('changes the address', async () => {
    await browser.get('/account/email');
    await browser.submit('/account/email', { email: 'new@example.net', password: PASSWORD });
    const link = linkIn((await portal.mailsTo('new@example.net')).at(-1));
    // By somebody who is not signed in, the link leads to signing in, and back.
    const stranger = new Browser(portal);
    assert.match((await stranger.get(link)).path, /^\/sign-in\?next=%2Faccount%2Femail%2Fconfirm/);
    await browser.get(link);
    await browser.submit('/account/email/confirm', {});
    assert.match(browser.shown?.text ?? '', /new@example\.net/);
  });

  it('signs in with two factors, and without a telephone', async () => {
    const page = await browser.get('/account/two-factor');
    assert.match(page.text, /<svg class="qr" role="img"/);
    const typed = />([A-Z2-7]{4}(?: [A-Z2-7]{4}){7})</.exec(page.text)?.[1] ?? '';
    const secret = fromBase32(typed.replaceAll(' ', ''));
    const code = (ahead: number) => totpCode(secret, totpStep(Date.now()) + ahead);
    const shown = await browser.submit('/account/two-factor/on', {
      code: code(0),
      password: PASSWORD,
    });
    const codes = [...shown.text.matchAll(/>([a-z2-9]{4}-[a-z2-9]{4}-[a-z2-9]{4})</g)];
    assert.equal(codes.length, 10);

    const other = await signIn(PASSWORD);
    assert.equal(other.shown?.path, '/sign-in/code');
    assert.match((await other.get('/account')).path, /^\/sign-in/);
    await other.get('/sign-in/code');
    assert.equal((await other.submit('/sign-in/code', { code: '000000' })).status, 422);
    const half = other.cookies.get('sixway-session');
    await other.submit('/sign-in/code', { code: code(1) });
    assert.equal(other.shown?.path, '/tunnels');
    assert.notEqual(other.cookies.get('sixway-session'), half);

    const lost = await signIn(PASSWORD);
    await lost.submit('/sign-in/code', { code: codes[0]![1]! });
    assert.equal(lost.shown?.path, '/tunnels');
    assert.match((await lost.get('/account')).text, /Recovery codes left: <bdi>9<\/bdi>/);
    await lost.get('/account/two-factor');
    await lost.submit('/account/two-factor/off', { password: PASSWORD });
    assert.equal((await signIn(PASSWORD)).shown?.path, '/tunnels');
  });

  it('shows its sessions, and ends them', async () => {
    const other = await signIn(PASSWORD);
    await browser.get('/account/sessions');
    assert.match(browser.shown?.text ?? '', /<bdi>Firefox, Linux<\/bdi>/);
    await browser.submit('/account/sessions/end', {});
    assert.match((await other.get('/account')).path, /^\/sign-in/);
    assert.equal((await browser.get('/account')).status, 200);
  });

  it('makes a token that a program can use, and revokes it', async () => {
    const call = async (token: string, path = '/account') => {
      const response = await fetch(`${portal.url}/api/v1${path}`, {
        headers: { authorization: `Bearer ${token}` },
      });
      return { status: response.status, body: await response.json() };
    };
    await browser.get('/account/tokens');
    const none = await browser.submit('/account/tokens', { name: 'Router', password: PASSWORD });
    assert.match(none.text, /href="#scopes">Choose what/);
    const made = await browser.submit('/account/tokens', {
      name: 'Router',
      scopes: 'account:read',
      days: '30',
      password: PASSWORD,
    });
    const token = /(sixway_[\w-]{32})/.exec(made.text)?.[1] ?? '';
    const { status, body } = await call(token);
    assert.equal(status, 200);
    assert.equal((body as { email: string }).email, EMAIL);
    assert.equal((await call(token, '/account/export')).status, 200);
    const wrong = await call(token.replace(/.$/, (last) => (last === 'A' ? 'B' : 'A')));
    assert.deepEqual(wrong, {
      status: 401,
      body: {
        type: 'urn:sixway:problem:unauthorized',
        title: 'A valid token is needed in the Authorization header',
        status: 401,
      },
    });
    const list = await browser.get('/account/tokens');
    assert.ok(!list.text.includes(token));
    await browser.submit('/account/tokens/revoke', {});
    assert.equal((await call(token)).status, 401);
  });

  it('speaks Arabic when it is told to, on pages and in mails', async () => {
    await browser.get('/account');
    await browser.submit('/account/language', { language: 'ar' });
    assert.match(browser.shown?.text ?? '', /<html lang="ar" dir="rtl">/);
    await browser.get('/reset');
    await browser.submit('/reset', { email: EMAIL });
    const mail = (await portal.mailsTo(EMAIL)).at(-1);
    assert.match(mail?.subject ?? '', /تعيين كلمة مرور أخرى/);
    assert.match(mail?.html ?? '', /<html lang="ar" dir="rtl">/);
    linkIn(mail);
  });

  it('gives out what is kept, and forgets it', async () => {
    const exported = await browser.get('/account/export');
    assert.match(exported.headers.get('content-disposition') ?? '', /attachment/);
    assert.equal(JSON.parse(exported.text).userName, 'ada');
    await browser.get('/account/erase');
    const unsure = await browser.submit('/account/erase', { password: PASSWORD });
    assert.match(unsure.text, /Tick this when you are sure/);
    await browser.submit('/account/erase', { password: PASSWORD, sure: 'yes' });
    assert.match(browser.shown?.text ?? '', /Your account is erased/);
    assert.equal(await portal.store.user('ada'), undefined);
    assert.equal((await signIn(PASSWORD)).shown?.status, 422);
  });
});
