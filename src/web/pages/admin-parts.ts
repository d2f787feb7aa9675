// What the staff's pages share: the menu beside them, tables, pages of a list, the question before what
// matters, and how limits are typed. Which pages somebody sees is the table of permissions' business.

import type { FastifyReply } from 'fastify';
import type { Actor, PolicyChange, TunnelPolicy } from '../../broker/desk-parts.ts';
import type { SignedIn } from '../../broker/people-sign-in.ts';
import { type Permission, permits } from '../../broker/permissions.ts';
import { MTU_RANGE, parseRate, writeRate } from '../../broker/policy.ts';
import type { Fields, Mistakes } from '../fields.ts';
import { type Html, type HtmlValue, html } from '../html.ts';
import type { Visit } from '../visit.ts';

/** The menu, in its order. */
const SECTIONS = [
  ['dashboard', '/admin', 'dashboard.see'],
  ['users', '/admin/users', 'users.see'],
  ['tunnels', '/admin/tunnels', 'tunnels.see'],
  ['pools', '/admin/pools', 'pools.see'],
  ['groups', '/admin/groups', 'groups.see'],
  ['announcements', '/admin/announcements', 'announcements.see'],
  ['invitations', '/admin/invitations', 'invitations.see'],
  ['staff', '/admin/staff', 'staff.see'],
  ['audit', '/admin/audit', 'audit.see'],
  ['abuse', '/admin/abuse', 'abuse.ask'],
] as const satisfies readonly (readonly [string, string, Permission])[];

export type Section = (typeof SECTIONS)[number][0];

/** How many rows a page of a list has. */
export const LISTED = 50;

export interface DeskPage {
  readonly title: HtmlValue;
  /** For the window; the title when that is a text. */
  readonly windowTitle?: string;
  readonly section: Section;
  readonly main: HtmlValue;
  readonly mistakes?: Mistakes | undefined;
}

export function deskPage(visit: Visit, me: SignedIn, page: DeskPage): FastifyReply {
  const { admin: words } = visit.words;
  const { title, section, main, mistakes = {} } = page;
  const failed = Object.keys(mistakes).length > 0;
  const sections = SECTIONS.filter(([, , permission]) => permits(me.person.role, permission));
  return visit.page({
    title: page.windowTitle ?? (typeof title === 'string' ? title : words[section]),
    kind: 'desk',
    status: failed ? 422 : 200,
    main: html`
      <nav class="sections" aria-label="${words.menu}">
        <ul>
          ${sections.map(
            ([name, path]) => html`
              <li><a href="${path}" ${name === section && html`aria-current="page"`}>${words[name]}</a></li>
            `,
          )}
        </ul>
      </nav>
      <div class="work">
        <h1>${title}</h1>
        ${visit.fields(mistakes).summary()}
        ${main}
      </div>
    `,
  });
}

export function actorOf(visit: Visit, { person }: SignedIn): Actor {
  return { person, visitor: visit.visitor };
}

export function may({ person }: SignedIn, permission: Permission): boolean {
  return permits(person.role, permission);
}

/** The first cell of each row is what the row is about. */
export function table(
  caption: string,
  head: readonly HtmlValue[],
  rows: readonly (readonly HtmlValue[])[],
): Html {
  return html`
    <div class="table" role="region" aria-label="${caption}" tabindex="0">
      <table>
        <caption class="unseen">${caption}</caption>
        <thead><tr>${head.map((each) => html`<th scope="col">${each}</th>`)}</tr></thead>
        <tbody>
          ${rows.map(
            ([first, ...rest]) => html`
              <tr><th scope="row">${first}</th>${rest.map((each) => html`<td>${each}</td>`)}</tr>
            `,
          )}
        </tbody>
      </table>
    </div>
  `;
}

/** Facts, one below the other; what is undefined is left out. */
export function facts(rows: readonly (readonly [string, HtmlValue])[]): Html {
  const shown = rows.filter(([, value]) => value !== undefined && value !== false);
  return html`
    <dl class="facts-list">
      ${shown.map(([name, value]) => html`<div><dt>${name}</dt><dd>${value}</dd></div>`)}
    </dl>
  `;
}

/** Ways on from a page of a list; `query`: what the list was asked for. */
export function pager(
  visit: Visit,
  path: string,
  query: Readonly<Record<string, string>>,
  next: string | undefined,
): Html {
  const { admin: words } = visit.words;
  const later = visit.field('after') !== '';
  if (!later && next === undefined) return html``;
  return html`
    <nav class="actions pager" aria-label="${words.pages}">
      ${later && html`<a class="button small quiet" href="${withQuery(path, query)}">${words.first}</a>`}
      ${
        next !== undefined &&
        html`<a class="button small" rel="next" href="${withQuery(path, { ...query, after: next })}">${words.next}</a>`
      }
    </nav>
  `;
}

