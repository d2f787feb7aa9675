// Every route for staff, tried by everybody: the table of permissions says what happens, and whatever an
// administrator's form does is in the audit log.

import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { PERMISSIONS, type Permission, permits } from '../../src/broker/permissions.ts';
import { type Browser, openPortal, type TestPortal } from './portal.ts';
import { addPerson, addPools, addUserWithTunnel, STAFF_ROLES, signedIn, tokenOf } from './staff.ts';

let made = 0;

/** Something of each kind that a path may name, anew for each try: many acts take it away. */
async function pathFor(portal: TestPortal, path: string): Promise<string> {
  const name = `target-${++made}`;
  const { store } = portal;
  const by = { act: 'test' };
  const nowMs = Date.now();
  if (/\/users\//.test(path)) {
    const { userId, personId } = await addUserWithTunnel(portal, name);
    if (/approve|refuse/.test(path))
      await store.people.setState(personId, 'waiting-approval', undefined, by, nowMs);
    return path.replace(':id', String(userId));
  }
  if (path.includes('/tunnels/')) {
    const { tunnel } = await addUserWithTunnel(portal, name);
    // What is enabled is not enabled again, and leaves no entry.
    if (path.endsWith('/enable')) await store.setTunnelState(tunnel.id, 'disabled', nowMs);
    return path.replace(':id', String(tunnel.id));
  }
  if (path.includes('/groups/')) {
    await store.addGroup(name, {}, nowMs);
    return path.replace(':name', name);
  }
  if (path.includes('/announcements/')) {
    const texts = { en: 'Hello' };
    const asked = { kind: 'notice', texts, fromMs: nowMs, untilMs: undefined } as const;
    const { id } = await store.announcements.add(asked, () => by, nowMs);
    return path.replace(':id', String(id));
  }
  if (path.includes('/invitations/')) {
    await portal.people.signUps.invite(
      { email: undefined, role: 'user', userName: undefined, language: undefined },
      undefined,
    );
    const [latest] = await store.people.invitations.open(nowMs);
    return path.replace(':id', String(latest?.id));
  }
  if (path.includes('/staff/'))
    return path.replace(
      ':id',
      String((await addPerson(portal, `${name}@users.example`, 'user')).id),
    );
  return path;
}

/** What makes each form do something. */
function formFor(path: string): Record<string, string> {
  const name = `made-${++made}`;
  if (path === '/admin/pools')
    return { prefix: `2001:db8:${made.toString(16)}::/48`, purpose: 'delegation', length: '56' };
  if (path === '/admin/groups') return { name };
  if (path.endsWith('/group')) return { group: 'none' };
  if (path.startsWith('/admin/announcements') && !path.endsWith('/remove'))
    return { 'text-en': 'Hello', kind: 'notice' };
  if (path === '/admin/staff') return { email: 'user@staff.example', role: 'user' };
  if (path.endsWith('/role')) return { role: 'user' };
  if (path === '/admin/invitations') return { role: 'user' };
  if (path === '/admin/abuse') return { address: '192.0.2.1', from: '2026-01-01' };
  return {};
}

describe('the table of permissions', () => {
  let portal: TestPortal;
  const browsers = new Map<string, Browser>();

  before(async () => {
    portal = await openPortal();
    await addPools(portal);
    for (const role of ['user', ...STAFF_ROLES] as const)
      browsers.set(role, await signedIn(portal, role));
  });
  after(() => portal.close());

  const pages = () => portal.staffRoutes.filter(({ path }) => path.startsWith('/admin'));

  it('is used up: every permission opens a route, and every route takes one', () => {
    const used = new Set<Permission>(pages().map(({ permission }) => permission));
    assert.deepEqual([...used].sort(), (Object.keys(PERMISSIONS) as Permission[]).sort());
  });

  it('sends who is not signed in to sign in, and has no such pages for users', async () => {
    for (const { method, path } of pages()) {
      const url = portal.url + path.replace(/:\w+/g, '1');
      const answer = await fetch(url, { method, redirect: 'manual' });
      // No form of ours can be without a visitor's cookie.
      assert.equal(answer.status, method === 'GET' ? 303 : 403, path);
      if (method === 'GET') assert.match(answer.headers.get('location') ?? '', /^\/sign-in/);
      const shown = await tryPage(portal, browsers.get('user')!, method, path);
      assert.equal(shown.status, 404, path);
    }
  });

  for (const role of STAFF_ROLES)
    it(`holds for ${role}`, async () => {
      const browser = browsers.get(role)!;
      for (const { method, path, permission } of pages()) {
        const before = await latestAudit(portal);
        const shown = await tryPage(portal, browser, method, path);
        const what = `${role}: ${method} ${path}`;
        if (!permits(role, permission)) assert.equal(shown.status, 403, what);
        else assert.equal(shown.status, 200, `${what}\n${shown.text.slice(0, 2000)}`);
        if (method === 'POST' && permits(role, permission)) {
          const latest = await latestAudit(portal);
          assert.ok((latest?.id ?? 0) > (before?.id ?? 0), `${what} is not in the log`);
          assert.equal(latest?.email, `${role}@staff.example`, what);
        }
      }
    });

  it('takes no form without its token', async () => {
    const browser = browsers.get('administrator')!;
    for (const { method, path } of pages()) {
      if (method !== 'POST') continue;
      const target = await pathFor(portal, path);
      assert.equal((await browser.post(target, formFor(path))).status, 403, path);
    }
  });

  it('is asked by the API, too', async () => {
    const routes = portal.staffRoutes.filter(({ path }) => path.startsWith('/api/'));
    assert.ok(routes.length > 20);
    for (const { method, path } of routes) {
      const url = portal.url + path.replace(/:\w+/g, '1');
      assert.equal((await fetch(url, { method })).status, 401, path);
    }
    for (const role of ['user', ...STAFF_ROLES] as const) {
      const authorization = `Bearer ${await tokenOf(portal, role)}`;
      for (const { method, path, permission } of routes) {
        const target = await pathFor(portal, path);
        const answer = await fetch(portal.url + target, {
          method,
          headers: {
            authorization,
            ...(method !== 'GET' && method !== 'DELETE' && { 'content-type': 'application/json' }),
          },
          ...(method !== 'GET' && method !== 'DELETE' && { body: '{}' }),
        });
        const what = `${role}: ${method} ${path}: ${await answer.text()}`;
        // Whether the empty body will do is another matter.
        if (role === 'user') assert.equal(answer.status, 404, what);
        else if (!permits(role, permission)) assert.equal(answer.status, 403, what);
        else assert.ok([200, 201, 204, 400, 409].includes(answer.status), what);
      }
    }
  });
});

async function tryPage(portal: TestPortal, browser: Browser, method: string, path: string) {
  const target = await pathFor(portal, path);
  if (method === 'GET') return browser.get(target);
  await browser.get('/account');
  const [, csrf = ''] = /name="csrf" value="([^"]+)"/.exec(browser.shown?.text ?? '') ?? [];
  return browser.post(target, { csrf, ...formFor(path) });
}

async function latestAudit(portal: TestPortal) {
  const [latest] = await portal.store.people.audit.before(undefined, 1);
  return latest;
}
