// The portal in a real browser: the whole way of somebody who signs up, in both languages, with
// JavaScript switched off; and every page as axe-core sees it.

import assert from 'node:assert/strict';
import { after, afterEach, before, beforeEach, describe, it } from 'node:test';
import { type Browser, chromium, type Page } from 'playwright-core';
import { violations } from './axe.ts';
import { openPortal, type TestPortal } from './portal.ts';
import { SHOWN_LIVE, showPages } from './shown-pages.ts';

describe('in a browser', () => {
  let browser: Browser;
  let portal: TestPortal;

  before(async () => {
    browser = await chromium.launch({ executablePath: '/usr/bin/chromium' });
  });

  after(() => browser.close());

  beforeEach(async () => {
    portal = await openPortal({ live: SHOWN_LIVE });
  });

  afterEach(() => portal.close());

  for (const [locale, direction] of [
    ['en', 'ltr'],
    ['ar', 'rtl'],
  ] as const) {
    it(`everything can be done without JavaScript (${locale})`, async () => {
      const context = await browser.newContext({ locale, javaScriptEnabled: false });
      const page = await context.newPage();
      const seen: string[] = [];
      await showPages(portal, page, async (name) => {
        seen.push(name);
        assert.equal(await page.locator('html').getAttribute('dir'), direction);
        assert.equal(await page.locator('h1').count(), 1, name);
      });
      assert.ok(seen.includes('sign-in-code'));
      await context.close();
    });

    for (const [colorScheme, width] of [
      ['light', 1200],
      ['dark', 390],
    ] as const)
      it(`axe-core finds nothing (${locale}, ${colorScheme}, ${width} wide)`, async () => {
        const context = await browser.newContext({
          locale,
          colorScheme,
          viewport: { width, height: 800 },
        });
        const page = await context.newPage();
        const complaints: string[] = [];
        page.on('console', (message) => complaints.push(message.text()));
        const found: string[] = [];
        await showPages(portal, page, async (name) => {
          for (const each of await violations(page)) found.push(`${name}: ${each}`);
          const wide = await page.evaluate('document.documentElement.scrollWidth');
          if (Number(wide) > width) found.push(`${name}: is ${wide} wide`);
        });
        assert.deepEqual(found, []);
        // Chromium says what the policy stopped, and the pages that are errors on purpose.
        assert.deepEqual(
          complaints.filter((text) => !/status of (404|422)/.test(text)),
          [],
        );
        await context.close();
      });
  }

  it('the keyboard gets past the menu, and from a mistake to its field', async () => {
    const context = await browser.newContext({ locale: 'en' });
    const page = await context.newPage();
    await page.goto(`${portal.url}/sign-in`);
    await page.keyboard.press('Tab');
    assert.equal(await focused(page), 'Skip to the content');
    await page.keyboard.press('Enter');
    await page.keyboard.press('Tab');
    assert.equal(await page.evaluate('document.activeElement.id'), 'email');
    await page.goto(`${portal.url}/sign-up`);
    await page.fill('[name=email]', 'ada@example.net');
    await page.fill('[name=userName]', 'a:b');
    await page.fill('[name=password]', 'correct horse battery staple');
    await page.keyboard.press('Enter');
    await page.waitForSelector('.summary');
    assert.equal(await page.evaluate('document.activeElement.className'), 'summary');
    await page.keyboard.press('Tab');
    await page.keyboard.press('Enter');
    assert.equal(await page.evaluate('document.activeElement.id'), 'userName');
    await context.close();
  });
});

async function focused(page: Page): Promise<string> {
  return String(await page.evaluate('document.activeElement.textContent')).trim();
}
