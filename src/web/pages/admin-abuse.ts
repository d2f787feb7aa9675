// The abuse desk: who had this address then. Asked by a form that is posted, so that no address stands in
// a log of addresses; answered in words for the letter, as a table, and as a file.

import type { FastifyReply } from 'fastify';
import { formatPrefix } from '../../address.ts';
import { ANSWER_CSV_HEAD, answerJson, answerRows } from '../../broker/abuse-report.ts';
import { formatCsv } from '../../broker/csv.ts';
import type { AbuseCase, AbuseQuestion, AbuseRefusal } from '../../broker/desk-log.ts';
import type { AttachmentTenure, LeaseTenure } from '../../broker/desk-parts.ts';
import type { SignedIn } from '../../broker/people-sign-in.ts';
import type { Mistakes } from '../fields.ts';
import { bdi, code, type Html, type HtmlValue, html } from '../html.ts';
import type { Routes } from '../routes.ts';
import { formatTime } from '../times.ts';
import type { Visit } from '../visit.ts';
import { actorOf, deskPage, table } from './admin-parts.ts';
import { clientText } from './admin-past.ts';

/** Quarters of an hour exist, too; who needs one writes it into the time. */
const ZONES = [
  'Z',
  ...Array.from({ length: 27 }, (_, index) => index - 12)
    .filter((hours) => hours !== 0)
    .map((hours) => `${hours < 0 ? '-' : '+'}${String(Math.abs(hours)).padStart(2, '0')}:00`),
  '-03:30',
  '+03:30',
  '+04:30',
  '+05:30',
  '+05:45',
  '+06:30',
  '+09:30',
];

const FIELD: Readonly<Record<AbuseRefusal, string>> = {
  'address-invalid': 'address',
  'port-invalid': 'port',
  'from-invalid': 'from',
  'until-invalid': 'until',
  'time-order': 'until',
  'zone-invalid': 'zone',
};

export function abusePages(routes: Routes): void {
  const desk = routes.staff('abuse.ask');
  desk.get('/admin/abuse', (visit, me) => abusePage(visit, me));

  desk.post('/admin/abuse', async (visit, me) => {
    const found = await visit.portal.desk.abuse.ask(questionOf(visit), actorOf(visit, me));
    if (typeof found === 'string')
      return abusePage(visit, me, {
        [FIELD[found]]: found === 'address-invalid' ? 'what-invalid' : found,
      });
    switch (visit.field('as')) {
      case 'csv':
        return sendFile(visit, 'csv', 'text/csv; charset=utf-8', csvOf(found));
      case 'json':
        return sendFile(visit, 'json', 'application/json; charset=utf-8', jsonOf(found));
      default:
        return abusePage(visit, me, {}, found);
    }
  });
}

function questionOf(visit: Visit): AbuseQuestion {
  return {
    address: visit.field('address'),
    port: visit.field('port'),
    from: visit.field('from'),
    until: visit.field('until'),
    zone: visit.field('zone') || 'Z',
  };
}

function sendFile(visit: Visit, extension: string, type: string, content: string): FastifyReply {
  return visit.reply
    .type(type)
    .header('content-disposition', `attachment; filename="sixway-abuse.${extension}"`)
    .send(content);
}

function csvOf({ answer }: AbuseCase): string {
  return formatCsv(ANSWER_CSV_HEAD, answerRows(answer));
}

function jsonOf(found: AbuseCase): string {
  return `${JSON.stringify(caseJson(found), null, 2)}\n`;
}

/** The question and what is known, too: a file is read long afterwards. */
export function caseJson({ what, port, span, answer, keptSinceMs, askedAtMs }: AbuseCase) {
  const iso = (atMs: number) => new Date(atMs).toISOString();
  return {
    asked: { address: what, port: port ?? null, from: iso(span.fromMs), until: iso(span.untilMs) },
    askedAt: iso(askedAtMs),
    knownSince: iso(keptSinceMs),
    ...answerJson(answer),
  };
}

async function abusePage(
  visit: Visit,
  me: SignedIn,
  mistakes: Mistakes = {},
  found?: AbuseCase,
): Promise<FastifyReply> {
  const { admin } = visit.words;
  const { desk: words } = admin;
  const question = questionOf(visit);
  return deskPage(visit, me, {
    title: admin.abuse,
    section: 'abuse',
    mistakes,
    main: html`
      <p class="lead">${words.lead}</p>
      ${visit.form('/admin/abuse', questionFields(visit, question, mistakes), 'narrow')}
      ${found && answerSection(visit, question, found)}
    `,
  });
}

function questionFields(visit: Visit, question: AbuseQuestion, mistakes: Mistakes): Html {
  const { desk: words } = visit.words.admin;
  const fields = visit.fields(mistakes);
  const input = (
    name: 'address' | 'port' | 'from' | 'until',
    hint: string,
    required: boolean,
    maxLength: number,
  ) =>
    fields.input({
      name,
      label: words[name],
      value: question[name],
      hint,
      required,
      autocomplete: 'off',
      ltr: true,
      maxLength,
    });
  return html`
    ${input('address', words.addressHint, true, 60)}
    ${input('port', words.portHint, false, 5)}
    ${input('from', words.timeHint, true, 40)}
    ${input('until', words.untilHint, false, 40)}
    ${fields.select(
      'zone',
      words.zone,
      ZONES.map((zone) => ({ value: zone, text: zone === 'Z' ? 'UTC' : `UTC${zone}` })),
      question.zone,
    )}
    <button class="button">${words.submit}</button>
  `;
}

