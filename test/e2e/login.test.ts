// Who gets a tunnel, how, and who does not: each mechanism through a NAT, a broker with one
// interface and with two, protocol 41 for hosts with a public address, and wrong secrets.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { BROKER_IPV4, buildInternet, type Internet, WEB_IPV6 } from '../lab/internet.ts';
import { type Host, Lab } from '../lab/lab.ts';
import { ping, startWebServer } from '../lab/probe.ts';
import { addUser, type RunningBroker, startBroker, startClient, tunnelUp } from '../lab/sixway.ts';

for (const brokerInterfaces of [1, 2] as const) {
  describe(`a broker with ${brokerInterfaces} interface(s)`, () => {
    const lab = new Lab();
    let net: Internet;
    let broker: RunningBroker;
    let office: Host;
    let secret: string;

    before(async () => {
      net = await buildInternet(lab, { brokerInterfaces });
      broker = await startBroker(net, {
        tsp: 'mechanisms = ["DIGEST-MD5", "PLAIN", "ANONYMOUS"]',
      });
      await startWebServer(net.web);
      secret = await addUser(broker, 'alice');
      office = await net.addOffice('office', 7);
    });
    after(() => lab.close());

    for (const mechanism of ['DIGEST-MD5', 'PLAIN'] as const) {
      test(`${mechanism} through a NAT gives a working address`, async () => {
        const client = startClient(
          net.client,
          `alice@${BROKER_IPV4}`,
          secret,
          '--json',
          '--mechanism',
          mechanism,
        );
        const tunnel = await tunnelUp(client);
        assert.equal(tunnel.encapsulation, 'v6udpv4');
        assert.equal(await ping(net.client, WEB_IPV6), 1);
        assert.equal(await ping(net.client, tunnel.gateway), 1);
        const page = await net.client.run('curl', ['-6', '-sS', `http://[${WEB_IPV6}]/`]);
        assert.match(page, new RegExp(`You came from ${tunnel.address}`));
        assert.equal(await client.stop(), 0);
      });
    }

    test('ANONYMOUS through a NAT gives a working address and never a prefix', async () => {
      const client = startClient(
        net.client,
        BROKER_IPV4,
        undefined,
        '--json',
        '--mechanism',
        'ANONYMOUS',
      );
      const tunnel = await tunnelUp(client);
      assert.equal(await ping(net.client, WEB_IPV6), 1);
      await client.stop();

      const greedy = startClient(
        net.client,
        BROKER_IPV4,
        undefined,
        '--json',
        '--mechanism',
        'ANONYMOUS',
        '--prefix-length',
        '56',
        '--once',
      );
      assert.notEqual(await greedy.ended, 0);
      assert.match(greedy.output, /507/);
      assert.ok(tunnel.prefix === undefined);
    });

    test('a host with a public address gets protocol 41 when it leaves the choice open', async () => {
      const client = startClient(office, `alice@${BROKER_IPV4}`, secret, '--json');
      const tunnel = await tunnelUp(client);
      assert.equal(tunnel.encapsulation, 'v6v4');
      assert.equal(await ping(office, WEB_IPV6), 1);
      assert.equal(await ping(office, tunnel.gateway), 1);
      await client.stop();
    });

    test('the broker itself can be reached through the tunnel', async () => {
      const client = startClient(net.client, `alice@${BROKER_IPV4}`, secret, '--json');
      await tunnelUp(client);
      assert.equal(await ping(net.client, '2001:db8:53::53'), 1);
      assert.equal(await ping(net.web, (await tunnelUp(client)).address), 1);
      await client.stop();
    });

    test('a wrong secret and an unknown user are refused in the same words', async () => {
      const refusals: string[] = [];
      for (const name of ['alice', 'nobody']) {
        const client = startClient(
          net.client,
          `${name}@${BROKER_IPV4}`,
          'not the secret',
          '--json',
          '--once',
        );
        assert.notEqual(await client.ended, 0);
        refusals.push(client.output.replaceAll(name, 'NAME'));
      }
      assert.match(refusals[0] ?? '', /300/);
      assert.equal(refusals[0], refusals[1]);
    });
  });
}
