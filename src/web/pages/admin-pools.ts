// Pools: how full they are, and adding one. Groups: what holds for their users' tunnels.

import type { FastifyReply } from 'fastify';
import type { PoolPurpose } from '../../broker/desk-parts.ts';
import type { GroupRefusal } from '../../broker/groups.ts';
import type { SignedIn } from '../../broker/people-sign-in.ts';
import { failurePage } from '../failures.ts';
import type { Mistakes } from '../fields.ts';
import { wholeNumber } from '../figures.ts';
import { bdi, html } from '../html.ts';
import type { Routes } from '../routes.ts';
import type { Visit } from '../visit.ts';
import { poolFill } from './admin-dashboard.ts';
import {
  actLink,
  actorOf,
  askPage,
  deskPage,
  limitsFields,
  limitsForm,
  may,
  parseLimits,
  table,
  writeLimits,
} from './admin-parts.ts';

const PURPOSES: readonly PoolPurpose[] = ['link', 'delegation', 'ipv4-link'];

export function poolPages(routes: Routes): void {
  routes.staff('pools.see').get('/admin/pools', (visit, me) => poolsPage(visit, me));

  routes.staff('pools.add').post('/admin/pools', async (visit, me) => {
    const purpose = PURPOSES.find((each) => each === visit.field('purpose')) ?? 'link';
    const length = visit.field('length').trim();
    if (!/^\d{1,2}$/.test(length)) return poolsPage(visit, me, { length: 'length-unusable' });
    const asked = { purpose, prefix: visit.field('prefix'), positionLength: Number(length) };
    const added = await visit.portal.desk.pools.add(asked, actorOf(visit, me));
    if (added.ok) return visit.redirect('/admin/pools', 'admin-added');
    const { refusal } = added;
    const field = refusal === 'length-unusable' ? 'length' : 'prefix';
    return poolsPage(visit, me, { [field]: refusal });
  });

  routes.staff('groups.see').get('/admin/groups', (visit, me) => groupsPage(visit, me));

  routes.staff('groups.change').post('/admin/groups', async (visit, me) => {
    const parsed = parseLimits(limitsForm(visit));
    if ('mistakes' in parsed) return groupsPage(visit, me, parsed.mistakes);
    const { groups } = visit.portal.desk;
    const name = visit.field('name').trim();
    const result = await groups.add(name, parsed.change, actorOf(visit, me));
    if (result !== 'done') return groupsPage(visit, me, { name: groupMistake(result) });
    return visit.redirect('/admin/groups', 'admin-added');
  });

  routes.staff('groups.change').get('/admin/groups/:name', (visit, me) => groupPage(visit, me));

  routes.staff('groups.change').post('/admin/groups/:name', async (visit, me) => {
    const parsed = parseLimits(limitsForm(visit));
    if ('mistakes' in parsed) return groupPage(visit, me, parsed.mistakes);
    const { groups } = visit.portal.desk;
    const result = await groups.set(visit.param('name'), parsed.change, actorOf(visit, me));
    if (result !== 'done') return failurePage(visit, 'notFound');
    return visit.redirect('/admin/groups', 'admin-saved');
  });

  routes
    .staff('groups.change')
    .get('/admin/groups/:name/remove', (visit, me) => removePage(visit, me));

  routes.staff('groups.change').post('/admin/groups/:name/remove', async (visit, me) => {
    const { groups } = visit.portal.desk;
    const result = await groups.remove(visit.param('name'), actorOf(visit, me));
    if (result === 'no-such-group') return failurePage(visit, 'notFound');
    if (result !== 'done') return removePage(visit, me, { form: groupMistake(result) });
    return visit.redirect('/admin/groups', 'admin-removed');
  });
}

function groupMistake(refusal: GroupRefusal) {
  if (refusal === 'name-invalid') return 'group-name-invalid';
  return refusal === 'name-taken' ? 'group-name-taken' : refusal;
}

