// `/api/v1/tunnels`: everything that the pages do with a person's own tunnels.

import type { FastifyReply } from 'fastify';
import { type Static, Type } from 'typebox';
import { formatEndpoint, parseIpv4 } from '../../address.ts';
import type { OwnTunnel, TunnelRefusal, TunnelResult } from '../../broker/tunnel-desk.ts';
import { LANGUAGES } from '../i18n/languages.ts';
import { tunnelErrors } from '../i18n/tunnels.en.ts';
import type { Portal } from '../portal.ts';
import { findingText, lookAt } from '../tunnel-look.ts';
import { type Api, type Caller, callerOf } from './caller.ts';
import { problem } from './problems.ts';
import {
  described,
  IdParams,
  iso,
  LanguageQuery,
  Nullable,
  PageQuery,
  PROBLEMS,
  page,
  pageOf,
  Time,
} from './schemas.ts';

const PrefixLength = Type.Integer({ minimum: 1, maximum: 64 });
const Ipv4 = Type.String({ maxLength: 15, description: 'IPv4 address' });

const Tunnel = Type.Object({
  id: Type.Integer(),
  family: Type.Enum(['ipv6', 'ipv4']),
  name: Type.String(),
  state: Type.Enum(['up', 'down', 'paused', 'disabled', 'deleted', 'heard', 'silent']),
  encapsulation: Type.Enum(['v6udpv4', 'v6v4', 'v4v6']),
  isStatic: Type.Boolean({ description: 'The endpoint was set; clients need not log in' }),
  endpoint: Nullable(Type.String()),
  address: Type.String(),
  gateway: Type.String(),
  link: Type.String(),
  prefix: Nullable(Type.String()),
  nameServers: Type.Array(Type.String()),
  keepaliveSeconds: Type.Integer(),
  mtu: Type.Integer(),
  created: Time,
  lastLogin: Nullable(Time),
  expires: Nullable(Time),
  live: Nullable(
    Type.Object({
      nat: Type.Enum(['likely', 'unlikely', 'unknown']),
      lastPacketIn: Nullable(Time),
      lastPacketOut: Nullable(Time),
    }),
  ),
});

const NewTunnel = Type.Object(
  {
    family: Type.Optional(Type.Enum(['ipv6', 'ipv4'])),
    prefixLength: Type.Optional(PrefixLength),
    client: Type.Optional(Ipv4),
  },
  { additionalProperties: false },
);

const Finding = Type.Object({
  severity: Type.Enum(['problem', 'notice', 'fine']),
  key: Type.String(),
  text: Type.String(),
});

const Point = Type.Object({
  time: Time,
  inPackets: Type.Number(),
  inBytes: Type.Number(),
  outPackets: Type.Number(),
  outBytes: Type.Number(),
  drops: Type.Number(),
});

