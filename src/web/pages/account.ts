// My account: what there is, each with the page where it is changed. And the e-mail address, the
// language, the data.

import type { FastifyReply } from 'fastify';
import type { SignedIn } from '../../broker/people-sign-in.ts';
import { announcements } from '../announcements.ts';
import type { Mistakes } from '../fields.ts';
import { bdi, type Html, type HtmlValue, html } from '../html.ts';
import { LANGUAGES, languageOf } from '../i18n/languages.ts';
import type { Routes } from '../routes.ts';
import type { Visit } from '../visit.ts';

export function accountPages({ members }: Routes): void {
  members.get('/account', overview);

  members.post('/account/language', async (visit, { person }) => {
    const language = languageOf(visit.field('language'));
    if (language) {
      visit.rememberLanguage(language);
      await visit.portal.people.account.setLanguage(person, language.tag);
    }
    return visit.redirect('/account', 'language-changed');
  });

  members.get('/account/email', (visit, me) => emailPage(visit, me));

  members.post('/account/email', async (visit, me) => {
    const wrong = await passwordMistake(visit, me);
    if (wrong) return emailPage(visit, me, wrong);
    const { account } = visit.portal.people;
    const email = visit.field('email');
    const result = await account.askForEmailChange(me.person, email, visit.visitor);
    if (result === 'email-invalid') return emailPage(visit, me, { email: result });
    if (result === 'too-many') return emailPage(visit, me, { form: result });
    return visit.redirect('/account', 'email-asked');
  });

  members.get('/account/email/confirm', confirmEmailPage);

  members.post('/account/email/confirm', async (visit, me) => {
    const { account } = visit.portal.people;
    const result = await account.changeEmail(me.person, visit.field('token'), visit.visitor);
    if (result !== 'changed') return emailPage(visit, me, { form: result });
    return visit.redirect('/account', 'email-changed');
  });

  members.get('/account/export', async (visit, { person }) => {
    const everything = await visit.portal.people.account.exportAll(person);
    return visit.reply
      .type('application/json; charset=utf-8')
      .header('content-disposition', 'attachment; filename="sixway-export.json"')
      .send(`${JSON.stringify(everything, null, 2)}\n`);
  });

  members.get('/account/erase', (visit, me) => erasePage(visit, me));

  members.post('/account/erase', async (visit, me) => {
    const wrong = await passwordMistake(visit, me);
    if (wrong) return erasePage(visit, me, wrong);
    if (visit.field('sure') !== 'yes') return erasePage(visit, me, { sure: 'confirm-missing' });
    const result = await visit.portal.people.account.erase(me.person, visit.visitor);
    if (result === 'is-staff') return erasePage(visit, me, { form: result });
    visit.forget();
    return visit.redirect('/', 'erased');
  });
}

/** Asked for again in the field `password` before what matters; undefined: it is right. */
export async function passwordMistake(visit: Visit, me: SignedIn): Promise<Mistakes | undefined> {
  const { signIns } = visit.portal.people;
  const found = await signIns.confirmPassword(me, visit.field('password'), visit.visitor);
  if (found === 'right') return undefined;
  return { password: found === 'wrong' ? 'password-wrong' : found };
}

/** A page below the account's, with the way back. */
export function accountPage(
  visit: Visit,
  title: string,
  main: HtmlValue,
  options: { readonly mistakes?: Mistakes; readonly kind?: 'form' | 'text' | 'wide' } = {},
): FastifyReply {
  const { mistakes = {}, kind = 'form' } = options;
  return visit.page({
    title,
    kind,
    status: Object.keys(mistakes).length > 0 ? 422 : 200,
    main: html`
      <p class="overline"><a href="/account">${visit.words.account.back}</a></p>
      <h1>${title}</h1>
      ${visit.fields(mistakes).summary()}
      ${main}
    `,
  });
}

