// What an API route is made with, and whom the request's token speaks for.

import type { IncomingMessage, ServerResponse } from 'node:http';
import type { TypeBoxTypeProvider } from '@fastify/type-provider-typebox';
import type { FastifyBaseLogger, FastifyInstance, FastifyRequest, RawServerDefault } from 'fastify';
import type { Scope } from '../../broker/people-account.ts';
import type { Person } from '../../broker/people-parts.ts';

export type Api = FastifyInstance<
  RawServerDefault,
  IncomingMessage,
  ServerResponse,
  FastifyBaseLogger,
  TypeBoxTypeProvider
>;

declare module 'fastify' {
  interface FastifyContextConfig {
    /** What a token must be for to use the route; without it nobody can. */
    scope?: Scope;
  }
}

const callers = new WeakMap<FastifyRequest, Person>();

export function setCaller(request: FastifyRequest, person: Person): void {
  callers.set(request, person);
}

/** Every API route has one. */
export function callerOf(request: FastifyRequest): Person {
  const person = callers.get(request);
  if (!person) throw new Error('an API route was entered without a token');
  return person;
}
