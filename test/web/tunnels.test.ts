// The pages of tunnels, by real requests.

import assert from 'node:assert/strict';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { SYSTEMS } from '../../src/setup.ts';
import type { LiveSource } from '../../src/web/live-source.ts';
import { addDelegations, addLinks } from '../store/requests.ts';
import { Browser, openPortal, signUp, type TestPortal } from './portal.ts';

/** A tunnel that was heard from a moment ago and has a wrong source among its packets. */
const LIVE: LiveSource = {
  tunnel: async () => ({
    ok: true,
    value: {
      nowMs: Date.now() + 10_000,
      nat: 'likely',
      counters: { inLastSeenMs: Date.now() + 7000 },
      faults: { packets: { wrong_source: 3 } },
      findings: [{ severity: 'problem', key: 'wrong-source', values: { packets: 3 } }],
    },
  }),
  counters: async () => ({
    ok: true,
    value: {
      nowMs: Date.now(),
      inPackets: 1,
      inBytes: 100,
      outPackets: 1,
      outBytes: 100,
      drops: 3,
      inLastSeenMs: Date.now() - 3000,
    },
  }),
};

describe('my tunnels', () => {
  let portal: TestPortal;
  let browser: Browser;
  let live: LiveSource | undefined;

  beforeEach(async () => {
    live = undefined;
    portal = await openPortal({
      trustProxy: ['127.0.0.1'],
      live: {
        tunnel: async (id) => (live ? live.tunnel(id) : { ok: false }),
        counters: async (id) => (live ? live.counters(id) : { ok: false }),
      },
    });
    await addLinks(portal.store);
    await addDelegations(portal.store);
    browser = new Browser(portal, { 'x-forwarded-for': '192.0.2.1' });
    await signUp(portal, browser, 'ada@example.net', 'ada');
  });

  afterEach(() => portal.close());

  const create = async (fields: Record<string, string> = {}) => {
    await browser.get('/tunnels/new');
    return browser.submit('/tunnels/new', { way: 'login', client: '', prefix: '56', ...fields });
  };

  it('gets a tunnel that waits for its client', async () => {
    assert.match(browser.shown?.text ?? '', /You have no tunnel yet/);
    const shown = await create();
    assert.match(shown.path, /^\/tunnels\/\d+$/);
    assert.match(shown.text, /Not connected/);
    assert.match(shown.text, /2001:db8:8000::\/56/);
    assert.match(shown.text, /The live state is not known/);
    assert.match(shown.text, /No client has logged in to this tunnel yet/);
    assert.match((await create()).text, /You have a tunnel of this kind already/);
  });

  it('shows how it stands, in the reader’s language', async () => {
    live = LIVE;
    const { path } = await create({ way: 'static', client: '192.0.2.1' });
    const english = await browser.get(path);
    assert.match(english.text, /data-live="state">Working/);
    assert.match(english.text, /3 seconds ago/);
    assert.match(english.text, /<strong>Problem<\/strong>/);
    assert.doesNotMatch(english.text, /undefined|\[object|NaN/);
    const [, csrf = ''] = /name="csrf" value="([^"]+)"/.exec(english.text) ?? [];
    await browser.post('/language', { language: 'ar', csrf });
    const shown = await browser.get(path);
    assert.match(shown.text, /dir="rtl"/);
    assert.match(shown.text, /<strong>مشكلة<\/strong>/);
  });

  it('leads protocol 41 only to where the request comes from', async () => {
    const refused = await create({ way: 'static', client: '192.0.2.9' });
    assert.equal(refused.status, 422);
    assert.match(refused.text, /href="#client">You may only give the IPv4 address/);
    const { path } = await create({ way: 'static', client: '192.0.2.1' });
    const moved = await browser.submit(`${path}/place`, { client: '10.0.0.1' });
    assert.match(moved.text, /This address is private/);
    const waits = await browser.submit(`${path}/login`, {});
    assert.match(waits.text, /waits for its client/);
  });

  it('pauses, resumes, deletes, and gets the same addresses again', async () => {
    const { path } = await create();
    assert.match((await browser.submit(`${path}/pause`, {})).text, /Paused by you/);
    assert.match((await browser.submit(`${path}/resume`, {})).text, /Not connected/);
    await browser.get(`${path}/delete`);
    const list = await browser.submit(`${path}/delete`, {});
    assert.match(list.text, /Its addresses are held for you until/);
    assert.equal((await browser.get(path)).status, 404);
    assert.match((await create()).text, /2001:db8:8000::\/56/);
  });

  it('shows a secret once', async () => {
    const { path } = await create();
    const shown = await browser.submit(`${path}/secret`, {});
    const [, secret = ''] = /class="secret"[^>]*><bdi[^>]*>([a-z0-9]{20})</.exec(shown.text) ?? [];
    assert.notEqual(secret, '');
    assert.equal(shown.headers.get('cache-control'), 'no-store');
    for (const other of [path, `${path}/setup`, '/tunnels', '/account'])
      assert.ok(!(await browser.get(other)).text.includes(secret), other);
    assert.ok(!portal.log.join().includes(secret));
  });

  it('sets name servers', async () => {
    const { path } = await create();
    const wrong = await browser.submit(`${path}/names`, { names: 'not_a_name' });
    assert.match(wrong.text, /A name server is a host name/);
    const set = await browser.submit(`${path}/names`, { names: 'ns1.example.net\r\n2001:db8::53' });
    assert.match(set.text, /ns1\.example\.net/);
  });

  it('fills in the steps for every system', async () => {
    const { path } = await create({ way: 'static', client: '192.0.2.1' });
    for (const { id } of SYSTEMS)
      for (const by of ['v6udpv4', 'v6v4']) {
        const shown = await browser.get(`${path}/setup?system=${id}&by=${by}`);
        assert.equal(shown.status, 200);
        assert.doesNotMatch(shown.text, /undefined|\[object|NaN/);
      }
    assert.match(browser.shown?.text ?? '', /203\.0\.113\.1/);
  });

  it('draws what went through', async () => {
    const { path } = await create();
    const tunnelId = Number(path.split('/').at(-1));
    const counts = { inPackets: 9, inBytes: 2_000_000, outPackets: 9, outBytes: 5e6, drops: 0 };
    await portal.store.traffic.record(Date.now(), [{ tunnelId, counts }]);
    for (const period of ['hour', 'day', 'month']) {
      const shown = await browser.get(`${path}?period=${period}`);
      assert.match(shown.text, /2 MB<\/bdi> from you, <bdi>5 MB<\/bdi> to you/);
      assert.match(shown.text, /<path class="to" d="M[\d.]+ /);
    }
  });

  it('somebody else’s tunnel is not there, whatever is asked of it', async () => {
    const { path } = await create();
    const eve = new Browser(portal, { 'x-forwarded-for': '192.0.2.1' });
    await signUp(portal, eve, 'eve@example.net', 'eve');
    await eve.get('/tunnels');
    const csrf = /name="csrf" value="([^"]+)"/.exec(eve.shown?.text ?? '')?.[1] ?? '';
    for (const rest of ['', '/setup', '/events', '/delete'])
      assert.equal((await eve.get(path + rest)).status, 404, rest);
    for (const act of [
      'pause',
      'resume',
      'delete',
      'place',
      'login',
      'names',
      'prefix',
      'secret',
    ]) {
      const shown = await eve.post(`${path}/${act}`, { csrf, client: '192.0.2.1' });
      assert.equal(shown.status, 404, act);
    }
    assert.match((await browser.get(path)).text, /Not connected/);
  });

  it('tells what happens, until the session ends', async () => {
    live = LIVE;
    const { path } = await create();
    const cookie = [...browser.cookies].map(([name, value]) => `${name}=${value}`).join('; ');
    const response = await fetch(`${portal.url}${path}/events`, { headers: { cookie } });
    assert.equal(response.headers.get('content-type'), 'text/event-stream; charset=utf-8');
    assert.match(response.headers.get('content-security-policy') ?? '', /default-src 'none'/);
    const reader = response.body!.pipeThrough(new TextDecoderStream()).getReader();
    let text = '';
    while (!text.includes('event: counters')) text += (await reader.read()).value ?? '';
    assert.match(text, /"stateText":"/);
    assert.match(text, /"diagnosis":"/);
    await browser.get('/account');
    await browser.submit('/sign-out', {});
    for (;;) if ((await reader.read()).done) break;
  });
});
