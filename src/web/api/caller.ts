// What an API route is made with, and whom a request speaks for: the person of a token, or of a browser's
// session.

import type { IncomingMessage, ServerResponse } from 'node:http';
import type { TypeBoxTypeProvider } from '@fastify/type-provider-typebox';
import type { FastifyBaseLogger, FastifyInstance, FastifyRequest, RawServerDefault } from 'fastify';
import type { Scope } from '../../broker/people-account.ts';
import type { Person, Visitor } from '../../broker/people-parts.ts';
import type { SignedIn } from '../../broker/people-sign-in.ts';

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
    /** For everybody, as the description of the API itself. */
    public?: true;
  }
}

export interface Caller {
  readonly person: Person;
  /** A browser's session may do whatever its person may. */
  readonly scopes: readonly string[] | 'all';
  /** Undefined: a token. */
  readonly signedIn: SignedIn | undefined;
  readonly visitor: Visitor;
}

const callers = new WeakMap<FastifyRequest, Caller>();

export function setCaller(request: FastifyRequest, caller: Caller): void {
  callers.set(request, caller);
}

/** Every API route has one. */
export function callerOf(request: FastifyRequest): Caller {
  const caller = callers.get(request);
  if (!caller) throw new Error('an API route was entered without a token');
  return caller;
}
