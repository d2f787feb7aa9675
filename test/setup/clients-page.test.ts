// docs/clients.md is what tools/clients-page.ts makes of the table of systems.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { SYSTEMS } from '../../src/setup.ts';
import { CLIENTS_PAGE, clientsPage } from '../../tools/clients-page.ts';

test('the page is up to date; else run tools/clients-page.ts', () => {
  assert.equal(readFileSync(CLIENTS_PAGE, 'utf8'), clientsPage());
});

test('every system has its line and its chapter', () => {
  const page = clientsPage();
  for (const { id, title } of SYSTEMS) {
    assert.ok(page.includes(`| [${title}](#${id}) |`), id);
    assert.ok(page.includes(`<a id="${id}"></a>\n\n## ${title}\n`), id);
  }
});
