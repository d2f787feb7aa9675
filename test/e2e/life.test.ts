// What happens over a tunnel's life: the daemon dies, the NAT forgets, the user moves, logs in
// twice, and keeps the prefix through all of it.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { BROKER_IPV4, buildInternet, type Internet, WEB_IPV6 } from '../lab/internet.ts';
import { type Host, Lab, type Service } from '../lab/lab.ts';
import { ping, startWebServer } from '../lab/probe.ts';
import {
  addUser,
  type ClientTunnel,
  type RunningBroker,
  startBroker,
  startClient,
  tunnelUp,
} from '../lab/sixway.ts';

const lab = new Lab();
let net: Internet;
let broker: RunningBroker;
let office: Host;
let secret: string;
let client: Service;
let tunnel: ClientTunnel;

function login(host: Host): Service {
  return startClient(host, `alice@${BROKER_IPV4}`, secret, '--json', '--prefix-length', '56');
}

before(async () => {
  net = await buildInternet(lab);
  // The shortest keepalive, so that a lost path shows in seconds.
  broker = await startBroker(net, { tunnel: 'keepaliveSeconds = 5' });
  await startWebServer(net.web);
  secret = await addUser(broker, 'alice');
  office = await net.addOffice('office', 7);
  client = login(net.client);
  tunnel = await tunnelUp(client);
});
after(() => lab.close());

test('the daemon killed and started again loses not one of 100 pings a second', async () => {
  const pings = ping(net.client, WEB_IPV6, { count: 600, intervalSeconds: 0.01 });
  await new Promise((resolve) => setTimeout(resolve, 1000));
  await broker.service.stop('SIGKILL');
  await new Promise((resolve) => setTimeout(resolve, 500));
  await broker.restart();
  assert.equal(await pings, 1);
  const pinned = await ping(net.client, WEB_IPV6);
  assert.equal(pinned, 1);
});

test('a daemon stopped in order leaves the traffic flowing', async () => {
  assert.equal(await broker.service.stop('SIGTERM'), 0);
  assert.equal(await ping(net.client, WEB_IPV6, { count: 10, intervalSeconds: 0.02 }), 1);
  await broker.restart();
  assert.equal(await ping(net.client, WEB_IPV6), 1);
});

test('when the NAT gives the client another port it logs in again and keeps its prefix', async () => {
  // The mapping is forgotten and the next one must use other ports, as after a router's restart.
  await net.home.run('nft', [
    'flush table ip nat; add rule ip nat post oifname wan ip protocol udp masquerade to :20000-30000;' +
      ' add rule ip nat post oifname wan masquerade',
  ]);
  await net.home.run('conntrack', ['-F']);
  await client.says(/"event":"lost"/, 40_000);
  const ups = /("event":"up"[\s\S]*){2}\n/;
  await client.says(ups, 20_000);
  const again = JSON.parse(
    client.output.match(/^\{"event":"up".*$/gm)?.at(-1) ?? '{}',
  ) as ClientTunnel;
  assert.equal(again.prefix, tunnel.prefix);
  assert.equal(again.address, tunnel.address);
  assert.equal(await ping(net.client, WEB_IPV6), 1);
});

test('the same user at another place takes the tunnel along, prefix and all', async () => {
  const elsewhere = login(office);
  const moved = await tunnelUp(elsewhere);
  assert.equal(moved.encapsulation, 'v6v4');
  assert.equal(moved.prefix, tunnel.prefix);
  assert.equal(moved.address, tunnel.address);
  assert.equal(await ping(office, WEB_IPV6), 1);
  assert.equal(await ping(net.client, WEB_IPV6), 0, 'the place that was left has no tunnel');
  await elsewhere.stop();
});

test('a client that is stopped takes its device and routes along', async () => {
  assert.equal(await client.stop(), 0);
  const links = await net.client.ip('-o link show');
  assert.doesNotMatch(links, /tb6/);
  assert.equal((await net.client.ip('-6 route show default')).trim(), '');
});
