// My tunnels, where people are after signing in; and getting one.

import type { FastifyReply } from 'fastify';
import { formatIp, parseIpv4 } from '../../address.ts';
import type { SignedIn } from '../../broker/people-sign-in.ts';
import type { OwnTunnel, TunnelRefusal } from '../../broker/tunnel-desk.ts';
import { announcements } from '../announcements.ts';
import type { Mistakes } from '../fields.ts';
import { code, type Html, html } from '../html.ts';
import { formatNumber } from '../quantities.ts';
import { HOME, type Routes } from '../routes.ts';
import { lookAt, type TunnelLook } from '../tunnel-look.ts';
import { diagnosisHtml, factList, stateLine } from '../tunnel-parts.ts';
import type { Visit } from '../visit.ts';

export function tunnelsPages({ members }: Routes): void {
  members.get(HOME, listPage);
  members.get(`${HOME}/new`, (visit, me) => createPage(visit, me));

  members.post(`${HOME}/new`, async (visit, { person, session }) => {
    const family = visit.field('family') === 'ipv4' ? 'ipv4' : 'ipv6';
    const length = Number(visit.field('prefix')) || undefined;
    const isStatic = family === 'ipv6' && visit.field('way') === 'static';
    const client = isStatic ? parseIpv4(visit.field('client').trim()) : undefined;
    if (isStatic && client === undefined)
      return createPage(visit, { person, session }, { client: 'address-invalid' });
    const result = await visit.portal.tunnels.create(
      person,
      { family, client, prefixLength: family === 'ipv6' ? length : undefined },
      visit.visitor,
    );
    if (!result.ok)
      return createPage(visit, { person, session }, { [fieldOf(result.refusal)]: result.refusal });
    return visit.redirect(`${HOME}/${result.tunnelId}`, 'tunnel-made');
  });
}

/** Which field of a form a refusal is about. */
export function fieldOf(refusal: TunnelRefusal): string {
  if (refusal.startsWith('address-') || refusal === 'proxy-not-allowed') return 'client';
  if (refusal === 'no-free-prefix' || refusal === 'prefix-length-unavailable') return 'prefix';
  return refusal === 'name-servers-invalid' ? 'names' : 'form';
}

async function listPage(visit: Visit, { person }: SignedIn): Promise<FastifyReply> {
  const { tunnels: words } = visit.words;
  const announced = await announcements(visit);
  const own = await visit.portal.tunnels.list(person);
  const looks = await Promise.all(own.map((tunnel) => lookAt(visit.portal, tunnel)));
  const offered = await visit.portal.tunnels.offered();
  const has = (family: OwnTunnel['family']) =>
    own.some((each) => each.family === family && each.state !== 'deleted');
  const mayHaveMore = person.user && (!has('ipv6') || (offered.ipv4 && !has('ipv4')));
  const isKnown = looks.every(({ live }) => live);
  return visit.page({
    title: words.title,
    kind: 'wide',
    main: html`
      ${announced}
      <h1>${words.title}</h1>
      <p class="lead">${person.user ? (own.length > 0 ? words.lead : words.none) : words.noUser}</p>
      ${!isKnown && html`<p class="notice">${words.liveUnknown}</p>`}
      <ul class="cards">${looks.map((look) => card(visit, look))}</ul>
      ${
        mayHaveMore &&
        html`<p><a class="button${own.length > 0 && ' quiet'}" href="${HOME}/new">${
          own.length > 0 ? words.another : words.create.title
        }</a></p>`
      }
    `,
  });
}

function card(visit: Visit, look: TunnelLook): Html {
  const { tunnels: words } = visit.words;
  const { tunnel, state } = look;
  const { id, family, address, prefix, expiresAtMs } = tunnel;
  const isHeld = state === 'deleted';
  const first = { ...look, findings: look.findings.slice(0, 1) };
  return html`
    <li class="card tunnel">
      <h2>${
        isHeld ? words.kind[family] : html`<a href="${HOME}/${id}">${words.kind[family]}</a>`
      }</h2>
      ${stateLine(visit.language, state)}
      ${factList([
        [words.address, code(address)],
        [words.prefix, prefix !== undefined && code(prefix)],
      ])}
      ${isHeld && html`<p>${words.heldUntil(html`${visit.time(expiresAtMs)}`)}</p>`}
      ${state === 'paused' && html`<p>${words.pausedText}</p>`}
      ${first.findings.length > 0 && diagnosisHtml(visit.language, first)}
      ${!isHeld && html`<p><a href="${HOME}/${id}">${words.open}<span class="unseen"> – ${words.kind[family]}</span></a></p>`}
    </li>
  `;
}

async function createPage(
  visit: Visit,
  { person }: SignedIn,
  mistakes: Mistakes = {},
): Promise<FastifyReply> {
  const { tunnels: all } = visit.words;
  const { create: words } = all;
  const offered = await visit.portal.tunnels.offered();
  const fields = visit.fields(person.user ? mistakes : { form: 'no-user', ...mistakes });
  const { address } = visit.visitor;
  const isPost = visit.request.method === 'POST';
  return visit.page({
    title: words.title,
    kind: 'form',
    status: Object.keys(mistakes).length > 0 ? 422 : 200,
    main: html`
      <p class="overline"><a href="${HOME}">${all.back}</a></p>
      <h1>${words.title}</h1>
      ${fields.summary()}
      ${visit.form(
        `${HOME}/new`,
        html`
          ${
            offered.ipv4 &&
            fields.radios(
              'family',
              words.family,
              [
                { value: 'ipv6', text: words.ipv6 },
                {
                  value: 'ipv4',
                  text: html`${words.ipv4} <span class="hint">${words.clientOnly}</span>`,
                },
              ],
              visit.field('family') || 'ipv6',
            )
          }
          ${fields.radios(
            'way',
            words.way,
            [
              { value: 'login', text: words.login },
              { value: 'static', text: words.static },
            ],
            visit.field('way') || 'login',
          )}
          ${fields.input({
            name: 'client',
            label: words.client,
            hint: html`${words.clientHint} ${comingFrom(visit)}`,
            value: isPost
              ? visit.field('client')
              : typeof address === 'number'
                ? formatIp(address)
                : '',
            required: false,
            autocomplete: 'off',
            ltr: true,
            maxLength: 15,
          })}
          ${fields.select(
            'prefix',
            words.prefix,
            [
              { value: '', text: words.noPrefix },
              ...offered.prefixLengths.map((length) => ({
                value: String(length),
                text: prefixText(visit, length),
              })),
            ],
            isPost ? visit.field('prefix') : String(offered.prefixLengths.at(-1) ?? ''),
          )}
          <button class="button">${words.submit}</button>
        `,
      )}
    `,
  });
}

export function comingFrom(visit: Visit): Html {
  const { place: words } = visit.words.tunnels;
  const { address } = visit.visitor;
  return typeof address === 'number'
    ? words.youComeFrom(code(formatIp(address)))
    : html`${words.youComeByIpv6}`;
}

/** How many networks of a /64 there are in it. */
export function prefixText(visit: Visit, length: number): string {
  const { create: words } = visit.words.tunnels;
  const count = 2 ** Math.max(0, 64 - length);
  const networks =
    count === 1 ? words.oneNetwork : words.networks(formatNumber(visit.language, count));
  return words.prefixOf(length, networks);
}
