// What routers get to hear, and the tools of other brokers.

import assert from 'node:assert/strict';
import { afterEach, beforeEach, describe, it } from 'node:test';
import type { Person } from '../../src/broker/people-parts.ts';
import { addDelegations, addLinks } from '../store/requests.ts';
import { Browser, openPortal, signUp, type TestPortal } from './portal.ts';

describe('dynamic DNS', () => {
  let portal: TestPortal;
  let ada: Person;
  let secret: string;
  let id: number;
  const visitor = { address: 0, userAgent: '', language: undefined };

  beforeEach(async () => {
    portal = await openPortal({ trustProxy: ['127.0.0.1'] });
    await addLinks(portal.store);
    await addDelegations(portal.store, '2001:db8:8000::/40', 48);
    await signUp(portal, new Browser(portal), 'ada@example.net', 'ada');
    ada = (await portal.store.people.find({ email: 'ada@example.net' }))!;
    const made = await portal.tunnels.rotateSecret(ada, visitor);
    assert.ok(made.ok);
    secret = made.secret;
    const tunnel = await portal.tunnels.create(ada, { family: 'ipv6', prefixLength: 48 }, visitor);
    assert.ok(tunnel.ok);
    id = tunnel.tunnelId;
  });

  afterEach(() => portal.close());

  async function ask(path: string, from = '192.0.2.1', login = `ada:${secret}`) {
    const response = await fetch(portal.url + path, {
      headers: {
        'x-forwarded-for': from,
        ...(login !== '' && { authorization: `Basic ${Buffer.from(login).toString('base64')}` }),
      },
    });
    return { status: response.status, headers: response.headers, text: await response.text() };
  }

  it('leads the tunnel to where the router is', async () => {
    assert.equal((await ask(`/nic/update?hostname=${id}`)).text, 'good 192.0.2.1\n');
    assert.equal((await ask(`/nic/update?hostname=${id}`)).text, 'nochg 192.0.2.1\n');
    const named = await ask('/nic/update?hostname=ada&myip=192.0.2.7', '192.0.2.7');
    assert.equal(named.text, 'good 192.0.2.7\n');
    const both = await ask(`/nic/update?hostname=tunnel${id}.example.net,99`, '192.0.2.7');
    assert.equal(both.text, 'nochg 192.0.2.7\nnohost\n');
    assert.equal((await portal.tunnels.find(ada, id))?.encapsulation, 'v6v4');
  });

  it('says why not', async () => {
    assert.equal((await ask('/nic/update')).text, 'notfqdn\n');
    assert.equal((await ask('/nic/update?hostname=99')).text, 'nohost\n');
    assert.equal((await ask(`/nic/update?hostname=${id}&myip=198.51.100.1`)).text, 'abuse\n');
    assert.equal((await ask(`/nic/update?hostname=${id}&myip=10.0.0.1`)).text, 'abuse\n');
    for (const login of ['', 'ada:wrong', 'eve:wrong', `eve:${secret}`, ':', 'ada']) {
      const refused = await ask(`/nic/update?hostname=${id}`, '192.0.2.1', login);
      assert.deepEqual([refused.status, refused.text], [401, 'badauth\n'], login);
      assert.match(refused.headers.get('www-authenticate') ?? '', /^Basic /);
    }
    const inQuery = `/nic/update?hostname=${id}&username=ada&password=${secret}`;
    assert.equal((await ask(inQuery, '192.0.2.1', '')).text, 'badauth\n');
  });

  it('takes a token that is for it, and lets nobody guess', async () => {
    const tokenFor = async (scope: 'tunnels:endpoint' | 'tunnels:write') => {
      const { account } = portal.people;
      const made = await account.addToken(ada, 'router', [scope], undefined, visitor);
      assert.ok(made.ok);
      return made.token;
    };
    const fits = `ada:${await tokenFor('tunnels:endpoint')}`;
    assert.match((await ask(`/nic/update?hostname=${id}`, '192.0.2.1', fits)).text, /^good/);
    const other = `ada:${await tokenFor('tunnels:write')}`;
    assert.equal((await ask(`/nic/update?hostname=${id}`, '192.0.2.1', other)).text, 'badauth\n');
    let last = '';
    for (let i = 0; i < 12 && last !== 'abuse\n'; i++)
      last = (await ask(`/nic/update?hostname=${id}`, '192.0.2.66', `ada:guess${i}`)).text;
    assert.equal(last, 'abuse\n');
  });

  it('tells other brokers’ tools what they ask', async () => {
    await portal.tunnels.setNameServers(ada, id, ['ns1.example.net'], visitor);
    await ask(`/nic/update?hostname=${id}`);
    const { headers, text } = await ask(`/tunnelInfo.php?tid=${id}`);
    assert.match(headers.get('content-type') ?? '', /^text\/xml/);
    for (const line of [
      `<tunnel id="${id}">`,
      '<serverv4>203.0.113.1</serverv4>',
      '<clientv4>192.0.2.1</clientv4>',
      '<serverv6>2001:db8:0:1::1</serverv6>',
      '<clientv6>2001:db8:0:1::2</clientv6>',
      '<routed48>2001:db8:8000::/48</routed48>',
      '<rdns1>ns1.example.net</rdns1>',
    ])
      assert.ok(text.includes(line), line);
    assert.doesNotMatch((await ask('/tunnelinfo.php?tid=99')).text, /<tunnel /);
  });
});
