// Users: finding one, all that helps to help them, and what can be done.

import type { FastifyReply } from 'fastify';
import type { Account, Found } from '../../broker/desk-parts.ts';
import { NO_GROUP } from '../../broker/desk-pools.ts';
import type { UserRefusal, UserState } from '../../broker/desk-users.ts';
import type { SignedIn } from '../../broker/people-sign-in.ts';
import { type Permission, permits } from '../../broker/permissions.ts';
import { failurePage } from '../failures.ts';
import type { Mistakes } from '../fields.ts';
import { bdi, type Html, type HtmlValue, html } from '../html.ts';
import { LANGUAGES, languageOf } from '../i18n/languages.ts';
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
  may,
  pager,
  table,
} from './admin-parts.ts';
import { pastPage } from './admin-past.ts';
import { tunnelFacts } from './admin-tunnels.ts';

const STATES: readonly UserState[] = ['waiting', 'disabled'];

interface Act {
  readonly permission: Permission;
  readonly words: 'approve' | 'refuse' | 'disable' | 'enable' | 'trust' | 'distrust' | 'remove';
  readonly danger: boolean;
  readonly flash: Flash;
  /** Whether it makes sense for this account. */
  readonly fits: (account: Account) => boolean;
  readonly run: (visit: Visit, me: SignedIn, id: number) => Promise<'done' | UserRefusal>;
  /** Where one is afterwards: there may be no such user any more. */
  readonly gone?: boolean;
}

function isDisabled(account: Account): boolean {
  return stateOf(account) === 'disabled';
}

export function stateOf({ user, person }: Account): 'waiting' | 'disabled' | 'enabled' {
  if (person?.state === 'waiting-approval') return 'waiting';
  return user.disabledAtMs === undefined ? 'enabled' : 'disabled';
}

const isWaiting = (account: Account) => stateOf(account) === 'waiting';

/** Each has a page that asks, below the user's, and is done by its form. */
const ACTS: Readonly<Record<string, Act>> = {
  approve: {
    permission: 'users.approve',
    words: 'approve',
    danger: false,
    flash: 'admin-approved',
    fits: isWaiting,
    run: (visit, me, id) => visit.portal.desk.users.approve(id, actorOf(visit, me)),
  },
  refuse: {
    permission: 'users.approve',
    words: 'refuse',
    danger: true,
    flash: 'admin-refused',
    fits: isWaiting,
    run: (visit, me, id) => visit.portal.desk.users.refuse(id, actorOf(visit, me)),
    gone: true,
  },
  disable: {
    permission: 'users.disable',
    words: 'disable',
    danger: true,
    flash: 'admin-disabled',
    fits: (account) => stateOf(account) === 'enabled',
    run: (visit, me, id) => visit.portal.desk.users.disable(id, actorOf(visit, me)),
  },
  enable: {
    permission: 'users.disable',
    words: 'enable',
    danger: false,
    flash: 'admin-enabled',
    fits: isDisabled,
    run: (visit, me, id) => visit.portal.desk.users.enable(id, actorOf(visit, me)),
  },
  trust: {
    permission: 'users.trust',
    words: 'trust',
    danger: false,
    flash: 'admin-saved',
    fits: ({ user }) => user.proxyTrustedAtMs === undefined,
    run: (visit, me, id) => visit.portal.desk.users.setTrust(id, true, actorOf(visit, me)),
  },
  distrust: {
    permission: 'users.trust',
    words: 'distrust',
    danger: false,
    flash: 'admin-saved',
    fits: ({ user }) => user.proxyTrustedAtMs !== undefined,
    run: (visit, me, id) => visit.portal.desk.users.setTrust(id, false, actorOf(visit, me)),
  },
  remove: {
    permission: 'users.remove',
    words: 'remove',
    danger: true,
    flash: 'admin-removed',
    fits: () => true,
    run: (visit, me, id) => visit.portal.desk.users.remove(id, actorOf(visit, me)),
    gone: true,
  },
};