export function withQuery(path: string, query: Readonly<Record<string, string>>): string {
  const said = Object.entries(query).filter(([, value]) => value !== '');
  return said.length === 0 ? path : `${path}?${new URLSearchParams(said)}`;
}

/** What is looked for, above a list; works by GET, so that it can be kept as a bookmark. */
export function filters(visit: Visit, path: string, fields: HtmlValue): Html {
  return html`
    <form method="get" action="${path}" class="filters" role="search">
      ${fields}
      <button class="button small">${visit.words.admin.show}</button>
    </form>
  `;
}

export interface Question {
  readonly section: Section;
  readonly title: string;
  readonly text: HtmlValue;
  readonly action: string;
  readonly button: string;
  /** Takes traffic or addresses away. */
  readonly danger?: boolean;
  /** Where who has thought better of it goes. */
  readonly back: string;
  readonly mistakes?: Mistakes | undefined;
  readonly fields?: HtmlValue;
}

/** Before anything is done: what will happen, and one button. */
export function askPage(visit: Visit, me: SignedIn, question: Question): FastifyReply {
  const { section, title, text, action, button, danger = false, back, mistakes, fields } = question;
  return deskPage(visit, me, {
    title,
    section,
    mistakes,
    main: html`
      <p class="lead">${text}</p>
      ${visit.form(
        action,
        html`
          ${fields}
          <p class="actions">
            <button class="button${danger && ' danger'}">${button}</button>
            <a class="button quiet" href="${back}">${visit.words.admin.cancel}</a>
          </p>
        `,
      )}
    `,
  });
}

/** A link that looks like a small button, to the question before an act. */
export function actLink(href: string, text: string, danger = false): Html {
  return html`<a class="button small ${danger ? 'danger' : 'quiet'}" href="${href}">${text}</a>`;
}

// Limits

export interface LimitsForm {
  readonly mtu: string;
  readonly rateIn: string;
  readonly rateOut: string;
  readonly ports: string;
}

export function limitsForm(visit: Visit): LimitsForm {
  return {
    mtu: visit.field('mtu').trim(),
    rateIn: visit.field('rateIn').trim(),
    rateOut: visit.field('rateOut').trim(),
    ports: visit.field('ports'),
  };
}

export function writeLimits({
  mtu,
  inBitsPerSecond,
  outBitsPerSecond,
  ports,
}: TunnelPolicy): LimitsForm {
  return {
    mtu: mtu === undefined ? '' : String(mtu),
    rateIn: inBitsPerSecond === undefined ? '' : writeRate(inBitsPerSecond),
    rateOut: outBitsPerSecond === undefined ? '' : writeRate(outBitsPerSecond),
    ports: ports ?? '',
  };
}

/** Says all four: what is empty is said no more. */
export function parseLimits({
  mtu,
  rateIn,
  rateOut,
  ports,
}: LimitsForm): { readonly change: PolicyChange } | { readonly mistakes: Mistakes } {
  const octets = mtu === '' ? undefined : Number(mtu);
  const mistakes: Record<string, 'mtu-invalid' | 'rate-invalid'> = {};
  if (
    octets !== undefined &&
    !(/^\d+$/.test(mtu) && octets >= MTU_RANGE.min && octets <= MTU_RANGE.max)
  )
    mistakes.mtu = 'mtu-invalid';
  const rates = [rateIn, rateOut].map((text) => (text === '' ? undefined : parseRate(text)));
  if (rateIn !== '' && rates[0] === undefined) mistakes.rateIn = 'rate-invalid';
  if (rateOut !== '' && rates[1] === undefined) mistakes.rateOut = 'rate-invalid';
  if (Object.keys(mistakes).length > 0) return { mistakes };
  return {
    change: {
      mtu: octets,
      inBitsPerSecond: rates[0],
      outBitsPerSecond: rates[1],
      ports: ports === 'open' || ports === 'closed' ? ports : undefined,
    },
  };
}

export function limitsFields(visit: Visit, fields: Fields, form: LimitsForm): Html {
  const { limits: words } = visit.words.admin;
  const rate = (name: 'rateIn' | 'rateOut') =>
    fields.input({
      name,
      label: words[name],
      value: form[name],
      hint: words.rateHint,
      required: false,
      autocomplete: 'off',
      ltr: true,
      maxLength: 20,
    });
  return html`
    ${fields.input({
      name: 'mtu',
      label: words.mtu,
      value: form.mtu,
      hint: words.mtuHint,
      required: false,
      autocomplete: 'off',
      inputmode: 'numeric',
      ltr: true,
      maxLength: 4,
    })}
    ${rate('rateIn')}
    ${rate('rateOut')}
    ${fields.select(
      'ports',
      words.ports,
      [
        { value: '', text: words.portsDefault },
        { value: 'closed', text: words.portsClosed },
        { value: 'open', text: words.portsOpen },
      ],
      form.ports,
    )}
  `;
}
