// What the API for staff answers and takes, as schemas, and how the desks' values become that. Times are
// ISO 8601 in UTC, what is not there is null, and lists come page by page.

import { type TProperties, type TSchema, Type } from 'typebox';
import { formatPrefix } from '../../address.ts';
import { attachmentJson, leaseJson } from '../../broker/abuse-report.ts';
import type { Desk } from '../../broker/desk.ts';
import type {
  Account,
  Announcement,
  AuditRecord,
  Found,
  GroupUsage,
  Invitation,
  Page,
  PolicyChange,
  PoolUsage,
  TunnelPolicy,
} from '../../broker/desk-parts.ts';
import type { Person } from '../../broker/people-parts.ts';
import { ROLES } from '../../broker/people-staff.ts';
import { effectivePolicy, MTU_RANGE, RATE_RANGE } from '../../broker/policy.ts';
import { addressesOf } from '../pages/admin-tunnels.ts';
import { stateOf } from '../pages/admin-users.ts';

const Nullable = <T extends TSchema>(schema: T) => Type.Union([schema, Type.Null()]);
const Time = Type.String({ format: 'date-time' });
const Id = Type.Integer({ minimum: 1 });

/** Nothing beyond what is described is taken. */
export const Body = <T extends TProperties>(properties: T) =>
  Type.Object(properties, { additionalProperties: false });

export const IdParams = Type.Object({ id: Type.Integer({ minimum: 1, maximum: 1e15 }) });
export const NameParams = Type.Object({ name: Type.String({ minLength: 1, maxLength: 64 }) });
export const PageQuery = {
  after: Type.Optional(
    Type.String({ maxLength: 100, description: '`next` of the page before; absent: the first' }),
  ),
  limit: Type.Optional(Type.Integer({ minimum: 1, maximum: 200, default: 50 })),
};

export const ListOf = <T extends TSchema>(item: T) =>
  Type.Object({
    items: Type.Array(item),
    next: Nullable(Type.String({ description: 'For `after`; null: this is the last page' })),
  });

export const Role = Type.Enum([...ROLES]);
export const User = Type.Object({
  id: Id,
  name: Type.String(),
  state: Type.Enum(['enabled', 'disabled', 'waiting']),
  group: Nullable(Type.String()),
  trusted: Type.Boolean(),
  email: Nullable(Type.String()),
  role: Nullable(Type.String()),
  twoFactor: Nullable(Type.Boolean()),
  tunnel: Type.Enum(['up', 'down', 'none']),
  created: Time,
  lastLogin: Nullable(Time),
  lastSignIn: Nullable(Time),
});

export function userJson(account: Account) {
  const { user, person, tunnel, lastLoginAtMs } = account;
  return {
    id: user.id,
    name: user.name,
    state: stateOf(account),
    group: user.group ?? null,
    trusted: user.proxyTrustedAtMs !== undefined,
    email: person?.email ?? null,
    role: person?.role ?? null,
    twoFactor: person ? person.totpEnabledAtMs !== undefined : null,
    tunnel,
    created: iso(user.createdAtMs),
    lastLogin: isoOrNull(lastLoginAtMs),
    lastSignIn: isoOrNull(person?.lastSignInAtMs),
  };
}

export const Limits = Type.Object({
  mtu: Nullable(Type.Integer()),
  rateIn: Nullable(Type.Integer({ description: 'Bits a second from the client; 0: no limit' })),
  rateOut: Nullable(Type.Integer({ description: 'Bits a second to the client; 0: no limit' })),
  ports: Nullable(Type.Enum(['open', 'closed'])),
});

function limitsJson({ mtu, inBitsPerSecond, outBitsPerSecond, ports }: TunnelPolicy) {
  return {
    mtu: mtu ?? null,
    rateIn: inBitsPerSecond ?? null,
    rateOut: outBitsPerSecond ?? null,
    ports: ports ?? null,
  };
}

const Rate = Type.Union([
  Type.Literal(0),
  Type.Integer({ minimum: RATE_RANGE.min, maximum: RATE_RANGE.max }),
  Type.Null(),
]);

/** What is left out stays; null: it is decided elsewhere. */
export const LimitsChange = {
  mtu: Type.Optional(Nullable(Type.Integer({ minimum: MTU_RANGE.min, maximum: MTU_RANGE.max }))),
  rateIn: Type.Optional(Rate),
  rateOut: Type.Optional(Rate),
  ports: Type.Optional(Nullable(Type.Enum(['open', 'closed']))),
};