export function userPages(routes: Routes): void {
  routes.staff('users.see').get('/admin/users', listPage);
  routes.staff('users.see').get('/admin/users/:id', (visit, me) => userPage(visit, me));
  routes.staff('users.history').get('/admin/users/:id/past', pastPage);

  routes.staff('users.group').post('/admin/users/:id/group', async (visit, me) => {
    const id = visit.id() ?? 0;
    const { users } = visit.portal.desk;
    const result = await users.setGroup(id, visit.field('group'), actorOf(visit, me));
    if (result === 'no-such-user') return failurePage(visit, 'notFound');
    if (result !== 'done') return userPage(visit, me, { form: mistakeOf(result) });
    return visit.redirect(`/admin/users/${id}`, 'admin-saved');
  });

  for (const [name, act] of Object.entries(ACTS)) {
    const path = `/admin/users/:id/${name}`;
    routes.staff(act.permission).get(path, (visit, me) => ask(visit, me, name, act));
    routes.staff(act.permission).post(path, async (visit, me) => {
      const id = visit.id() ?? 0;
      const result = await act.run(visit, me, id);
      if (result === 'no-such-user') return failurePage(visit, 'notFound');
      if (result !== 'done') return ask(visit, me, name, act, { form: mistakeOf(result) });
      return visit.redirect(act.gone ? '/admin/users' : `/admin/users/${id}`, act.flash);
    });
  }
}

function mistakeOf(refusal: UserRefusal) {
  return refusal === 'is-staff' ? 'staff-account' : refusal;
}

async function ask(
  visit: Visit,
  me: SignedIn,
  name: string,
  act: Act,
  mistakes?: Mistakes,
): Promise<FastifyReply> {
  const account = await accountOf(visit);
  if (!account) return failurePage(visit, 'notFound');
  const { user: words } = visit.words.admin;
  const back = `/admin/users/${account.user.id}`;
  return askPage(visit, me, {
    section: 'users',
    title: words[act.words],
    text: words[`${act.words}Text`](html`<strong><bdi>${account.user.name}</bdi></strong>`),
    action: `${back}/${name}`,
    button: words[act.words],
    danger: act.danger,
    back,
    mistakes,
  });
}

export async function accountOf(visit: Visit): Promise<Account | undefined> {
  const id = visit.id();
  return id === undefined ? undefined : visit.portal.desk.users.find(id);
}