export function tunnelRoutes(api: Api, portal: Portal): void {
  const { tunnels } = portal;
  const read = { config: { scope: 'tunnels:read' } } as const;
  const write = { config: { scope: 'tunnels:write' } } as const;
  const about = (
    operationId: string,
    summary: string,
    scope: 'read' | 'write' | 'endpoint' = 'write',
  ) => described('tunnels', operationId, summary, `tunnels:${scope}`);
  const one = { params: IdParams, response: { 200: Tunnel, ...PROBLEMS } };

  const show = async (caller: Caller, id: number, reply: FastifyReply, status = 200) => {
    const tunnel = await tunnels.find(caller.person, id);
    if (!tunnel) return problem(reply, 404, 'not-found');
    return reply.code(status as 200).send(await view(portal, tunnel));
  };
  /** What is so already is as good as done. */
  const done = async (caller: Caller, id: number, result: TunnelResult, reply: FastifyReply) =>
    result.ok || result.refusal === 'unchanged'
      ? show(caller, id, reply)
      : refusal(reply, result.refusal);

  api.get(
    '/tunnels',
    {
      ...read,
      schema: {
        ...about('listTunnels', 'My tunnels, and deleted ones that are held', 'read'),
        querystring: PageQuery,
        response: { 200: pageOf(Tunnel), ...PROBLEMS },
      },
    },
    async (request) => {
      const { items, next } = page(await tunnels.list(callerOf(request).person), request.query);
      return { items: await Promise.all(items.map((each) => view(portal, each))), next };
    },
  );

  api.get(
    '/tunnels/offers',
    {
      ...read,
      schema: {
        ...about('listOffers', 'What can be had', 'read'),
        response: {
          200: Type.Object({ prefixLengths: Type.Array(Type.Integer()), ipv4: Type.Boolean() }),
          ...PROBLEMS,
        },
      },
    },
    async () => {
      const { prefixLengths, ipv4 } = await tunnels.offered();
      return { prefixLengths: [...prefixLengths], ipv4 };
    },
  );

  api.post(
    '/tunnels',
    {
      ...write,
      schema: {
        ...about('createTunnel', 'Get a tunnel; with `client` by protocol 41, at once'),
        body: NewTunnel,
        response: { 201: Tunnel, ...PROBLEMS },
      },
    },
    async (request, reply) => {
      const caller = callerOf(request);
      const { family = 'ipv6', prefixLength, client: text } = request.body;
      const client = text === undefined ? undefined : parseIpv4(text);
      if (text !== undefined && client === undefined) return refusal(reply, 'address-invalid');
      const asked = family === 'ipv4' ? { family } : { family, prefixLength, client };
      const result = await tunnels.create(caller.person, asked, caller.visitor);
      return result.ok
        ? (show(caller, result.tunnelId, reply, 201) as never)
        : refusal(reply, result.refusal);
    },
  );

  api.get(
    '/tunnels/:id',
    { ...read, schema: { ...about('getTunnel', 'One tunnel', 'read'), ...one } },
    async (request, reply) => show(callerOf(request), request.params.id, reply),
  );

  api.delete(
    '/tunnels/:id',
    {
      ...write,
      schema: {
        ...about('deleteTunnel', 'Delete a tunnel; its addresses are held for a while'),
        params: IdParams,
        response: { 204: Type.Null(), ...PROBLEMS },
      },
    },
    async (request, reply) => {
      const { person, visitor } = callerOf(request);
      const result = await tunnels.delete(person, request.params.id, visitor);
      return result.ok ? reply.code(204).send(null) : refusal(reply, result.refusal);
    },
  );

  for (const act of ['pause', 'resume'] as const)
    api.post(
      `/tunnels/:id/${act}`,
      {
        ...write,
        schema: {
          ...about(
            `${act}Tunnel`,
            act === 'pause' ? 'Let nothing through' : 'Let clients in again',
          ),
          ...one,
        },
      },
      async (request, reply) => {
        const caller = callerOf(request);
        const { id } = request.params;
        return done(caller, id, await tunnels[act](caller.person, id, caller.visitor), reply);
      },
    );

  api.put(
    '/tunnels/:id/endpoint',
    {
      config: { scope: 'tunnels:endpoint' },
      schema: {
        ...about(
          'setEndpoint',
          'Lead it to an address by protocol 41; without one, to the caller’s',
          'endpoint',
        ),
        ...one,
        body: Type.Object({ client: Type.Optional(Ipv4) }, { additionalProperties: false }),
      },
    },
    async (request, reply) => {
      const caller = callerOf(request);
      const { id } = request.params;
      const { client: text } = request.body;
      const own = caller.visitor.address;
      const client =
        text === undefined ? (typeof own === 'number' ? own : undefined) : parseIpv4(text);
      if (client === undefined) return refusal(reply, 'address-invalid');
      const { person, visitor } = caller;
      return done(caller, id, await tunnels.setClient(person, id, client, visitor), reply);
    },
  );

  api.delete(
    '/tunnels/:id/endpoint',
    {
      config: { scope: 'tunnels:endpoint' },
      schema: { ...about('unsetEndpoint', 'Let a client log in instead', 'endpoint'), ...one },
    },
    async (request, reply) => {
      const caller = callerOf(request);
      const { id } = request.params;
      const result = await tunnels.setClient(caller.person, id, undefined, caller.visitor);
      return done(caller, id, result, reply);
    },
  );

  api.put(
    '/tunnels/:id/name-servers',
    {
      ...write,
      schema: {
        ...about(
          'setNameServers',
          'For the names of the prefix; null for what the client asks for',
        ),
        ...one,
        body: Type.Object(
          { nameServers: Nullable(Type.Array(Type.String({ maxLength: 253 }), { maxItems: 8 })) },
          { additionalProperties: false },
        ),
      },
    },
    async (request, reply) => {
      const caller = callerOf(request);
      const { id } = request.params;
      const names = request.body.nameServers ?? undefined;
      const result = await tunnels.setNameServers(caller.person, id, names, caller.visitor);
      return done(caller, id, result, reply);
    },
  );

  api.post(
    '/tunnels/:id/prefix',
    {
      ...write,
      schema: {
        ...about('addPrefix', 'A prefix for a tunnel that has none'),
        ...one,
        body: Type.Object({ prefixLength: PrefixLength }, { additionalProperties: false }),
      },
    },
    async (request, reply) => {
      const caller = callerOf(request);
      const { id } = request.params;
      const { prefixLength } = request.body;
      const result = await tunnels.addPrefix(caller.person, id, prefixLength, caller.visitor);
      return done(caller, id, result, reply);
    },
  );

  api.post(
    '/tunnels/:id/secret',
    {
      ...write,
      schema: {
        ...about('rotateSecret', 'Another secret for the user’s clients, told once'),
        params: IdParams,
        response: {
          200: Type.Object({ userName: Type.String(), secret: Type.String() }),
          ...PROBLEMS,
        },
      },
    },
    async (request, reply) => {
      const { person, visitor } = callerOf(request);
      const tunnel = await tunnels.find(person, request.params.id);
      if (!tunnel) return problem(reply, 404, 'not-found');
      const made = await tunnels.rotateSecret(person, visitor);
      if (!made.ok) return refusal(reply, made.refusal);
      return { userName: tunnel.name, secret: made.secret };
    },
  );

  api.get(
    '/tunnels/:id/traffic',
    {
      ...read,
      schema: {
        ...about('getTraffic', 'What went through; `in` is from the client', 'read'),
        params: IdParams,
        querystring: Type.Object({ period: Type.Optional(Type.Enum(['hour', 'day', 'month'])) }),
        response: {
          200: Type.Object({
            from: Time,
            until: Time,
            spanSeconds: Type.Integer(),
            points: Type.Array(Point),
          }),
          ...PROBLEMS,
        },
      },
    },
    async (request, reply) => {
      const { person } = callerOf(request);
      const { period = 'hour' } = request.query;
      const traffic = await tunnels.traffic(person, request.params.id, period);
      if (!traffic) return problem(reply, 404, 'not-found');
      return {
        from: iso(traffic.fromMs),
        until: iso(traffic.untilMs),
        spanSeconds: traffic.spanMs / 1000,
        points: traffic.points.map(({ atMs, ...counts }) => ({ time: iso(atMs), ...counts })),
      };
    },
  );

  api.get(
    '/tunnels/:id/diagnosis',
    {
      ...read,
      schema: {
        ...about('getDiagnosis', 'What is wrong and what to do, problems first', 'read'),
        params: IdParams,
        querystring: LanguageQuery,
        response: {
          200: Type.Object({ measured: Type.Boolean(), findings: Type.Array(Finding) }),
          ...PROBLEMS,
        },
      },
    },
    async (request, reply) => {
      const { person } = callerOf(request);
      const tunnel = await tunnels.find(person, request.params.id);
      if (!tunnel) return problem(reply, 404, 'not-found');
      const { live, findings } = await lookAt(portal, tunnel);
      const language = LANGUAGES[request.query.language ?? 'en'];
      const nowMs = live?.nowMs ?? Date.now();
      return {
        measured: live !== undefined,
        findings: findings.map((finding) => ({
          severity: finding.severity,
          key: finding.key,
          text: findingText(finding, language, nowMs),
        })),
      };
    },
  );
}

