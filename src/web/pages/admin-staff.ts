// Who works here and as what; and invitations, by which somebody becomes a user or one of the staff.

import type { FastifyReply } from 'fastify';
import type { Person, Role } from '../../broker/people-parts.ts';
import type { SignedIn } from '../../broker/people-sign-in.ts';
import { ROLES, type StaffResult } from '../../broker/people-staff.ts';
import { PERMISSIONS, type Permission, permits } from '../../broker/permissions.ts';
import { failurePage } from '../failures.ts';
import type { Mistakes } from '../fields.ts';
import { bdi, code, html } from '../html.ts';
import type { Routes } from '../routes.ts';
import type { Visit } from '../visit.ts';
import { actsTable } from './admin-audit.ts';
import {
  actLink,
  actorOf,
  askPage,
  deskPage,
  facts,
  LISTED,
  may,
  pager,
  table,
} from './admin-parts.ts';

export function staffPages(routes: Routes): void {
  const see = routes.staff('staff.see');
  const change = routes.staff('staff.change');
  see.get('/admin/staff', (visit, me) => listPage(visit, me));

  /** By e-mail address: somebody who has no role yet is in no list here. */
  change.post('/admin/staff', async (visit, me) => {
    const { staff } = visit.portal.desk;
    const person = await staff.find({ email: visit.field('email') });
    if (!person) return listPage(visit, me, { email: 'no-such-person' });
    const result = await staff.setRole(person.id, roleOf(visit), actorOf(visit, me));
    if (result !== 'done') return listPage(visit, me, { email: result });
    return visit.redirect(`/admin/staff/${person.id}`, 'admin-saved');
  });

  see.get('/admin/staff/:id', (visit, me) => personPage(visit, me));

  change.post('/admin/staff/:id/role', (visit, me) =>
    act(visit, me, (id) => visit.portal.desk.staff.setRole(id, roleOf(visit), actorOf(visit, me))),
  );

  for (const name of ['disable', 'enable'] as const) {
    change.get(`/admin/staff/:id/${name}`, (visit, me) => ask(visit, me, name));
    change.post(`/admin/staff/:id/${name}`, (visit, me) =>
      act(
        visit,
        me,
        (id) => visit.portal.desk.staff[name](id, actorOf(visit, me)),
        (mistakes) => ask(visit, me, name, mistakes),
      ),
    );
  }
}

function roleOf(visit: Visit): Role {
  return ROLES.find((role) => role === visit.field('role')) ?? 'user';
}

async function act(
  visit: Visit,
  me: SignedIn,
  run: (id: number) => Promise<StaffResult>,
  again: (mistakes: Mistakes) => Promise<FastifyReply> = (mistakes) =>
    personPage(visit, me, mistakes),
): Promise<FastifyReply> {
  const id = visit.id() ?? 0;
  const result = await run(id);
  if (result === 'no-such-person') return failurePage(visit, 'notFound');
  if (result !== 'done') return again({ form: result });
  return visit.redirect(`/admin/staff/${id}`, 'admin-saved');
}

async function personOf(visit: Visit): Promise<Person | undefined> {
  const id = visit.id();
  return id === undefined ? undefined : visit.portal.desk.staff.find({ id });
}

async function ask(
  visit: Visit,
  me: SignedIn,
  name: 'disable' | 'enable',
  mistakes?: Mistakes,
): Promise<FastifyReply> {
  const person = await personOf(visit);
  if (!person) return failurePage(visit, 'notFound');
  const { roles: words, user } = visit.words.admin;
  const back = `/admin/staff/${person.id}`;
  return askPage(visit, me, {
    section: 'staff',
    title: user[name],
    text: words[`${name}Text`](html`<strong><bdi>${person.email}</bdi></strong>`),
    action: `${back}/${name}`,
    button: user[name],
    danger: name === 'disable',
    back,
    mistakes,
  });
}

function roleOptions(visit: Visit, roles: readonly Role[] = ROLES) {
  return roles.map((role) => ({ value: role, text: visit.words.account.roles[role] }));
}

