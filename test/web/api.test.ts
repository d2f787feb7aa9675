// The API by real requests: what programs can do, and what they cannot.

import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { SCOPES, type Scope } from '../../src/broker/people-account.ts';
import type { Person } from '../../src/broker/people-parts.ts';
import { addDelegations, addLinks } from '../store/requests.ts';
import { Browser, openPortal, PASSWORD, signUp, type TestPortal } from './portal.ts';

const DESCRIPTION = join(import.meta.dirname, '../../docs/openapi.json');
const ADDRESS = '192.0.2.1';

describe('the API', () => {
  let portal: TestPortal;
  let ada: Person;
  let token: string;

  beforeEach(async () => {
    portal = await openPortal({ trustProxy: ['127.0.0.1'] });
    await addLinks(portal.store);
    await addDelegations(portal.store);
    await signUp(portal, new Browser(portal), 'ada@example.net', 'ada');
    ada = (await portal.store.people.find({ email: 'ada@example.net' }))!;
    token = await tokenOf(ada);
  });

  afterEach(() => portal.close());

  const visitor = { address: 0, userAgent: '', language: undefined };
  async function tokenOf(person: Person, scopes: readonly Scope[] = SCOPES): Promise<string> {
    const made = await portal.people.account.addToken(person, 'test', scopes, undefined, visitor);
    assert.ok(made.ok);
    return made.token;
  }

  async function call(method: string, path: string, body?: unknown, bearer = token) {
    const response = await fetch(`${portal.url}/api/v1${path}`, {
      method,
      headers: {
        'x-forwarded-for': ADDRESS,
        ...(bearer !== '' && { authorization: `Bearer ${bearer}` }),
        ...(body !== undefined && { 'content-type': 'application/json' }),
      },
      ...(body !== undefined && { body: JSON.stringify(body) }),
    });
    const text = await response.text();
    return {
      status: response.status,
      headers: response.headers,
      body: text === '' ? undefined : JSON.parse(text),
    };
  }

  it('is described as docs/openapi.json says', async () => {
    const { status, body } = await call('GET', '/openapi.json', undefined, '');
    assert.equal(status, 200);
    assert.equal(body.openapi, '3.1.0');
    if (process.env.UPDATE_OPENAPI) writeFileSync(DESCRIPTION, JSON.stringify(body, null, 2));
    assert.deepEqual(
      body,
      JSON.parse(readFileSync(DESCRIPTION, 'utf8')),
      'the API has changed: run this test with UPDATE_OPENAPI=1 and look at the difference',
    );
  });

  it('does with a tunnel what the pages do', async () => {
    const offers = await call('GET', '/tunnels/offers');
    assert.deepEqual(offers.body, { prefixLengths: [56], ipv4: false });
    const made = await call('POST', '/tunnels', { prefixLength: 56 });
    assert.equal(made.status, 201);
    assert.equal(made.body.state, 'down');
    assert.equal(made.body.prefix, '2001:db8:8000::/56');
    assert.equal(made.body.live, null);
    const again = await call('POST', '/tunnels', {});
    assert.equal(again.status, 409);
    assert.equal(again.body.code, 'has-tunnel');
    const { id } = made.body;
    const listed = await call('GET', '/tunnels?limit=1');
    assert.deepEqual([listed.body.items.length, listed.body.next], [1, null]);
    const moved = await call('PUT', `/tunnels/${id}/endpoint`, {});
    assert.deepEqual([moved.body.state, moved.body.endpoint], ['up', `${ADDRESS}:0`]);
    const refused = await call('PUT', `/tunnels/${id}/endpoint`, { client: '192.0.2.99' });
    assert.deepEqual([refused.status, refused.body.code], [403, 'address-not-yours']);
    assert.equal((await call('PUT', `/tunnels/${id}/endpoint`, { client: 'x' })).status, 422);
    assert.equal((await call('POST', `/tunnels/${id}/pause`)).body.state, 'paused');
    assert.equal((await call('POST', `/tunnels/${id}/pause`)).body.state, 'paused');
    assert.equal((await call('POST', `/tunnels/${id}/resume`)).body.state, 'up');
    assert.equal((await call('DELETE', `/tunnels/${id}/endpoint`)).body.state, 'down');
    const names = ['ns1.example.net'];
    const set = await call('PUT', `/tunnels/${id}/name-servers`, { nameServers: names });
    assert.deepEqual(set.body.nameServers, names);
    const secret = await call('POST', `/tunnels/${id}/secret`);
    assert.match(secret.body.secret, /^[a-z0-9]{20}$/);
    const traffic = await call('GET', `/tunnels/${id}/traffic?period=day`);
    assert.deepEqual([traffic.body.spanSeconds, traffic.body.points], [300, []]);
    const found = await call('GET', `/tunnels/${id}/diagnosis?language=ar`);
    assert.equal(found.body.measured, false);
    assert.match(found.body.findings[0].text, /\p{Script=Arabic}/u);
    const systems = await call('GET', `/tunnels/${id}/configurations`);
    assert.ok(systems.body.items.length > 10);
    const steps = await call(
      'GET',
      `/tunnels/${id}/configurations/${systems.body.items[0].system}`,
    );
    assert.ok(steps.body.setUp.length > 0);
    assert.equal((await call('DELETE', `/tunnels/${id}`)).status, 204);
    assert.equal((await call('GET', `/tunnels/${id}`)).status, 404);
    assert.equal((await call('GET', '/tunnels')).body.items[0].state, 'deleted');
  });

  it('does with an account what the pages do', async () => {
    assert.equal((await call('GET', '/account')).body.userName, 'ada');
    const { body } = await call('GET', '/account/sessions');
    assert.equal(body.items.length, 1);
    const wrong = { name: 'two', scopes: ['tunnels:read'], password: 'wrong' };
    assert.equal((await call('POST', '/account/tokens', wrong)).body.code, 'password-wrong');
    const made = await call('POST', '/account/tokens', { ...wrong, password: PASSWORD });
    assert.equal(made.status, 201);
    const tokens = await call('GET', '/account/tokens?limit=1');
    assert.equal(tokens.body.items.length, 1);
    const rest = await call('GET', `/account/tokens?cursor=${tokens.body.next}`);
    assert.deepEqual([rest.body.items[0].name, rest.body.next], ['two', null]);
    assert.equal((await call('DELETE', `/account/tokens/${rest.body.items[0].id}`)).status, 204);
    assert.equal(typeof made.body.token, 'string');
    assert.equal((await call('GET', '/tunnels', undefined, made.body.token)).status, 401);
    assert.equal((await call('DELETE', `/account/sessions/${body.items[0].id}`)).status, 204);
    assert.equal((await call('POST', '/account/erase', { password: 'wrong' })).status, 403);
    assert.equal((await call('POST', '/account/erase', { password: PASSWORD })).status, 204);
    assert.equal(await portal.store.people.find({ id: ada.id }), undefined);
  });

  it('a token cannot make one that may more', async () => {
    const little = await tokenOf(ada, ['account:write']);
    const asked = { name: 'more', scopes: ['tunnels:write'], password: PASSWORD };
    assert.equal((await call('POST', '/account/tokens', asked, little)).status, 403);
  });

  it('takes a browser’s session, and what changes something only from our pages', async () => {
    const browser = new Browser(portal);
    await browser.get('/sign-in');
    await browser.submit('/sign-in', { email: 'ada@example.net', password: PASSWORD });
    const cookie = [...browser.cookies].map(([name, value]) => `${name}=${value}`).join('; ');
    const csrf = /name="csrf" value="([^"]+)"/.exec(browser.shown?.text ?? '')?.[1] ?? '';
    const post = async (headers: Record<string, string>) =>
      (
        await fetch(`${portal.url}/api/v1/tunnels`, {
          method: 'POST',
          headers: { cookie, 'content-type': 'application/json', ...headers },
          body: '{}',
        })
      ).status;
    assert.equal(await post({}), 403);
    assert.equal(await post({ 'x-csrf-token': 'AAAA' }), 403);
    assert.equal(await post({ 'x-csrf-token': csrf }), 201);
  });

  it('says how much may be asked, and when again', async () => {
    const first = await call('GET', '/account');
    assert.match(first.headers.get('ratelimit') ?? '', /^"default";r=\d+;t=\d+$/);
    assert.match(first.headers.get('ratelimit-policy') ?? '', /^"default";q=300;w=60$/);
    let last = await call('GET', '/account', undefined, 'sixway_wrong');
    for (let i = 0; i < 60; i++) last = await call('GET', '/account', undefined, 'sixway_wrong');
    assert.equal(last.status, 429);
    assert.ok(Number(last.headers.get('retry-after')) > 0);
    assert.equal((await call('GET', '/account')).status, 200);
  });
});