async function view(portal: Portal, tunnel: OwnTunnel): Promise<Static<typeof Tunnel>> {
  const { state, live } = await lookAt(portal, tunnel);
  const { endpoint, prefix, createdAtMs, lastLoginAtMs, expiresAtMs } = tunnel;
  return {
    ...tunnel,
    state,
    endpoint: endpoint ? formatEndpoint(endpoint) : null,
    prefix: prefix ?? null,
    nameServers: [...tunnel.nameServers],
    created: iso(createdAtMs),
    lastLogin: iso(lastLoginAtMs),
    expires: iso(expiresAtMs),
    live: live
      ? {
          nat: live.nat ?? 'unknown',
          lastPacketIn: iso(live.counters.inLastSeenMs),
          lastPacketOut: iso(live.counters.outLastSeenMs),
        }
      : null,
  };
}

const UNPROCESSABLE: readonly TunnelRefusal[] = [
  'address-invalid',
  'address-private',
  'address-ours',
  'name-servers-invalid',
  'prefix-length-unavailable',
];
const FORBIDDEN: readonly TunnelRefusal[] = ['no-user', 'address-not-yours', 'proxy-not-allowed'];

function refusal(reply: FastifyReply, reason: TunnelRefusal) {
  if (reason === 'no-such-tunnel') return problem(reply, 404, 'not-found');
  const detail = tunnelErrors[reason];
  if (reason === 'too-often')
    return problem(reply.header('retry-after', '3600'), 429, 'too-many-requests', detail, reason);
  const status = UNPROCESSABLE.includes(reason) ? 422 : FORBIDDEN.includes(reason) ? 403 : 409;
  return problem(reply, status, 'refused', detail, reason);
}
