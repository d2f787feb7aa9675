// What people see when something cannot be done: plain words in their language, and a way on.

import type { FastifyReply } from 'fastify';
import { html } from './html.ts';
import type { Visit } from './visit.ts';

export type Failure = 'notFound' | 'forbidden' | 'stale' | 'tooLarge' | 'busy' | 'broken';

const STATUS: Readonly<Record<Failure, number>> = {
  notFound: 404,
  forbidden: 403,
  stale: 403,
  tooLarge: 413,
  busy: 503,
  broken: 500,
};

export function statusOf(failure: Failure): number {
  return STATUS[failure];
}

export function failurePage(visit: Visit, failure: Failure): FastifyReply {
  const { failures: words } = visit.words;
  if (failure === 'busy') visit.reply.header('retry-after', '5');
  return visit.page({
    title: words[failure],
    status: STATUS[failure],
    main: html`
      <p class="overline">${words.title(STATUS[failure])}</p>
      <h1>${words[failure]}</h1>
      <p class="lead">${words[`${failure}Text`]}</p>
      <p><a class="button" href="/">${words.home}</a></p>
    `,
  });
}
