// The audit log: who did what to whom, when; and its export for spreadsheets.

import type { FastifyReply } from 'fastify';
import type { AuditQuery } from '../../broker/desk-log.ts';
import type { AuditRecord } from '../../broker/desk-parts.ts';
import type { SignedIn } from '../../broker/people-sign-in.ts';
import type { Mistakes } from '../fields.ts';
import { bdi, code, type Html, type HtmlValue, html } from '../html.ts';
import type { Routes } from '../routes.ts';
import type { Visit } from '../visit.ts';
import { actorOf, deskPage, filters, LISTED, may, pager, table } from './admin-parts.ts';

export function auditPages(routes: Routes): void {
  routes.staff('audit.see').get('/admin/audit', (visit, me) => auditPage(visit, me));

  routes.staff('audit.export').post('/admin/audit/export', async (visit, me) => {
    const made = await visit.portal.desk.audit.export(queryOf(visit), actorOf(visit, me));
    if (typeof made !== 'string') return auditPage(visit, me, mistakesOf(made.refusal));
    return visit.reply
      .type('text/csv; charset=utf-8')
      .header('content-disposition', 'attachment; filename="sixway-audit.csv"')
      .send(made);
  });
}

function queryOf(visit: Visit): AuditQuery {
  const text = (name: string) => visit.field(name).slice(0, 300);
  return {
    who: text('who'),
    act: text('act'),
    subject: text('subject'),
    from: text('from'),
    until: text('until'),
  };
}

function mistakesOf(refusal: 'from-invalid' | 'until-invalid' | 'no-such-person'): Mistakes {
  if (refusal === 'no-such-person') return { who: refusal };
  return refusal === 'from-invalid' ? { from: refusal } : { until: refusal };
}

async function auditPage(visit: Visit, me: SignedIn, wrong?: Mistakes): Promise<FastifyReply> {
  const { desk } = visit.portal;
  const query = queryOf(visit);
  const before = Number(visit.field('after')) || undefined;
  // One more than is shown says whether there is another page.
  const listed = await desk.audit.list(query, before, LISTED + 1);
  const mistakes = wrong ?? (typeof listed === 'string' ? mistakesOf(listed) : undefined);
  const found = typeof listed === 'string' ? [] : listed;
  const shown = found.slice(0, LISTED);
  const kinds = await desk.audit.acts();
  const { admin } = visit.words;
  const { log: words } = admin;
  const fields = visit.fields(mistakes);
  const input = (name: keyof AuditQuery, label: string, hint: string) =>
    fields.input({
      name,
      label,
      value: query[name],
      hint,
      required: false,
      autocomplete: 'off',
      ltr: true,
    });
  return deskPage(visit, me, {
    title: admin.audit,
    section: 'audit',
    mistakes,
    main: html`
      ${filters(
        visit,
        '/admin/audit',
        html`
          ${input('who', words.who, words.whoHint)}
          ${fields.select(
            'act',
            words.act,
            [
              { value: '', text: admin.any },
              ...kinds.map((each) => ({ value: each, text: actText(visit, each) })),
            ],
            query.act,
          )}
          ${input('subject', words.subject, words.subjectHint)}
          ${input('from', words.from, words.timeHint)}
          ${input('until', words.until, words.timeHint)}
        `,
      )}
      ${
        shown.length === 0
          ? html`<p class="lead">${words.none}</p>`
          : actsTable(visit, words.list, shown)
      }
      ${pager(visit, '/admin/audit', { ...query }, found.length > LISTED ? String(shown.at(-1)?.id) : undefined)}
      ${
        may(me, 'audit.export') &&
        visit.form(
          '/admin/audit/export',
          html`
            ${Object.entries(query).map(
              ([name, value]) => html`<input type="hidden" name="${name}" value="${value}">`,
            )}
            <p class="hint">${words.exportText}</p>
            <button class="button small quiet">${words.export}</button>
          `,
        )
      }
      <p class="hint">${admin.utc}</p>
    `,
  });
}

/** In the reader's language; what an act is that came later, as it is written. */
function actText(visit: Visit, act: string): string {
  const { acts } = visit.words.admin;
  return Object.hasOwn(acts, act) ? acts[act as keyof typeof acts] : act;
}

/** Entries of the log, the same everywhere. */
export function actsTable(visit: Visit, caption: string, entries: readonly AuditRecord[]): Html {
  const { admin } = visit.words;
  const { log: words } = admin;
  return table(
    caption,
    [admin.time, words.who, words.act, words.subject, words.details, words.address],
    entries.map((entry) => [
      visit.time(entry.atMs),
      whoText(visit, entry),
      actText(visit, entry.act),
      subjectLink(entry.subject),
      entry.details ? code(detailsText(entry.details)) : '–',
      entry.address === undefined ? '–' : code(entry.address),
    ]),
  );
}

function whoText(visit: Visit, { personId, email }: AuditRecord): HtmlValue {
  const { log: words } = visit.words.admin;
  if (personId === undefined) return words.commandLine;
  return email === undefined ? words.gone(bdi(personId)) : bdi(email);
}

const PAGES: Readonly<Record<string, string>> = {
  user: '/admin/users/',
  tunnel: '/admin/tunnels/',
  person: '/admin/staff/',
  group: '/admin/groups/',
  announcement: '/admin/announcements/',
};

function subjectLink(subject: string | undefined): HtmlValue {
  if (subject === undefined) return '–';
  const [kind = '', id = ''] = subject.split(/:(.*)/s);
  const page = PAGES[kind];
  return page === undefined || id === ''
    ? code(subject)
    : html`<a href="${page}${encodeURIComponent(id)}">${code(subject)}</a>`;
}

function detailsText(details: NonNullable<AuditRecord['details']>): string {
  return Object.entries(details)
    .map(([name, value]) => `${name}: ${value ?? '–'}`)
    .join(', ');
}
