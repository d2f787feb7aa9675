// Every page of the portal as a visitor comes to see it, from the front page to the last of the account:
// for the check of accessibility and for the pictures.

import assert from 'node:assert/strict';
import type { Page } from 'playwright-core';
import { parseIpv4 } from '../../src/address.ts';
import { totpCode, totpStep } from '../../src/broker/people-totp.ts';
import type { LiveSource } from '../../src/web/live-source.ts';
import { addDelegations, addLinks } from '../store/requests.ts';
import { linkIn, PASSWORD, type TestPortal } from './portal.ts';

const EMAIL = 'ada@example.net';

/** Calls `look` on each, with its name. The browser ends signed in. */
export async function showPages(
  portal: TestPortal,
  page: Page,
  look: (name: string) => Promise<void>,
): Promise<void> {
  const show = async (name: string, path: string) => {
    await page.goto(portal.url + path);
    await look(name);
  };
  await show('front', '/');
  await show('not-found', '/nowhere');
  await show('sign-up', '/sign-up');
  await page.fill('[name=email]', EMAIL);
  await page.fill('[name=userName]', 'ada:lovelace');
  await page.fill('[name=password]', PASSWORD);
  await page.click('main form button');
  await look('sign-up-mistake');
  await page.fill('[name=userName]', 'ada');
  await page.fill('[name=password]', PASSWORD);
  await page.click('main form button');
  await look('sign-up-sent');
  await show('verify', linkIn((await portal.mailsTo(EMAIL)).at(-1)));
  await page.fill('[name=password]', PASSWORD);
  await page.click('main form button');
  await look('tunnels-none');
  await showTunnels(portal, page, look);
  await show('account', '/account');
  for (const name of ['email', 'password', 'two-factor', 'sessions', 'tokens', 'erase'])
    await show(`account-${name}`, `/account/${name}`);

  await page.goto(`${portal.url}/account/tokens`);
  await page.fill('[name=name]', 'Router');
  await page.check('[name=scopes]');
  await page.fill('[name=password]', PASSWORD);
  await page.click('main form button');
  await look('token-made');
  await show('tokens-list', '/account/tokens');

  await page.goto(`${portal.url}/account/two-factor`);
  const secret = await secretOf(portal);
  await page.fill('[name=code]', totpCode(secret, totpStep(Date.now())));
  await page.fill('[name=password]', PASSWORD);
  await page.click('main form button');
  await look('recovery-codes');
  await show('two-factor-on', '/account/two-factor');

  await page.goto(`${portal.url}/account`);
  await page.click('header form button');
  await show('sign-in', '/sign-in');
  await show('reset', '/reset');
  await page.fill('[name=email]', EMAIL);
  await page.click('main form button');
  await look('reset-sent');
  await show('reset-set', linkIn((await portal.mailsTo(EMAIL)).at(-1)));
  await page.goto(`${portal.url}/sign-in`);
  await page.fill('[name=email]', EMAIL);
  await page.fill('[name=password]', PASSWORD);
  await page.click('main form button');
  await look('sign-in-code');
  // Each code works once, and this moment's has been used.
  await page.fill('[name=code]', totpCode(secret, totpStep(Date.now()) + 1));
  await page.click('main form button');
  assert.equal(new URL(page.url()).pathname, '/tunnels');
}

/** A tunnel that was heard from, and carried something in the last hour. */
async function showTunnels(
  portal: TestPortal,
  page: Page,
  look: (name: string) => Promise<void>,
): Promise<void> {
  await addLinks(portal.store);
  await addDelegations(portal.store);
  await page.goto(`${portal.url}/tunnels/new`);
  await look('tunnel-new');
  await page.check('[name=way][value=static]');
  await page.fill('[name=client]', '10.0.0.1');
  await page.click('main form button');
  await look('tunnel-new-mistake');
  await page.check('[name=way][value=login]');
  await page.click('main form button');
  const path = new URL(page.url()).pathname;
  const tunnelId = Number(path.split('/').at(-1));
  const person = await portal.store.people.find({ email: EMAIL });
  await portal.store.attachTunnel(
    {
      tunnelId,
      userId: person?.user?.id,
      encapsulation: 'v6udpv4',
      client: { address: parseIpv4('198.51.100.23')!, port: 40_312 },
      proxy: false,
      displaces: 'any',
      maxAtAddress: undefined,
      expiresAtMs: undefined,
    },
    Date.now() - 7_200_000,
  );
  for (let i = 1; i < 12; i++) {
    const inBytes = 1e6 * (2 + Math.sin(i));
    const outBytes = 4e6 * (2 + Math.cos(i / 2));
    const counts = { inPackets: 900, inBytes, outPackets: 3000, outBytes, drops: 0 };
    await portal.store.traffic.record(Date.now() - i * 300_000, [{ tunnelId, counts }]);
  }
  for (const [name, rest] of [
    ['tunnel', ''],
    ['tunnel-setup', '/setup?system=openwrt&by=v6udpv4'],
    ['tunnel-setup-steps', '/setup'],
    ['tunnel-delete', '/delete'],
  ] as const) {
    await page.goto(portal.url + path + rest);
    await look(name);
  }
  await page.goto(`${portal.url}/tunnels`);
  await look('tunnels');
  await page.goto(portal.url + path);
  await page.click('form[action$="/secret"] button');
  await look('tunnel-secret');
}

/** What the daemon would say of it. */
export const SHOWN_LIVE: LiveSource = {
  tunnel: async () => ({
    ok: true,
    value: {
      nowMs: Date.now(),
      nat: 'likely',
      counters: { inLastSeenMs: Date.now() - 4000, outLastSeenMs: Date.now() - 2000 },
      faults: { packets: {} },
      findings: [
        { severity: 'problem', key: 'wrong-source', values: { packets: 3 } },
        { severity: 'notice', key: 'scanned-link', values: { packets: 12 } },
        { severity: 'fine', key: 'works', values: { lastHeardMs: Date.now() - 4000 } },
      ],
    },
  }),
  counters: async () => {
    const nowMs = Date.now();
    const counts = {
      inPackets: nowMs,
      inBytes: nowMs * 40,
      outPackets: nowMs,
      outBytes: nowMs * 90,
    };
    return { ok: true, value: { nowMs, ...counts, drops: 15, inLastSeenMs: nowMs - 4000 } };
  },
};

async function secretOf(portal: TestPortal): Promise<Uint8Array> {
  const person = await portal.store.people.find({ email: EMAIL });
  const prepared = person && (await portal.people.account.preparedTotp(person));
  return fromBase32(prepared?.secret ?? '');
}

export function fromBase32(text: string): Uint8Array {
  const bits = [...text]
    .map((letter) =>
      'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567'.indexOf(letter).toString(2).padStart(5, '0'),
    )
    .join('');
  return Uint8Array.from(bits.match(/.{8}/g) ?? [], (octet) => Number.parseInt(octet, 2));
}
