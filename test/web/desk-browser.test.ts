// The staff's pages in a real browser: what axe-core finds, in both languages, wide and narrow, light and
// dark; and that nothing there needs JavaScript.

import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { type Browser, chromium } from 'playwright-core';
import { violations } from './axe.ts';
import { openPortal } from './portal.ts';
import { showDeskPages } from './shown-desk.ts';

describe('the staff’s pages in a browser', () => {
  let browser: Browser;

  before(async () => {
    browser = await chromium.launch({ executablePath: '/usr/bin/chromium' });
  });

  after(() => browser.close());

  for (const [locale, colorScheme, width] of [
    ['en', 'light', 1200],
    ['ar', 'dark', 390],
  ] as const)
    it(`are as they should be (${locale}, ${colorScheme}, ${width} wide)`, async () => {
      const portal = await openPortal();
      const context = await browser.newContext({
        locale,
        colorScheme,
        viewport: { width, height: 800 },
      });
      const page = await context.newPage();
      const found: string[] = [];
      page.on('console', (message) => {
        if (!/status of 422/.test(message.text())) found.push(message.text());
      });
      await showDeskPages(portal, page, async (name) => {
        for (const each of await violations(page)) found.push(`${name}: ${each}`);
        const wide = await page.evaluate('document.documentElement.scrollWidth');
        if (Number(wide) > width) found.push(`${name}: is ${wide} wide`);
        if ((await page.locator('h1').count()) !== 1) found.push(`${name}: not one h1`);
      });
      await context.close();
      await portal.close();
      assert.deepEqual(found, []);
    });
});
