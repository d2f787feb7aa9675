// `/api/v1/admin`, the rest: pools, groups, announcements, invitations, staff, the audit log, the abuse
// desk.

import { Type } from 'typebox';
import { parseTime } from '../../broker/abuse-report.ts';
import type { NewAnnouncement } from '../../broker/desk-parts.ts';
import { caseJson } from '../pages/admin-abuse.ts';
import type { Portal } from '../portal.ts';
import { actorOf, reads, refused, settled, writes } from './admin-parts.ts';
import {
  AbuseShape,
  AnnouncementBody,
  AnnouncementShape,
  AuditShape,
  announcementJson,
  auditJson,
  Body,
  Group,
  groupJson,
  IdParams,
  InvitationShape,
  invitationJson,
  iso,
  LimitsChange,
  ListOf,
  limitsChange,
  NameParams,
  PageQuery,
  PersonShape,
  Pool,
  PoolPurpose,
  pageJson,
  personJson,
  poolJson,
  Role,
} from './admin-shapes.ts';
import type { Api } from './caller.ts';

export function adminDeskRoutes(api: Api, portal: Portal): void {
  poolRoutes(api, portal);
  groupRoutes(api, portal);
  announcementRoutes(api, portal);
  invitationRoutes(api, portal);
  staffRoutes(api, portal);
  logRoutes(api, portal);
}

function poolRoutes(api: Api, { desk: { pools } }: Portal): void {
  api.get(
    '/admin/pools',
    {
      ...reads('pools.see'),
      schema: { response: { 200: Type.Object({ items: Type.Array(Pool) }) } },
    },
    async () => ({ items: (await pools.list()).map(poolJson) }),
  );

  api.post(
    '/admin/pools',
    {
      ...writes('pools.add'),
      schema: {
        body: Body({
          prefix: Type.String({ maxLength: 50 }),
          purpose: PoolPurpose,
          length: Type.Integer({ minimum: 1, maximum: 64 }),
        }),
      },
    },
    async (request, reply) => {
      const { prefix, purpose, length } = request.body;
      const asked = { prefix, purpose, positionLength: length };
      const added = await pools.add(asked, actorOf(request));
      return settled(reply, added.ok ? 'done' : added.refusal);
    },
  );
}

function groupRoutes(api: Api, { desk: { groups } }: Portal): void {
  api.get(
    '/admin/groups',
    {
      ...reads('groups.see'),
      schema: { response: { 200: Type.Object({ items: Type.Array(Group) }) } },
    },
    async () => ({ items: (await groups.list()).map(groupJson) }),
  );

  api.post(
    '/admin/groups',
    {
      ...writes('groups.change'),
      schema: { body: Body({ name: Type.String({ maxLength: 64 }), ...LimitsChange }) },
    },
    async (request, reply) => {
      const { name, ...limits } = request.body;
      return settled(reply, await groups.add(name, limitsChange(limits), actorOf(request)));
    },
  );

  api.patch(
    '/admin/groups/:name',
    {
      ...writes('groups.change'),
      schema: { params: NameParams, body: Body(LimitsChange) },
    },
    async (request, reply) => {
      const change = limitsChange(request.body);
      return settled(reply, await groups.set(request.params.name, change, actorOf(request)));
    },
  );

  api.delete(
    '/admin/groups/:name',
    { ...writes('groups.change'), schema: { params: NameParams } },
    async (request, reply) =>
      settled(reply, await groups.remove(request.params.name, actorOf(request))),
  );
}

/** A word when a time is none. */
function announcementOf(asked: {
  readonly kind: 'notice' | 'trouble';
  readonly texts: Readonly<Record<string, string>>;
  readonly from?: string;
  readonly until?: string | null;
}): NewAnnouncement | 'from-invalid' | 'until-invalid' {
  const fromMs = asked.from === undefined ? Date.now() : parseTime(asked.from);
  if (fromMs === undefined) return 'from-invalid';
  const { until } = asked;
  const untilMs = until === undefined || until === null ? undefined : parseTime(until);
  if (typeof until === 'string' && untilMs === undefined) return 'until-invalid';
  return { kind: asked.kind, texts: asked.texts, fromMs, untilMs };
}

function announcementRoutes(api: Api, { desk: { announcements } }: Portal): void {
  api.get(
    '/admin/announcements',
    {
      ...reads('announcements.see'),
      schema: { response: { 200: Type.Object({ items: Type.Array(AnnouncementShape) }) } },
    },
    async () => ({ items: (await announcements.list()).map(announcementJson) }),
  );

  api.post(
    '/admin/announcements',
    {
      ...writes('announcements.change'),
      schema: { body: Body(AnnouncementBody), response: { 201: AnnouncementShape } },
    },
    async (request, reply) => {
      const wish = announcementOf(request.body);
      if (typeof wish === 'string') return refused(reply, wish) as never;
      const made = await announcements.add(wish, actorOf(request));
      if (typeof made === 'string') return refused(reply, made) as never;
      reply.code(201);
      return announcementJson(made);
    },
  );

  api.put(
    '/admin/announcements/:id',
    {
      ...writes('announcements.change'),
      schema: { params: IdParams, body: Body(AnnouncementBody) },
    },
    async (request, reply) => {
      const wish = announcementOf(request.body);
      if (typeof wish === 'string') return refused(reply, wish);
      return settled(reply, await announcements.set(request.params.id, wish, actorOf(request)));
    },
  );

  api.delete(
    '/admin/announcements/:id',
    { ...writes('announcements.change'), schema: { params: IdParams } },
    async (request, reply) =>
      settled(reply, await announcements.remove(request.params.id, actorOf(request))),
  );
}

