// Announcements: what everybody should know, in each language, for a while.

import type { FastifyReply } from 'fastify';
import { parseTime } from '../../broker/abuse-report.ts';
import type { Announcement, NewAnnouncement } from '../../broker/desk-parts.ts';
import type { AnnouncementRefusal } from '../../broker/desk-staff.ts';
import type { SignedIn } from '../../broker/people-sign-in.ts';
import { announcementBox } from '../announcements.ts';
import { failurePage } from '../failures.ts';
import type { Fields, Mistakes } from '../fields.ts';
import { bdi, type Html, html } from '../html.ts';
import { LANGUAGES } from '../i18n/languages.ts';
import type { Routes } from '../routes.ts';
import type { Visit } from '../visit.ts';
import { actLink, actorOf, askPage, deskPage, may } from './admin-parts.ts';

const KINDS = ['notice', 'trouble'] as const;

export function announcementPages(routes: Routes): void {
  const see = routes.staff('announcements.see');
  const change = routes.staff('announcements.change');
  see.get('/admin/announcements', (visit, me) => listPage(visit, me));

  change.post('/admin/announcements', async (visit, me) => {
    const asked = parseForm(visit);
    if ('mistakes' in asked) return listPage(visit, me, asked.mistakes);
    const { announcements } = visit.portal.desk;
    const result = await announcements.add(asked.wish, actorOf(visit, me));
    if (typeof result === 'string') return listPage(visit, me, mistakesOf(result));
    return visit.redirect('/admin/announcements', 'admin-added');
  });

  change.get('/admin/announcements/:id', (visit, me) => editPage(visit, me));

  change.post('/admin/announcements/:id', async (visit, me) => {
    const asked = parseForm(visit);
    if ('mistakes' in asked) return editPage(visit, me, asked.mistakes);
    const { announcements } = visit.portal.desk;
    const result = await announcements.set(visit.id() ?? 0, asked.wish, actorOf(visit, me));
    if (result === 'no-such-announcement') return failurePage(visit, 'notFound');
    if (result !== 'done') return editPage(visit, me, mistakesOf(result));
    return visit.redirect('/admin/announcements', 'admin-saved');
  });

  change.get('/admin/announcements/:id/remove', async (visit, me) => {
    const found = await announcementOf(visit);
    if (!found) return failurePage(visit, 'notFound');
    const { announcement: words } = visit.words.admin;
    return askPage(visit, me, {
      section: 'announcements',
      title: words.remove,
      text: words.removeText,
      action: `/admin/announcements/${found.id}/remove`,
      button: words.remove,
      danger: true,
      back: '/admin/announcements',
    });
  });

  change.post('/admin/announcements/:id/remove', async (visit, me) => {
    const { announcements } = visit.portal.desk;
    const result = await announcements.remove(visit.id() ?? 0, actorOf(visit, me));
    if (result !== 'done') return failurePage(visit, 'notFound');
    return visit.redirect('/admin/announcements', 'admin-removed');
  });
}

async function announcementOf(visit: Visit): Promise<Announcement | undefined> {
  const id = visit.id();
  return id === undefined ? undefined : visit.portal.desk.announcements.find(id);
}

function mistakesOf(refusal: AnnouncementRefusal): Mistakes {
  if (refusal === 'time-order') return { until: refusal };
  return { 'text-en': refusal };
}

function parseForm(
  visit: Visit,
): { readonly wish: NewAnnouncement } | { readonly mistakes: Mistakes } {
  const [from, until] = [visit.field('from').trim(), visit.field('until').trim()];
  const fromMs = from === '' ? Date.now() : parseTime(from);
  if (fromMs === undefined) return { mistakes: { from: 'from-invalid' } };
  const untilMs = until === '' ? undefined : parseTime(until);
  if (until !== '' && untilMs === undefined) return { mistakes: { until: 'until-invalid' } };
  const kind = KINDS.find((each) => each === visit.field('kind')) ?? 'notice';
  const texts = Object.fromEntries(
    Object.values(LANGUAGES).map(({ tag }) => [tag, visit.field(`text-${tag}`)]),
  );
  return { wish: { kind, texts, fromMs, untilMs } };
}

