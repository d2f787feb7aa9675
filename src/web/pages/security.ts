// What keeps an account its owner's: the password, the second factor, where one is signed in.

import type { FastifyReply } from 'fastify';
import { PASSWORD_CHARACTERS } from '../../broker/people-passwords.ts';
import type { SignedIn } from '../../broker/people-sign-in.ts';
import { browserName } from '../browser-name.ts';
import type { Mistakes } from '../fields.ts';
import { bdi, code, html } from '../html.ts';
import { qrCode } from '../qr.ts';
import type { Routes } from '../routes.ts';
import type { Visit } from '../visit.ts';
import { accountPage, passwordMistake } from './account.ts';

export function securityPages({ members }: Routes): void {
  members.get('/account/password', (visit, me) => passwordPage(visit, me));

  members.post('/account/password', async (visit, me) => {
    const wrong = await passwordMistake(visit, me);
    if (wrong) return passwordPage(visit, me, wrong);
    const { account } = visit.portal.people;
    const refusal = await account.changePassword(me, visit.field('newPassword'), visit.visitor);
    if (refusal !== undefined) return passwordPage(visit, me, { newPassword: refusal });
    return visit.redirect('/account', 'password-changed');
  });

  members.get('/account/two-factor', (visit, me) => twoFactorPage(visit, me));

  members.post('/account/two-factor/on', async (visit, me) => {
    const wrong = await passwordMistake(visit, me);
    if (wrong) return twoFactorPage(visit, me, wrong);
    const { account } = visit.portal.people;
    const codes = await account.enableTotp(me.person, visit.field('code'), visit.visitor);
    if (codes === 'code-wrong') return twoFactorPage(visit, me, { code: codes });
    const { twoFactor: words } = visit.words;
    return accountPage(
      visit,
      words.codesTitle,
      html`
        <p class="lead">${words.codesText}</p>
        <ul class="codes">${codes.map((each) => html`<li>${code(each)}</li>`)}</ul>
        <p><a class="button" href="/account">${words.codesDone}</a></p>
      `,
    );
  });

  members.post('/account/two-factor/off', async (visit, me) => {
    const wrong = await passwordMistake(visit, me);
    if (wrong) return twoFactorPage(visit, me, wrong);
    await visit.portal.people.account.disableTotp(me.person, visit.visitor);
    return visit.redirect('/account', 'two-factor-off');
  });

  members.get('/account/sessions', sessionsPage);

  members.post('/account/sessions/end', async (visit, me) => {
    const id = Number(visit.field('id'));
    await visit.portal.people.signIns.endSession(me.person.id, id, visit.visitor);
    return visit.redirect('/account/sessions', 'session-ended');
  });

  members.post('/account/sessions/end-others', async (visit, me) => {
    await visit.portal.people.signIns.endOtherSessions(me, visit.visitor);
    return visit.redirect('/account/sessions', 'sessions-ended');
  });
}

function passwordPage(visit: Visit, { person }: SignedIn, mistakes: Mistakes = {}): FastifyReply {
  const { password: words, form } = visit.words;
  const fields = visit.fields(mistakes);
  return accountPage(
    visit,
    words.title,
    html`
      <p>${words.text}</p>
      ${visit.form(
        '/account/password',
        html`
          ${fields.ownPassword(person.email)}
          ${fields.input({
            name: 'newPassword',
            label: form.newPassword,
            type: 'password',
            hint: form.passwordHint(bdi(PASSWORD_CHARACTERS)),
            autocomplete: 'new-password',
          })}
          <button class="button">${words.submit}</button>
        `,
      )}
    `,
    { mistakes },
  );
}

async function twoFactorPage(
  visit: Visit,
  { person }: SignedIn,
  mistakes: Mistakes = {},
): Promise<FastifyReply> {
  const { twoFactor: words } = visit.words;
  const { account } = visit.portal.people;
  const fields = visit.fields(mistakes);
  const password = fields.ownPassword(person.email);
  const prepared = await account.preparedTotp(person);
  if (!prepared)
    return accountPage(
      visit,
      words.title,
      html`
        <p>${words.onText(bdi(await account.recoveryCodesLeft(person)))}</p>
        ${visit.form(
          '/account/two-factor/off',
          html`${password}<button class="button danger">${words.offSubmit}</button>`,
        )}
      `,
      { mistakes },
    );
  return accountPage(
    visit,
    words.title,
    html`
      <p>${words.text}</p>
      ${qrCode(prepared.uri, words.picture)}
      <p class="hint">${words.byHand}</p>
      <p>${code(prepared.secret.replace(/.{4}(?=.)/g, '$& '))}</p>
      ${visit.form(
        '/account/two-factor/on',
        html`
          ${fields.input({
            name: 'code',
            label: words.code,
            autocomplete: 'one-time-code',
            inputmode: 'numeric',
            ltr: true,
            maxLength: 10,
          })}
          ${password}
          <button class="button">${words.submit}</button>
        `,
      )}
    `,
    { mistakes },
  );
}

async function sessionsPage(visit: Visit, { session, person }: SignedIn): Promise<FastifyReply> {
  const { sessions: words } = visit.words;
  const sessions = await visit.portal.people.signIns.sessions(person.id);
  return accountPage(
    visit,
    words.title,
    html`
      <p>${words.text}</p>
      <ul class="cards">
        ${sessions.map((each) => {
          const browser = browserName(each.userAgent) ?? words.unknownBrowser;
          return html`
            <li class="card">
              <h2><bdi>${browser}</bdi></h2>
              <dl class="facts-list">
                <div><dt>${words.address}</dt><dd>${code(each.address)}</dd></div>
                <div><dt>${words.begun}</dt><dd>${visit.time(each.createdAtMs)}</dd></div>
                <div><dt>${words.lastUsed}</dt><dd>${visit.time(each.lastUsedAtMs)}</dd></div>
              </dl>
              ${
                each.id === session.id
                  ? html`<p class="tag">${words.this}</p>`
                  : visit.form(
                      '/account/sessions/end',
                      html`
                        <input type="hidden" name="id" value="${each.id}">
                        <button class="button small quiet" aria-label="${words.endOf(browser)}">
                          ${words.end}
                        </button>
                      `,
                    )
              }
            </li>
          `;
        })}
      </ul>
      ${
        sessions.length > 1 &&
        visit.form(
          '/account/sessions/end-others',
          html`<button class="button quiet">${words.endOthers}</button>`,
        )
      }
    `,
    { kind: 'text' },
  );
}
