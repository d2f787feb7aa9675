// One tunnel: how it stands, what is wrong with it, what goes through it, and what can be done to it.

import type { FastifyReply } from 'fastify';
import { formatEndpoint, formatIpv4, parseIpv4 } from '../../address.ts';
import type { SignedIn } from '../../broker/people-sign-in.ts';
import type { OwnTunnel, Period, TunnelResult } from '../../broker/tunnel-desk.ts';
import { failurePage } from '../failures.ts';
import type { Mistakes } from '../fields.ts';
import { bdi, code, type Html, html } from '../html.ts';
import { ago, formatBytes, formatNumber, formatRate } from '../quantities.ts';
import { HOME, type Routes } from '../routes.ts';
import { totalsOf, trafficGraph } from '../traffic-graph.ts';
import { EventStreams } from '../tunnel-events.ts';
import { lookAt, type TunnelLook } from '../tunnel-look.ts';
import { diagnosisHtml, factList, stateLine } from '../tunnel-parts.ts';
import type { Flash, Visit } from '../visit.ts';
import { comingFrom, fieldOf, prefixText } from './tunnels.ts';

type Page = (visit: Visit, me: SignedIn, tunnel: OwnTunnel) => FastifyReply | Promise<FastifyReply>;

const DAY_MS = 86_400_000;
const PERIODS: readonly Period[] = ['hour', 'day', 'month'];

/** Somebody else's tunnel is none: the answer is the same. */
export function ofTunnel(page: Page) {
  return async (visit: Visit, me: SignedIn): Promise<FastifyReply> => {
    const tunnel = await tunnelOf(visit, me);
    return tunnel ? page(visit, me, tunnel) : failurePage(visit, 'notFound');
  };
}

async function tunnelOf(visit: Visit, { person }: SignedIn): Promise<OwnTunnel | undefined> {
  const id = visit.param('id');
  return /^[1-9]\d{0,14}$/.test(id) ? visit.portal.tunnels.find(person, Number(id)) : undefined;
}

export function tunnelPages(routes: Routes): void {
  const { members } = routes;
  const streams = new EventStreams();
  routes.onClose(() => streams.closeAll());
  const path = `${HOME}/:id`;
  members.get(
    path,
    ofTunnel((visit, _me, tunnel) => tunnelPage(visit, tunnel)),
  );
  members.get(
    `${path}/events`,
    ofTunnel((visit, me, tunnel) => streams.open(visit, me, tunnel)),
  );
  members.get(
    `${path}/delete`,
    ofTunnel((visit, _me, tunnel) => deletePage(visit, tunnel)),
  );

  const act = (
    name: string,
    flash: Flash,
    work: (visit: Visit, me: SignedIn, tunnel: OwnTunnel) => Promise<TunnelResult>,
    next: (tunnel: OwnTunnel) => string = ({ id }) => `${HOME}/${id}`,
  ) =>
    members.post(
      `${path}/${name}`,
      ofTunnel(async (visit, me, tunnel) => {
        const result = await work(visit, me, tunnel);
        if (result.ok) return visit.redirect(next(tunnel), flash);
        const mistakes = { [fieldOf(result.refusal)]: result.refusal };
        return tunnelPage(visit, (await tunnelOf(visit, me)) ?? tunnel, mistakes);
      }),
    );

  act('pause', 'tunnel-paused', (visit, { person }, { id }) =>
    visit.portal.tunnels.pause(person, id, visit.visitor),
  );
  act('resume', 'tunnel-resumed', (visit, { person }, { id }) =>
    visit.portal.tunnels.resume(person, id, visit.visitor),
  );
  act(
    'delete',
    'tunnel-deleted',
    (visit, { person }, { id }) => visit.portal.tunnels.delete(person, id, visit.visitor),
    () => HOME,
  );
  act('place', 'tunnel-moved', async (visit, { person }, { id }) => {
    const client = parseIpv4(visit.field('client').trim());
    if (client === undefined) return { ok: false, refusal: 'address-invalid' };
    return visit.portal.tunnels.setClient(person, id, client, visit.visitor);
  });
  act('login', 'tunnel-waits', (visit, { person }, { id }) =>
    visit.portal.tunnels.setClient(person, id, undefined, visit.visitor),
  );
  act('names', 'name-servers-set', (visit, { person }, { id }) => {
    const names = visit.field('names').split(/\s+/).filter(Boolean);
    const { tunnels } = visit.portal;
    return tunnels.setNameServers(person, id, names.length > 0 ? names : undefined, visit.visitor);
  });
  act('prefix', 'prefix-added', (visit, { person }, { id }) =>
    visit.portal.tunnels.addPrefix(person, id, Number(visit.field('prefix')) || 64, visit.visitor),
  );
  members.post(`${path}/secret`, ofTunnel(secretPage));
}

