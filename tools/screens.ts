// Takes the pictures in docs/screens: every page of the portal in light, dark, at a phone's width and in
// Arabic. Needs Chromium (tools/install-packages.sh test).
//   node tools/screens.ts [name of a page]

import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { type Browser, chromium } from 'playwright-core';
import { openPortal } from '../test/web/portal.ts';
import { showDeskPages } from '../test/web/shown-desk.ts';
import { SHOWN_LIVE, showPages } from '../test/web/shown-pages.ts';

const LOOKS = {
  light: { colorScheme: 'light', locale: 'en', viewport: { width: 1200, height: 800 } },
  dark: { colorScheme: 'dark', locale: 'en', viewport: { width: 1200, height: 800 } },
  phone: { colorScheme: 'light', locale: 'en', viewport: { width: 390, height: 844 } },
  arabic: { colorScheme: 'light', locale: 'ar', viewport: { width: 1200, height: 800 } },
} as const;

const only = process.argv[2];
const directory = join(import.meta.dirname, '..', 'docs', 'screens');
mkdirSync(directory, { recursive: true });
const browser: Browser = await chromium.launch({ executablePath: '/usr/bin/chromium' });
try {
  for (const [look, options] of Object.entries(LOOKS)) {
    const portal = await openPortal({ live: SHOWN_LIVE });
    const context = await browser.newContext({ ...options, deviceScaleFactor: 1 });
    let page = await context.newPage();
    const take = async (name: string) => {
      if (only !== undefined && only !== name) return;
      await page.screenshot({ path: join(directory, `${name}-${look}.png`), fullPage: true });
    };
    await showPages(portal, page, take);
    await context.close();
    await portal.close();
    const desk = await openPortal();
    const staffs = await browser.newContext({ ...options, deviceScaleFactor: 1 });
    page = await staffs.newPage();
    await showDeskPages(desk, page, take);
    await staffs.close();
    await desk.close();
  }
} finally {
  await browser.close();
}