export function limitsChange(asked: {
  readonly mtu?: number | null;
  readonly rateIn?: number | null;
  readonly rateOut?: number | null;
  readonly ports?: 'open' | 'closed' | null;
}): PolicyChange {
  const { mtu, rateIn, rateOut, ports } = asked;
  return {
    ...(mtu !== undefined && { mtu: mtu ?? undefined }),
    ...(rateIn !== undefined && { inBitsPerSecond: rateIn ?? undefined }),
    ...(rateOut !== undefined && { outBitsPerSecond: rateOut ?? undefined }),
    ...(ports !== undefined && { ports: ports ?? undefined }),
  };
}

export const Tunnel = Type.Object({
  id: Id,
  family: Type.Enum(['ipv6', 'ipv4']),
  user: Nullable(Type.Object({ id: Id, name: Type.String() })),
  state: Type.Enum(['up', 'down', 'disabled']),
  encapsulation: Nullable(Type.String()),
  endpoint: Nullable(Type.String()),
  link: Type.String(),
  address: Type.String(),
  prefix: Nullable(Type.String()),
  limits: Limits,
  effective: Type.Object({
    mtu: Nullable(Type.Integer()),
    rateIn: Type.Integer(),
    rateOut: Type.Integer(),
    ports: Type.Enum(['open', 'closed']),
  }),
  created: Time,
  lastLogin: Nullable(Time),
  attached: Nullable(Time),
  expires: Nullable(Time),
});

export function tunnelJson(tunnel: Found) {
  const { endpoint, encapsulation, address, prefix } = addressesOf(tunnel);
  const { mtu, rates, unfiltered } = effectivePolicy(tunnel);
  const disabled = tunnel.state === 'disabled' || tunnel.userDisabled;
  return {
    id: tunnel.id,
    family: tunnel.family,
    user: tunnel.user ? { id: tunnel.user.id, name: tunnel.user.name } : null,
    state: disabled
      ? ('disabled' as const)
      : tunnel.attachment
        ? ('up' as const)
        : ('down' as const),
    encapsulation: encapsulation ?? null,
    endpoint: endpoint ?? null,
    link: formatPrefix(tunnel.link),
    address,
    prefix: prefix ?? null,
    limits: limitsJson(tunnel.policy),
    effective: {
      mtu: mtu || null,
      rateIn: rates.inBitsPerSecond,
      rateOut: rates.outBitsPerSecond,
      ports: unfiltered ? ('open' as const) : ('closed' as const),
    },
    created: iso(tunnel.createdAtMs),
    lastLogin: isoOrNull(tunnel.lastLoginAtMs),
    attached: isoOrNull(tunnel.attachment?.attachedAtMs),
    expires: isoOrNull(tunnel.expiresAtMs),
  };
}

export const PoolPurpose = Type.Enum(['link', 'delegation', 'ipv4-link']);

export const Pool = Type.Object({
  prefix: Type.String(),
  purpose: PoolPurpose,
  length: Type.Integer(),
  leased: Type.Integer(),
  positions: Type.Integer(),
});

export function poolJson({ prefix, purpose, positionLength, leased, positionCount }: PoolUsage) {
  return {
    prefix: formatPrefix(prefix),
    purpose,
    length: positionLength,
    leased,
    positions: positionCount,
  };
}

export const Group = Type.Object({ name: Type.String(), users: Type.Integer(), limits: Limits });

export function groupJson({ name, users, policy }: GroupUsage) {
  return { name, users, limits: limitsJson(policy) };
}

const Texts = Type.Record(
  Type.String({ pattern: '^[a-z]{2,8}$' }),
  Type.String({ maxLength: 2000 }),
);

export const AnnouncementBody = {
  kind: Type.Enum(['notice', 'trouble']),
  texts: Texts,
  from: Type.Optional(Type.String({ description: 'ISO 8601; absent: now', maxLength: 40 })),
  until: Type.Optional(Nullable(Type.String({ description: 'ISO 8601', maxLength: 40 }))),
};

export const AnnouncementShape = Type.Object({
  id: Id,
  kind: Type.Enum(['notice', 'trouble']),
  texts: Texts,
  from: Time,
  until: Nullable(Time),
});

export function announcementJson({ id, kind, texts, fromMs, untilMs }: Announcement) {
  return { id, kind, texts: { ...texts }, from: iso(fromMs), until: isoOrNull(untilMs) };
}

