// `/api/v1`: what programs may do, with a token that a person made for them. Routes are described by
// schemas, which give the types, the checks and, to whoever asks, the documentation.

import type { TypeBoxTypeProvider } from '@fastify/type-provider-typebox';
import type { FastifyInstance } from 'fastify';
import { isStaff, permits } from '../../broker/permissions.ts';
import type { Portal } from '../portal.ts';
import { accountRoutes } from './account.ts';
import { adminRoutes } from './admin.ts';
import { type Api, setCaller } from './caller.ts';
import { problem } from './problems.ts';

export function addApi(app: FastifyInstance, portal: Portal): void {
  const api: Api = app.withTypeProvider<TypeBoxTypeProvider>();
  api.addHook('onRequest', async (request, reply) => {
    const { authorization = '' } = request.headers;
    const [, token = ''] = /^Bearer ([\x21-\x7e]+)$/i.exec(authorization) ?? [];
    const found = await portal.people.signIns.apiToken(token);
    if (!found) return problem(reply.header('www-authenticate', 'Bearer'), 401, 'unauthorized');
    const { scope, permission } = request.routeOptions.config;
    const { role } = found.person;
    // To who is no staff there are no such routes, whatever the token is for.
    if (permission !== undefined && !isStaff(role)) return problem(reply, 404, 'not-found');
    if (scope === undefined || !found.scopes.includes(scope))
      return problem(reply, 403, 'forbidden');
    if (permission !== undefined && !permits(role, permission))
      return problem(reply, 403, 'forbidden');
    setCaller(request, found.person);
  });
  accountRoutes(api, portal);
  adminRoutes(api, portal);
}
