// Signing in, in one step or two, and out.

import type { FastifyReply } from 'fastify';
import type { Mistakes } from '../fields.ts';
import { html } from '../html.ts';
import { HOME, type Routes } from '../routes.ts';
import { localPath, type Visit } from '../visit.ts';

export function signInPages({ anybody, members }: Routes): void {
  anybody.get('/sign-in', async (visit) => {
    if (visit.signedIn) return visit.redirect(localPath(visit.field('next')) ?? HOME);
    return signInPage(visit);
  });

  anybody.post('/sign-in', async (visit) => {
    const { signIns } = visit.portal.people;
    const result = await signIns.signIn(
      visit.field('email'),
      visit.field('password'),
      visit.visitor,
    );
    if (!result.ok) return signInPage(visit, { form: result.refusal });
    const next = localPath(visit.field('next'));
    visit.signIn(result.token);
    if (result.stage === 'signed-in') return visit.redirect(next ?? HOME);
    const query = next === undefined ? '' : `?next=${encodeURIComponent(next)}`;
    return visit.redirect(`/sign-in/code${query}`);
  });

  anybody.get('/sign-in/code', async (visit) => {
    if (visit.signedIn) return visit.redirect(HOME);
    return visit.session ? codePage(visit) : visit.redirect('/sign-in');
  });

  anybody.post('/sign-in/code', async (visit) => {
    const { session, visitor, portal } = visit;
    if (session?.session.stage !== 'second-factor') return visit.redirect('/sign-in');
    const result = await portal.people.signIns.secondFactor(session, visit.field('code'), visitor);
    if (!result.ok)
      return codePage(visit, {
        code: result.refusal === 'wrong' ? 'code-wrong' : result.refusal,
      });
    visit.signIn(result.token);
    return visit.redirect(localPath(visit.field('next')) ?? HOME);
  });

  members.post('/sign-out', async (visit, { session, person }) => {
    await visit.portal.people.signIns.endSession(person.id, session.id, visit.visitor);
    visit.forget();
    return visit.redirect('/', 'signed-out');
  });
}

function signInPage(visit: Visit, mistakes: Mistakes = {}): FastifyReply {
  const { signIn: words, form, layout } = visit.words;
  const fields = visit.fields(mistakes);
  const failed = Object.keys(mistakes).length > 0;
  const { policy } = visit.portal.people.signUps;
  return visit.page({
    title: words.title,
    kind: 'form',
    status: failed ? 422 : 200,
    main: html`
      <h1>${words.title}</h1>
      ${fields.summary()}
      ${visit.form(
        '/sign-in',
        html`
          <input type="hidden" name="next" value="${localPath(visit.field('next'))}">
          ${fields.input({
            name: 'email',
            label: form.email,
            type: 'email',
            value: visit.field('email'),
            autocomplete: 'username',
          })}
          ${fields.input({
            name: 'password',
            label: form.password,
            type: 'password',
            autocomplete: 'current-password',
          })}
          <button class="button">${words.submit}</button>
        `,
      )}
      <p class="aside"><a href="/reset">${words.forgotten}</a></p>
      ${
        policy !== 'closed' &&
        policy !== 'invitation' &&
        html`<p class="aside">${words.noAccount} <a href="/sign-up">${layout.signUp}</a></p>`
      }
    `,
  });
}

function codePage(visit: Visit, mistakes: Mistakes = {}): FastifyReply {
  const { signIn: words, form } = visit.words;
  const fields = visit.fields(mistakes);
  const failed = Object.keys(mistakes).length > 0;
  return visit.page({
    title: words.secondTitle,
    kind: 'form',
    status: failed ? 422 : 200,
    main: html`
      <h1>${words.secondTitle}</h1>
      ${fields.summary()}
      <p>${words.secondText}</p>
      ${visit.form(
        '/sign-in/code',
        html`
          <input type="hidden" name="next" value="${localPath(visit.field('next'))}">
          ${fields.input({
            name: 'code',
            label: form.code,
            autocomplete: 'one-time-code',
            ltr: true,
            maxLength: 20,
          })}
          <button class="button">${words.secondSubmit}</button>
        `,
      )}
      <p class="aside"><a href="/sign-in">${words.startOver}</a></p>
    `,
  });
}
