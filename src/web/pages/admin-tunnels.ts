// Tunnels: finding one, what it is, its limits, ending it.

import type { FastifyReply } from 'fastify';
import { formatEndpoint, formatIp, formatIpv6, formatPrefix } from '../../address.ts';
import type { Found } from '../../broker/desk-parts.ts';
import type { TunnelListState, TunnelRefusal } from '../../broker/desk-tunnels.ts';
import { ipv4ViewOf } from '../../broker/ipv4-tunnels.ts';
import type { SignedIn } from '../../broker/people-sign-in.ts';
import { type Permission, permits } from '../../broker/permissions.ts';
import { effectivePolicy } from '../../broker/policy.ts';
import { failurePage } from '../failures.ts';
import type { Mistakes } from '../fields.ts';
import { bitRate } from '../figures.ts';
import { bdi, code, type Html, type HtmlValue, html } from '../html.ts';
import type { Routes } from '../routes.ts';
import type { Flash, Visit } from '../visit.ts';
import { actsTable } from './admin-audit.ts';
import {
  actLink,
  actorOf,
  askPage,
  deskPage,
  facts,
  filters,
  LISTED,
  limitsFields,
  limitsForm,
  may,
  pager,
  parseLimits,
  table,
  writeLimits,
} from './admin-parts.ts';

const STATES: readonly TunnelListState[] = ['up', 'down', 'disabled', 'anonymous'];

interface Act {
  readonly permission: Permission;
  readonly danger: boolean;
  readonly flash: Flash;
  readonly fits: (tunnel: Found) => boolean;
  readonly run: (visit: Visit, me: SignedIn, id: number) => Promise<'done' | TunnelRefusal>;
  readonly gone?: boolean;
}

/** Each has a page that asks, below the tunnel's, and is done by its form. */
const ACTS = {
  disable: {
    permission: 'tunnels.disable',
    danger: true,
    flash: 'admin-disabled',
    fits: ({ state }) => state === 'enabled',
    run: (visit, me, id) => visit.portal.desk.tunnels.disable(id, actorOf(visit, me)),
  },
  enable: {
    permission: 'tunnels.disable',
    danger: false,
    flash: 'admin-enabled',
    fits: ({ state }) => state === 'disabled',
    run: (visit, me, id) => visit.portal.desk.tunnels.enable(id, actorOf(visit, me)),
  },
  close: {
    permission: 'tunnels.close',
    danger: true,
    flash: 'admin-closed',
    fits: () => true,
    run: (visit, me, id) => visit.portal.desk.tunnels.close(id, actorOf(visit, me)),
    gone: true,
  },
} as const satisfies Record<string, Act>;

type ActName = keyof typeof ACTS;
const ACT_NAMES = Object.keys(ACTS) as ActName[];

export function tunnelDeskPages(routes: Routes): void {
  routes.staff('tunnels.see').get('/admin/tunnels', listPage);
  routes.staff('tunnels.see').get('/admin/tunnels/:id', (visit, me) => tunnelPage(visit, me));

  routes.staff('tunnels.limit').post('/admin/tunnels/:id/limits', async (visit, me) => {
    const id = visit.id() ?? 0;
    const parsed = parseLimits(limitsForm(visit));
    if ('mistakes' in parsed) return tunnelPage(visit, me, parsed.mistakes);
    const { tunnels } = visit.portal.desk;
    const result = await tunnels.setLimits(id, parsed.change, actorOf(visit, me));
    if (result !== 'done') return failurePage(visit, 'notFound');
    return visit.redirect(`/admin/tunnels/${id}`, 'admin-saved');
  });

  for (const name of ACT_NAMES) {
    const act: Act = ACTS[name];
    const path = `/admin/tunnels/:id/${name}`;
    routes.staff(act.permission).get(path, (visit, me) => ask(visit, me, name));
    routes.staff(act.permission).post(path, async (visit, me) => {
      const id = visit.id() ?? 0;
      const result = await act.run(visit, me, id);
      if (result !== 'done') return failurePage(visit, 'notFound');
      return visit.redirect(act.gone ? '/admin/tunnels' : `/admin/tunnels/${id}`, act.flash);
    });
  }
}