async function listPage(visit: Visit, me: SignedIn, mistakes?: Mistakes): Promise<FastifyReply> {
  const { desk } = visit.portal;
  const page = { after: visit.field('after') || undefined, limit: LISTED };
  const { items, next } = await desk.staff.list(page);
  const { admin, account, form } = visit.words;
  const { roles: words, user } = admin;
  const fields = visit.fields(mistakes);
  return deskPage(visit, me, {
    title: admin.staff,
    section: 'staff',
    mistakes,
    main: html`
      ${
        items.length === 0
          ? html`<p class="lead">${words.none}</p>`
          : table(
              words.list,
              [words.email, words.role, user.state, user.twoFactor, user.lastSignIn],
              items.map((person) => [
                html`<a href="/admin/staff/${person.id}"><bdi>${person.email}</bdi></a>`,
                account.roles[person.role],
                stateText(visit, person),
                person.totpEnabledAtMs === undefined ? admin.no : admin.yes,
                visit.time(person.lastSignInAtMs),
              ]),
            )
      }
      ${pager(visit, '/admin/staff', {}, next)}
      ${
        may(me, 'staff.change') &&
        html`
          <h2>${words.give}</h2>
          <p>${words.text}</p>
          ${visit.form(
            '/admin/staff',
            html`
              ${fields.input({
                name: 'email',
                label: form.email,
                type: 'email',
                value: visit.field('email'),
                autocomplete: 'off',
              })}
              ${fields.select('role', words.role, roleOptions(visit), visit.field('role') || 'support')}
              <button class="button">${words.submit}</button>
            `,
            'narrow',
          )}
        `
      }
      <h2>${words.may}</h2>
      ${permissionTable(visit)}
      <p class="hint">${admin.utc}</p>
    `,
  });
}

function stateText(visit: Visit, { state }: Person): string {
  const { states } = visit.words.admin.user;
  return { active: states.enabled, disabled: states.disabled, 'waiting-approval': states.waiting }[
    state
  ];
}

/** The same table that is asked when somebody comes. */
function permissionTable(visit: Visit) {
  const { admin, account } = visit.words;
  const staff = ROLES.filter((role) => role !== 'user');
  return table(
    admin.roles.may,
    [admin.roles.act, ...staff.map((role) => account.roles[role])],
    (Object.keys(PERMISSIONS) as Permission[]).map((permission) => [
      admin.permissions[permission],
      ...staff.map((role) => (permits(role, permission) ? admin.yes : '–')),
    ]),
  );
}

async function personPage(visit: Visit, me: SignedIn, mistakes?: Mistakes): Promise<FastifyReply> {
  const person = await personOf(visit);
  if (!person) return failurePage(visit, 'notFound');
  const acts = await visit.portal.desk.staff.acts(person.id);
  const { admin, account } = visit.words;
  const { roles: words, user } = admin;
  const name = person.state === 'disabled' ? 'enable' : 'disable';
  return deskPage(visit, me, {
    title: bdi(person.email),
    windowTitle: words.title,
    section: 'staff',
    mistakes,
    main: html`
      ${facts([
        [words.role, account.roles[person.role]],
        [user.state, stateText(visit, person)],
        [
          user.name,
          person.user &&
            html`<a href="/admin/users/${person.user.id}"><bdi>${person.user.name}</bdi></a>`,
        ],
        [user.twoFactor, person.totpEnabledAtMs === undefined ? admin.no : admin.yes],
        [user.created, visit.time(person.createdAtMs)],
        [
          user.lastSignIn,
          person.lastSignInAtMs === undefined ? user.never : visit.time(person.lastSignInAtMs),
        ],
      ])}
      ${
        may(me, 'staff.change') &&
        html`
          ${visit.form(
            `/admin/staff/${person.id}/role`,
            html`
              ${visit.fields().select('role', words.role, roleOptions(visit), person.role)}
              <button class="button small">${words.change}</button>
            `,
            'filters',
          )}
          <p class="actions">
            ${actLink(`/admin/staff/${person.id}/${name}`, user[name], name === 'disable')}
          </p>
        `
      }
      ${acts.length > 0 && html`<h2>${user.acts}</h2>${actsTable(visit, user.acts, acts)}`}
      <p class="hint">${admin.utc}</p>
    `,
  });
}

