// Every page of the portal as a visitor comes to see it, from the front page to the last of the account:
// for the check of accessibility and for the pictures.

import assert from 'node:assert/strict';
import type { Page } from 'playwright-core';
import { totpCode, totpStep } from '../../src/broker/people-totp.ts';
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
  await look('account');
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
