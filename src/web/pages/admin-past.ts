// Where a user's clients were, and which addresses their tunnels had: for the abuse desk.

import type { FastifyReply } from 'fastify';
import { formatEndpoint, formatIp, formatPrefix } from '../../address.ts';
import type { AttachmentTenure } from '../../broker/desk-parts.ts';
import type { SignedIn } from '../../broker/people-sign-in.ts';
import { failurePage } from '../failures.ts';
import { bdi, code, html } from '../html.ts';
import type { Visit } from '../visit.ts';
import { actorOf, deskPage, table } from './admin-parts.ts';

export async function pastPage(visit: Visit, me: SignedIn): Promise<FastifyReply> {
  const id = visit.id();
  const { users } = visit.portal.desk;
  const account = id === undefined ? undefined : await users.find(id);
  if (!account) return failurePage(visit, 'notFound');
  const { user } = account;
  const past = await users.past(user.id, actorOf(visit, me));
  const { admin } = visit.words;
  const { user: words, desk, tunnel } = admin;
  const until = (atMs: number | undefined) => (atMs === undefined ? desk.now : visit.time(atMs));
  return deskPage(visit, me, {
    title: words.past,
    section: 'users',
    main: html`
      <p class="overline"><a href="/admin/users/${user.id}"><bdi>${user.name}</bdi></a></p>
      <p>${words.pastSpan(html`${visit.time(past.span.fromMs)}`, html`${visit.time(past.span.untilMs)}`)}</p>
      ${past.truncated && html`<p class="notice">${words.pastMore}</p>`}
      <h2>${words.pastClients}</h2>
      ${
        past.attachments.length === 0
          ? html`<p class="hint">${words.pastNone}</p>`
          : table(
              words.pastClients,
              [
                tunnel.endpoint,
                tunnel.encapsulation,
                tunnel.number,
                desk.fromColumn,
                desk.untilColumn,
              ],
              past.attachments.map((each) => [
                code(clientText(each)),
                code(each.encapsulation),
                bdi(each.tunnelId),
                visit.time(each.fromMs),
                until(each.untilMs),
              ]),
            )
      }
      <h2>${words.pastPrefixes}</h2>
      ${
        past.leases.length === 0
          ? html`<p class="hint">${words.pastNone}</p>`
          : table(
              words.pastPrefixes,
              [tunnel.prefix, tunnel.number, desk.fromColumn, desk.untilColumn],
              past.leases.map((each) => [
                code(formatPrefix(each.prefix)),
                bdi(each.tunnelId),
                visit.time(each.fromMs),
                until(each.untilMs),
              ]),
            )
      }
      <p class="hint">${admin.utc}</p>
    `,
  });
}

export function clientText({ client, port }: AttachmentTenure): string {
  return port === 0 ? formatIp(client) : formatEndpoint({ address: client, port });
}
