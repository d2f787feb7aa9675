// What the operator announces, as people see it: in their language if it was written in it, else in the
// service's, else in whichever there is.

import type { Announcement } from '../broker/desk-parts.ts';
import { type Html, html } from './html.ts';
import { languageOf } from './i18n/languages.ts';
import type { Visit } from './visit.ts';

/** For the front page, and for what one sees first after signing in. */
export async function announcements(visit: Visit): Promise<readonly Html[]> {
  const current = await visit.portal.desk.announcements.current();
  return current.map((each) => announcementBox(visit, each));
}

export function announcementBox(visit: Visit, { kind, texts }: Announcement): Html {
  const [tag, text] = bestText(visit, texts);
  const language = languageOf(tag);
  return html`
    <section class="announcement ${kind}" aria-label="${visit.words.admin.announcement.kinds[kind]}"
      ${language && language.tag !== visit.language.tag && html`lang="${language.tag}" dir="${language.direction}"`}>
      ${text.split(/\n{2,}/).map((paragraph) => html`<p>${paragraph}</p>`)}
    </section>
  `;
}

function bestText(
  visit: Visit,
  texts: Readonly<Record<string, string>>,
): readonly [tag: string, text: string] {
  for (const tag of [visit.language.tag, visit.portal.service.language]) {
    const text = texts[tag];
    if (text !== undefined) return [tag, text];
  }
  return Object.entries(texts)[0] ?? ['', ''];
}
