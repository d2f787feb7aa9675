// IPv4 over IPv6 (v4v6): a host on a network without IPv4 gets an IPv4 address, signalled over IPv6.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { buildInternet, type Internet } from '../lab/internet.ts';
import { Lab } from '../lab/lab.ts';
import { addUser, type RunningBroker, startBroker, startClient, tunnelUp } from '../lab/sixway.ts';

const BROKER_IPV6 = '[2001:db8:53::53]';
/** Of the backbone, which has IPv4 and nothing to do with tunnels. */
const FAR_IPV4 = '203.0.113.1';

const lab = new Lab();
let net: Internet;
let broker: RunningBroker;
let secret: string;

before(async () => {
  net = await buildInternet(lab);
  await net.broker.run('sysctl', ['-qw', 'net.ipv4.ip_forward=1']);
  await net.backbone.ip('route add 192.0.2.0/24 via 203.0.113.53');
  broker = await startBroker(net, { tsp: 'v4v6 = true' }, [
    ['pool', 'add', '192.0.2.0/24', '--for', 'ipv4', '--length', '30'],
  ]);
  secret = await addUser(broker, 'alice');
});
after(() => lab.close());

async function reaches(address: string): Promise<boolean> {
  return (await net.web.try('ping', ['-4', '-c', '3', '-i', '0.2', '-W', '2', address])).code === 0;
}

for (const transport of ['udp', 'tcp'] as const) {
  test(`a host with IPv6 only gets IPv4 by way of ${transport.toUpperCase()}`, async () => {
    const flags = ['--json', '--type', 'v4v6', '--transport', transport];
    const client = startClient(net.web, `alice@${BROKER_IPV6}`, secret, ...flags);
    const tunnel = await tunnelUp(client);
    assert.equal(tunnel.encapsulation, 'v4v6');
    assert.match(tunnel.address, /^192\.0\.2\.\d+$/);
    assert.ok(await reaches(tunnel.gateway), 'the gateway');
    assert.ok(await reaches(FAR_IPV4), 'a host of the IPv4 internet');
    await client.says(/"event":"alive"/);
    assert.equal(await client.stop(), 0);
  });
}

test('IPv4 over IPv6 is neither for those without IPv6 nor for strangers', async () => {
  const office = await net.addOffice('office', 7);
  const flags = ['--json', '--once', '--type', 'v4v6'];
  const onIpv4 = startClient(office, 'alice@203.0.113.53', secret, ...flags);
  assert.notEqual(await onIpv4.ended, 0);
  assert.match(onIpv4.output, /the server only has V6V4, V6UDPV4/);
  const stranger = startClient(net.web, BROKER_IPV6, undefined, ...flags);
  assert.notEqual(await stranger.ended, 0);
  assert.match(stranger.output, /wants a login by SCRAM-SHA-256 or DIGEST-MD5/);
  assert.ok(broker.service.running);
});