async function overview(visit: Visit, { person }: SignedIn): Promise<FastifyReply> {
  const { account: words } = visit.words;
  const { account, signIns } = visit.portal.people;
  const sessions = await signIns.sessions(person.id);
  const twoFactor =
    person.totpEnabledAtMs === undefined
      ? words.twoFactorOff
      : words.twoFactorOn(bdi(await account.recoveryCodesLeft(person)));
  const unverified =
    person.emailVerifiedAtMs === undefined &&
    html` <span class="tag">${words.emailUnverified}</span>`;
  return visit.page({
    title: words.title,
    main: html`
      ${await announcements(visit)}
      <h1>${words.title}</h1>
      <dl class="settings">
        ${row(words.userName, person.user ? bdi(person.user.name) : words.userNameNone)}
        ${person.role !== 'user' && row(words.role, words.roles[person.role])}
        ${row(words.email, html`${bdi(person.email)}${unverified}`, {
          href: '/account/email',
          text: words.change,
        })}
        ${row(words.password, words.passwordText, {
          href: '/account/password',
          text: words.change,
        })}
        ${row(words.twoFactor, twoFactor, {
          href: '/account/two-factor',
          text: person.totpEnabledAtMs === undefined ? words.turnOn : words.turnOff,
        })}
        ${row(words.sessions, words.sessionsText(html`${words.browsers(sessions.length)}`), {
          href: '/account/sessions',
          text: words.show,
        })}
        ${row(words.tokens, words.tokensText, { href: '/account/tokens', text: words.show })}
        <div class="row">
          <dt><label for="language">${words.language}</label></dt>
          <dd>
            ${visit.form(
              '/account/language',
              html`
                <select id="language" name="language">
                  ${Object.values(LANGUAGES).map(
                    ({ tag, name }) => html`
                      <option value="${tag}" lang="${tag}"
                        ${tag === visit.language.tag && html`selected`}>${name}</option>
                    `,
                  )}
                </select>
                <button class="button small quiet">${words.set}</button>
              `,
              'inline',
            )}
          </dd>
        </div>
        ${row(words.data, words.dataText, { href: '/account/export', text: words.export })}
        ${
          person.role === 'user' &&
          row(words.erase, words.eraseText, { href: '/account/erase', text: words.eraseLink })
        }
      </dl>
    `,
  });
}

function row(
  name: string,
  value: HtmlValue,
  action?: { readonly href: string; readonly text: string },
): Html {
  return html`
    <div class="row">
      <dt>${name}</dt>
      <dd>
        <span>${value}</span>
        ${
          action &&
          html`<a class="action" href="${action.href}">${action.text}<span class="unseen"> – ${name}</span></a>`
        }
      </dd>
    </div>
  `;
}

function emailPage(visit: Visit, { person }: SignedIn, mistakes: Mistakes = {}): FastifyReply {
  const { email: words } = visit.words;
  const fields = visit.fields(mistakes);
  return accountPage(
    visit,
    words.title,
    html`
      <p>${words.text(bdi(person.email))}</p>
      ${visit.form(
        '/account/email',
        html`
          ${fields.input({
            name: 'email',
            label: words.newEmail,
            type: 'email',
            value: visit.field('email'),
            autocomplete: 'email',
          })}
          ${fields.ownPassword(person.email)}
          <button class="button">${words.submit}</button>
        `,
      )}
    `,
    { mistakes },
  );
}

async function confirmEmailPage(visit: Visit, me: SignedIn): Promise<FastifyReply> {
  const { email: words } = visit.words;
  const token = visit.field('token');
  const email = await visit.portal.people.account.emailChange(me.person, token);
  if (email === undefined) return emailPage(visit, me, { form: 'no-such-token' });
  return accountPage(
    visit,
    words.confirmTitle,
    html`
      <p>${words.confirmText(bdi(email))}</p>
      ${visit.form(
        '/account/email/confirm',
        html`
          <input type="hidden" name="token" value="${token}">
          <button class="button">${words.confirmSubmit}</button>
        `,
      )}
    `,
  );
}

function erasePage(visit: Visit, { person }: SignedIn, mistakes: Mistakes = {}): FastifyReply {
  const { erase: words } = visit.words;
  const fields = visit.fields(mistakes);
  return accountPage(
    visit,
    words.title,
    html`
      <p>${words.text}</p>
      ${visit.form(
        '/account/erase',
        html`
          ${fields.ownPassword(person.email)}
          ${fields.checkbox('sure', 'yes', words.sure)}
          <button class="button danger">${words.submit}</button>
        `,
      )}
    `,
    { mistakes },
  );
}
