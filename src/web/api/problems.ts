// What programs get when something cannot be done: RFC 9457, with a type that does not change.

import type { FastifyReply } from 'fastify';

const TITLES = {
  'bad-request': 'The request is not as the API describes it',
  unauthorized: 'A valid token is needed in the Authorization header',
  forbidden: 'The token does not allow this',
  'not-found': 'There is no such thing',
  refused: 'This cannot be done',
  'too-many-requests': 'There were more requests than are allowed',
  'too-large': 'The request holds more than this server takes',
  busy: 'A lot is going on: try again in a few seconds',
  broken: 'Something went wrong on our side',
} as const;

export type ProblemType = keyof typeof TITLES;

export function isApiPath(url: string): boolean {
  return url.startsWith('/api/');
}

export function problem(
  reply: FastifyReply,
  status: number,
  type: ProblemType,
  detail?: string,
  code?: string,
): FastifyReply {
  return reply
    .code(status)
    .type('application/problem+json')
    .send(
      JSON.stringify({
        type: `urn:sixway:problem:${type}`,
        title: TITLES[type],
        status,
        ...(detail !== undefined && { detail }),
        // Of the closed list of reasons: for programs that want to tell them apart.
        ...(code !== undefined && { code }),
      }),
    );
}

/** `status`: what it is to people; mistakes in the request are told in words. */
export function problemOf(
  reply: FastifyReply,
  error: { readonly statusCode?: number | undefined; readonly message: string },
  status: number,
): FastifyReply {
  if (status === 503) return problem(reply.header('retry-after', '5'), 503, 'busy');
  if (error.statusCode === 415) return problem(reply, 415, 'bad-request', error.message);
  if (status === 413) return problem(reply, 413, 'too-large');
  if (error.statusCode !== undefined && error.statusCode < 500)
    return problem(reply, error.statusCode, 'bad-request', error.message);
  return problem(reply, 500, 'broken');
}