async function tunnelOf(visit: Visit): Promise<Found | undefined> {
  const id = visit.id();
  return id === undefined ? undefined : visit.portal.desk.tunnels.find(id);
}

async function ask(visit: Visit, me: SignedIn, name: ActName): Promise<FastifyReply> {
  const tunnel = await tunnelOf(visit);
  if (!tunnel) return failurePage(visit, 'notFound');
  const { tunnel: words } = visit.words.admin;
  const back = `/admin/tunnels/${tunnel.id}`;
  return askPage(visit, me, {
    section: 'tunnels',
    title: words[name],
    text: html`${words[`${name}Text`](bdi(tunnel.id))}
      ${tunnel.user && html`${words.user}: <bdi>${tunnel.user.name}</bdi>`}`,
    action: `${back}/${name}`,
    button: words[name],
    danger: ACTS[name].danger,
    back,
  });
}

async function listPage(visit: Visit, me: SignedIn): Promise<FastifyReply> {
  const { admin } = visit.words;
  const { tunnel: words } = admin;
  const query = {
    q: visit.field('q').slice(0, 300),
    state: STATES.find((each) => each === visit.field('state')) ?? ('' as const),
  };
  const { items, next } = await visit.portal.desk.tunnels.list(
    query.q,
    query.state === '' ? undefined : query.state,
    { after: visit.field('after') || undefined, limit: LISTED },
  );
  const fields = visit.fields();
  return deskPage(visit, me, {
    title: admin.tunnels,
    section: 'tunnels',
    main: html`
      ${filters(
        visit,
        '/admin/tunnels',
        html`
          ${fields.input({
            name: 'q',
            label: words.find,
            type: 'search',
            value: query.q,
            required: false,
            autocomplete: 'off',
            ltr: true,
          })}
          ${fields.select(
            'state',
            words.state,
            [
              { value: '', text: admin.all },
              ...STATES.map((each) => ({ value: each, text: words.states[each] })),
            ],
            query.state,
          )}
        `,
      )}
      ${
        items.length === 0
          ? html`<p class="lead">${query.q === '' && query.state === '' ? words.none : words.noneFound}</p>`
          : table(
              words.list,
              [
                words.number,
                words.user,
                words.state,
                words.endpoint,
                words.address,
                words.prefix,
                words.lastLogin,
              ],
              items.map((tunnel) => row(visit, tunnel)),
            )
      }
      ${pager(visit, '/admin/tunnels', query, next)}
      <p class="hint">${admin.utc}</p>
    `,
  });
}

function row(visit: Visit, tunnel: Found): readonly HtmlValue[] {
  const { endpoint, address, prefix } = addressesOf(tunnel);
  return [
    html`<a href="/admin/tunnels/${tunnel.id}">${bdi(tunnel.id)}</a>`,
    userLink(visit, tunnel),
    stateOf(visit, tunnel),
    endpoint === undefined ? '–' : code(endpoint),
    code(address),
    prefix === undefined ? '–' : code(prefix),
    visit.time(tunnel.lastLoginAtMs),
  ];
}

function userLink(visit: Visit, { user }: Found): HtmlValue {
  if (!user) return visit.words.admin.tunnel.anonymous;
  return html`<a href="/admin/users/${user.id}"><bdi>${user.name}</bdi></a>`;
}

function stateOf(visit: Visit, { state, userDisabled, attachment }: Found): Html {
  const { tunnel: words } = visit.words.admin;
  if (state === 'disabled') return html`<span class="state bad">${words.states.disabled}</span>`;
  if (userDisabled) return html`<span class="state bad">${words.byUser}</span>`;
  return attachment
    ? html`<span class="state good">${words.states.up}</span>`
    : html`<span class="state plainly">${words.states.down}</span>`;
}

/** As they are written; endpoint: where the client is now. */
export function addressesOf(tunnel: Found) {
  if (tunnel.family === 'ipv4') {
    const client = tunnel.attachment?.client;
    const { client4 } = ipv4ViewOf(tunnel, { address: client ?? 0n, port: 0 });
    return {
      encapsulation: 'v4v6',
      endpoint: client === undefined ? undefined : formatIpv6(client),
      address: formatIp(client4),
      prefix: undefined,
    };
  }
  const { attachment, delegation, link, interfaceId } = tunnel;
  const client = attachment?.client;
  return {
    encapsulation: attachment?.encapsulation,
    endpoint: client && (client.port === 0 ? formatIp(client.address) : formatEndpoint(client)),
    address: formatIpv6(link.address | interfaceId),
    prefix: delegation && formatPrefix(delegation),
  };
}

