// Every route that the API describes, asked with whatever may come: wrong types, other people's ids, no
// token, a wrong one, one for something else. Nothing fails on our side, and nobody sees or changes what
// is not theirs.

import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import fc from 'fast-check';
import { SCOPES, type Scope } from '../../src/broker/people-account.ts';
import type { Person } from '../../src/broker/people-parts.ts';
import { addDelegations, addLinks } from '../store/requests.ts';
import { Browser, openPortal, signUp, type TestPortal } from './portal.ts';

const RUNS = 80;
const HOUR_MS = 3_600_000;
const VISITOR = { address: 0, userAgent: '', language: undefined };

interface Operation {
  readonly method: string;
  readonly path: string;
  readonly scope: string;
  readonly hasBody: boolean;
  readonly bodyFields: readonly string[];
}

function operationsOf(description: {
  paths: Record<string, Record<string, Record<string, unknown>>>;
}): Operation[] {
  return Object.entries(description.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => {
      const body = JSON.stringify(operation.requestBody ?? '');
      const fields = [...body.matchAll(/"([a-zA-Z]+)":\{/g)].map(([, name = '']) => name);
      return {
        method: method.toUpperCase(),
        path,
        scope: String(operation.description).replace('Scope: ', ''),
        hasBody: operation.requestBody !== undefined,
        bodyFields: fields,
      };
    }),
  );
}

