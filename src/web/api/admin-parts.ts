// What the API's routes for staff share: the scope and the permission that each takes, who asks, and how
// a desk's answer becomes one of HTTP.

import type { FastifyReply, FastifyRequest } from 'fastify';
import type { Actor } from '../../broker/desk-parts.ts';
import type { Permission } from '../../broker/permissions.ts';
import { callerOf } from './caller.ts';
import { problem } from './problems.ts';

export function reads(permission: Permission) {
  return { config: { scope: 'admin:read', permission } } as const;
}

export function writes(permission: Permission) {
  return { config: { scope: 'admin:write', permission } } as const;
}

export function actorOf(request: FastifyRequest): Actor {
  const { person, visitor } = callerOf(request);
  return { person, visitor };
}

/** Nothing to say when it is done; what there is not is 404, and what cannot be is 409 with a word. */
export function settled(reply: unknown, result: string): FastifyReply {
  const answer = reply as FastifyReply;
  return result === 'done' ? answer.code(204).send() : refused(answer, result);
}

export function refused(reply: unknown, refusal: string): FastifyReply {
  const answer = reply as FastifyReply;
  if (refusal.startsWith('no-such-')) return problem(answer, 404, 'not-found', refusal);
  return refusal.endsWith('-invalid')
    ? problem(answer, 400, 'bad-request', refusal)
    : problem(answer, 409, 'refused', refusal);
}