export const PersonShape = Type.Object({
  id: Id,
  email: Type.String(),
  userId: Nullable(Id),
  role: Type.String(),
  state: Type.String(),
  twoFactor: Type.Boolean(),
  lastSignIn: Nullable(Time),
});

export function personJson(person: Person) {
  return {
    id: person.id,
    email: person.email,
    userId: person.user?.id ?? null,
    role: person.role,
    state: person.state,
    twoFactor: person.totpEnabledAtMs !== undefined,
    lastSignIn: isoOrNull(person.lastSignInAtMs),
  };
}

export const AuditShape = Type.Object({
  id: Id,
  time: Time,
  personId: Nullable(Id),
  email: Nullable(Type.String()),
  act: Type.String(),
  subject: Nullable(Type.String()),
  details: Nullable(
    Type.Record(
      Type.String(),
      Type.Union([Type.String(), Type.Number(), Type.Boolean(), Type.Null()]),
    ),
  ),
  address: Nullable(Type.String()),
});

export function auditJson({
  id,
  atMs,
  personId,
  email,
  act,
  subject,
  details,
  address,
}: AuditRecord) {
  return {
    id,
    time: iso(atMs),
    personId: personId ?? null,
    email: email ?? null,
    act,
    subject: subject ?? null,
    details: details ? { ...details } : null,
    address: address ?? null,
  };
}

export function pageJson<T, J>({ items, next }: Page<T>, json: (item: T) => J) {
  return { items: items.map(json), next: next ?? null };
}

export function iso(atMs: number): string {
  return new Date(atMs).toISOString();
}

export function isoOrNull(atMs: number | undefined): string | null {
  return atMs === undefined ? null : iso(atMs);
}

export const InvitationShape = Type.Object({
  id: Id,
  email: Nullable(Type.String()),
  role: Type.String(),
  userName: Nullable(Type.String()),
  expires: Time,
});

export function invitationJson({ id, email, role, user, expiresAtMs }: Invitation) {
  return {
    id,
    email: email ?? null,
    role,
    userName: user?.name ?? null,
    expires: iso(expiresAtMs),
  };
}

export const OverviewShape = Type.Object({
  users: Type.Integer(),
  waiting: Type.Integer(),
  disabledUsers: Type.Integer(),
  tunnels: Type.Object({
    up: Type.Integer(),
    down: Type.Integer(),
    disabled: Type.Integer(),
    anonymous: Type.Integer(),
  }),
  brokerAnswers: Type.Boolean(),
  stepSeconds: Type.Integer(),
  totals: Type.Array(
    Type.Object({
      time: Time,
      up: Type.Integer(),
      down: Type.Integer(),
      disabled: Type.Integer(),
      logins: Type.Integer(),
      loginFailures: Type.Integer(),
      inOctets: Type.Integer(),
      outOctets: Type.Integer(),
      inPackets: Type.Integer(),
      outPackets: Type.Integer(),
      drops: Type.Integer(),
    }),
  ),
});

// The past

const TENURE = {
  tunnel: Id,
  user: Nullable(Type.String()),
  userId: Nullable(Id),
  from: Time,
  until: Nullable(Time),
};
const LEASE = { ...TENURE, kind: Type.String(), prefix: Type.String() };
const ATTACHMENT = {
  ...TENURE,
  encapsulation: Type.String(),
  address: Type.String(),
  port: Type.Integer(),
};
const Lease = Type.Object(LEASE);
const Attachment = Type.Object(ATTACHMENT);

export const PastShape = Type.Object({
  from: Time,
  until: Time,
  clients: Type.Array(Attachment),
  addresses: Type.Array(Lease),
  truncated: Type.Boolean(),
});

export function pastJson(past: Awaited<ReturnType<Desk['users']['past']>>) {
  return {
    from: iso(past.span.fromMs),
    until: iso(past.span.untilMs),
    clients: past.attachments.map(attachmentJson),
    addresses: past.leases.map(leaseJson),
    truncated: past.truncated,
  };
}

export const AbuseShape = Type.Object({
  asked: Type.Object({
    address: Type.String(),
    port: Nullable(Type.Integer()),
    from: Time,
    until: Time,
  }),
  askedAt: Time,
  knownSince: Time,
  holders: Type.Array(Type.Object({ ...LEASE, clients: Type.Array(Attachment) })),
  clients: Type.Array(Type.Object({ ...ATTACHMENT, addresses: Type.Array(Lease) })),
  truncated: Type.Boolean(),
});
