// Tunnels of IPv4 in IPv6, beside the others in the same tables.

import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { formatPrefix, parseIpv4Prefix, parseIpv6 } from '../../src/address.ts';
import type { Ipv4Tunnel, Ipv4TunnelRequest } from '../../src/store/ipv4-tunnels.ts';
import type { Pool } from '../../src/store/pools.ts';
import type { Store } from '../../src/store/store.ts';
import { openStore } from './open-store.ts';
import { addLinks, addUser, NOW, opened, request } from './requests.ts';

const HOME = parseIpv6('2001:db8:9::1')!;
const AWAY = parseIpv6('2001:db8:9::2')!;

describe('the store’s tunnels of IPv4 in IPv6', () => {
  let directory: string;
  let store: Store;
  let pool: Pool;
  let ada: number;

  beforeEach(async () => {
    directory = mkdtempSync(join(tmpdir(), 'sixway-ipv4-'));
    store = await openStore(`sqlite:${join(directory, 'sixway.db')}`);
    pool = await addPool('100.64.0.0/28', 30);
    ada = await addUser(store, 'ada');
  });

  afterEach(async () => {
    await store.close();
    rmSync(directory, { recursive: true });
  });

  async function addPool(text: string, positionLength: number): Promise<Pool> {
    const wish = {
      purpose: 'ipv4-link',
      prefix: parseIpv4Prefix(text)!,
      positionLength,
    } as const;
    const added = await store.addPool(wish, 1000, NOW);
    return added.ok ? added.pool : assert.fail(added.refusal);
  }

  function open(userId: number, rest: Partial<Ipv4TunnelRequest> = {}) {
    const terms = { keepaliveSeconds: 30, lifetimeSeconds: 604_800, leaseMs: undefined };
    return store.openIpv4Tunnel({ userId, linkPools: [pool], ...terms, ...rest }, NOW);
  }

  async function made(userId: number, rest: Partial<Ipv4TunnelRequest> = {}): Promise<Ipv4Tunnel> {
    const result = await open(userId, rest);
    return result.ok ? result.tunnel : assert.fail(result.refusal);
  }

  const attach = (tunnel: Ipv4Tunnel, client: bigint, nowMs = NOW) =>
    store.attachIpv4Tunnel({ tunnelId: tunnel.id, userId: tunnel.user.id, client }, nowMs);

  it('give every user one link, the same at every login, never the first one', async () => {
    const first = await made(ada);
    const second = await made(await addUser(store, 'bob'));
    assert.deepEqual(
      [first, second].map(({ slot, link }) => [slot, formatPrefix(link)]),
      [
        [1, '100.64.0.4/30'],
        [2, '100.64.0.8/30'],
      ],
    );
    assert.deepEqual(await made(ada), first);
    await made(await addUser(store, 'cleo'));
    assert.deepEqual(await open(await addUser(store, 'dan')), {
      ok: false,
      refusal: 'no-free-tunnel',
    });
  });

  it('number their slots by themselves, beside the user’s tunnel of IPv6', async () => {
    const links = await addLinks(store);
    const ipv6 = opened(await store.openTunnel(request([links], { userId: ada }), NOW));
    const ipv4 = await made(ada);
    assert.deepEqual([ipv6.slot, ipv4.slot], [1, 1]);
    assert.equal((await store.tunnel({ userId: ada }))?.id, ipv6.id);
    assert.equal((await store.ipv4Tunnel({ userId: ada }))?.id, ipv4.id);
    assert.equal(await store.tunnel({ tunnelId: ipv4.id }), undefined);
    assert.deepEqual(await store.tunnelsAfter(0, 10), [ipv6]);
    assert.deepEqual(await store.ipv4TunnelsAfter(0, 10), [ipv4]);
    await attach(ipv4, HOME);
    assert.deepEqual(await store.slotsFrom(0, 10), [await store.slot(ipv6.slot)]);
    assert.equal((await store.slot(ipv6.slot))?.attachment, undefined);
  });

  it('follow their clients to other addresses, and tell followers', async () => {
    const tunnel = await made(ada);
    const start = await store.latestChangeId();
    assert.equal((await attach(tunnel, HOME)).ok, true);
    assert.equal((await attach(tunnel, AWAY, NOW + 1)).ok, true);
    assert.equal((await attach(tunnel, AWAY, NOW + 2)).ok, true);
    assert.deepEqual((await store.ipv4Tunnel({ client: AWAY }))?.attachment, {
      client: AWAY,
      attachedAtMs: NOW + 1,
    });
    assert.equal(await store.ipv4Tunnel({ client: HOME }), undefined);
    const told = await store.changesSince(start);
    assert.deepEqual(told.complete && told.changes.map(({ kind, subject }) => [kind, subject]), [
      ['ipv4-slot', 1],
      ['ipv4-slot', 1],
    ]);
  });

  it('leave an address to who is there, and a tunnel to whose it is', async () => {
    const bob = await addUser(store, 'bob');
    const [first, second] = [await made(ada), await made(bob)];
    await attach(first, HOME);
    assert.deepEqual(await attach(second, HOME), { ok: false, refusal: 'address-in-use' });
    assert.deepEqual(
      await store.attachIpv4Tunnel({ tunnelId: first.id, userId: bob, client: AWAY }, NOW),
      { ok: false, refusal: 'no-such-tunnel' },
    );
    await store.takeDownTunnel(first.id, NOW);
    assert.equal((await attach(second, HOME)).ok, true);
  });

  it('go with their users: disabled, removed, or away for longer than the lease', async () => {
    const tunnel = await made(ada, { leaseMs: 1000 });
    await attach(tunnel, HOME);
    assert.deepEqual(await store.closeExpired(NOW + 10_000, 10), []);
    await store.setUserDisabled(ada, true, NOW + 10_000);
    assert.equal((await store.ipv4Tunnel({ userId: ada }))?.attachment, undefined);
    assert.deepEqual(await open(ada), { ok: false, refusal: 'user-disabled' });
    assert.deepEqual(await attach(tunnel, HOME), { ok: false, refusal: 'user-disabled' });
    assert.deepEqual(await store.closeExpired(NOW + 10_999, 10), []);
    assert.deepEqual(await store.closeExpired(NOW + 11_000, 10), [tunnel.id]);
    await store.setUserDisabled(ada, false, NOW);
    assert.equal((await made(ada)).slot, 2, 'the link that was freed rests');
    await store.removeUser(ada, NOW);
    assert.deepEqual(
      (await store.poolUsage()).map(({ leased }) => leased),
      [0],
    );
  });

  it('are taken down for silence, unless there was a login since', async () => {
    const tunnel = await made(ada);
    await attach(tunnel, HOME, NOW + 5);
    const takeDown = (sinceMs: number) =>
      store.takeDownUnlessLogin(tunnel.slot, sinceMs, NOW + 6, 'ipv4');
    assert.equal(await takeDown(NOW + 4), false);
    assert.equal(await takeDown(NOW + 5), true);
    assert.equal((await store.ipv4Tunnel({ userId: ada }))?.attachment, undefined);
  });
});