async function listPage(visit: Visit, me: SignedIn): Promise<FastifyReply> {
  const { admin } = visit.words;
  const { user: words } = admin;
  const { desk } = visit.portal;
  const query = {
    q: visit.field('q').slice(0, 300),
    state: STATES.find((each) => each === visit.field('state')) ?? ('' as const),
    group: visit.field('group').slice(0, 64),
  };
  const { items, next } = await desk.users.list(
    {
      search: query.q,
      state: query.state === '' ? undefined : query.state,
      group: query.group || undefined,
    },
    { after: visit.field('after') || undefined, limit: LISTED },
  );
  const groups = await desk.groups.list();
  const fields = visit.fields();
  const asked = Object.values(query).some((text) => text !== '');
  return deskPage(visit, me, {
    title: admin.users,
    section: 'users',
    main: html`
      ${filters(
        visit,
        '/admin/users',
        html`
          ${fields.input({
            name: 'q',
            label: words.find,
            type: 'search',
            value: query.q,
            hint: words.findHint,
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
          ${
            groups.length > 0 &&
            fields.select(
              'group',
              words.group,
              [
                { value: '', text: admin.any },
                ...groups.map(({ name }) => ({ value: name, text: name })),
              ],
              query.group,
            )
          }
        `,
      )}
      ${
        items.length === 0
          ? html`<p class="lead">${asked ? words.noneFound : words.none}</p>`
          : table(
              words.list,
              [
                words.name,
                words.email,
                words.state,
                words.tunnel,
                words.group,
                words.lastLogin,
                words.created,
              ],
              items.map((account) => row(visit, account)),
            )
      }
      ${pager(visit, '/admin/users', query, next)}
      <p class="hint">${admin.utc}</p>
    `,
  });
}

function row(visit: Visit, account: Account): readonly HtmlValue[] {
  const { user: words } = visit.words.admin;
  const { user, person, tunnel, lastLoginAtMs } = account;
  return [
    html`<a href="/admin/users/${user.id}"><bdi>${user.name}</bdi></a>`,
    person ? bdi(person.email) : '–',
    stateTag(visit, account),
    html`<span class="state ${tunnel === 'up' ? 'good' : 'plainly'}">${words.tunnelStates[tunnel]}</span>`,
    user.group === undefined ? '–' : bdi(user.group),
    visit.time(lastLoginAtMs),
    visit.time(user.createdAtMs),
  ];
}

function stateTag(visit: Visit, account: Account): Html {
  const state = stateOf(account);
  const kind = { waiting: 'wait', disabled: 'bad', enabled: 'plainly' }[state];
  return html`<span class="tag ${kind}">${visit.words.admin.user.states[state]}</span>`;
}

async function userPage(visit: Visit, me: SignedIn, mistakes?: Mistakes): Promise<FastifyReply> {
  const account = await accountOf(visit);
  if (!account) return failurePage(visit, 'notFound');
  const { desk } = visit.portal;
  const tunnels = await desk.users.tunnels(account.user.id);
  const [acts, groups] = await Promise.all([desk.users.acts(account, tunnels), desk.groups.list()]);
  const { admin } = visit.words;
  const { user: words } = admin;
  const { user } = account;
  return deskPage(visit, me, {
    title: bdi(user.name),
    windowTitle: user.name,
    section: 'users',
    mistakes,
    main: html`
      ${personFacts(visit, me, account)}
      ${actions(me, account, visit)}
      ${
        may(me, 'users.group') &&
        groups.length > 0 &&
        visit.form(
          `/admin/users/${user.id}/group`,
          html`
            ${visit
              .fields()
              .select(
                'group',
                words.group,
                [
                  { value: NO_GROUP, text: words.noGroup },
                  ...groups.map(({ name }) => ({ value: name, text: name })),
                ],
                user.group ?? NO_GROUP,
              )}
            <button class="button small quiet">${admin.save}</button>
          `,
          'filters',
        )
      }
      <h2>${words.tunnels}</h2>
      ${
        tunnels.length === 0
          ? html`<p class="hint">${words.noTunnel}</p>`
          : tunnels.map((tunnel) => tunnelCard(visit, tunnel))
      }
      ${
        may(me, 'users.history') &&
        html`
          <h2>${words.past}</h2>
          <p>${words.pastText}</p>
          <p><a class="button small quiet" href="/admin/users/${user.id}/past">${words.pastLink}</a></p>
        `
      }
      <h2>${words.acts}</h2>
      ${
        acts.length === 0
          ? html`<p class="hint">${words.noActs}</p>`
          : actsTable(visit, words.acts, acts)
      }
      <p class="hint">${admin.utc}</p>
    `,
  });
}

function tunnelCard(visit: Visit, tunnel: Found): Html {
  const { tunnel: words } = visit.words.admin;
  return html`
    <div class="card">
      <h3><a href="/admin/tunnels/${tunnel.id}">${words.title(bdi(tunnel.id))}</a></h3>
      ${facts(tunnelFacts(visit, tunnel))}
    </div>
  `;
}

function personFacts(visit: Visit, me: SignedIn, account: Account): Html {
  const { admin, account: own } = visit.words;
  const { user: words } = admin;
  const { user, person, lastLoginAtMs } = account;
  const language = languageOf(person?.language);
  const shared = [
    [words.state, stateTag(visit, account)],
    [words.group, user.group === undefined ? words.noGroup : bdi(user.group)],
    [words.created, visit.time(user.createdAtMs)],
    [words.lastLogin, lastLoginAtMs === undefined ? words.never : visit.time(lastLoginAtMs)],
    [words.trusted, user.proxyTrustedAtMs !== undefined && admin.yes],
  ] as const;
  if (!person)
    return html`
      ${facts(shared)}
      <p class="hint">${words.noPerson}
        ${
          may(me, 'invitations.change') &&
          html`<a href="/admin/invitations?userName=${encodeURIComponent(user.name)}">${words.invite}</a>`
        }</p>
    `;
  return facts([
    [words.email, bdi(person.email)],
    [
      words.verified,
      person.emailVerifiedAtMs === undefined ? admin.no : visit.time(person.emailVerifiedAtMs),
    ],
    ...shared,
    [words.role, own.roles[person.role]],
    [words.twoFactor, person.totpEnabledAtMs === undefined ? admin.no : admin.yes],
    [
      words.lastSignIn,
      person.lastSignInAtMs === undefined ? words.never : visit.time(person.lastSignInAtMs),
    ],
    [
      words.language,
      language && html`<bdi lang="${language.tag}">${LANGUAGES[language.tag].name}</bdi>`,
    ],
  ]);
}

function actions(me: SignedIn, account: Account, visit: Visit): Html | undefined {
  const { user: words } = visit.words.admin;
  const { role } = me.person;
  const untouchable =
    account.person && account.person.role !== 'user' && !permits(role, 'staff.change');
  const possible = Object.entries(ACTS).filter(
    ([, act]) => permits(role, act.permission) && act.fits(account),
  );
  if (untouchable || possible.length === 0) return undefined;
  return html`
    <p class="actions" role="group" aria-label="${words.actions}">
      ${possible.map(([name, act]) =>
        actLink(`/admin/users/${account.user.id}/${name}`, words[act.words], act.danger),
      )}
    </p>
  `;
}
