// For routers and tools that know how other tunnel brokers do it: the update call of dynamic DNS (dyndns2,
// `/nic/update`), which says where a tunnel of protocol 41 leads, and the read call of Hurricane
// Electric's tools (`/tunnelInfo.php`). HTTP Basic, with the user's name and the tunnel secret or a token.

import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { formatIp, formatIpv4, parseIpv4 } from '../address.ts';
import type { Person } from '../broker/people-parts.ts';
import type { OwnTunnel, TunnelRefusal } from '../broker/tunnel-desk.ts';
import { RateLimit } from './api/rates.ts';
import { escapeHtml } from './html.ts';
import type { Portal } from './portal.ts';
import { visitorOf } from './visit.ts';

const CALLS = { max: 60, windowMs: 60_000 };
const HOSTS_MOST = 20;

/** What a router can do about it: wait, or tell somebody. */
const ANSWERS: Readonly<Partial<Record<TunnelRefusal, string>>> = {
  unchanged: 'nochg',
  'no-such-tunnel': 'nohost',
  'address-in-use': '911',
  'too-many-from-address': '911',
};

export function addDyndns(app: FastifyInstance, portal: Portal): void {
  const limit = new RateLimit(CALLS.max, CALLS.windowMs);
  const call = (path: string, scope: string, answer: Answer) =>
    app.get(path, async (request, reply) => {
      reply.type('text/plain; charset=utf-8');
      if (!limit.take(formatIp(visitorOf(request).address), reply))
        return reply.code(429).send('abuse\n');
      try {
        const person = await personOf(portal, request, scope);
        if (person === 'held-back')
          return await reply.code(429).header('retry-after', '300').send('abuse\n');
        if (!person)
          return await reply
            .code(401)
            .header('www-authenticate', 'Basic realm="tunnels", charset="UTF-8"')
            .send('badauth\n');
        return await answer(portal, person, request, reply);
      } catch (error) {
        portal.log.error({ err: error }, 'a dynamic DNS call failed');
        return reply.send('911\n');
      }
    });
  call('/nic/update', 'tunnels:endpoint', update);
  for (const path of ['/tunnelInfo.php', '/tunnelinfo.php']) call(path, 'tunnels:read', tunnelInfo);
}

type Answer = (
  portal: Portal,
  person: Person,
  request: FastifyRequest,
  reply: FastifyReply,
) => Promise<FastifyReply>;

/** Never out of the query: that would stand in logs. */
async function personOf(
  { people, tunnels }: Portal,
  request: FastifyRequest,
  scope: string,
): Promise<Person | 'held-back' | undefined> {
  const [, encoded = ''] =
    /^Basic ([A-Za-z0-9+/=]+)$/i.exec(request.headers.authorization ?? '') ?? [];
  const text = Buffer.from(encoded, 'base64').toString('utf8');
  const colon = text.indexOf(':');
  if (colon < 1) return undefined;
  const [name, secret] = [text.slice(0, colon), text.slice(colon + 1)];
  const token = await people.signIns.apiToken(secret);
  if (token)
    return token.scopes.includes(scope) && token.person.user?.name === name
      ? token.person
      : undefined;
  const found = await tunnels.personBySecret(name, secret, visitorOf(request));
  return found === 'wrong' ? undefined : found;
}

/** A line for each host name: `good` or `nochg` with the address, or why not. */
async function update(
  { tunnels }: Portal,
  person: Person,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<FastifyReply> {
  const visitor = visitorOf(request);
  const hosts = queryOf(request, 'hostname').split(',').filter(Boolean);
  if (hosts.length === 0) return reply.send('notfqdn\n');
  if (hosts.length > HOSTS_MOST) return reply.send('numhost\n');
  const given = queryOf(request, 'myip');
  const client = given === '' ? visitor.address : parseIpv4(given.split(',')[0] ?? '');
  const lines: string[] = [];
  for (const host of hosts) {
    const tunnel = await find(tunnels, person, host);
    if (!tunnel) lines.push('nohost');
    else if (typeof client !== 'number') lines.push('abuse');
    else {
      const result = await tunnels.setClient(person, tunnel.id, client, visitor);
      const word = result.ok ? 'good' : (ANSWERS[result.refusal] ?? 'abuse');
      lines.push(word === 'good' || word === 'nochg' ? `${word} ${formatIpv4(client)}` : word);
    }
  }
  return reply.send(`${lines.join('\n')}\n`);
}

/** By its number, `tunnel` and its number in a name, or its user's name. */
async function find(
  tunnels: Portal['tunnels'],
  person: Person,
  host: string,
): Promise<OwnTunnel | undefined> {
  const own = (await tunnels.list(person)).filter(
    ({ family, state }) => family === 'ipv6' && state !== 'deleted',
  );
  const [, number] = /^(?:tunnel)?(\d{1,15})(?:\..*)?$/i.exec(host) ?? [];
  return own.find(({ id, name }) => String(id) === number || name === host);
}

async function tunnelInfo(
  { tunnels }: Portal,
  person: Person,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<FastifyReply> {
  const wanted = queryOf(request, 'tid');
  const own = (await tunnels.list(person)).filter(
    ({ id, family, state }) =>
      family === 'ipv6' && state !== 'deleted' && (wanted === '' || wanted === String(id)),
  );
  const { address } = tunnels.terms.server;
  const server = address === undefined ? '' : formatIpv4(address);
  return reply
    .type('text/xml; charset=utf-8')
    .send(
      `<?xml version="1.0" encoding="UTF-8"?>\n<tunnels>\n${own.map((each) => tunnelXml(each, server)).join('')}</tunnels>\n`,
    );
}

function tunnelXml(
  { id, name, endpoint, gateway, address, prefix, nameServers }: OwnTunnel,
  server: string,
) {
  const elements: (readonly [string, string])[] = [
    ['description', name],
    ['serverv4', server],
    ['clientv4', endpoint ? formatIp(endpoint.address) : ''],
    ['serverv6', gateway],
    ['clientv6', address],
  ];
  // Theirs are of 64 or 48 bits, ours of any length.
  if (prefix !== undefined) elements.push([`routed${prefix.split('/')[1]}`, prefix]);
  for (const [i, server] of nameServers.slice(0, 5).entries())
    elements.push([`rdns${i + 1}`, server]);
  const lines = elements.map(([tag, text]) => `    <${tag}>${escapeHtml(text)}</${tag}>\n`);
  return `  <tunnel id="${id}">\n${lines.join('')}  </tunnel>\n`;
}

function queryOf(request: FastifyRequest, name: string): string {
  const value = (request.query as Readonly<Record<string, unknown>>)[name];
  return typeof value === 'string' ? value : '';
}
