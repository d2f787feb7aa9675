// Signing up, with an invitation or without, and the link in the mail that makes it true.

import type { FastifyReply } from 'fastify';
import { PASSWORD_CHARACTERS } from '../../broker/people-passwords.ts';
import type { Invited } from '../../broker/people-sign-ups.ts';
import type { Mistakes } from '../fields.ts';
import { bdi, html } from '../html.ts';
import { HOME, type Routes } from '../routes.ts';
import type { Visit } from '../visit.ts';

/** Which field each refusal is about. */
const FIELD_OF = {
  'email-invalid': 'email',
  'email-not-invited': 'email',
  'domain-not-allowed': 'email',
  'name-invalid': 'userName',
  'name-taken': 'userName',
  'password-short': 'password',
  'password-long': 'password',
  'password-obvious': 'password',
  'no-such-invitation': 'form',
  'too-many': 'form',
  closed: 'form',
} as const;

export function signUpPages({ anybody }: Routes): void {
  anybody.get('/sign-up', (visit) => signUpPage(visit));
  // What the link in an invitation leads to.
  anybody.get('/invitation', (visit) => signUpPage(visit));

  anybody.post('/sign-up', async (visit) => {
    const code = visit.field('code');
    const refusal = await visit.portal.people.signUps.signUp(
      {
        email: visit.field('email'),
        userName: visit.field('userName'),
        password: visit.field('password'),
        code: code === '' ? undefined : code,
      },
      visit.visitor,
    );
    if (refusal !== undefined) return signUpPage(visit, { [FIELD_OF[refusal]]: refusal });
    const { signUp: words } = visit.words;
    return visit.page({
      title: words.sentTitle,
      kind: 'form',
      main: html`
        <h1>${words.sentTitle}</h1>
        <p class="lead">${words.sentText(bdi(visit.field('email')))}</p>
        <p>${words.sentSpam}</p>
      `,
    });
  });

  anybody.get('/verify', (visit) => verifyPage(visit));

  anybody.post('/verify', async (visit) => {
    const { signUps, signIns } = visit.portal.people;
    const token = visit.field('token');
    const renamed = visit.field('userName');
    const result = await signUps.confirm(
      token,
      visit.field('password'),
      renamed === '' ? undefined : renamed,
      visit.visitor,
    );
    switch (result) {
      case 'no-such-token':
      case 'no-such-invitation':
      case 'email-taken':
        return deadLinkPage(visit);
      case 'password-wrong':
        return verifyPage(visit, { password: 'password-wrong' });
      case 'name-invalid':
      case 'name-taken':
      case 'user-taken':
        return verifyPage(visit, { userName: result });
    }
    if (result.state !== 'active') {
      const { verify: words } = visit.words;
      return visit.page({
        title: words.waitingTitle,
        kind: 'form',
        main: html`<h1>${words.waitingTitle}</h1><p class="lead">${words.waitingText}</p>`,
      });
    }
    visit.signIn(await signIns.signInVerified(result, visit.visitor));
    return visit.redirect(HOME, 'welcome');
  });
}

async function signUpPage(visit: Visit, mistakes: Mistakes = {}): Promise<FastifyReply> {
  const { signUp: words, form, layout } = visit.words;
  const { signUps } = visit.portal.people;
  const code = visit.field('code');
  const invited = code === '' ? undefined : await signUps.invitation(code);
  const found: Mistakes =
    code !== '' && !invited ? { form: 'no-such-invitation', ...mistakes } : mistakes;
  const fields = visit.fields(found);
  const open = invited !== undefined || !['closed', 'invitation'].includes(signUps.policy);
  if (!open)
    return visit.page({
      title: words.title,
      kind: 'form',
      status: code === '' ? 200 : 404,
      main: html`
        <h1>${words.title}</h1>
        ${fields.summary()}
        <p class="lead">${signUps.policy === 'closed' ? words.closed : words.byInvitation}</p>
        <p class="aside">${words.haveAccount} <a href="/sign-in">${layout.signIn}</a></p>
      `,
    });
  return visit.page({
    title: words.title,
    kind: 'form',
    status: Object.keys(mistakes).length > 0 ? 422 : 200,
    main: html`
      <h1>${words.title}</h1>
      ${fields.summary()}
      ${invited && html`<p class="lead">${greeting(visit, invited)}</p>`}
      <p>${words.text} ${!invited && signUps.policy === 'approval' && words.approval}</p>
      ${visit.form(
        '/sign-up',
        html`
          ${invited && html`<input type="hidden" name="code" value="${code}">`}
          ${fields.input({
            name: 'email',
            label: form.email,
            type: 'email',
            value: visit.field('email') || invited?.email,
            autocomplete: 'email',
          })}
          ${
            !invited?.user &&
            fields.input({
              name: 'userName',
              label: form.userName,
              value: visit.field('userName'),
              hint: isStaff(invited) ? words.staffNameHint : words.userNameHint,
              required: !isStaff(invited),
              autocomplete: 'off',
              ltr: true,
              maxLength: 64,
            })
          }
          ${fields.input({
            name: 'password',
            label: form.password,
            type: 'password',
            hint: form.passwordHint(bdi(PASSWORD_CHARACTERS)),
            autocomplete: 'new-password',
          })}
          <button class="button">${words.submit}</button>
        `,
      )}
      <p class="aside">${words.haveAccount} <a href="/sign-in">${layout.signIn}</a></p>
    `,
  });
}

function isStaff(invited: Invited | undefined): boolean {
  return invited !== undefined && invited.role !== 'user';
}

function greeting(visit: Visit, { user }: Invited) {
  const { signUp: words } = visit.words;
  return user ? words.invitedAs(bdi(user.name)) : words.invited;
}

/** Only a form: what only reads mails must not use the link up. */
async function verifyPage(visit: Visit, mistakes: Mistakes = {}): Promise<FastifyReply> {
  const token = visit.field('token');
  const pending = await visit.portal.people.signUps.pending(token);
  if (!pending) return deadLinkPage(visit);
  const { verify: words, form } = visit.words;
  const fields = visit.fields(mistakes);
  return visit.page({
    title: words.title,
    kind: 'form',
    status: Object.keys(mistakes).length > 0 ? 422 : 200,
    main: html`
      <h1>${words.title}</h1>
      ${fields.summary()}
      <p>${words.text(bdi(pending.email))}</p>
      ${visit.form(
        '/verify',
        html`
          <input type="hidden" name="token" value="${token}">
          ${
            mistakes.userName !== undefined || visit.field('userName') !== ''
              ? fields.input({
                  name: 'userName',
                  label: form.userName,
                  value: visit.field('userName') || pending.userName,
                  hint: words.renameText,
                  autocomplete: 'off',
                  ltr: true,
                  maxLength: 64,
                })
              : undefined
          }
          ${fields.ownPassword(pending.email)}
          <button class="button">${words.submit}</button>
        `,
      )}
    `,
  });
}

function deadLinkPage(visit: Visit): FastifyReply {
  const { verify: words, layout } = visit.words;
  return visit.page({
    title: words.badTitle,
    kind: 'form',
    status: 404,
    main: html`
      <h1>${words.badTitle}</h1>
      <p class="lead">${words.badText}</p>
      <p class="actions">
        <a class="button" href="/sign-up">${layout.signUp}</a>
        <a class="button quiet" href="/sign-in">${layout.signIn}</a>
      </p>
    `,
  });
}
