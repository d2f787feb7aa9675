// `/api/v1/admin`: what staff's programs may do, the same as on staff's pages and by the same table of
// permissions. Reading takes a token for `admin:read`, everything else one for `admin:write`.

import { type TProperties, Type } from 'typebox';
import { RANGES, type Range } from '../../broker/desk.ts';
import { en } from '../i18n/en.ts';
import type { Portal } from '../portal.ts';
import { adminDeskRoutes } from './admin-desk.ts';
import { actorOf, reads, refused, settled, writes } from './admin-parts.ts';
import {
  Body,
  IdParams,
  iso,
  LimitsChange,
  ListOf,
  limitsChange,
  OverviewShape,
  PageQuery,
  PastShape,
  pageJson,
  pastJson,
  Tunnel,
  tunnelJson,
  User,
  userJson,
} from './admin-shapes.ts';
import type { Api } from './caller.ts';

const query = <T extends TProperties>(properties: T) =>
  Type.Object({ ...PageQuery, ...properties });
const Search = Type.Optional(Type.String({ maxLength: 300 }));

export function adminRoutes(api: Api, portal: Portal): void {
  // Each is described by what it is registered with: there is nothing to say twice.
  api.addHook('onRoute', (route) => {
    const { scope, permission } = route.config ?? {};
    if (permission === undefined || scope === undefined) return;
    const method = String(route.method).toLowerCase();
    const steps = route.url
      .split('/')
      .filter((step) => step !== '' && !/^(api|v1|:.*)$/.test(step));
    route.schema = {
      ...route.schema,
      tags: ['staff'],
      operationId: [method, ...steps, ...(route.url.includes('/:') ? ['one'] : [])].join('-'),
      summary: en.admin.permissions[permission],
      description: `Scope: ${scope}`,
    };
  });
  overviewRoutes(api, portal);
  userRoutes(api, portal);
  tunnelRoutes(api, portal);
  adminDeskRoutes(api, portal);
}

function overviewRoutes(api: Api, { desk, isUp }: Portal): void {
  api.get(
    '/admin/overview',
    {
      ...reads('dashboard.see'),
      schema: {
        querystring: Type.Object({
          range: Type.Optional(Type.Enum(Object.keys(RANGES) as Range[])),
        }),
        response: { 200: OverviewShape },
      },
    },
    async (request) => {
      const counts = await desk.overview.counts();
      const totals = await desk.overview.totals(request.query.range ?? 'day');
      return {
        ...counts,
        brokerAnswers: await isUp(),
        stepSeconds: totals.stepMs / 1000,
        totals: totals.rows.map(({ atMs, ...row }) => ({
          time: iso(atMs),
          up: row.attached,
          down: row.down,
          disabled: row.disabled,
          logins: row.logins,
          loginFailures: row.login_failures,
          inOctets: row.in_bytes,
          outOctets: row.out_bytes,
          inPackets: row.in_packets,
          outPackets: row.out_packets,
          drops: row.drops,
        })),
      };
    },
  );
}

function userRoutes(api: Api, { desk: { users } }: Portal): void {
  api.get(
    '/admin/users',
    {
      ...reads('users.see'),
      schema: {
        querystring: query({
          search: Search,
          state: Type.Optional(Type.Enum(['waiting', 'disabled'])),
          group: Type.Optional(Type.String({ maxLength: 64 })),
        }),
        response: { 200: ListOf(User) },
      },
    },
    async (request) => {
      const { search = '', state, group, after, limit = 50 } = request.query;
      return pageJson(await users.list({ search, state, group }, { after, limit }), userJson);
    },
  );

  api.get(
    '/admin/users/:id',
    {
      ...reads('users.see'),
      schema: {
        params: IdParams,
        response: { 200: Type.Object({ user: User, tunnels: Type.Array(Tunnel) }) },
      },
    },
    async (request, reply) => {
      const found = await users.find(request.params.id);
      if (!found) return refused(reply, 'no-such-user') as never;
      const tunnels = await users.tunnels(found.user.id);
      return { user: userJson(found), tunnels: tunnels.map(tunnelJson) };
    },
  );

  api.get(
    '/admin/users/:id/past',
    {
      ...reads('users.history'),
      schema: { params: IdParams, response: { 200: PastShape } },
    },
    async (request, reply) => {
      const { id } = request.params;
      if (!(await users.find(id))) return refused(reply, 'no-such-user') as never;
      return pastJson(await users.past(id, actorOf(request)));
    },
  );

  for (const [act, permission] of [
    ['approve', 'users.approve'],
    ['refuse', 'users.approve'],
    ['disable', 'users.disable'],
    ['enable', 'users.disable'],
  ] as const)
    api.post(
      `/admin/users/:id/${act}`,
      { ...writes(permission), schema: { params: IdParams } },
      async (request, reply) =>
        settled(reply, await users[act](request.params.id, actorOf(request))),
    );

  api.put(
    '/admin/users/:id/group',
    {
      ...writes('users.group'),
      schema: {
        params: IdParams,
        body: Body({ group: Type.Union([Type.String({ maxLength: 64 }), Type.Null()]) }),
      },
    },
    async (request, reply) => {
      const { group } = request.body;
      const result = await users.setGroup(request.params.id, group ?? 'none', actorOf(request));
      return settled(reply, result);
    },
  );

  api.put(
    '/admin/users/:id/trust',
    {
      ...writes('users.trust'),
      schema: { params: IdParams, body: Body({ trusted: Type.Boolean() }) },
    },
    async (request, reply) => {
      const { trusted } = request.body;
      return settled(reply, await users.setTrust(request.params.id, trusted, actorOf(request)));
    },
  );

  api.delete(
    '/admin/users/:id',
    { ...writes('users.remove'), schema: { params: IdParams } },
    async (request, reply) =>
      settled(reply, await users.remove(request.params.id, actorOf(request))),
  );
}

function tunnelRoutes(api: Api, { desk: { tunnels } }: Portal): void {
  api.get(
    '/admin/tunnels',
    {
      ...reads('tunnels.see'),
      schema: {
        querystring: query({
          search: Search,
          state: Type.Optional(Type.Enum(['up', 'down', 'disabled', 'anonymous'])),
        }),
        response: { 200: ListOf(Tunnel) },
      },
    },
    async (request) => {
      const { search = '', state, after, limit = 50 } = request.query;
      return pageJson(await tunnels.list(search, state, { after, limit }), tunnelJson);
    },
  );

  api.get(
    '/admin/tunnels/:id',
    { ...reads('tunnels.see'), schema: { params: IdParams, response: { 200: Tunnel } } },
    async (request, reply) => {
      const found = await tunnels.find(request.params.id);
      return found ? tunnelJson(found) : (refused(reply, 'no-such-tunnel') as never);
    },
  );

  api.patch(
    '/admin/tunnels/:id/limits',
    {
      ...writes('tunnels.limit'),
      schema: { params: IdParams, body: Body(LimitsChange) },
    },
    async (request, reply) => {
      const change = limitsChange(request.body);
      return settled(reply, await tunnels.setLimits(request.params.id, change, actorOf(request)));
    },
  );

  for (const act of ['disable', 'enable'] as const)
    api.post(
      `/admin/tunnels/:id/${act}`,
      { ...writes('tunnels.disable'), schema: { params: IdParams } },
      async (request, reply) =>
        settled(reply, await tunnels[act](request.params.id, actorOf(request))),
    );

  api.delete(
    '/admin/tunnels/:id',
    { ...writes('tunnels.close'), schema: { params: IdParams } },
    async (request, reply) =>
      settled(reply, await tunnels.close(request.params.id, actorOf(request))),
  );
}