/** For lists of facts, on the user's page, too. */
export function tunnelFacts(
  visit: Visit,
  tunnel: Found,
): readonly (readonly [string, HtmlValue])[] {
  const { tunnel: words } = visit.words.admin;
  const { endpoint, encapsulation, address, prefix } = addressesOf(tunnel);
  return [
    [words.state, stateOf(visit, tunnel)],
    [words.endpoint, endpoint && code(endpoint)],
    [words.encapsulation, encapsulation && code(encapsulation)],
    [words.attached, tunnel.attachment && visit.time(tunnel.attachment.attachedAtMs)],
    [words.address, code(address)],
    [words.prefix, prefix && code(prefix)],
    [words.link, code(formatPrefix(tunnel.link))],
    [
      words.names,
      tunnel.family === 'ipv6' && tunnel.nameServers.length > 0
        ? code(tunnel.nameServers.join(' '))
        : undefined,
    ],
    [words.keepalive, words.seconds(bdi(tunnel.keepaliveSeconds))],
    [words.created, visit.time(tunnel.createdAtMs)],
    [words.lastLogin, visit.time(tunnel.lastLoginAtMs)],
    [
      words.expires,
      tunnel.expiresAtMs === undefined ? words.forEver : visit.time(tunnel.expiresAtMs),
    ],
  ];
}

async function tunnelPage(visit: Visit, me: SignedIn, mistakes?: Mistakes): Promise<FastifyReply> {
  const tunnel = await tunnelOf(visit);
  if (!tunnel) return failurePage(visit, 'notFound');
  const acts = await visit.portal.desk.tunnels.acts(tunnel.id);
  const { admin } = visit.words;
  const { tunnel: words, limits } = admin;
  const possible = ACT_NAMES.filter((name) => {
    const act: Act = ACTS[name];
    return permits(me.person.role, act.permission) && act.fits(tunnel);
  });
  const fields = visit.fields(mistakes);
  return deskPage(visit, me, {
    title: words.title(bdi(tunnel.id)),
    windowTitle: `${words.heading} ${tunnel.id}`,
    section: 'tunnels',
    mistakes,
    main: html`
      ${facts([[words.user, userLink(visit, tunnel)], ...tunnelFacts(visit, tunnel)])}
      ${
        possible.length > 0 &&
        html`
          <p class="actions">
            ${possible.map((name) =>
              actLink(`/admin/tunnels/${tunnel.id}/${name}`, words[name], ACTS[name].danger),
            )}
          </p>
        `
      }
      <h2>${limits.title}</h2>
      <h3>${limits.holds}</h3>
      ${effectiveFacts(visit, tunnel)}
      ${
        may(me, 'tunnels.limit') &&
        html`
          <p>${limits.text}</p>
          ${visit.form(
            `/admin/tunnels/${tunnel.id}/limits`,
            html`
              ${limitsFields(visit, fields, mistakes ? limitsForm(visit) : writeLimits(tunnel.policy))}
              <button class="button">${admin.save}</button>
            `,
            'narrow',
          )}
        `
      }
      ${acts.length > 0 && html`<h2>${admin.user.acts}</h2>${actsTable(visit, admin.user.acts, acts)}`}
      <p class="hint">${admin.utc}</p>
    `,
  });
}

function effectiveFacts(visit: Visit, tunnel: Found): Html {
  const { limits: words } = visit.words.admin;
  const { mtu, rates, unfiltered } = effectivePolicy(tunnel);
  const rate = (value: number) => (value === 0 ? words.unlimited : bdi(bitRate(value)));
  return facts([
    [words.mtu, mtu === 0 ? words.byDefault : bdi(mtu)],
    [words.rateIn, rate(rates.inBitsPerSecond)],
    [words.rateOut, rate(rates.outBitsPerSecond)],
    [words.ports, unfiltered ? words.portsOpen : words.portsClosed],
    [visit.words.admin.user.group, tunnel.group && bdi(tunnel.group.name)],
  ]);
}
