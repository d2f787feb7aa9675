// What the portal must not do, by real requests.

import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { Browser, linkIn, openPortal, PASSWORD, signUp, type TestPortal } from './portal.ts';

describe('the portal', () => {
  let portal: TestPortal;

  before(async () => {
    portal = await openPortal();
  });

  after(() => portal.close());

  it('sends headers that leave a browser nothing to load from elsewhere', async () => {
    for (const path of ['/', '/sign-in', '/nowhere', '/api/v1/account']) {
      const { headers } = await new Browser(portal).get(path);
      const policy = headers.get('content-security-policy') ?? '';
      assert.match(policy, /default-src 'none'/);
      assert.match(policy, /frame-ancestors 'none'/);
      assert.doesNotMatch(policy, /unsafe/);
      assert.equal(headers.get('x-content-type-options'), 'nosniff');
      assert.equal(headers.get('referrer-policy'), 'no-referrer');
      assert.equal(headers.get('cache-control'), 'no-store');
    }
  });

  it('has no script and no style inside its pages', async () => {
    for (const path of ['/', '/sign-in', '/sign-up', '/reset']) {
      const { text } = await new Browser(portal).get(path);
      assert.doesNotMatch(text, /<script|<style|\sstyle=|\son[a-z]+=/i);
    }
  });

  it('escapes what comes back from a form', async () => {
    const browser = new Browser(portal);
    await browser.get('/sign-up');
    const { text, status } = await browser.submit('/sign-up', {
      email: '"><script>alert(1)</script>',
      userName: '<b>',
      password: PASSWORD,
    });
    assert.equal(status, 422);
    assert.doesNotMatch(text, /<script|<b>/);
    assert.match(text, /&quot;&gt;&lt;script&gt;/);
  });

  it('takes no form that it did not give out', async () => {
    const fields = { email: 'ada@example.net', password: PASSWORD };
    const stranger = new Browser(portal);
    assert.equal((await stranger.post('/sign-in', fields)).status, 403);
    assert.equal((await stranger.post('/sign-in', { ...fields, csrf: 'x' })).status, 403);
    const [one, two] = [new Browser(portal), new Browser(portal)];
    await one.get('/sign-in');
    await two.get('/sign-in');
    const csrf = /name="csrf" value="([^"]+)"/.exec(two.shown?.text ?? '')?.[1] ?? '';
    assert.equal((await one.post('/sign-in', { ...fields, csrf })).status, 403);
    // One's own, but sent by a page of somebody else's.
    const crossSite = new Browser(portal, { 'sec-fetch-site': 'cross-site' });
    await crossSite.get('/sign-in');
    assert.equal((await crossSite.submit('/sign-in', fields)).status, 403);
  });

  it('takes no form for a person from who is signed in as another', async () => {
    const [ada, eve] = [new Browser(portal), new Browser(portal)];
    await signUp(portal, ada, 'csrf-ada@example.net', 'csrf-ada');
    await signUp(portal, eve, 'csrf-eve@example.net', 'csrf-eve');
    await eve.get('/account/password');
    const csrf = /name="csrf" value="([^"]+)"/.exec(eve.shown?.text ?? '')?.[1] ?? '';
    const { status } = await ada.post('/account/password', {
      csrf,
      password: PASSWORD,
      newPassword: 'chosen by somebody else',
    });
    assert.equal(status, 403);
  });

  it('gives a session a token of its own, whatever the browser brought', async () => {
    const browser = new Browser(portal);
    await signUp(portal, browser, 'fixed@example.net', 'fixed');
    await browser.get('/account');
    await browser.submit('/sign-out', {});
    const planted = 'A'.repeat(32);
    browser.cookies.set('sixway-session', planted);
    await browser.get('/sign-in');
    await browser.submit('/sign-in', { email: 'fixed@example.net', password: PASSWORD });
    assert.equal(browser.shown?.path, '/tunnels');
    assert.notEqual(browser.cookies.get('sixway-session'), planted);
  });

  it('ends a session on the server, not only in the browser', async () => {
    const browser = new Browser(portal);
    await signUp(portal, browser, 'ended@example.net', 'ended');
    const token = browser.cookies.get('sixway-session')!;
    await browser.get('/account');
    await browser.submit('/sign-out', {});
    browser.cookies.set('sixway-session', token);
    assert.match((await browser.get('/account')).path, /^\/sign-in/);
  });

  it('goes on after signing in to pages of its own only', async () => {
    const browser = new Browser(portal);
    await signUp(portal, browser, 'next@example.net', 'next');
    for (const next of [
      'https://evil.test/',
      '//evil.test',
      '/\\evil.test',
      'javascript:alert(1)',
    ]) {
      await browser.get('/account');
      await browser.submit('/sign-out', {});
      await browser.get(`/sign-in?next=${encodeURIComponent(next)}`);
      await browser.submit('/sign-in', { next, email: 'next@example.net', password: PASSWORD });
      assert.equal(browser.shown?.path, '/tunnels', next);
    }
  });

  it('answers the same for a known address and an unknown one', async () => {
    const browser = new Browser(portal);
    await signUp(portal, browser, 'known@example.net', 'known');
    const asked = async (path: string, action: string, fields: Record<string, string>) => {
      const stranger = new Browser(portal);
      await stranger.get(path);
      const { status, text } = await stranger.submit(action, fields);
      return [
        status,
        text.replaceAll(fields.email!, 'X').replace(/name="csrf" value="[^"]*"/g, ''),
      ];
    };
    for (const [path, rest] of [
      ['/sign-in', { password: 'not the password' }],
      ['/sign-up', { userName: 'somebody', password: PASSWORD }],
      ['/reset', {}],
    ] as const)
      assert.deepEqual(
        await asked(path, path, { email: 'known@example.net', ...rest }),
        await asked(path, path, { email: 'unknown@example.net', ...rest }),
        path,
      );
  });

  it('writes no secret and no query to its log', async () => {
    const browser = new Browser(portal);
    await signUp(portal, browser, 'logged@example.net', 'logged');
    const [mail] = await portal.mailsTo('logged@example.net');
    const lines = portal.log.join('');
    assert.match(lines, /"path":"\/verify"/);
    for (const secret of [
      PASSWORD,
      linkIn(mail).split('=')[1]!,
      browser.cookies.get('sixway-session')!,
      'logged@example.net',
    ])
      assert.ok(!lines.includes(secret));
  });

  it('takes no more than a form can hold', async () => {
    const browser = new Browser(portal);
    await browser.get('/sign-in');
    const shown = await browser.submit('/sign-in', { email: 'x'.repeat(70_000), password: 'x' });
    assert.equal(shown.status, 413);
    assert.match(shown.text, /<h1>That was too much at once/);
  });

  it('answers nonsense with a page or a problem, never with a failure', async () => {
    const browser = new Browser(portal);
    for (const path of [
      '/verify?token=x&token=y',
      '/verify?token[a]=1',
      '/reset/set',
      '/%00',
      '/%zz',
    ])
      assert.ok([400, 404].includes((await browser.get(path)).status), path);
    const json = await fetch(`${portal.url}/sign-in`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: '{"email": {"x": 1}}',
    });
    assert.equal(json.status, 403);
    const problem = await browser.get('/api/v1/nowhere');
    assert.match(problem.headers.get('content-type') ?? '', /^application\/problem\+json/);
    assert.ok(!portal.log.some((line) => line.includes('"level":50')));
  });

  it('keeps its files for ever under a name that changes with them', async () => {
    const browser = new Browser(portal);
    const { text } = await browser.get('/');
    const path = /href="(\/static\/style-[0-9a-f]{12}\.css)"/.exec(text)?.[1];
    const { headers } = await browser.get(path!);
    assert.match(headers.get('cache-control') ?? '', /immutable/);
  });
});