async function tunnelPage(
  visit: Visit,
  tunnel: OwnTunnel,
  mistakes: Mistakes = {},
): Promise<FastifyReply> {
  const { tunnels: words } = visit.words;
  const look = await lookAt(visit.portal, tunnel);
  const { id, family, state, expiresAtMs } = tunnel;
  return visit.page({
    title: words.kind[family],
    kind: 'wide',
    status: Object.keys(mistakes).length > 0 ? 422 : 200,
    scripts: ['tunnel.js'],
    main: html`
      <div data-events="${HOME}/${id}/events">
      <p class="overline"><a href="${HOME}">${words.back}</a></p>
      <h1>${words.kind[family]}</h1>
      ${visit.fields(mistakes).summary()}
      ${stateLine(visit.language, look.state)}
      <p class="notice" data-unknown ${look.live && html`hidden`}>${words.liveUnknown}</p>
      ${state === 'paused' && html`<p>${words.pausedText}</p>`}
      ${expiresAtMs !== undefined && html`<p>${words.expires(html`${visit.time(expiresAtMs)}`)}</p>`}
      <section aria-labelledby="diagnosis">
        <h2 id="diagnosis">${words.diagnosis}</h2>
        <div data-live="diagnosis">${diagnosisHtml(visit.language, look)}</div>
      </section>
      <div class="facts">
        <section class="card" aria-labelledby="facts">
          <h2 id="facts">${words.facts}</h2>${addresses(visit, tunnel)}
        </section>
        <section class="card" aria-labelledby="connection">
          <h2 id="connection">${words.connection}</h2>${connection(visit, look)}
        </section>
      </div>
      ${await trafficSection(visit, tunnel)}
      <section aria-labelledby="set-up">
        <h2 id="set-up">${words.setUp}</h2>
        <p>${words.setUpText}</p>
        <p><a class="button" href="${HOME}/${id}/setup">${words.setUp}</a></p>
      </section>
      ${secretSection(visit, tunnel)}
      ${family === 'ipv6' && placeSection(visit, tunnel, mistakes)}
      ${family === 'ipv6' && (await prefixSection(visit, tunnel, mistakes))}
      ${manageSection(visit, tunnel)}
      </div>
    `,
  });
}

function addresses(visit: Visit, tunnel: OwnTunnel): Html {
  const { tunnels: words } = visit.words;
  const { address, gateway, link, prefix, family, mtu, nameServers } = tunnel;
  const length = link.slice(link.indexOf('/'));
  return factList([
    [words.address, code(address + length)],
    [words.gateway, code(gateway)],
    [words.prefix, family === 'ipv6' && (prefix === undefined ? words.noPrefix : code(prefix))],
    [words.mtu, words.octets(bdi(formatNumber(visit.language, mtu)))],
    [words.nameServers, nameServers.length > 0 && nameServers.map((name) => html`${code(name)} `)],
  ]);
}

function connection(visit: Visit, { tunnel, live }: TunnelLook): Html {
  const { tunnels: words } = visit.words;
  const { server } = visit.portal.tunnels.terms;
  const { encapsulation, endpoint, attachedAtMs, lastLoginAtMs, name } = tunnel;
  const nowMs = live?.nowMs ?? Date.now();
  const moment = (atMs: number | undefined, otherwise: string) =>
    atMs === undefined ? otherwise : ago(visit.language, atMs, nowMs);
  const seen = (atMs: number | undefined) => moment(atMs, live ? words.never : words.unknown);
  const { inLastSeenMs, outLastSeenMs } = live?.counters ?? {};
  const host = server.name || (server.address === undefined ? '' : formatIpv4(server.address));
  return factList([
    [words.server, host !== '' && code(host)],
    [words.user, bdi(name)],
    [words.encapsulation, words.by[encapsulation]],
    [words.endpoint, endpoint && code(formatEndpoint(endpoint).replace(/:0$/, ''))],
    [words.nat, encapsulation !== 'v4v6' && words.natWords[live?.nat ?? 'unknown']],
    [words.lastIn, html`<span data-live="last-in">${seen(inLastSeenMs)}</span>`],
    [words.lastOut, html`<span data-live="last-out">${seen(outLastSeenMs)}</span>`],
    [words.connectedSince, attachedAtMs !== undefined && visit.time(attachedAtMs)],
    [words.lastLogin, moment(lastLoginAtMs, words.never)],
  ]);
}