function answerSection(visit: Visit, question: AbuseQuestion, found: AbuseCase): Html {
  const { desk: words } = visit.words.admin;
  const again = (as: 'csv' | 'json', text: string) =>
    visit.form(
      '/admin/abuse',
      html`
        ${Object.entries(question).map(
          ([name, value]) => html`<input type="hidden" name="${name}" value="${value}">`,
        )}
        <input type="hidden" name="as" value="${as}">
        <button class="button small quiet">${text}</button>
      `,
    );
  const rows = tableRows(visit, found);
  return html`
    <section class="answer" aria-labelledby="answer" role="status">
      <h2 id="answer">${words.answer}</h2>
      ${sentences(visit, found)}
      <p class="hint">${words.zoned}</p>
      ${
        rows.length > 0 &&
        table(
          words.table,
          [
            visit.words.admin.tunnel.user,
            visit.words.admin.tunnel.number,
            visit.words.admin.tunnel.prefix,
            words.fromColumn,
            words.untilColumn,
            words.client,
            words.fromColumn,
            words.untilColumn,
          ],
          rows,
        )
      }
      <div class="actions">${again('csv', words.csv)}${again('json', words.json)}</div>
    </section>
  `;
}

/** With seconds: in a complaint they matter. */
function exact(visit: Visit, atMs: number): Html {
  const at = new Date(atMs);
  const shown = formatTime(visit.language.locale, atMs, true);
  return html`<time datetime="${at.toISOString()}"><bdi>${shown} UTC</bdi></time>`;
}

function sentences(visit: Visit, found: AbuseCase): readonly Html[] {
  const { desk: words } = visit.words.admin;
  const { what, port, span, answer, keptSinceMs, askedAtMs } = found;
  const time = (atMs: number) => exact(visit, atMs);
  const address = code(what);
  const asked = port === undefined ? address : words.withPort(address, bdi(port));
  const when =
    span.fromMs === span.untilMs
      ? words.at(time(span.fromMs))
      : words.between(time(span.fromMs), time(span.untilMs));
  const since = ({ fromMs, untilMs }: LeaseTenure | AttachmentTenure) =>
    untilMs === undefined
      ? words.untilNow(time(fromMs))
      : words.sinceUntil(time(fromMs), time(untilMs));
  const whom = ({ user, tunnelId }: LeaseTenure | AttachmentTenure) =>
    user === undefined
      ? words.anonymous(bdi(tunnelId))
      : words.whom(
          html`<a href="/admin/users/${user.id}"><bdi>${user.name}</bdi></a>`,
          bdi(tunnelId),
        );
  const prefix = (lease: LeaseTenure) => code(formatPrefix(lease.prefix));
  const place = (each: AttachmentTenure) =>
    html`${code(clientText(each))} (${code(each.encapsulation)})`;
  const said: Html[] = [
    ...answer.holders.map(
      ({ lease, attachments }) => html`
        <p>${words.belonged(address, when, whom(lease), prefix(lease), since(lease))}</p>
        <ul>
          ${attachments.map((each) => html`<li>${words.clientAt(place(each), since(each))}</li>`)}
          ${attachments.length === 0 && html`<li>${words.noClient}</li>`}
        </ul>
      `,
    ),
    ...answer.clients.map(
      ({ attachment, leases }) => html`
        <p>${words.cameFrom(asked, when, whom(attachment), place(attachment), since(attachment))}</p>
        <ul>${leases.map((each) => html`<li>${words.had(prefix(each), since(each))}</li>`)}</ul>
      `,
    ),
  ];
  if (said.length === 0) said.push(html`<p class="lead">${words.nobody(asked, when)}</p>`);
  if (span.fromMs < keptSinceMs && span.fromMs <= askedAtMs)
    said.push(html`<p class="notice">${words.kept(time(keptSinceMs))}</p>`);
  if (answer.truncated) said.push(html`<p class="notice">${words.more}</p>`);
  return said;
}

/** A row for each tunnel's addresses together with each place of its client, as in the file. */
function tableRows(visit: Visit, { answer }: AbuseCase): readonly (readonly HtmlValue[])[] {
  const { desk: words, tunnel: tunnelWords } = visit.words.admin;
  const times = (each: LeaseTenure | AttachmentTenure | undefined): readonly HtmlValue[] =>
    each === undefined
      ? ['–', '–']
      : [
          exact(visit, each.fromMs),
          each.untilMs === undefined ? words.now : exact(visit, each.untilMs),
        ];
  const row = (lease: LeaseTenure | undefined, attachment: AttachmentTenure | undefined) => {
    const { user, tunnelId } = (lease ?? attachment)!;
    return [
      user === undefined ? tunnelWords.anonymous : bdi(user.name),
      bdi(tunnelId),
      lease ? code(formatPrefix(lease.prefix)) : '–',
      ...times(lease),
      attachment ? code(clientText(attachment)) : '–',
      ...times(attachment),
    ];
  };
  const orNone = <T>(all: readonly T[]): readonly (T | undefined)[] =>
    all.length === 0 ? [undefined] : all;
  return [
    ...answer.holders.flatMap(({ lease, attachments }) =>
      orNone(attachments).map((each) => row(lease, each)),
    ),
    ...answer.clients.flatMap(({ attachment, leases }) =>
      orNone(leases).map((each) => row(each, attachment)),
    ),
  ];
}
