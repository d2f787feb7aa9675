// My account.

import { code, html } from '../html.ts';
import type { Routes } from '../routes.ts';

export function accountPages({ members }: Routes): void {
  members.get('/account', async (visit, { person }) =>
    visit.page({
      title: visit.words.layout.account,
      main: html`<h1>${visit.words.layout.account}</h1><p>${code(person.email)}</p>`,
    }),
  );
}