describe('behind https', () => {
  it('cookies are the host’s own, and browsers come back by https only', async () => {
    const portal = await openPortal({ url: 'https://portal.test' });
    const response = await fetch(`${portal.url}/sign-in`);
    const [cookie = ''] = response.headers.getSetCookie();
    assert.match(cookie, /^__Host-sixway-visitor=/);
    for (const attribute of ['HttpOnly', 'Secure', 'SameSite=Lax', 'Path=/'])
      assert.ok(cookie.includes(attribute), attribute);
    assert.doesNotMatch(cookie, /Domain/);
    assert.match(response.headers.get('strict-transport-security') ?? '', /max-age=31536000/);
    await portal.close();
  });
});

describe('behind a proxy', () => {
  const addressOn = async (portal: TestPortal) => {
    const browser = new Browser(portal, { 'x-forwarded-for': '2001:db8::7' });
    return /class="code">([^<]+)</.exec((await browser.get('/')).text)?.[1];
  };

  it('the visitor’s address is what a listed proxy says', async () => {
    const portal = await openPortal({ trustProxy: ['127.0.0.0/8'] });
    assert.equal(await addressOn(portal), '2001:db8::7');
    await portal.close();
  });

  it('nobody else can pretend to be somebody', async () => {
    const portal = await openPortal({ trustProxy: ['198.51.100.1'] });
    assert.equal(await addressOn(portal), '127.0.0.1');
    await portal.close();
  });
});