async function poolsPage(visit: Visit, me: SignedIn, mistakes?: Mistakes): Promise<FastifyReply> {
  const pools = await visit.portal.desk.pools.list();
  const { admin } = visit.words;
  const { pool: words } = admin;
  const fields = visit.fields(mistakes);
  return deskPage(visit, me, {
    title: admin.pools,
    section: 'pools',
    mistakes,
    main: html`
      ${
        pools.length === 0
          ? html`<p class="lead">${words.none}</p>`
          : html`${pools.map((pool) => poolFill(visit, pool))}<p class="hint">${words.age}</p>`
      }
      ${
        may(me, 'pools.add') &&
        html`
          <h2>${words.add}</h2>
          <p>${words.addText}</p>
          ${visit.form(
            '/admin/pools',
            html`
              ${fields.input({
                name: 'prefix',
                label: words.prefix,
                value: visit.field('prefix'),
                autocomplete: 'off',
                ltr: true,
                maxLength: 50,
              })}
              ${fields.select(
                'purpose',
                words.purpose,
                PURPOSES.map((each) => ({ value: each, text: words.purposes[each] })),
                visit.field('purpose') || 'link',
              )}
              ${fields.input({
                name: 'length',
                label: words.length,
                value: visit.field('length'),
                hint: words.lengthHint,
                autocomplete: 'off',
                inputmode: 'numeric',
                ltr: true,
                maxLength: 2,
              })}
              <button class="button">${words.add}</button>
            `,
            'narrow',
          )}
        `
      }
    `,
  });
}

async function groupsPage(visit: Visit, me: SignedIn, mistakes?: Mistakes): Promise<FastifyReply> {
  const groups = await visit.portal.desk.groups.list();
  const { admin } = visit.words;
  const { group: words, limits } = admin;
  const fields = visit.fields(mistakes);
  const changes = may(me, 'groups.change');
  return deskPage(visit, me, {
    title: admin.groups,
    section: 'groups',
    mistakes,
    main: html`
      ${
        groups.length === 0
          ? html`<p class="lead">${words.none}</p>`
          : table(
              words.list,
              [words.name, words.users, limits.mtu, limits.rateIn, limits.rateOut, limits.ports],
              groups.map(({ name, users, policy }) => {
                const path = `/admin/groups/${encodeURIComponent(name)}`;
                const { mtu, rateIn, rateOut, ports } = writeLimits(policy);
                const portsText = { '': '–', open: limits.portsOpen, closed: limits.portsClosed };
                return [
                  changes ? html`<a href="${path}"><bdi>${name}</bdi></a>` : bdi(name),
                  html`<a href="/admin/users?group=${encodeURIComponent(name)}"><bdi>${wholeNumber(users)}</bdi><span class="unseen"> – ${words.showUsers}</span></a>`,
                  mtu === '' ? '–' : bdi(mtu),
                  rateIn === '' ? '–' : bdi(rateIn),
                  rateOut === '' ? '–' : bdi(rateOut),
                  portsText[ports as keyof typeof portsText],
                ];
              }),
            )
      }
      ${
        changes &&
        html`
          <h2>${words.add}</h2>
          <p>${limits.groupText}</p>
          ${visit.form(
            '/admin/groups',
            html`
              ${fields.input({
                name: 'name',
                label: words.name,
                value: visit.field('name'),
                autocomplete: 'off',
                ltr: true,
                maxLength: 64,
              })}
              ${limitsFields(visit, fields, limitsForm(visit))}
              <button class="button">${words.add}</button>
            `,
            'narrow',
          )}
        `
      }
    `,
  });
}

async function groupPage(visit: Visit, me: SignedIn, mistakes?: Mistakes): Promise<FastifyReply> {
  const group = await visit.portal.desk.groups.find(visit.param('name'));
  if (!group) return failurePage(visit, 'notFound');
  const { admin } = visit.words;
  const path = `/admin/groups/${encodeURIComponent(group.name)}`;
  const form = mistakes ? limitsForm(visit) : writeLimits(group.policy);
  return deskPage(visit, me, {
    title: bdi(group.name),
    windowTitle: group.name,
    section: 'groups',
    mistakes,
    main: html`
      <p>${admin.limits.groupText}</p>
      ${visit.form(
        path,
        html`
          ${limitsFields(visit, visit.fields(mistakes), form)}
          <p class="actions">
            <button class="button">${admin.save}</button>
            <a class="button quiet" href="/admin/groups">${admin.cancel}</a>
          </p>
        `,
        'narrow',
      )}
      <p class="actions">${actLink(`${path}/remove`, admin.group.remove, true)}</p>
    `,
  });
}

async function removePage(visit: Visit, me: SignedIn, mistakes?: Mistakes): Promise<FastifyReply> {
  const group = await visit.portal.desk.groups.find(visit.param('name'));
  if (!group) return failurePage(visit, 'notFound');
  const { group: words } = visit.words.admin;
  return askPage(visit, me, {
    section: 'groups',
    title: words.remove,
    text: words.removeText(html`<strong><bdi>${group.name}</bdi></strong>`),
    action: `/admin/groups/${encodeURIComponent(group.name)}/remove`,
    button: words.remove,
    danger: true,
    back: '/admin/groups',
    mistakes,
  });
}
