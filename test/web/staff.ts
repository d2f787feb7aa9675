// Staff of each role, signed in, and somebody for them to look after.

import { parseIpv4Prefix, parseIpv6Prefix } from '../../src/address.ts';
import type { Role } from '../../src/broker/people-parts.ts';
import { hashToken, makeApiToken } from '../../src/broker/people-tokens.ts';
import { at, opened, request } from '../store/requests.ts';
import { Browser, PASSWORD, type TestPortal } from './portal.ts';

export const STAFF_ROLES = ['administrator', 'support', 'abuse', 'read-only'] as const;

export async function addPools(portal: TestPortal): Promise<void> {
  const { store } = portal;
  for (const [purpose, text, positionLength] of [
    ['link', '2001:db8::/48', 64],
    ['delegation', '3fff::/44', 56],
  ] as const) {
    const prefix = parseIpv6Prefix(text)!;
    await store.addPool({ purpose, prefix, positionLength }, 65_536, Date.now());
  }
  const prefix = parseIpv4Prefix('100.64.0.0/26')!;
  await store.addPool({ purpose: 'ipv4-link', prefix, positionLength: 32 }, 256, Date.now());
}

/** Active, with a tunnel user if a name is given. */
export async function addPerson(portal: TestPortal, email: string, role: Role, userName?: string) {
  const person = await portal.people.staff.add(
    { email, password: PASSWORD, role, userName, language: undefined },
    undefined,
  );
  if (typeof person === 'string') throw new Error(person);
  return person;
}

export async function signedIn(portal: TestPortal, role: Role): Promise<Browser> {
  const email = `${role}@staff.example`;
  const person =
    (await portal.store.people.find({ email })) ??
    (await addPerson(portal, email, role, role === 'user' ? 'plain-user' : undefined));
  const browser = new Browser(portal);
  const visitor = { address: 0, userAgent: 'test', language: undefined };
  browser.cookies.set(
    'sixway-session',
    await portal.people.signIns.signInVerified(person, visitor),
  );
  return browser;
}

/** A token of somebody of this role, with every scope. */
export async function tokenOf(portal: TestPortal, role: Role): Promise<string> {
  const email = `${role}@staff.example`;
  const person =
    (await portal.store.people.find({ email })) ??
    (await addPerson(portal, email, role, role === 'user' ? 'plain-user' : undefined));
  const token = makeApiToken();
  await portal.store.people.tokens.add(
    {
      personId: person.id,
      name: 'test',
      tokenHash: hashToken(token),
      scopes: ['account:read', 'admin:read', 'admin:write'],
      expiresAtMs: undefined,
    },
    1000,
    { act: 'token-add', personId: person.id },
    Date.now(),
  );
  return token;
}

let port = 10_000;

/** A user with a tunnel that is up; its client is at 192.0.2.1 and a port of its own. */
export async function addUserWithTunnel(portal: TestPortal, name: string) {
  const { store } = portal;
  const person = await addPerson(portal, `${name}@users.example`, 'user', name);
  const userId = person.user!.id;
  const pools = await store.pools();
  const client = at('192.0.2.1', ++port);
  const tunnel = opened(
    await store.openTunnel(
      request(
        pools.filter(({ purpose }) => purpose === 'link'),
        {
          userId,
          client,
          requestedPrefixLength: 56,
          delegationPools: pools.filter(({ purpose }) => purpose === 'delegation'),
        },
      ),
      Date.now(),
    ),
  );
  const attached = await store.attachTunnel(
    {
      tunnelId: tunnel.id,
      userId,
      encapsulation: 'v6udpv4',
      client,
      proxy: false,
      displaces: 'any',
      maxAtAddress: undefined,
      expiresAtMs: undefined,
    },
    Date.now(),
  );
  if (!attached.ok) throw new Error(attached.refusal);
  return { userId, personId: person.id, tunnel, client };
}
