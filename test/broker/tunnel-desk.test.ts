// What people may do with their own tunnels, against a real store.

import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { parseIpv4, parseIpv4Prefix } from '../../src/address.ts';
import { Accounts } from '../../src/broker/accounts.ts';
import type { Person, Visitor } from '../../src/broker/people-parts.ts';
import { TunnelDesk, type TunnelResult, type TunnelTerms } from '../../src/broker/tunnel-desk.ts';
import { openSqliteStore } from '../../src/store/sqlite.ts';
import type { Store } from '../../src/store/store.ts';
import { addDelegations, addLinks, opened, request } from '../store/requests.ts';

const KEY = new Uint8Array(32).fill(7);
const DAY_MS = 86_400_000;
const HOME = parseIpv4('192.0.2.1')!;
const TERMS: TunnelTerms = {
  server: { name: 'broker.example', address: parseIpv4('203.0.113.1')!, port: 3653 },
  keepaliveSeconds: 30,
  mtu: 1280,
  resolver: 0n,
  leaseMs: undefined,
  deletedHoldMs: 14 * DAY_MS,
  maxAtAddress: 2,
  v4v6: true,
};

function from(address: string): Visitor {
  return { address: parseIpv4(address)!, userAgent: '', language: undefined };
}

describe('the desk for tunnels', () => {
  let directory: string;
  let store: Store;
  let accounts: Accounts;
  let desk: TunnelDesk;
  let nowMs: number;
  let ada: Person;
  let eve: Person;
  const home = from('192.0.2.1');

  beforeEach(async () => {
    directory = mkdtempSync(join(tmpdir(), 'sixway-desk-'));
    store = await openSqliteStore({ file: join(directory, 'sixway.db'), create: true });
    nowMs = 1_700_000_000_000;
    accounts = new Accounts(store, KEY, 'broker.example', () => nowMs);
    await accounts.keyFits();
    desk = new TunnelDesk({ store, accounts, terms: TERMS, clock: () => nowMs });
    await addLinks(store);
    await addDelegations(store);
    await store.addPool(
      { purpose: 'ipv4-link', prefix: parseIpv4Prefix('198.51.100.0/24')!, positionLength: 32 },
      256,
      nowMs,
    );
    ada = await addPerson('ada');
    eve = await addPerson('eve');
  });

  afterEach(async () => {
    await store.close();
    rmSync(directory, { recursive: true });
  });

  async function addPerson(name: string): Promise<Person> {
    const person = await store.people.add(
      {
        email: `${name}@example.net`,
        emailVerified: true,
        passwordHash: undefined,
        role: 'user',
        state: 'active',
        language: undefined,
        user: { name, secret: accounts.sealMadeSecret(name) },
      },
      { act: 'test' },
      nowMs,
    );
    assert.ok(typeof person === 'object');
    return person;
  }

  async function made(person = ada, client?: number): Promise<number> {
    const result = await desk.create(person, { family: 'ipv6', prefixLength: 56, client }, home);
    assert.ok(result.ok, JSON.stringify(result));
    return result.tunnelId;
  }

  function refusal(result: TunnelResult): string | undefined {
    return result.ok ? undefined : result.refusal;
  }

  it('reserves link and prefix for a login', async () => {
    const id = await made();
    const tunnel = await desk.find(ada, id);
    assert.equal(tunnel?.state, 'down');
    assert.equal(tunnel.encapsulation, 'v6udpv4');
    assert.match(tunnel.prefix ?? '', /\/56$/);
    assert.equal(refusal(await desk.create(ada, { family: 'ipv6' }, home)), 'has-tunnel');
    assert.deepEqual(
      (await store.people.audit.about(ada.id, 9)).map(({ act, subject }) => [act, subject]),
      [['tunnel-create', `tunnel:${id}`]],
    );
    // A login finds it.
    const pools = (await store.pools()).filter(({ purpose }) => purpose === 'link');
    const login = opened(await store.openTunnel(request(pools, { userId: ada.user!.id }), nowMs));
    assert.equal(login.id, id);
  });

  it('brings protocol 41 up at once, only to where the request comes from', async () => {
    const other = { family: 'ipv6', client: parseIpv4('192.0.2.9')! } as const;
    assert.equal(refusal(await desk.create(ada, other, home)), 'address-not-yours');
    assert.deepEqual(await desk.list(ada), []);
    const tunnel = await desk.find(ada, await made(ada, HOME));
    assert.equal(tunnel?.state, 'up');
    assert.equal(tunnel.encapsulation, 'v6v4');
    assert.equal(tunnel.endpoint?.address, HOME);
    assert.equal((await store.slot(1))?.isStatic, true);
    const mine = { family: 'ipv6', client: HOME } as const;
    assert.equal(refusal(await desk.create(eve, mine, home)), 'address-in-use');
    await accounts.setProxyTrust('eve', true);
    assert.ok((await desk.create(eve, other, home)).ok);
  });

  it('refuses addresses that no client can have', async () => {
    await accounts.setProxyTrust('ada', true);
    const id = await made();
    for (const [address, why] of [
      ['10.0.0.1', 'address-private'],
      ['100.64.1.1', 'address-private'],
      ['192.168.1.1', 'address-private'],
      ['127.0.0.1', 'address-invalid'],
      ['0.0.0.0', 'address-invalid'],
      ['224.0.0.1', 'address-invalid'],
      ['255.255.255.255', 'address-invalid'],
      ['203.0.113.1', 'address-ours'],
      ['198.51.100.7', 'address-ours'],
    ] as const)
      assert.equal(refusal(await desk.setClient(ada, id, parseIpv4(address), home)), why, address);
  });

  it('moves the endpoint, and goes back to logins', async () => {
    const id = await made(ada, HOME);
    const away = from('192.0.2.50');
    assert.ok((await desk.setClient(ada, id, parseIpv4('192.0.2.50'), away)).ok);
    assert.equal(
      refusal(await desk.setClient(ada, id, parseIpv4('192.0.2.50'), away)),
      'unchanged',
    );
    assert.equal((await desk.find(ada, id))?.endpoint?.address, parseIpv4('192.0.2.50'));
    assert.ok((await desk.setClient(ada, id, undefined, away)).ok);
    const tunnel = await desk.find(ada, id);
    assert.deepEqual([tunnel?.state, tunnel?.encapsulation], ['down', 'v6udpv4']);
  });

  it('a login from elsewhere takes the place of an address that was set', async () => {
    const id = await made(ada, HOME);
    await store.attachTunnel(
      {
        tunnelId: id,
        userId: ada.user!.id,
        encapsulation: 'v6udpv4',
        client: { address: parseIpv4('192.0.2.77')!, port: 4000 },
        proxy: false,
        displaces: 'any',
        maxAtAddress: undefined,
        expiresAtMs: undefined,
      },
      nowMs,
    );
    assert.equal((await desk.find(ada, id))?.isStatic, false);
  });

  it('pauses and resumes, at the address that was set', async () => {
    const id = await made(ada, HOME);
    assert.ok((await desk.pause(ada, id, home)).ok);
    assert.equal((await desk.find(ada, id))?.state, 'paused');
    const pools = (await store.pools()).filter(({ purpose }) => purpose === 'link');
    const login = await store.openTunnel(request(pools, { userId: ada.user!.id }), nowMs);
    assert.equal(login.ok ? '' : login.refusal, 'tunnel-disabled');
    assert.ok((await desk.resume(ada, id, home)).ok);
    assert.equal((await desk.find(ada, id))?.state, 'up');
    assert.equal(refusal(await desk.resume(ada, id, home)), 'unchanged');
  });

  it('what an administrator has disabled stays so', async () => {
    const id = await made();
    await store.setTunnelState(id, 'disabled', nowMs);
    for (const result of [
      await desk.resume(ada, id, home),
      await desk.pause(ada, id, home),
      await desk.delete(ada, id, home),
      await desk.setClient(ada, id, HOME, home),
    ])
      assert.equal(refusal(result), 'tunnel-disabled');
  });

  it('holds the addresses of a deleted tunnel, then gives them back', async () => {
    const id = await made(ada, HOME);
    const before = await desk.find(ada, id);
    assert.ok((await desk.delete(ada, id, home)).ok);
    assert.equal(await desk.find(ada, id), undefined);
    const [held] = await desk.list(ada);
    assert.deepEqual([held?.state, held?.expiresAtMs], ['deleted', nowMs + TERMS.deletedHoldMs]);
    nowMs += DAY_MS;
    assert.deepEqual(await store.closeExpired(nowMs, 10), []);
    const again = await desk.find(ada, await made());
    assert.deepEqual([again?.address, again?.prefix], [before?.address, before?.prefix]);
    await desk.delete(ada, id, home);
    nowMs += TERMS.deletedHoldMs;
    // The daemon starts meanwhile and says how long leases are.
    await store.setUserLeases(DAY_MS, nowMs);
    assert.deepEqual(await store.closeExpired(nowMs, 10), [id]);
    assert.deepEqual(await desk.list(ada), []);
  });

  it('has a tunnel of IPv4 beside it', async () => {
    assert.deepEqual(await desk.offered(), { prefixLengths: [56], ipv4: true });
    const result = await desk.create(ada, { family: 'ipv4' }, home);
    assert.ok(result.ok);
    await made();
    assert.deepEqual(
      (await desk.list(ada)).map(({ family, encapsulation }) => [family, encapsulation]),
      [
        ['ipv6', 'v6udpv4'],
        ['ipv4', 'v4v6'],
      ],
    );
    assert.ok((await desk.pause(ada, result.tunnelId, home)).ok);
    assert.ok((await desk.resume(ada, result.tunnelId, home)).ok);
    assert.ok((await desk.delete(ada, result.tunnelId, home)).ok);
  });

  it('adds a prefix later', async () => {
    const result = await desk.create(ada, { family: 'ipv6' }, home);
    assert.ok(result.ok);
    assert.equal((await desk.find(ada, result.tunnelId))?.prefix, undefined);
    assert.ok((await desk.addPrefix(ada, result.tunnelId, 56, home)).ok);
    assert.match((await desk.find(ada, result.tunnelId))?.prefix ?? '', /\/56$/);
  });

  it('keeps the name servers that were set, whatever clients ask for', async () => {
    const id = await made();
    assert.equal(
      refusal(await desk.setNameServers(ada, id, ['ns1.example', 'no name'], home)),
      'name-servers-invalid',
    );
    assert.ok((await desk.setNameServers(ada, id, ['ns1.example.', '2001:db8::53'], home)).ok);
    const pools = (await store.pools()).filter(({ purpose }) => purpose === 'link');
    opened(await store.openTunnel(request(pools, { userId: ada.user!.id }), nowMs));
    const names = async () => (await desk.find(ada, id))?.nameServers;
    assert.deepEqual(await names(), ['ns1.example.', '2001:db8::53']);
    assert.ok((await desk.setNameServers(ada, id, undefined, home)).ok);
    assert.deepEqual(await names(), []);
  });

  it('makes a secret that is good for logins and for routers', async () => {
    const made = await desk.rotateSecret(ada, home);
    assert.ok(made.ok);
    const found = await desk.personBySecret('ada', made.secret, home);
    assert.equal(typeof found === 'object' && found.id, ada.id);
    assert.equal(await desk.personBySecret('eve', made.secret, home), 'wrong');
    assert.equal(await desk.personBySecret('nobody', made.secret, home), 'wrong');
    await desk.rotateSecret(ada, home);
    assert.equal(await desk.personBySecret('ada', made.secret, from('192.0.2.200')), 'wrong');
    assert.doesNotMatch(
      JSON.stringify(await store.people.audit.about(ada.id, 99)),
      new RegExp(made.secret),
    );
  });

  it('somebody else’s tunnel is no tunnel', async () => {
    const id = await made();
    assert.equal(await desk.find(eve, id), undefined);
    for (const result of [
      await desk.pause(eve, id, home),
      await desk.resume(eve, id, home),
      await desk.delete(eve, id, home),
      await desk.setClient(eve, id, HOME, home),
      await desk.setNameServers(eve, id, [], home),
      await desk.addPrefix(eve, id, 56, home),
    ])
      assert.equal(refusal(result), 'no-such-tunnel');
  });
});
