// `/api/v1`: what programs may do, with a token that a person made for them, and scripts of a page with
// its session. Routes are described by schemas, which give the types, the checks and the documentation.

import swagger, { type FastifyDynamicSwaggerOptions } from '@fastify/swagger';
import type { TypeBoxTypeProvider } from '@fastify/type-provider-typebox';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { formatIp } from '../../address.ts';
import { isStaff, permits } from '../../broker/permissions.ts';
import { csrfFits } from '../session.ts';
import { type House, visitorOf } from '../visit.ts';
import { accountRoutes } from './account.ts';
import { adminRoutes } from './admin.ts';
import { type Api, type Caller, setCaller } from './caller.ts';
import { configurationRoutes } from './configurations.ts';
import { problem } from './problems.ts';
import { RateLimit } from './rates.ts';
import { tunnelRoutes } from './tunnels.ts';

/** Of one person, by whatever tokens. */
export const REQUESTS_A_MINUTE = 300;
const MINUTE_MS = 60_000;
/** Requests without a valid token, from one address. */
const STRANGERS_A_MINUTE = 60;

export async function addApi(
  app: FastifyInstance,
  house: House,
  requestsAMinute: number,
): Promise<void> {
  const { portal } = house;
  const limit = new RateLimit(requestsAMinute, MINUTE_MS);
  const strangers = new RateLimit(STRANGERS_A_MINUTE, MINUTE_MS);
  await app.register(swagger, { openapi: DESCRIPTION, hideUntagged: true });
  const api: Api = app.withTypeProvider<TypeBoxTypeProvider>();
  api.addHook('onRequest', async (request, reply) => {
    const { config } = request.routeOptions;
    const visitor = visitorOf(request);
    if (config.public) {
      if (!strangers.take(formatIp(visitor.address), reply))
        return problem(reply, 429, 'too-many-requests');
      return;
    }
    const caller = await findCaller(house, request);
    if (caller === 'stale') return problem(reply, 403, 'forbidden', 'X-CSRF-Token is missing.');
    if (!caller) {
      if (!strangers.take(formatIp(visitor.address), reply))
        return problem(reply, 429, 'too-many-requests');
      return problem(reply.header('www-authenticate', 'Bearer'), 401, 'unauthorized');
    }
    if (!limit.take(String(caller.person.id), reply))
      return problem(reply, 429, 'too-many-requests');
    const { scope, permission } = config;
    const { role } = caller.person;
    // To who is no staff there are no such routes, whatever the token is for.
    if (permission !== undefined && !isStaff(role)) return problem(reply, 404, 'not-found');
    if (scope === undefined || !(caller.scopes === 'all' || caller.scopes.includes(scope)))
      return problem(reply, 403, 'forbidden', scope && `It needs the scope ${scope}.`);
    if (permission !== undefined && !permits(role, permission))
      return problem(reply, 403, 'forbidden', 'Your role does not allow this.');
    setCaller(request, caller);
  });
  accountRoutes(api, portal);
  tunnelRoutes(api, portal);
  configurationRoutes(api, portal);
  adminRoutes(api, portal);
  api.get('/openapi.json', { config: { public: true }, schema: { hide: true } }, (_, reply) =>
    describe(api, reply),
  );
}

function describe(api: Api, reply: FastifyReply) {
  return reply.type('application/json').send(JSON.stringify(api.swagger(), null, 2));
}

async function findCaller(
  { portal, cookies }: House,
  request: FastifyRequest,
): Promise<Caller | 'stale' | undefined> {
  const { signIns } = portal.people;
  const { authorization } = request.headers;
  const visitor = visitorOf(request);
  if (authorization !== undefined) {
    const [, token = ''] = /^Bearer ([\x21-\x7e]+)$/i.exec(authorization) ?? [];
    const found = await signIns.apiToken(token);
    return found && { ...found, signedIn: undefined, visitor };
  }
  const cookie = cookies.read(request, 'session');
  const signedIn = cookie === undefined ? undefined : await signIns.session(cookie);
  if (cookie === undefined || signedIn?.session.stage !== 'signed-in') return undefined;
  // The browser sends the cookie by itself; only a page of ours can know this.
  const csrf = request.headers['x-csrf-token'];
  if (request.method !== 'GET' && !csrfFits(cookie, typeof csrf === 'string' ? csrf : undefined))
    return 'stale';
  return { person: signedIn.person, scopes: 'all', signedIn, visitor };
}

const DESCRIPTION: NonNullable<FastifyDynamicSwaggerOptions['openapi']> = {
  openapi: '3.1.0',
  info: {
    title: 'Sixway',
    version: '1',
    description:
      'Tunnels and accounts. Errors are problem+json (RFC 9457) with a `type` that does not change, and a ' +
      '`code` where there are several reasons. Lists are read page by page: pass `next` on as `cursor`.',
    license: { name: 'GPL-2.0-or-later', identifier: 'GPL-2.0-or-later' },
  },
  tags: [
    { name: 'account', description: 'Who one is' },
    { name: 'tunnels', description: 'One’s own tunnels' },
    {
      name: 'staff',
      description: 'For whoever has a role; what each role may is on the page Staff',
    },
  ],
  components: {
    securitySchemes: {
      token: {
        type: 'http',
        scheme: 'bearer',
        description: 'Made on the page “API tokens”, for certain scopes.',
      },
      session: {
        type: 'apiKey',
        in: 'cookie',
        name: 'sixway-session',
        description: 'A browser’s; whatever changes something needs the header X-CSRF-Token too.',
      },
    },
  },
  security: [{ token: [] }, { session: [] }],
};
