// The front page: what this is, whether it works, and where the visitor comes from. And the choice of
// the language, which is on every page.

import { formatIp } from '../../address.ts';
import { announcements } from '../announcements.ts';
import { tunnelDrawing } from '../drawing.ts';
import { code, html } from '../html.ts';
import { languageOf } from '../i18n/languages.ts';
import type { Routes } from '../routes.ts';
import { localPath, type Visit } from '../visit.ts';

export function frontPages({ anybody }: Routes): void {
  anybody.get('/', async (visit) => {
    const { front: words } = visit.words;
    const { portal, visitor } = visit;
    const [situation, isUp, announced] = await Promise.all([
      portal.visitors.situation(visitor.address),
      portal.isUp(),
      announcements(visit),
    ]);
    const via = { ipv4: words.viaIpv4, ipv6: words.viaIpv6, tunnel: words.viaTunnel }[situation];
    const good = situation !== 'ipv4';
    return visit.page({
      title: portal.service.name,
      kind: 'wide',
      main: html`
        ${announced}
        <section class="hero">
          <div>
            <h1>${words.title}</h1>
            <p class="lead">${words.lead}</p>
            ${invitation(visit)}
          </div>
          ${tunnelDrawing()}
        </section>
        <div class="facts">
          <section class="card" aria-labelledby="you">
            <h2 id="you" class="overline">${words.you}</h2>
            <p class="label">${words.comeFrom}</p>
            <p class="figure">${code(formatIp(visitor.address))}</p>
            <p class="state ${good ? 'good' : 'plainly'}">${via}</p>
          </section>
          <section class="card" aria-labelledby="service">
            <h2 id="service" class="overline">${words.service}</h2>
            <p class="label"><bdi>${portal.service.name}</bdi></p>
            <p class="state ${isUp ? 'good' : 'bad'}">${isUp ? words.up : words.down}</p>
          </section>
        </div>
        <section aria-labelledby="features">
          <h2 id="features">${words.features}</h2>
          <div class="features">
            <div><h3>${words.prefix}</h3><p>${words.prefixText}</p></div>
            <div><h3>${words.nat}</h3><p>${words.natText}</p></div>
            <div><h3>${words.plain}</h3><p>${words.plainText}</p></div>
          </div>
        </section>
      `,
    });
  });

  anybody.post('/language', async (visit) => {
    const language = languageOf(visit.field('language'));
    if (language) {
      visit.rememberLanguage(language);
      if (visit.signedIn)
        await visit.portal.people.account.setLanguage(visit.signedIn.person, language.tag);
    }
    return visit.redirect(localPath(visit.field('back')) ?? '/');
  });
}

function invitation(visit: Visit) {
  const { words, portal, signedIn } = visit;
  if (signedIn) return html`<p><a class="button" href="/tunnels">${words.tunnels.title}</a></p>`;
  const { policy } = portal.people.signUps;
  const signIn = html`<a class="button quiet" href="/sign-in">${words.layout.signIn}</a>`;
  if (policy === 'closed')
    return html`<p class="actions">${signIn}</p><p class="hint">${words.front.closed}</p>`;
  if (policy === 'invitation')
    return html`<p class="actions">${signIn}</p><p class="hint">${words.front.byInvitation}</p>`;
  return html`
    <p class="actions"><a class="button" href="/sign-up">${words.front.start}</a> ${signIn}</p>
  `;
}