export function invitationPages(routes: Routes): void {
  const see = routes.staff('invitations.see');
  const change = routes.staff('invitations.change');
  see.get('/admin/invitations', (visit, me) => invitationsPage(visit, me));

  change.post('/admin/invitations', async (visit, me) => {
    const { invitations } = visit.portal.desk;
    const email = visit.field('email').trim();
    const made = await invitations.add(
      {
        email,
        role: roleOf(visit),
        userName: visit.field('userName'),
        language: visit.language.tag,
      },
      actorOf(visit, me),
    );
    if (!made.ok) {
      const { refusal } = made;
      const field = { 'email-invalid': 'email', 'role-not-yours': 'form' }[refusal as string];
      return invitationsPage(visit, me, {
        [field ?? 'userName']: refusal === 'no-such-user' ? 'user-unknown' : refusal,
      });
    }
    const { invitation: words } = visit.words.admin;
    const link = `${visit.portal.service.url}/invitation?code=${made.code}`;
    return deskPage(visit, me, {
      title: words.madeTitle,
      section: 'invitations',
      main: html`
        <p class="lead">${words.madeText}</p>
        <p class="secret">${code(link)}</p>
        <p>${email !== '' && words.mailed(bdi(email))}
          ${words.expires}: ${visit.time(made.expiresAtMs)}</p>
        <p><a class="button" href="/admin/invitations">${words.done}</a></p>
      `,
    });
  });

  change.get('/admin/invitations/:id/withdraw', (visit, me) => withdrawPage(visit, me));

  change.post('/admin/invitations/:id/withdraw', async (visit, me) => {
    const { invitations } = visit.portal.desk;
    const result = await invitations.withdraw(visit.id() ?? 0, actorOf(visit, me));
    if (result === 'no-such-invitation') return failurePage(visit, 'notFound');
    if (result !== 'done') return withdrawPage(visit, me, { form: 'staff-account' });
    return visit.redirect('/admin/invitations', 'admin-withdrawn');
  });
}

async function withdrawPage(visit: Visit, me: SignedIn, mistakes?: Mistakes) {
  const id = visit.id();
  const found = (await visit.portal.desk.invitations.list()).find((each) => each.id === id);
  if (!found) return failurePage(visit, 'notFound');
  const { invitation: words } = visit.words.admin;
  return askPage(visit, me, {
    section: 'invitations',
    title: words.withdraw,
    text: words.withdrawText,
    action: `/admin/invitations/${found.id}/withdraw`,
    button: words.withdraw,
    danger: true,
    back: '/admin/invitations',
    mistakes,
  });
}

async function invitationsPage(
  visit: Visit,
  me: SignedIn,
  mistakes?: Mistakes,
): Promise<FastifyReply> {
  const open = await visit.portal.desk.invitations.list();
  const { admin, account, form } = visit.words;
  const { invitation: words } = admin;
  const fields = visit.fields(mistakes);
  const changes = may(me, 'invitations.change');
  const roles = may(me, 'staff.change') ? ROLES : (['user'] as const);
  return deskPage(visit, me, {
    title: admin.invitations,
    section: 'invitations',
    mistakes,
    main: html`
      ${
        open.length === 0
          ? html`<p class="lead">${words.none}</p>`
          : table(
              words.list,
              [
                words.email,
                words.role,
                words.user,
                words.expires,
                ...(changes ? [html`<span class="unseen">${words.withdraw}</span>`] : []),
              ],
              open.map((each) => [
                each.email === undefined ? words.anybody : bdi(each.email),
                account.roles[each.role],
                each.user ? bdi(each.user.name) : words.newUser,
                visit.time(each.expiresAtMs),
                ...(changes
                  ? [actLink(`/admin/invitations/${each.id}/withdraw`, words.withdraw)]
                  : []),
              ]),
            )
      }
      ${
        changes &&
        html`
          <h2>${words.add}</h2>
          ${visit.form(
            '/admin/invitations',
            html`
              ${fields.input({
                name: 'email',
                label: form.email,
                type: 'email',
                value: visit.field('email'),
                hint: words.emailHint,
                required: false,
                autocomplete: 'off',
              })}
              ${fields.select('role', words.role, roleOptions(visit, roles), visit.field('role') || 'user')}
              ${fields.input({
                name: 'userName',
                label: form.userName,
                value: visit.field('userName'),
                hint: words.userHint,
                required: false,
                autocomplete: 'off',
                ltr: true,
                maxLength: 64,
              })}
              <button class="button">${words.submit}</button>
            `,
            'narrow',
          )}
        `
      }
      <p class="hint">${admin.utc}</p>
    `,
  });
}
