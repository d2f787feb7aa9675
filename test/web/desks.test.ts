// What staff do, against the real store: what becomes of it, who may not, and what is written down.

import assert from 'node:assert/strict';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { formatIp, formatIpv6, formatPrefix } from '../../src/address.ts';
import type { Actor } from '../../src/broker/desk-parts.ts';
import type { Role } from '../../src/broker/people-parts.ts';
import { openPortal, type TestPortal } from './portal.ts';
import { addPerson, addPools, addUserWithTunnel } from './staff.ts';

const PAGE = { limit: 50 };

describe('the desks', () => {
  let portal: TestPortal;

  beforeEach(async () => {
    portal = await openPortal();
    await addPools(portal);
  });

  afterEach(() => portal.close());

  async function actor(role: Role): Promise<Actor> {
    const person = await addPerson(portal, `${role}@staff.example`, role);
    return { person, visitor: { address: 0x7f000001, userAgent: 'test', language: undefined } };
  }

  async function latest() {
    return (await portal.store.people.audit.before(undefined, 1))[0];
  }

  const everybody = { search: '', state: undefined, group: undefined } as const;
  const names = async (query: Partial<Parameters<typeof portal.desk.users.list>[0]>) => {
    const page = await portal.desk.users.list({ ...everybody, ...query }, PAGE);
    return page.items.map(({ user }) => user.name);
  };

  it('find users by name, e-mail address, and every address that leads to them', async () => {
    const ada = await addUserWithTunnel(portal, 'ada');
    const bob = await addUserWithTunnel(portal, 'bob');
    await addUserWithTunnel(portal, 'adam');
    assert.deepEqual(await names({}), ['adam', 'bob', 'ada']);
    assert.deepEqual(await names({ search: 'ada' }), ['ada', 'adam']);
    assert.deepEqual(await names({ search: 'BOB@users' }), ['bob']);
    const { link, delegation, interfaceId } = bob.tunnel;
    assert.deepEqual(await names({ search: formatIpv6(link.address | interfaceId) }), ['bob']);
    assert.deepEqual(await names({ search: formatIpv6(delegation!.address + 77n) }), ['bob']);
    assert.deepEqual(await names({ search: formatPrefix(ada.tunnel.delegation!) }), ['ada']);
    assert.deepEqual(await names({ search: formatIp(ada.client.address) }), ['ada', 'bob', 'adam']);
    assert.deepEqual(await names({ search: '2001:db8:ffff::1' }), []);
    assert.deepEqual(await names({ search: '%' }), []);
  });

  it('list page by page, and lose nobody', async () => {
    const all: string[] = [];
    for (let i = 0; i < 7; i++) {
      all.push(`user-${i}`);
      await addPerson(portal, `person-${i}@users.example`, 'user', `user-${i}`);
    }
    for (const search of ['', 'user-', 'person-']) {
      const seen: string[] = [];
      let after: string | undefined;
      do {
        const page = await portal.desk.users.list({ ...everybody, search }, { after, limit: 3 });
        seen.push(...page.items.map(({ user }) => user.name));
        after = page.next;
      } while (after !== undefined);
      assert.deepEqual(seen.toSorted(), all, search);
    }
  });

  it('let sign-ups in, and turn them away', async () => {
    const support = await actor('support');
    const waiting = [];
    for (const name of ['ada', 'bob']) {
      const person = await addPerson(portal, `${name}@users.example`, 'user', name);
      const by = { act: 'test' };
      await portal.store.people.setState(person.id, 'waiting-approval', undefined, by, 1);
      waiting.push(person.user!.id);
    }
    assert.deepEqual(await names({ state: 'waiting' }), ['bob', 'ada']);
    assert.deepEqual(await names({ state: 'disabled' }), []);
    const { users } = portal.desk;
    assert.equal(await users.approve(waiting[0]!, support), 'done');
    assert.equal(await users.approve(waiting[0]!, support), 'not-waiting');
    assert.equal((await portal.mailsTo('ada@users.example')).length, 1);
    assert.equal(await users.refuse(waiting[1]!, support), 'done');
    assert.equal(await portal.store.user('bob'), undefined);
    assert.deepEqual(await names({ state: 'waiting' }), []);
    assert.equal((await latest())?.act, 'person-refused');
  });

  it('take the traffic away, give it back, and say who did', async () => {
    const abuse = await actor('abuse');
    const { userId, tunnel, personId } = await addUserWithTunnel(portal, 'ada');
    const { users, tunnels } = portal.desk;
    const since = await portal.store.latestChangeId();
    assert.equal(await users.disable(userId, abuse), 'done');
    assert.equal((await portal.store.tunnel({ userId }))?.attachment, undefined);
    const feed = await portal.store.changesSince(since);
    assert.ok(feed.complete && feed.changes.some(({ kind }) => kind === 'slot'));
    assert.deepEqual(await names({ state: 'disabled' }), ['ada']);
    assert.equal((await tunnels.list('', 'disabled', PAGE)).items.length, 1);
    const entry = await latest();
    assert.equal(entry?.act, 'person-disabled');
    assert.equal(entry?.subject, `person:${personId}`);
    assert.equal(entry?.email, 'abuse@staff.example');
    assert.equal(entry?.address, '127.0.0.1');
    assert.equal(await users.enable(userId, abuse), 'done');
    assert.equal(await tunnels.disable(tunnel.id, abuse), 'done');
    assert.equal((await portal.store.tunnel({ userId }))?.state, 'disabled');
    assert.equal((await latest())?.subject, `tunnel:${tunnel.id}`);
    // A user without a person is one, too.
    const made = await portal.store.addUser('old', { sealedHa1: '', sealedScram: undefined }, 1);
    assert.ok(typeof made === 'object');
    assert.equal(await users.disable(made.id, abuse), 'done');
    assert.equal((await latest())?.subject, `user:${made.id}`);
    assert.equal(await users.disable(999_999, abuse), 'no-such-user');
  });

  it('hold limits and groups', async () => {
    const administrator = await actor('administrator');
    const { userId, tunnel } = await addUserWithTunnel(portal, 'ada');
    const { users, groups, tunnels } = portal.desk;
    assert.equal(await groups.add('slow', { inBitsPerSecond: 1e6 }, administrator), 'done');
    assert.equal(await groups.add('slow', {}, administrator), 'name-taken');
    assert.equal(await groups.add('no name', {}, administrator), 'name-invalid');
    assert.equal(await users.setGroup(userId, 'slow', administrator), 'done');
    assert.equal(await users.setGroup(userId, 'fast', administrator), 'no-such-group');
    assert.equal((await portal.store.tunnel({ userId }))?.group?.policy.inBitsPerSecond, 1e6);
    assert.deepEqual(await names({ group: 'slow' }), ['ada']);
    assert.deepEqual(await names({ group: 'fast' }), []);
    assert.equal(await groups.remove('slow', administrator), 'in-use');
    assert.equal((await latest())?.act, 'user-group');
    assert.equal(await tunnels.setLimits(tunnel.id, { mtu: 1400 }, administrator), 'done');
    assert.deepEqual((await latest())?.details, { mtu: 1400 });
    assert.equal(await tunnels.close(tunnel.id, administrator), 'done');
    assert.equal(await tunnels.close(tunnel.id, administrator), 'no-such-tunnel');
    assert.equal(await users.remove(userId, administrator), 'done');
    assert.equal(await portal.store.people.find({ email: 'ada@users.example' }), undefined);
  });

  it('add pools by the rules of the command line', async () => {
    const administrator = await actor('administrator');
    const { pools } = portal.desk;
    const add = async (prefix: string, positionLength = 56) => {
      const asked = { purpose: 'delegation', prefix, positionLength } as const;
      const added = await pools.add(asked, administrator);
      return added.ok ? 'added' : added.refusal;
    };
    const before = await latest();
    assert.equal(await add('2001:db8::1/48'), 'prefix-invalid');
    assert.equal(await add('2002::/48'), 'prefix-unusable');
    assert.equal(await add('2001:db8:1::/48', 65), 'length-unusable');
    assert.equal(await add('3fff::/48'), 'overlaps-pool');
    assert.equal(await add('2001:db9::/32'), 'over-capacity');
    assert.equal((await latest())?.id, before?.id);
    assert.equal((await pools.list()).length, 3);
    assert.equal(await add('2001:db8:1::/48'), 'added');
    assert.equal((await pools.list()).length, 4);
    assert.equal((await latest())?.subject, 'pool:2001:db8:1::/48');
  });

  it('keep an administrator, and staff from each other', async () => {
    const administrator = await actor('administrator');
    const support = await actor('support');
    const { staff, users, invitations } = portal.desk;
    const { id } = administrator.person;
    assert.equal(await staff.setRole(id, 'user', administrator), 'last-administrator');
    assert.equal(await staff.disable(id, administrator), 'last-administrator');
    const other = await addPerson(portal, 'second@staff.example', 'administrator', 'second');
    assert.equal(await users.disable(other.user!.id, support), 'is-staff');
    assert.equal(await users.setGroup(other.user!.id, 'none', support), 'is-staff');
    assert.equal(await staff.disable(other.id, administrator), 'done');
    // Who cannot sign in does not count.
    assert.equal(await staff.setRole(id, 'support', administrator), 'last-administrator');
    assert.equal(await staff.enable(other.id, administrator), 'done');
    assert.equal(await staff.setRole(id, 'support', administrator), 'done');
    assert.deepEqual((await latest())?.details, { from: 'administrator', to: 'support' });
    const asked = { email: '', userName: '', language: undefined } as const;
    const made = await invitations.add({ ...asked, role: 'administrator' }, support);
    assert.deepEqual(made, { ok: false, refusal: 'role-not-yours' });
    assert.ok((await invitations.add({ ...asked, role: 'user' }, support)).ok);
  });

  it('announce for a while', async () => {
    const support = await actor('support');
    const { announcements } = portal.desk;
    const nowMs = Date.now();
    const asked = { kind: 'notice', fromMs: nowMs - 1, untilMs: nowMs + 60_000 } as const;
    const texts = { en: 'Works', ar: ' ' };
    assert.equal(
      await announcements.add({ ...asked, texts: { en: ' ' } }, support),
      'text-missing',
    );
    const wrong = { ...asked, texts, untilMs: asked.fromMs };
    assert.equal(await announcements.add(wrong, support), 'time-order');
    const made = await announcements.add({ ...asked, texts }, support);
    assert.ok(typeof made === 'object');
    assert.deepEqual(made.texts, { en: 'Works' });
    assert.equal((await announcements.current()).length, 1);
    portal.advance(61_000);
    assert.equal((await announcements.current()).length, 0);
    assert.equal(await announcements.remove(made.id, support), 'done');
    assert.equal(await announcements.remove(made.id, support), 'no-such-announcement');
  });

  it('say who had an address, and that somebody asked', async () => {
    const abuse = await actor('abuse');
    const { tunnel, client } = await addUserWithTunnel(portal, 'ada');
    await addUserWithTunnel(portal, 'bob');
    const now = new Date().toISOString();
    const ask = (
      address: string,
      rest: Partial<Parameters<typeof portal.desk.abuse.ask>[0]> = {},
    ) =>
      portal.desk.abuse.ask({ address, port: '', from: now, until: '', zone: 'Z', ...rest }, abuse);
    const inside = await ask(formatIpv6(tunnel.delegation!.address + 5n));
    assert.ok(typeof inside === 'object');
    assert.deepEqual(
      inside.answer.holders.map(({ lease }) => lease.user?.name),
      ['ada'],
    );
    const entry = await latest();
    assert.equal(entry?.act, 'abuse-query');
    assert.equal(entry?.subject, `address:${inside.what}`);
    const outside = await ask('192.0.2.1', { port: String(client.port) });
    assert.ok(typeof outside === 'object');
    assert.deepEqual(
      outside.answer.clients.map(({ attachment }) => attachment.user?.name),
      ['ada'],
    );
    const shared = await ask('192.0.2.1');
    assert.equal(typeof shared === 'object' && shared.answer.clients.length, 2);
    // The same moment, said in another zone.
    const local = new Date(Date.now() + 3 * 3_600_000 + 60_000).toISOString().slice(0, 19);
    const zoned = await ask('192.0.2.1', { from: local, zone: '+03:00' });
    assert.equal(typeof zoned === 'object' && zoned.answer.clients.length, 2);
    const wrongZone = await ask('192.0.2.1', { from: local, zone: '+06:00' });
    assert.equal(typeof wrongZone === 'object' && wrongZone.answer.clients.length, 0);
    for (const [refusal, result] of [
      ['address-invalid', await ask('example.net')],
      ['port-invalid', await ask('192.0.2.1', { port: '65536' })],
      ['from-invalid', await ask('192.0.2.1', { from: 'yesterday' })],
      ['time-order', await ask('192.0.2.1', { until: '2020-01-01' })],
      ['zone-invalid', await ask('192.0.2.1', { zone: 'Mars' })],
    ])
      assert.equal(result, refusal);
  });

  it('show the log as asked for, and write down that it was taken away', async () => {
    const administrator = await actor('administrator');
    const { userId } = await addUserWithTunnel(portal, '=ada');
    await portal.desk.users.setTrust(userId, true, administrator);
    const { audit } = portal.desk;
    const all = { who: '', act: '', subject: '', from: '', until: '' };
    const list = async (query: Partial<typeof all>) => {
      const found = await audit.list({ ...all, ...query }, undefined, 50);
      return typeof found === 'string' ? found : found.map(({ act }) => act);
    };
    assert.deepEqual(await list({ who: 'administrator@staff.example' }), ['user-trust']);
    assert.deepEqual(await list({ who: '-' }), ['person-add', 'person-add']);
    assert.deepEqual(await list({ act: 'user-trust', subject: `user:${userId}` }), ['user-trust']);
    assert.deepEqual(await list({ until: '2020-01-01' }), []);
    assert.equal(await list({ who: 'nobody@example.net' }), 'no-such-person');
    assert.equal(await list({ from: 'soon' }), 'from-invalid');
    assert.deepEqual(await audit.acts(), ['person-add', 'user-trust']);
    const csv = await audit.export({ ...all, act: 'user-trust' }, administrator);
    assert.ok(typeof csv === 'string');
    assert.equal(csv.split('\r\n').length, 3);
    assert.equal((await latest())?.act, 'audit-export');
  });
});
