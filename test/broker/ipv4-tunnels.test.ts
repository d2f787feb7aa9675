// The broker's tunnels of IPv4 in IPv6, on a real database and the kernel's real maps.

import assert from 'node:assert/strict';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { formatIpv4, parseIpv4Prefix, parseIpv6 } from '../../src/address.ts';
import type { Ipv4TunnelOffer } from '../../src/broker/broker.ts';
import { Fixture, HOME, refusedAs } from './fixture.ts';

const at6 = (text: string) => ({ address: parseIpv6(text)!, port: 0 });
const HOME6 = at6('2001:db8:9::1');
const AWAY6 = at6('2001:db8:9::2');

describe('the broker’s tunnels of IPv4 in IPv6', () => {
  let fixture: Fixture;
  let ada: number;

  beforeEach(async () => {
    fixture = await Fixture.make();
    await fixture.addIpv4Pool('100.64.0.0/27', 30);
    ada = await fixture.addUser('ada');
  });

  afterEach(async () => {
    await fixture.remove();
  });

  const tryOpen = (userId: number | undefined, client = HOME6) =>
    fixture.broker.open({ userId, encapsulation: 'v4v6', client });

  async function open(userId: number, client = HOME6): Promise<Ipv4TunnelOffer> {
    const result = await tryOpen(userId, client);
    return result.ok ? result.offer : assert.fail(result.refusal);
  }

  async function login(userId: number, client = HOME6): Promise<Ipv4TunnelOffer> {
    const offer = await open(userId, client);
    const accepted = await fixture.broker.accept(offer.offerId);
    assert.ok(accepted.ok);
    return offer;
  }

  it('give each user a /30 of their own: the second address is the gateway’s', async () => {
    const { gateway4, client4, length4, name, keepaliveSeconds } = await open(ada);
    assert.deepEqual(
      [formatIpv4(gateway4), formatIpv4(client4), length4, name, keepaliveSeconds],
      ['100.64.0.5', '100.64.0.6', 30, 'ada', 30],
    );
  });

  it('give single addresses with one gateway for all', async () => {
    await fixture.remove();
    fixture = await Fixture.make();
    await fixture.addIpv4Pool('100.64.9.0/30', 32);
    const offers = [await open(await fixture.addUser('ada'))];
    offers.push(await open(await fixture.addUser('bob')));
    assert.deepEqual(
      offers.map(({ gateway4, client4, length4 }) => [
        formatIpv4(gateway4),
        formatIpv4(client4),
        length4,
      ]),
      [
        ['100.64.9.0', '100.64.9.1', 32],
        ['100.64.9.0', '100.64.9.2', 32],
      ],
    );
  });

  it('come into the kernel’s maps when accepted, beside the user’s tunnel of IPv6', async () => {
    const { slot } = await open(ada);
    assert.equal(fixture.dataplane.attachmentV4v6(slot), undefined);
    const offer = await login(ada);
    const ipv6 = await fixture.login({ userId: ada });
    assert.equal(fixture.dataplane.attachmentV4v6(offer.slot)?.client, HOME6.address);
    assert.deepEqual(fixture.dataplane.attachment(ipv6.slot)?.client, HOME);
    assert.deepEqual(
      fixture.dataplane
        .ipv4Pools()
        .map(({ firstIndex, positionLength }) => [firstIndex, positionLength]),
      [[0, 30]],
    );
  });

  it('move with their users, and keep their address', async () => {
    const first = await login(ada);
    const second = await login(ada, AWAY6);
    assert.deepEqual([second.slot, second.client4], [first.slot, first.client4]);
    assert.equal(fixture.dataplane.attachmentV4v6(first.slot)?.client, AWAY6.address);
  });

  it('are not for anonymous clients, nor at an address that another user’s is at', async () => {
    await refusedAs(tryOpen(undefined), 'ipv4-for-anonymous');
    const bob = await fixture.addUser('bob');
    const early = await open(bob);
    await login(ada);
    await refusedAs(tryOpen(bob), 'address-in-use');
    await refusedAs(fixture.broker.accept(early.offerId), 'address-in-use');
    await login(bob, AWAY6);
  });

  it('are described and closed by who asks over IPv6; the others by who asks over IPv4', async () => {
    const ipv4 = await login(ada);
    const ipv6 = await fixture.login({ userId: ada });
    const described = await fixture.broker.describe({ userId: ada, client: HOME6 });
    assert.ok(described.ok && described.tunnel.encapsulation === 'v4v6');
    assert.equal(described.tunnel.client4, ipv4.client4);
    assert.deepEqual(described.tunnel.endpoint, HOME6);
    assert.deepEqual(await fixture.broker.close({ userId: ada, client: HOME6 }), { ok: true });
    assert.equal(fixture.dataplane.attachmentV4v6(ipv4.slot), undefined);
    assert.notEqual(fixture.dataplane.attachment(ipv6.slot), undefined);
    await refusedAs(fixture.broker.close({ userId: ada, client: HOME6 }), 'no-such-tunnel');
    await refusedAs(fixture.broker.close({ userId: undefined, client: HOME6 }), 'no-such-tunnel');
  });

  it('are taken down when silent, and with their users', async () => {
    const { slot } = await login(ada);
    await fixture.broker.expire(fixture.nowMs + 119_999);
    assert.notEqual(fixture.dataplane.attachmentV4v6(slot), undefined);
    await fixture.broker.expire(fixture.nowMs + 120_000);
    assert.equal(fixture.dataplane.attachmentV4v6(slot), undefined);
    await login(ada);
    await fixture.accounts.disable('ada');
    await fixture.broker.followChanges();
    assert.equal(fixture.dataplane.attachmentV4v6(slot), undefined);
  });

  it('are put back, and taken out, when a broker starts', async () => {
    const { slot, tunnelId } = await login(ada);
    fixture.dataplane.removeV4v6(slot);
    fixture.dataplane.putV4v6(7, { client: AWAY6.address });
    const broker = await fixture.restart();
    assert.deepEqual(broker.reconciled, { put: 1, removed: 1, kept: 0 });
    assert.equal(fixture.dataplane.attachmentV4v6(slot)?.client, HOME6.address);
    await fixture.store.closeTunnel(tunnelId, fixture.nowMs);
    await fixture.broker.followChanges();
    assert.equal(fixture.dataplane.attachmentV4v6(slot), undefined);
  });

  it('start their counters from nothing in a slot that was somebody else’s', async () => {
    await fixture.remove();
    fixture = await Fixture.make();
    await fixture.addIpv4Pool('100.64.9.0/31', 32);
    const { slot } = await login(await fixture.addUser('ada'));
    await fixture.accounts.remove('ada');
    await fixture.broker.followChanges();
    fixture.countInKernel(slot, 99, 'tunnels_v4v6');
    assert.equal(fixture.dataplane.countersV4v6(slot).inPackets, 99n);
    fixture.nowMs += 1000;
    assert.equal((await login(await fixture.addUser('bob'))).slot, slot);
    assert.equal(fixture.dataplane.countersV4v6(slot).inPackets, 0n);
  });

  it('are refused where the kernel’s maps have no room for them', async () => {
    const prefix = parseIpv4Prefix('100.64.8.0/24')!;
    const wish = { purpose: 'ipv4-link', prefix, positionLength: 32 } as const;
    await fixture.store.addPool(wish, 1000, fixture.nowMs);
    for (let i = 1; i < 8; i++) await login(await fixture.addUser(`user ${i}`), at6(`::${i}`));
    const offer = await open(ada);
    await refusedAs(fixture.broker.accept(offer.offerId), 'internal');
    assert.match(fixture.complaints.join('\n'), /does not take IPv4 slot 9/);
  });

  it('let a user log in where only that tunnel is, whatever strangers tried there', async () => {
    await login(ada);
    await fixture.restart();
    for (let i = 0; i < 50; i++) fixture.broker.recordAuthentication('ada', HOME6, false);
    assert.notEqual(await fixture.broker.credential('ada', HOME6), undefined);
  });
});