async function trafficSection(visit: Visit, { id }: OwnTunnel): Promise<Html> {
  const { tunnels: words } = visit.words;
  const { language, portal, signedIn } = visit;
  const period = PERIODS.find((each) => each === visit.field('period')) ?? 'hour';
  const traffic = signedIn && (await portal.tunnels.traffic(signedIn.person, id, period));
  const totals = traffic && totalsOf(traffic);
  const span = html`${words.lastPeriod[period]}`;
  const summary =
    totals && totals.inBytes + totals.outBytes > 0
      ? words.trafficOf(
          span,
          bdi(formatBytes(language, totals.inBytes)),
          bdi(formatBytes(language, totals.outBytes)),
        )
      : words.trafficNone(span);
  const ticks = traffic ? ticksOf(visit, period, traffic.fromMs, traffic.untilMs) : [];
  return html`
    <section aria-labelledby="traffic">
      <h2 id="traffic">${words.traffic}</h2>
      <nav class="periods" aria-label="${words.periods}">
        ${PERIODS.map(
          (each) =>
            html`<a href="?period=${each}#traffic" ${each === period && html`aria-current="true"`}>${words.period[each]}</a>`,
        )}
      </nav>
      <figure class="traffic" dir="ltr">
        ${traffic && trafficGraph(traffic, words.traffic, ticks)}
        <figcaption dir="${language.direction}">
          ${summary} ${totals && totals.peakRate > 0 && words.trafficPeak(bdi(formatRate(language, totals.peakRate)))}
          <span class="key to">${words.toYou}</span> <span class="key from">${words.fromYou}</span>
        </figcaption>
      </figure>
      <figure class="traffic live" data-graph hidden dir="ltr">
        <svg class="graph" viewBox="0 0 720 120" aria-hidden="true" focusable="false">
          <path class="to" data-line="to" d=""></path><path class="from" data-line="from" d=""></path>
          <path class="axis" d="M0 60H720"></path>
        </svg>
        <figcaption dir="${language.direction}">
          ${words.now}: <bdi data-live="to-rate"></bdi> ${words.toYou}, <bdi data-live="from-rate"></bdi> ${words.fromYou}
        </figcaption>
      </figure>
    </section>
  `;
}

function ticksOf(visit: Visit, period: Period, fromMs: number, untilMs: number): string[] {
  const format = new Intl.DateTimeFormat(visit.language.locale, {
    timeZone: 'UTC',
    ...(period === 'month' ? { day: 'numeric', month: 'short' } : { timeStyle: 'short' }),
  });
  return [0, 0.25, 0.5, 0.75, 1].map((part) => format.format(fromMs + part * (untilMs - fromMs)));
}

function secretSection(visit: Visit, { id }: OwnTunnel): Html {
  const { secret: words } = visit.words.tunnels;
  return html`
    <section aria-labelledby="secret">
      <h2 id="secret">${words.title}</h2>
      <p>${words.text}</p>
      ${visit.form(`${HOME}/${id}/secret`, html`<button class="button quiet">${words.rotate}</button>`)}
    </section>
  `;
}

/** The answer to a form and nothing that can be loaded again: the secret is shown once. */
async function secretPage(visit: Visit, { person }: SignedIn, tunnel: OwnTunnel) {
  const { secret: words } = visit.words.tunnels;
  const made = await visit.portal.tunnels.rotateSecret(person, visit.visitor);
  if (!made.ok) return tunnelPage(visit, tunnel, { form: made.refusal });
  return visit.page({
    title: words.shownTitle,
    kind: 'form',
    scripts: ['tunnel.js'],
    main: html`
      <h1>${words.shownTitle}</h1>
      <p class="lead">${words.shownText}</p>
      ${factList([[words.userName, code(tunnel.name)]])}
      <p class="secret" data-copy>${code(made.secret)}</p>
      <p><a class="button" href="${HOME}/${tunnel.id}">${words.done}</a></p>
    `,
  });
}