async function listPage(visit: Visit, me: SignedIn, mistakes?: Mistakes): Promise<FastifyReply> {
  const all = await visit.portal.desk.announcements.list();
  const { admin } = visit.words;
  const { announcement: words } = admin;
  const changes = may(me, 'announcements.change');
  return deskPage(visit, me, {
    title: admin.announcements,
    section: 'announcements',
    mistakes,
    main: html`
      <p>${words.text}</p>
      ${
        all.length === 0
          ? html`<p class="lead">${words.none}</p>`
          : html`<ul class="cards">${all.map((each) => card(visit, each, changes))}</ul>`
      }
      ${
        changes &&
        html`
          <h2>${words.add}</h2>
          ${visit.form(
            '/admin/announcements',
            html`
              ${formFields(visit, visit.fields(mistakes))}
              <button class="button">${words.add}</button>
            `,
            'narrow',
          )}
        `
      }
      <p class="hint">${admin.utc}</p>
    `,
  });
}

function card(visit: Visit, each: Announcement, changes: boolean): Html {
  const { announcement: words } = visit.words.admin;
  const nowMs = Date.now();
  const over = each.untilMs !== undefined && each.untilMs <= nowMs;
  const state = over ? 'over' : each.fromMs > nowMs ? 'later' : 'shown';
  const path = `/admin/announcements/${each.id}`;
  return html`
    <li class="card">
      <p class="overline">${words.states[state]}:
        ${visit.time(each.fromMs)} – ${each.untilMs === undefined ? words.open : visit.time(each.untilMs)}</p>
      ${announcementBox(visit, each)}
      ${
        changes &&
        html`
          <p class="actions">
            ${actLink(path, words.edit)}${actLink(`${path}/remove`, words.remove, true)}
          </p>
        `
      }
    </li>
  `;
}

async function editPage(visit: Visit, me: SignedIn, mistakes?: Mistakes): Promise<FastifyReply> {
  const found = await announcementOf(visit);
  if (!found) return failurePage(visit, 'notFound');
  const { admin } = visit.words;
  return deskPage(visit, me, {
    title: admin.announcement.edit,
    section: 'announcements',
    mistakes,
    main: visit.form(
      `/admin/announcements/${found.id}`,
      html`
        ${formFields(visit, visit.fields(mistakes), mistakes ? undefined : found)}
        <p class="actions">
          <button class="button">${admin.save}</button>
          <a class="button quiet" href="/admin/announcements">${admin.cancel}</a>
        </p>
      `,
      'narrow',
    ),
  });
}

/** `standing`: shown instead of what was typed. */
function formFields(visit: Visit, fields: Fields, standing?: Announcement): Html {
  const { announcement: words } = visit.words.admin;
  const time = (atMs: number | undefined) =>
    atMs === undefined ? '' : new Date(atMs).toISOString().slice(0, 16).replace('T', ' ');
  const timeField = (name: 'from' | 'until', atMs: number | undefined) =>
    fields.input({
      name,
      label: words[name],
      value: standing ? time(atMs) : visit.field(name),
      hint: words[`${name}Hint`],
      required: false,
      autocomplete: 'off',
      ltr: true,
      maxLength: 30,
    });
  return html`
    ${fields.select(
      'kind',
      words.kind,
      KINDS.map((each) => ({ value: each, text: words.kinds[each] })),
      standing?.kind ?? visit.field('kind'),
    )}
    ${Object.values(LANGUAGES).map(({ tag, name, direction }) =>
      textArea(visit, fields, {
        name: `text-${tag}`,
        label: words.inLanguage(bdi(name)),
        value: standing ? (standing.texts[tag] ?? '') : visit.field(`text-${tag}`),
        lang: tag,
        direction,
      }),
    )}
    ${timeField('from', standing?.fromMs)}
    ${timeField('until', standing?.untilMs)}
  `;
}

function textArea(
  visit: Visit,
  fields: Fields,
  area: {
    readonly name: string;
    readonly label: Html;
    readonly value: string;
    readonly lang: string;
    readonly direction: string;
  },
): Html {
  const { name, label, value, lang, direction } = area;
  const error = fields.error(name);
  return html`
    <div class="field${error !== undefined && ' wrong'}">
      <label for="${name}">${label} <span class="optional">(${visit.words.form.optional})</span></label>
      ${error}
      <textarea id="${name}" name="${name}" rows="4" maxlength="2000" lang="${lang}" dir="${direction}"
        ${error !== undefined && html`aria-invalid="true" aria-describedby="${name}-error"`}>${value}</textarea>
    </div>
  `;
}
