// The staff's pages and their API over real HTTP, as support and the abuse desk go about their day.

import assert from 'node:assert/strict';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { formatIpv6 } from '../../src/address.ts';
import { Browser, openPortal, type TestPortal } from './portal.ts';
import { addPools, addUserWithTunnel, signedIn, tokenOf } from './staff.ts';

describe('the staff’s pages', () => {
  let portal: TestPortal;

  beforeEach(async () => {
    portal = await openPortal();
    await addPools(portal);
  });

  afterEach(() => portal.close());

  it('find a user by an address, and take the traffic away after asking', async () => {
    const { userId, tunnel } = await addUserWithTunnel(portal, 'ada');
    const browser = await signedIn(portal, 'support');
    const address = formatIpv6(tunnel.delegation!.address + 1n);
    const found = await browser.get(`/admin/users?q=${encodeURIComponent(address)}`);
    assert.match(found.text, new RegExp(`href="/admin/users/${userId}"`));
    const user = await browser.get(`/admin/users/${userId}`);
    assert.match(user.text, /ada@users\.example/);
    // Where clients were is not support's business.
    assert.doesNotMatch(user.text, /\/past"/);
    assert.equal((await browser.get(`/admin/users/${userId}/past`)).status, 403);
    const question = await browser.get(`/admin/users/${userId}/disable`);
    assert.match(question.text, /traffic of their tunnels ends at once/);
    assert.ok((await portal.store.tunnel({ userId }))?.attachment);
    const after = await browser.submit(`/admin/users/${userId}/disable`, {});
    assert.equal(after.path, `/admin/users/${userId}`);
    assert.match(after.text, /Its traffic has ended/);
    assert.match(after.text, /support@staff\.example/);
    assert.equal((await portal.store.tunnel({ userId }))?.attachment, undefined);
  });

  it('answer the abuse desk in words, as a table and as files', async () => {
    const { client } = await addUserWithTunnel(portal, 'ada');
    const browser = await signedIn(portal, 'abuse');
    await browser.get('/admin/abuse');
    const at = new Date(Date.now() + 1000).toISOString();
    const question = { address: '192.0.2.1', port: String(client.port), from: at };
    const shown = await browser.submit('/admin/abuse', question);
    assert.match(shown.text, /was where .*ada.* came from/s);
    const [, csrf = ''] = /name="csrf" value="([^"]+)"/.exec(shown.text) ?? [];
    const csv = await browser.post('/admin/abuse', { csrf, ...question, as: 'csv' });
    assert.match(csv.headers.get('content-disposition') ?? '', /sixway-abuse\.csv/);
    assert.match(csv.text, /,ada,/);
    const json = await browser.post('/admin/abuse', { csrf, ...question, as: 'json' });
    assert.equal(JSON.parse(json.text).clients[0].user, 'ada');
    const entries = await portal.store.people.audit.before(undefined, 10, { act: 'abuse-query' });
    assert.equal(entries.length, 3);
    const wrong = await browser.post('/admin/abuse', { csrf, ...question, address: 'x' });
    assert.equal(wrong.status, 422);
    // Nothing of the question is in the log of requests.
    assert.doesNotMatch(portal.log.join(''), /192\.0\.2\.1/);
  });

  it('announce to everybody, in the language of each', async () => {
    const browser = await signedIn(portal, 'administrator');
    await browser.get('/admin/announcements');
    const texts = { 'text-en': 'Slow <today>', 'text-ar': 'بطيء اليوم' };
    await browser.submit('/admin/announcements', { kind: 'trouble', ...texts });
    const english = await new Browser(portal, { 'accept-language': 'en' }).get('/');
    assert.match(english.text, /Slow &lt;today&gt;/);
    const arabic = await new Browser(portal, { 'accept-language': 'ar' }).get('/');
    assert.match(arabic.text, /بطيء اليوم/);
    assert.match((await browser.get('/account')).text, /Slow/);
  });

  it('export the log, and invite by a link that is shown once', async () => {
    const browser = await signedIn(portal, 'administrator');
    await browser.get('/admin/audit');
    const csv = await browser.submit('/admin/audit/export', {});
    assert.match(csv.text, /^id,time,person,email,act,subject,details,address\r\n/);
    await browser.get('/admin/invitations');
    const made = await browser.submit('/admin/invitations', { role: 'support' });
    const [, link = ''] = /(\/invitation\?code=[\w-]+)/.exec(made.text) ?? [];
    const invited = await new Browser(portal, { 'accept-language': 'en' }).get(link);
    assert.match(invited.text, /You are invited/);
    assert.doesNotMatch((await browser.get('/admin/invitations')).text, /code=/);
  });

  it('are for programs, too', async () => {
    const { userId, tunnel } = await addUserWithTunnel(portal, 'ada');
    for (const name of ['bob', 'carol']) await addUserWithTunnel(portal, name);
    const token = await tokenOf(portal, 'administrator');
    const ask = async (method: string, path: string, body?: object) => {
      const answer = await fetch(`${portal.url}/api/v1/admin${path}`, {
        method,
        headers: {
          authorization: `Bearer ${token}`,
          ...(body && { 'content-type': 'application/json' }),
        },
        ...(body && { body: JSON.stringify(body) }),
      });
      const text = await answer.text();
      return { status: answer.status, json: text === '' ? undefined : JSON.parse(text) };
    };
    const first = await ask('GET', '/users?limit=2&search=');
    assert.deepEqual(
      first.json.items.map(({ name }: { name: string }) => name),
      ['carol', 'bob'],
    );
    const rest = await ask('GET', `/users?limit=2&after=${encodeURIComponent(first.json.next)}`);
    assert.equal(rest.json.items[0].name, 'ada');
    assert.equal((await ask('PATCH', `/tunnels/${tunnel.id}/limits`, { mtu: 1400 })).status, 204);
    const shown = await ask('GET', `/users/${userId}`);
    assert.equal(shown.json.tunnels[0].limits.mtu, 1400);
    assert.equal((await ask('POST', `/users/${userId}/approve`)).status, 409);
    assert.equal((await ask('POST', '/users/999/disable')).status, 404);
    assert.equal((await ask('PATCH', `/tunnels/${tunnel.id}/limits`, { mtu: 9 })).status, 400);
    assert.equal((await ask('PUT', `/users/${userId}/group`, { group: 'x' })).status, 404);
    const now = new Date(Date.now() + 1000).toISOString();
    const abuse = await ask('POST', '/abuse', { address: '192.0.2.1', from: now });
    assert.equal(abuse.json.clients.length, 3);
    const said = await ask('POST', '/announcements', { kind: 'notice', texts: { en: 'Hello' } });
    assert.equal(said.status, 201);
    assert.equal((await ask('DELETE', `/announcements/${said.json.id}`)).status, 204);
    const log = await ask('GET', '/audit?limit=1');
    assert.equal(log.json.items[0].act, 'announcement-remove');
    assert.equal((await ask('GET', '/overview')).json.tunnels.up, 3);
    assert.equal((await ask('DELETE', `/users/${userId}`)).status, 204);
  });
});