function placeSection(visit: Visit, tunnel: OwnTunnel, mistakes: Mistakes): Html {
  const { place: words } = visit.words.tunnels;
  const { id, isStatic, setup, name } = tunnel;
  const fields = visit.fields(mistakes);
  const known = setup?.staticClient === undefined ? '' : formatIpv4(setup.staticClient);
  return html`
    <section aria-labelledby="place">
      <h2 id="place">${words.title}</h2>
      <p>${isStatic ? words.staticText(code(known)) : words.loginText}</p>
      ${visit.form(
        `${HOME}/${id}/place`,
        html`
          ${fields.input({
            name: 'client',
            label: words.client,
            hint: comingFrom(visit),
            value: visit.field('client') || known,
            autocomplete: 'off',
            ltr: true,
            maxLength: 15,
          })}
          <button class="button quiet">${words.set}</button>
        `,
      )}
      ${
        isStatic &&
        html`
          ${visit.form(`${HOME}/${id}/login`, html`<button class="button quiet">${words.toLogin}</button>`)}
          <p>${words.dyndns}</p>
          ${factList([
            [words.dyndnsServer, code(`${visit.portal.service.url}/nic/update`)],
            [words.dyndnsHost, code(String(id))],
            [words.dyndnsUser, code(name)],
            [words.dyndnsPassword, words.dyndnsPasswordText],
          ])}
        `
      }
    </section>
  `;
}

async function prefixSection(visit: Visit, tunnel: OwnTunnel, mistakes: Mistakes): Promise<Html> {
  const { names, addPrefix } = visit.words.tunnels;
  const { id, prefix, nameServers } = tunnel;
  const fields = visit.fields(mistakes);
  if (prefix !== undefined)
    return html`
      <section aria-labelledby="reverse">
        <h2 id="reverse">${names.title}</h2>
        <p>${names.text(code(prefix))}</p>
        ${visit.form(
          `${HOME}/${id}/names`,
          html`
            ${fields.lines('names', names.label, visit.field('names') || nameServers.join('\n'), 3)}
            <button class="button quiet">${names.set}</button>
          `,
        )}
      </section>
    `;
  const { prefixLengths } = await visit.portal.tunnels.offered();
  if (prefixLengths.length === 0) return html``;
  const options = prefixLengths.map((length) => ({
    value: String(length),
    text: prefixText(visit, length),
  }));
  return html`
    <section aria-labelledby="add-prefix">
      <h2 id="add-prefix">${addPrefix.title}</h2>
      <p>${addPrefix.text}</p>
      ${visit.form(
        `${HOME}/${id}/prefix`,
        html`
          ${fields.select('prefix', visit.words.tunnels.prefix, options, options.at(-1)?.value)}
          <button class="button quiet">${addPrefix.submit}</button>
        `,
      )}
    </section>
  `;
}

function manageSection(visit: Visit, { id, state, isStatic }: OwnTunnel): Html {
  const { tunnels: words } = visit.words;
  if (state === 'disabled') return html``;
  const button = (name: string, text: string) =>
    visit.form(`${HOME}/${id}/${name}`, html`<button class="button quiet">${text}</button>`);
  return html`
    <section aria-labelledby="manage">
      <h2 id="manage">${words.manage}</h2>
      ${state !== 'paused' && html`<p>${words.pauseText}</p>`}
      <div class="actions">
        ${state === 'paused' ? button('resume', words.resume) : button('pause', words.pause)}
        ${state === 'down' && isStatic && button('resume', words.bringUp)}
        <a class="button quiet" href="${HOME}/${id}/delete">${words.delete}</a>
      </div>
    </section>
  `;
}

function deletePage(visit: Visit, { id, address, prefix }: OwnTunnel): FastifyReply {
  const { tunnels: words } = visit.words;
  const { deletedHoldMs } = visit.portal.tunnels.terms;
  const days = bdi(formatNumber(visit.language, Math.round(deletedHoldMs / DAY_MS)));
  return visit.page({
    title: words.deleteTitle,
    kind: 'form',
    main: html`
      <p class="overline"><a href="${HOME}/${id}">${words.backTo}</a></p>
      <h1>${words.deleteTitle}</h1>
      ${factList([
        [words.address, code(address)],
        [words.prefix, prefix !== undefined && code(prefix)],
      ])}
      <p>${deletedHoldMs === 0 ? words.deleteNow : words.deleteText(days)}</p>
      ${visit.form(`${HOME}/${id}/delete`, html`<button class="button danger">${words.deleteSubmit}</button>`)}
    `,
  });
}
