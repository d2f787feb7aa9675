// `/api/v1/account`: who the caller is, their sessions and tokens, their data. What cannot be taken back
// asks for the password again, as the pages do.

import type { FastifyReply } from 'fastify';
import { Type } from 'typebox';
import { SCOPES } from '../../broker/people-account.ts';
import type { Portal } from '../portal.ts';
import { type Api, type Caller, callerOf } from './caller.ts';
import { problem } from './problems.ts';
import {
  described,
  IdParams,
  iso,
  Nullable,
  PageQuery,
  PROBLEMS,
  page,
  pageOf,
  Time,
} from './schemas.ts';

const DAY_MS = 86_400_000;

const Account = Type.Object({
  email: Type.String(),
  userName: Nullable(Type.String()),
  role: Type.String(),
  twoFactor: Type.Boolean(),
  created: Time,
});

const Session = Type.Object({
  id: Type.Integer(),
  address: Type.String(),
  userAgent: Type.String(),
  begun: Time,
  lastUsed: Time,
  expires: Time,
  current: Type.Boolean(),
});

const ScopeName = Type.Enum([...SCOPES]);

const Token = Type.Object({
  id: Type.Integer(),
  name: Type.String(),
  scopes: Type.Array(Type.String()),
  created: Time,
  lastUsed: Nullable(Time),
  expires: Nullable(Time),
});

const Password = Type.String({ maxLength: 300, description: 'The person’s own, once more' });

export function accountRoutes(api: Api, portal: Portal): void {
  const { account, signIns } = portal.people;
  const read = { config: { scope: 'account:read' } } as const;
  const write = { config: { scope: 'account:write' } } as const;
  const about = (operationId: string, summary: string, scope: 'read' | 'write' = 'read') =>
    described('account', operationId, summary, `account:${scope}`);
  const gone = { 204: Type.Null(), ...PROBLEMS };

  api.get(
    '/account',
    {
      ...read,
      schema: { ...about('getAccount', 'Who I am'), response: { 200: Account, ...PROBLEMS } },
    },
    async (request) => {
      const { person } = callerOf(request);
      return {
        email: person.email,
        userName: person.user?.name ?? null,
        role: person.role,
        twoFactor: person.totpEnabledAtMs !== undefined,
        created: iso(person.createdAtMs),
      };
    },
  );

  api.get(
    '/account/export',
    {
      ...read,
      schema: {
        ...about('exportAccount', 'All that is kept about me'),
        response: { 200: Type.Object({}, { additionalProperties: true }), ...PROBLEMS },
      },
    },
    async (request) => account.exportAll(callerOf(request).person),
  );

  api.post(
    '/account/erase',
    {
      ...write,
      schema: {
        ...about('eraseAccount', 'Account, tunnels and addresses, for good', 'write'),
        body: Type.Object({ password: Password }, { additionalProperties: false }),
        response: gone,
      },
    },
    async (request, reply) => {
      const caller = callerOf(request);
      const found = await passwordIs(portal, caller, request.body.password);
      if (found !== 'right') return passwordProblem(reply, found);
      if ((await account.erase(caller.person, caller.visitor)) === 'is-staff')
        return problem(reply, 409, 'refused', 'Staff are not erased by themselves.', 'is-staff');
      return reply.code(204).send(null);
    },
  );

  api.get(
    '/account/sessions',
    {
      ...read,
      schema: {
        ...about('listSessions', 'The browsers that are signed in'),
        querystring: PageQuery,
        response: { 200: pageOf(Session), ...PROBLEMS },
      },
    },
    async (request) => {
      const { person, signedIn } = callerOf(request);
      const { items, next } = page(await signIns.sessions(person.id), request.query);
      return {
        items: items.map(({ id, address, userAgent, createdAtMs, lastUsedAtMs, expiresAtMs }) => ({
          id,
          address,
          userAgent,
          begun: iso(createdAtMs),
          lastUsed: iso(lastUsedAtMs),
          expires: iso(expiresAtMs),
          current: id === signedIn?.session.id,
        })),
        next,
      };
    },
  );

  api.delete(
    '/account/sessions/:id',
    {
      ...write,
      schema: {
        ...about('endSession', 'Sign a browser out', 'write'),
        params: IdParams,
        response: gone,
      },
    },
    async (request, reply) => {
      const { person, visitor } = callerOf(request);
      const ended = await signIns.endSession(person.id, request.params.id, visitor);
      return ended ? reply.code(204).send(null) : problem(reply, 404, 'not-found');
    },
  );

  api.get(
    '/account/tokens',
    {
      ...read,
      schema: {
        ...about('listTokens', 'My API tokens, without what they are used with'),
        querystring: PageQuery,
        response: { 200: pageOf(Token), ...PROBLEMS },
      },
    },
    async (request) => {
      const { items, next } = page(await account.tokens(callerOf(request).person), request.query);
      return {
        items: items.map(({ id, name, scopes, createdAtMs, lastUsedAtMs, expiresAtMs }) => ({
          id,
          name,
          scopes: [...scopes],
          created: iso(createdAtMs),
          lastUsed: iso(lastUsedAtMs),
          expires: iso(expiresAtMs),
        })),
        next,
      };
    },
  );

  api.post(
    '/account/tokens',
    {
      ...write,
      schema: {
        ...about('makeToken', 'A token, told once; never for more than the caller may', 'write'),
        body: Type.Object(
          {
            name: Type.String({ maxLength: 100 }),
            scopes: Type.Array(ScopeName, { maxItems: SCOPES.length }),
            days: Type.Optional(Type.Integer({ minimum: 1, maximum: 3650 })),
            password: Password,
          },
          { additionalProperties: false },
        ),
        response: { 201: Type.Object({ token: Type.String() }), ...PROBLEMS },
      },
    },
    async (request, reply) => {
      const caller = callerOf(request);
      const { name, scopes, days, password } = request.body;
      const held = caller.scopes;
      if (held !== 'all' && !scopes.every((scope) => held.includes(scope)))
        return problem(reply, 403, 'forbidden', 'A token cannot give what it does not have.');
      const found = await passwordIs(portal, caller, password);
      if (found !== 'right') return passwordProblem(reply, found);
      const made = await account.addToken(
        caller.person,
        name,
        [...new Set(scopes)],
        days && days * DAY_MS,
        caller.visitor,
      );
      if (!made.ok) return problem(reply, 422, 'refused', undefined, made.refusal);
      return reply.code(201).send({ token: made.token });
    },
  );

  api.delete(
    '/account/tokens/:id',
    {
      ...write,
      schema: {
        ...about('revokeToken', 'Revoke a token', 'write'),
        params: IdParams,
        response: gone,
      },
    },
    async (request, reply) => {
      const { person, visitor } = callerOf(request);
      const removed = await account.removeToken(person, request.params.id, visitor);
      return removed ? reply.code(204).send(null) : problem(reply, 404, 'not-found');
    },
  );
}

async function passwordIs(
  { people }: Portal,
  { person, visitor }: Caller,
  password: string,
): Promise<'right' | 'wrong' | 'held-back'> {
  return people.signIns.confirmPassword({ person }, password, visitor);
}

/** Not awaited by who asks: a reply is fulfilled, with nothing, when it is sent. */
function passwordProblem(reply: FastifyReply, found: 'wrong' | 'held-back') {
  if (found === 'held-back')
    return problem(reply.header('retry-after', '300'), 429, 'too-many-requests');
  return problem(reply, 403, 'refused', 'The password is not right.', 'password-wrong');
}