function invitationRoutes(api: Api, { desk: { invitations }, service }: Portal): void {
  api.get(
    '/admin/invitations',
    {
      ...reads('invitations.see'),
      schema: { response: { 200: Type.Object({ items: Type.Array(InvitationShape) }) } },
    },
    async () => ({ items: (await invitations.list()).map(invitationJson) }),
  );

  api.post(
    '/admin/invitations',
    {
      ...writes('invitations.change'),
      schema: {
        body: Body({
          email: Type.Optional(Type.String({ maxLength: 254 })),
          role: Type.Optional(Role),
          userName: Type.Optional(Type.String({ maxLength: 64 })),
          language: Type.Optional(Type.String({ maxLength: 8 })),
        }),
        response: { 201: Type.Object({ link: Type.String(), expires: Type.String() }) },
      },
    },
    async (request, reply) => {
      const { email = '', role = 'user', userName = '', language } = request.body;
      const made = await invitations.add({ email, role, userName, language }, actorOf(request));
      if (!made.ok) return refused(reply, made.refusal) as never;
      reply.code(201);
      return {
        link: `${service.url}/invitation?code=${made.code}`,
        expires: iso(made.expiresAtMs),
      };
    },
  );

  api.delete(
    '/admin/invitations/:id',
    { ...writes('invitations.change'), schema: { params: IdParams } },
    async (request, reply) =>
      settled(reply, await invitations.withdraw(request.params.id, actorOf(request))),
  );
}

function staffRoutes(api: Api, { desk: { staff } }: Portal): void {
  api.get(
    '/admin/staff',
    {
      ...reads('staff.see'),
      schema: { querystring: Type.Object(PageQuery), response: { 200: ListOf(PersonShape) } },
    },
    async (request) => {
      const { after, limit = 50 } = request.query;
      return pageJson(await staff.list({ after, limit }), personJson);
    },
  );

  api.put(
    '/admin/staff/:id/role',
    {
      ...writes('staff.change'),
      schema: { params: IdParams, body: Body({ role: Role }) },
    },
    async (request, reply) => {
      const { role } = request.body;
      return settled(reply, await staff.setRole(request.params.id, role, actorOf(request)));
    },
  );

  for (const act of ['disable', 'enable'] as const)
    api.post(
      `/admin/staff/:id/${act}`,
      { ...writes('staff.change'), schema: { params: IdParams } },
      async (request, reply) =>
        settled(reply, await staff[act](request.params.id, actorOf(request))),
    );
}

function logRoutes(api: Api, { desk: { audit, abuse } }: Portal): void {
  const Text = Type.Optional(Type.String({ maxLength: 300 }));

  api.get(
    '/admin/audit',
    {
      ...reads('audit.see'),
      schema: {
        querystring: Type.Object({
          ...PageQuery,
          who: Text,
          act: Text,
          subject: Text,
          from: Text,
          until: Text,
        }),
        response: { 200: ListOf(AuditShape) },
      },
    },
    async (request, reply) => {
      const {
        after,
        limit = 50,
        who = '',
        act = '',
        subject = '',
        from = '',
        until = '',
      } = request.query;
      const before = Number(after) || undefined;
      // One more than is asked for says whether there is another page.
      const found = await audit.list({ who, act, subject, from, until }, before, limit + 1);
      if (typeof found === 'string') return refused(reply, found) as never;
      const items = found.slice(0, limit);
      const next = found.length > limit ? String(items.at(-1)?.id) : undefined;
      return pageJson({ items, next }, auditJson);
    },
  );

  api.post(
    '/admin/abuse',
    {
      ...reads('abuse.ask'),
      schema: {
        body: Body({
          address: Type.String({ maxLength: 60, description: 'Or a prefix' }),
          port: Type.Optional(Type.Integer({ minimum: 1, maximum: 65_535 })),
          from: Type.String({ maxLength: 40, description: 'ISO 8601; UTC without a zone' }),
          until: Type.Optional(Type.String({ maxLength: 40 })),
        }),
        response: { 200: AbuseShape },
      },
    },
    async (request, reply) => {
      const { address, port, from, until = '' } = request.body;
      const question = {
        address,
        port: port === undefined ? '' : String(port),
        from,
        until,
        zone: 'Z',
      };
      const found = await abuse.ask(question, actorOf(request));
      return typeof found === 'string' ? (refused(reply, found) as never) : caseJson(found);
    },
  );
}
