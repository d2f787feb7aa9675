// The staff's pages as an administrator comes to see them, with something on each: for the check of
// accessibility and for the pictures.

import { DatabaseSync } from 'node:sqlite';
import type { Page } from 'playwright-core';
import type { TestPortal } from './portal.ts';
import { addPerson, addPools, addUserWithTunnel, signedIn } from './staff.ts';

/** What the daemon would have counted in a day. */
function addTotals(file: string): void {
  const db = new DatabaseSync(file);
  const insert = db.prepare(`insert or ignore into totals_5_minutes (at_ms, in_packets, in_bytes,
    out_packets, out_bytes, drops, logins, login_failures, attached, down, disabled, sessions)
    values (?, 0, ?, 0, ?, 0, ?, ?, ?, ?, 12, 3)`);
  const latest = Math.floor(Date.now() / 300_000) * 300_000;
  for (let step = 0; step < 280; step++) {
    const day = 1 + Math.sin(step / 45);
    const noise = (step * 7919) % 97;
    const octets = day * 4e9 + noise * 2e7;
    insert.run(
      latest - step * 300_000,
      Math.round(octets / 6),
      Math.round(octets),
      Math.round(day * 20) + (noise % 9),
      noise % 4,
      Math.round(820 + day * 190),
      Math.round(600 - day * 190),
    );
  }
  db.close();
}

const BY = { act: 'person-add' };

/** Calls `look` on each, with its name. */
export async function showDeskPages(
  portal: TestPortal,
  page: Page,
  look: (name: string) => Promise<void>,
): Promise<void> {
  const { store } = portal;
  const show = async (name: string, path: string) => {
    await page.goto(portal.url + path);
    await look(name);
  };
  const browser = await signedIn(portal, 'administrator');
  const value = browser.cookies.get('sixway-session') ?? '';
  await page.context().addCookies([{ name: 'sixway-session', value, url: portal.url }]);
  await show('desk-empty-users', '/admin/users');
  await show('desk-empty-pools', '/admin/pools');

  await addPools(portal);
  const ada = await addUserWithTunnel(portal, 'ada');
  for (const name of ['bob', 'carol', 'dan']) await addUserWithTunnel(portal, name);
  const eve = await addPerson(portal, 'eve@users.example', 'user', 'eve');
  await store.people.setState(eve.id, 'waiting-approval', undefined, BY, Date.now());
  await addPerson(portal, 'desk@staff.example', 'abuse');
  await store.addGroup('school', { mtu: 1400, inBitsPerSecond: 20e6, ports: 'open' }, Date.now());
  await store.announcements.add(
    {
      kind: 'trouble',
      texts: {
        en: 'Tunnels in Cairo are slow today. We are at it.',
        ar: 'الأنفاق في القاهرة بطيئة اليوم، ونعمل على إصلاحها.',
      },
      fromMs: Date.now() - 1,
      untilMs: undefined,
    },
    () => BY,
    Date.now(),
  );
  await portal.people.signUps.invite(
    { email: 'new@users.example', role: 'user', userName: undefined, language: undefined },
    undefined,
  );
  addTotals(portal.file);
  // What is listed may be half a minute old.
  portal.advance(60_000);

  await show('desk-overview', '/admin');
  await show('desk-users', '/admin/users');
  await show('desk-users-none', '/admin/users?q=nobody');
  await show('desk-user', `/admin/users/${ada.userId}`);
  await show('desk-user-past', `/admin/users/${ada.userId}/past`);
  await show('desk-user-disable', `/admin/users/${ada.userId}/disable`);
  await show('desk-tunnels', '/admin/tunnels');
  await show('desk-tunnel', `/admin/tunnels/${ada.tunnel.id}`);
  await page.fill('[name=mtu]', '9000');
  await page.click('.work form button');
  await look('desk-tunnel-mistake');
  await show('desk-pools', '/admin/pools');
  await show('desk-groups', '/admin/groups');
  await show('desk-group', '/admin/groups/school');
  await show('desk-announcements', '/admin/announcements');
  await show('desk-announced', '/');
  await show('desk-invitations', '/admin/invitations');
  await show('desk-staff', '/admin/staff');
  await show('desk-audit', '/admin/audit');
  await show('desk-abuse', '/admin/abuse');
  await page.fill('[name=address]', '192.0.2.1');
  await page.fill('[name=from]', new Date(Date.now() + 1000).toISOString());
  await page.click('.work form button');
  await look('desk-abuse-answer');
}
