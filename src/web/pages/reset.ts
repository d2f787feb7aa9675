// The forgotten password: asking for a link, and setting another one with it.

import type { FastifyReply } from 'fastify';
import { PASSWORD_CHARACTERS } from '../../broker/people-passwords.ts';
import type { Mistakes } from '../fields.ts';
import { bdi, html } from '../html.ts';
import type { Routes } from '../routes.ts';
import type { Visit } from '../visit.ts';

export function resetPages({ anybody }: Routes): void {
  anybody.get('/reset', (visit) => askPage(visit));

  anybody.post('/reset', async (visit) => {
    const { account } = visit.portal.people;
    const email = visit.field('email');
    const result = await account.askForReset(email, visit.visitor);
    if (result === 'too-many') return askPage(visit, { form: result });
    const { reset: words } = visit.words;
    return visit.page({
      title: words.sentTitle,
      kind: 'form',
      main: html`<h1>${words.sentTitle}</h1><p class="lead">${words.sentText(bdi(email))}</p>`,
    });
  });

  anybody.get('/reset/set', (visit) => setPage(visit));

  anybody.post('/reset/set', async (visit) => {
    const { account } = visit.portal.people;
    const token = visit.field('token');
    const refusal = await account.reset(token, visit.field('password'), visit.visitor);
    if (refusal === 'no-such-token') return deadLinkPage(visit);
    if (refusal !== undefined) return setPage(visit, { password: refusal });
    return visit.redirect('/sign-in', 'password-set');
  });
}

function askPage(visit: Visit, mistakes: Mistakes = {}): FastifyReply {
  const { reset: words, form } = visit.words;
  const fields = visit.fields(mistakes);
  return visit.page({
    title: words.askTitle,
    kind: 'form',
    status: mistakes.form === undefined ? 200 : 429,
    main: html`
      <h1>${words.askTitle}</h1>
      ${fields.summary()}
      <p>${words.askText}</p>
      ${visit.form(
        '/reset',
        html`
          ${fields.input({
            name: 'email',
            label: form.email,
            type: 'email',
            value: visit.field('email'),
            autocomplete: 'username',
          })}
          <button class="button">${words.askSubmit}</button>
        `,
      )}
    `,
  });
}

async function setPage(visit: Visit, mistakes: Mistakes = {}): Promise<FastifyReply> {
  const token = visit.field('token');
  const person = await visit.portal.people.account.resetOf(token);
  if (!person) return deadLinkPage(visit);
  const { reset: words, form } = visit.words;
  const fields = visit.fields(mistakes);
  return visit.page({
    title: words.title,
    kind: 'form',
    status: Object.keys(mistakes).length > 0 ? 422 : 200,
    main: html`
      <h1>${words.title}</h1>
      ${fields.summary()}
      <p>${words.text}</p>
      ${visit.form(
        '/reset/set',
        html`
          <input type="hidden" name="token" value="${token}">
          ${fields.owner(person.email)}
          ${fields.input({
            name: 'password',
            label: form.newPassword,
            type: 'password',
            hint: form.passwordHint(bdi(PASSWORD_CHARACTERS)),
            autocomplete: 'new-password',
          })}
          <button class="button">${words.submit}</button>
        `,
      )}
    `,
  });
}

function deadLinkPage(visit: Visit): FastifyReply {
  const { reset: words } = visit.words;
  return visit.page({
    title: words.badTitle,
    kind: 'form',
    status: 404,
    main: html`
      <h1>${words.badTitle}</h1>
      <p class="lead">${words.badText}</p>
      <p><a class="button" href="/reset">${words.askTitle}</a></p>
    `,
  });
}