describe('the API, asked anything', () => {
  let portal: TestPortal;
  let operations: Operation[];
  let victim: Person;
  let eve: Person;
  let tunnelId: number;
  let tokenId: number;
  let sessionId: number;
  /** What nobody but the victim may see. */
  let secrets: readonly string[];
  const tokens = new Map<string, string>();
  let before_: string;

  before(async () => {
    portal = await openPortal({
      trustProxy: ['127.0.0.1'],
      requestsAMinute: 1_000_000,
      sessionIdleMs: 1000 * HOUR_MS,
      sessionMaxMs: 1000 * HOUR_MS,
    });
    await addLinks(portal.store);
    await addDelegations(portal.store);
    for (const name of ['victim', 'eve'])
      await signUp(portal, new Browser(portal), `${name}@example.net`, name);
    victim = (await portal.store.people.find({ email: 'victim@example.net' }))!;
    eve = (await portal.store.people.find({ email: 'eve@example.net' }))!;
    const made = await portal.tunnels.create(victim, { family: 'ipv6', prefixLength: 56 }, VISITOR);
    assert.ok(made.ok);
    tunnelId = made.tunnelId;
    await portal.tunnels.create(eve, { family: 'ipv6' }, VISITOR);
    await tokenOf(victim, SCOPES);
    [{ id: tokenId } = { id: 0 }] = await portal.people.account.tokens(victim);
    [{ id: sessionId } = { id: 0 }] = await portal.people.signIns.sessions(victim.id);
    tokens.set('eve', await tokenOf(eve, SCOPES));
    for (const scope of SCOPES) tokens.set(scope, await tokenOf(eve, [scope]));
    const tunnel = (await portal.tunnels.find(victim, tunnelId))!;
    secrets = [tunnel.address, tunnel.prefix!, victim.email];
    const response = await fetch(`${portal.url}/api/v1/openapi.json`);
    operations = operationsOf((await response.json()) as Parameters<typeof operationsOf>[0]);
    assert.ok(operations.length > 20);
    before_ = await standing();
  });

  after(() => portal.close());

  async function tokenOf(person: Person, scopes: readonly Scope[]): Promise<string> {
    const made = await portal.people.account.addToken(person, 't', scopes, undefined, VISITOR);
    assert.ok(made.ok);
    return made.token;
  }

  async function standing(): Promise<string> {
    const everything = {
      tunnels: await portal.tunnels.list(victim),
      tokens: (await portal.people.account.tokens(victim)).length,
      sessions: (await portal.people.signIns.sessions(victim.id)).length,
      person: await portal.store.people.find({ id: victim.id }),
    };
    return JSON.stringify(everything, (_, value) =>
      typeof value === 'bigint' ? `${value}` : value,
    );
  }

  async function ask(
    { method, path, hasBody }: Operation,
    values: {
      ids: string;
      query: string;
      body: string;
      token: string | undefined;
      address: string;
    },
  ) {
    const { ids, query, body, token, address } = values;
    const url = path.replaceAll(/\{\w+\}/g, () => encodeURIComponent(ids) || '0');
    const response = await fetch(`${portal.url}${url}${query}`, {
      method,
      headers: {
        'x-forwarded-for': address,
        ...(token !== undefined && { authorization: `Bearer ${token}` }),
        ...(hasBody && { 'content-type': 'application/json' }),
      },
      ...(hasBody && { body }),
    });
    return { status: response.status, text: await response.text() };
  }

  let strangers = 0;
  const newAddress = () => `198.18.${++strangers >> 8}.${strangers & 255}`;

  it('refuses whoever has no token, or one for something else', async () => {
    for (const operation of operations) {
      const rest = { ids: String(tunnelId), query: '', body: '{}' };
      for (const token of [undefined, 'nonsense', `sixway_${'A'.repeat(32)}`]) {
        const { status } = await ask(operation, { ...rest, token, address: newAddress() });
        assert.equal(status, 401, `${operation.method} ${operation.path}`);
      }
      for (const scope of SCOPES) {
        const token = tokens.get(scope);
        const { status } = await ask(operation, { ...rest, token, address: newAddress() });
        // To who is no staff there are no routes for staff, whatever the token is for.
        const refused = operation.scope.startsWith('admin:') ? 404 : 403;
        if (scope !== operation.scope)
          assert.equal(status, refused, `${operation.path} by ${scope}`);
        else assert.notEqual(status, 401);
      }
      portal.advance(HOUR_MS);
    }
  });

  it('knows nothing of other people’s ids', async () => {
    for (const operation of operations.filter(({ path }) => path.includes('{id}'))) {
      const bodies: Readonly<Record<string, string>> = {
        'name-servers': '{"nameServers":[]}',
        prefix: '{"prefixLength":56}',
      };
      const body = bodies[operation.path.split('/').at(-1) ?? ''] ?? '{}';
      const id = operation.path.includes('sessions')
        ? sessionId
        : operation.path.includes('tokens')
          ? tokenId
          : tunnelId;
      const path = operation.path.replace('{system}', 'openwrt');
      const values = {
        ids: String(id),
        query: '',
        body,
        token: tokens.get('eve'),
        address: '192.0.2.1',
      };
      const { status, text } = await ask({ ...operation, path }, values);
      assert.equal(status, 404, `${operation.method} ${operation.path}: ${text}`);
    }
    assert.equal(await standing(), before_);
  });

  it('never fails, and never tells or changes what is somebody else’s', async () => {
    const odd = fc.oneof(
      fc.string({ maxLength: 30 }),
      fc.constantFrom(
        '',
        '-1',
        '0',
        '1e3',
        '99999999999999999999',
        'NaN',
        '%00',
        '../account',
        'null',
      ),
    );
    const beganAt = performance.now();
    for (const operation of operations) {
      if (performance.now() - beganAt > 20_000) break;
      const fields = operation.bodyFields.length > 0 ? operation.bodyFields : ['x'];
      const value = fc.oneof(
        fc.jsonValue({ maxDepth: 2 }),
        fc.constantFrom('192.0.2.1', '10.0.0.1', 56, 64, 'ipv6', 'ipv4', ['ns1.example.net'], null),
      );
      const body = fc.oneof(
        fc
          .dictionary(fc.constantFrom(...fields, '__proto__', 'id'), value)
          .map((x) => JSON.stringify(x)),
        fc.json({ maxDepth: 3 }),
        fc.constantFrom('', '{', '[]', 'null', '"x"'),
      );
      const id = fc.oneof(
        fc.constantFrom(tunnelId, tokenId, sessionId).map(String),
        fc.integer().map(String),
        odd,
      );
      const query = fc.oneof(
        fc.constant(''),
        fc
          .tuple(fc.constantFrom('cursor', 'limit', 'period', 'language', 'encapsulation'), odd)
          .map(([name, text]) => `?${name}=${encodeURIComponent(text)}`),
      );
      const token = fc.constantFrom('eve', 'eve', ...SCOPES).map((name) => tokens.get(name));
      await fc.assert(
        fc.asyncProperty(id, query, body, token, async (ids, search, text, bearer) => {
          const values = { ids, query: search, body: text, token: bearer, address: '192.0.2.1' };
          const found = await ask(operation, values);
          assert.ok(found.status < 500, `${found.status} ${found.text}`);
          for (const secret of secrets) assert.ok(!found.text.includes(secret), found.text);
        }),
        { numRuns: RUNS },
      );
      portal.advance(HOUR_MS);
    }
    assert.equal(await standing(), before_);
    assert.deepEqual(
      portal.log.filter((line) => /"level":(50|60)/.test(line)),
      [],
    );
  });
});
