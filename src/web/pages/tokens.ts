// API tokens: making one, which is shown once, and revoking it.

import type { FastifyReply } from 'fastify';
import { SCOPES } from '../../broker/people-account.ts';
import type { ApiToken, Person } from '../../broker/people-parts.ts';
import type { SignedIn } from '../../broker/people-sign-in.ts';
import { isStaff } from '../../broker/permissions.ts';
import type { Mistakes } from '../fields.ts';
import { code, type Html, html } from '../html.ts';
import type { Routes } from '../routes.ts';
import type { Visit } from '../visit.ts';
import { accountPage, passwordMistake } from './account.ts';

const LIFETIMES_DAYS = [30, 90, 365] as const;
const DEFAULT_DAYS = '90';
const DAY_MS = 86_400_000;

const FIELD_OF = {
  'name-invalid': { name: 'token-name-invalid' },
  'no-scope': { scopes: 'no-scope' },
  'too-many': { form: 'too-many-tokens' },
} as const satisfies Record<string, Mistakes>;

export function tokenPages({ members }: Routes): void {
  members.get('/account/tokens', (visit, me) => tokensPage(visit, me));

  members.post('/account/tokens', async (visit, me) => {
    const wrong = await passwordMistake(visit, me);
    if (wrong) return tokensPage(visit, me, wrong);
    const asked = visit.fieldAll('scopes');
    const days = LIFETIMES_DAYS.find((each) => String(each) === visit.field('days'));
    const made = await visit.portal.people.account.addToken(
      me.person,
      visit.field('name'),
      scopesOf(me.person).filter((scope) => asked.includes(scope)),
      days && days * DAY_MS,
      visit.visitor,
    );
    if (!made.ok) return tokensPage(visit, me, FIELD_OF[made.refusal]);
    const { tokens: words } = visit.words;
    return accountPage(
      visit,
      words.madeTitle,
      html`
        <p class="lead">${words.madeText}</p>
        <p class="secret">${code(made.token)}</p>
        <p><a class="button" href="/account/tokens">${words.madeDone}</a></p>
      `,
    );
  });

  members.post('/account/tokens/revoke', async (visit, { person }) => {
    const id = Number(visit.field('id'));
    await visit.portal.people.account.removeToken(person, id, visit.visitor);
    return visit.redirect('/account/tokens', 'token-revoked');
  });
}

/** What is for staff is offered to staff; the role is asked again with every request. */
function scopesOf({ role }: Person) {
  return SCOPES.filter((scope) => isStaff(role) || !scope.startsWith('admin:'));
}

async function tokensPage(
  visit: Visit,
  { person }: SignedIn,
  mistakes: Mistakes = {},
): Promise<FastifyReply> {
  const { tokens: words } = visit.words;
  const tokens = await visit.portal.people.account.tokens(person);
  const fields = visit.fields(mistakes);
  const asked = visit.fieldAll('scopes');
  return accountPage(
    visit,
    words.title,
    html`
      <p>${words.text}</p>
      ${
        tokens.length === 0
          ? html`<p class="hint">${words.none}</p>`
          : html`<ul class="cards">${tokens.map((token) => card(visit, token))}</ul>`
      }
      <h2>${words.another}</h2>
      ${visit.form(
        '/account/tokens',
        html`
          ${fields.input({
            name: 'name',
            label: words.name,
            value: visit.field('name'),
            hint: words.nameHint,
            autocomplete: 'off',
            maxLength: 100,
          })}
          <fieldset id="scopes">
            <legend>${words.scopes}</legend>
            ${fields.error('scopes')}
            ${scopesOf(person).map((scope) =>
              fields.checkbox(
                'scopes',
                scope,
                words.scope[scope],
                asked.includes(scope),
                `scope-${scope}`,
              ),
            )}
          </fieldset>
          ${fields.select(
            'days',
            words.expires,
            [
              ...LIFETIMES_DAYS.map((days) => ({ value: String(days), text: words.days(days) })),
              { value: '0', text: words.never },
            ],
            visit.field('days') || DEFAULT_DAYS,
          )}
          ${fields.ownPassword(person.email)}
          <button class="button">${words.submit}</button>
        `,
      )}
    `,
    { mistakes },
  );
}

function card(visit: Visit, token: ApiToken): Html {
  const { tokens: words } = visit.words;
  const { id, name, scopes, createdAtMs, lastUsedAtMs, expiresAtMs } = token;
  return html`
    <li class="card">
      <h2><bdi>${name}</bdi></h2>
      <dl class="facts-list">
        <div><dt>${words.scopes}</dt><dd>${scopes.map((scope) => html`${code(scope)} `)}</dd></div>
        <div><dt>${words.created}</dt><dd>${visit.time(createdAtMs)}</dd></div>
        <div><dt>${words.lastUsed}</dt><dd>${visit.time(lastUsedAtMs)}</dd></div>
        <div>
          <dt>${words.expiry}</dt>
          <dd>${expiresAtMs === undefined ? words.neverExpires : visit.time(expiresAtMs)}</dd>
        </div>
      </dl>
      ${visit.form(
        '/account/tokens/revoke',
        html`
          <input type="hidden" name="id" value="${id}">
          <button class="button small quiet" aria-label="${words.revokeOf(name)}">
            ${words.revoke}
          </button>
        `,
      )}
    </li>
  `;
}
