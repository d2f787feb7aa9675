// Signalling over TCP and over IPv6, with the real client and with octets typed by hand.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { BROKER_IPV4, buildInternet, type Internet, WEB_IPV6 } from '../lab/internet.ts';
import { type Host, Lab } from '../lab/lab.ts';
import { ping, startWebServer } from '../lab/probe.ts';
import { addUser, type RunningBroker, startBroker, startClient, tunnelUp } from '../lab/sixway.ts';

const BROKER_IPV6 = '2001:db8:53::53';

const lab = new Lab();
let net: Internet;
let broker: RunningBroker;
let office: Host;
let secret: string;

before(async () => {
  net = await buildInternet(lab);
  broker = await startBroker(net, {
    tsp: 'mechanisms = ["SCRAM-SHA-256", "DIGEST-MD5", "PLAIN", "ANONYMOUS"]',
  });
  await startWebServer(net.web);
  secret = await addUser(broker, 'alice');
  office = await net.addOffice('office', 7);
});
after(() => lab.close());

/** Sends `text` (with printf's escapes) in one go and reads until the server ends or 3 s passed. */
async function type(host: Host, network: 'tcp' | 'udp', address: string, text: string) {
  const script = `exec 3<>/dev/${network}/${address}/3653; printf '${text}' >&3; timeout 3 cat <&3`;
  return (await host.try('bash', ['-c', script])).stdout;
}

for (const mechanism of ['SCRAM-SHA-256', 'DIGEST-MD5', 'PLAIN'] as const) {
  test(`${mechanism} over TCP gives a working tunnel by protocol 41`, async () => {
    const client = startClient(
      office,
      `alice@${BROKER_IPV4}`,
      secret,
      '--json',
      '--verbose',
      '--transport',
      'tcp',
      '--mechanism',
      mechanism,
    );
    const tunnel = await tunnelUp(client);
    assert.equal(tunnel.encapsulation, 'v6v4');
    assert.match(client.output, new RegExp(`AUTHENTICATE ${mechanism}`));
    assert.equal(await ping(office, WEB_IPV6), 1);
    assert.equal(await client.stop(), 0);
  });
}

test('rspauth and the 200 are segments of their own, a moment apart', async () => {
  const capture = net.broker.start('tcpdump', [
    ...['-nn', '-l', '-tt', '-i', net.uplink],
    'tcp src port 3653 and tcp[tcpflags] & tcp-push != 0',
  ]);
  await capture.says(/listening on/);
  const client = startClient(
    office,
    `alice@${BROKER_IPV4}`,
    secret,
    ...['--json', '--transport', 'tcp', '--mechanism', 'DIGEST-MD5'],
  );
  await tunnelUp(client);
  await capture.says(/(?:.* length [1-9]\d*\n){5}/);
  await client.stop();
  await capture.stop();
  const segments = [...capture.output.matchAll(/^([0-9.]+) IP .* length ([1-9]\d*)$/gm)].map(
    ([, seconds, octets]) => ({ atMs: Number(seconds) * 1000, octets: Number(octets) }),
  );
  assert.equal(segments.length, 5, capture.output);
  const [, , proof, success] = segments;
  assert.equal(success?.octets, '200 Success\r\n'.length);
  assert.ok((success?.atMs ?? 0) - (proof?.atMs ?? 0) >= 150);
});

test('where UDP does not get through the client goes over to TCP by itself', async () => {
  await office.run('nft', [
    'add table ip f; add chain ip f out { type filter hook output priority 0; }; ' +
      'add rule ip f out udp dport 3653 drop',
  ]);
  const client = startClient(office, `alice@${BROKER_IPV4}`, secret, '--json');
  const tunnel = await tunnelUp(client, 25_000);
  assert.equal(tunnel.encapsulation, 'v6v4');
  assert.equal(await ping(office, WEB_IPV6), 1);
  await client.stop();
  await office.run('nft', ['delete table ip f']);
});

test('behind a NAT there is no tunnel over TCP: 303, and the client says so', async () => {
  const client = startClient(
    net.client,
    `alice@${BROKER_IPV4}`,
    secret,
    ...['--json', '--once', '--transport', 'tcp'],
  );
  assert.notEqual(await client.ended, 0);
  assert.match(client.output, /303 Unsupported tunnel type/);
});

test('the end of the connection is not the end of the tunnel', async () => {
  const stranger = await net.addOffice('stranger', 8);
  const create =
    '<tunnel action="create" type="v6v4">' +
    '<client><address type="ipv4">198.18.8.2</address></client></tunnel>';
  const accept = '<tunnel action="accept"></tunnel>';
  const framed = (xml: string) => `Content-length: ${xml.length + 2}\\r\\n${xml}\\r\\n`;
  const heard = await type(
    stranger,
    'tcp',
    BROKER_IPV4,
    `VERSION=2.0.2\\r\\nAUTHENTICATE ANONYMOUS\\r\\n${framed(create)}${framed(accept)}`,
  );
  const [capability, login, , offer] = heard.split('\r\n');
  assert.match(capability ?? '', /^CAPABILITY TUNNEL=V6V4 TUNNEL=V6UDPV4 AUTH=SCRAM-SHA-256 /);
  assert.deepEqual([login, offer], ['200 Success', '200 Success']);
  const tunnels = await broker.sixway('tunnel', 'list', '--json');
  assert.ok(tunnels.includes('198.18.8.2'), tunnels);
});

test('the broker can be spoken to over IPv6, by TCP and by UDP', async () => {
  const line = await type(net.web, 'tcp', BROKER_IPV6, 'VERSION=2.0.2\\r\\n');
  assert.match(line, /^CAPABILITY AUTH=/);
  const echo = await type(
    net.web,
    'udp',
    BROKER_IPV6,
    '\\xf0\\x00\\x00\\xf0\\x00\\x00\\x00\\x07ECHO REQUEST',
  );
  assert.equal(echo.slice(-13), '200 Success\r\n');
});

test('junk over TCP is answered with one line and let go', async () => {
  assert.equal(
    await type(office, 'tcp', BROKER_IPV4, 'GET / HTTP/1.1\\r\\n\\r\\n'),
    '500 Invalid request format or length\r\n',
  );
  assert.ok(broker.service.running);
});

test('a stranger’s address is for trusted users only; name servers are remembered', async () => {
  const framed = (xml: string) => `Content-length: ${xml.length + 2}\\r\\n${xml}\\r\\n`;
  const create = (proxy: string, address: string) =>
    framed(
      `<tunnel action="create" type="v6v4" proxy="${proxy}"><client>` +
        `<address type="ipv4">${address}</address><router><prefix length="56"/><dns_server>` +
        '<address type="dn">ns.example.net</address></dns_server></router></client></tunnel>',
    );
  const accept = framed('<tunnel action="accept"></tunnel>');
  const info = framed('<tunnel action="info"></tunnel>');
  const ask = (...messages: readonly string[]) =>
    type(
      office,
      'tcp',
      BROKER_IPV4,
      // Three digits: printf would take a digit of the secret for a part of the NUL.
      `AUTHENTICATE PLAIN\\r\\n\\000\\000alice\\000${secret}\\r\\n${messages.join('')}`,
    );
  assert.match(await ask(create('yes', '198.18.9.9')), /\r\n303 Unsupported tunnel type\r\n$/);
  await broker.sixway('user', 'trust', 'alice', '--proxy');
  const given = await ask(create('yes', '198.18.9.9'), accept, info);
  const described = given.split('200 Success\r\n').at(-1) ?? '';
  assert.match(described, /<address type="ipv4">198\.18\.9\.9<\/address>/);
  assert.match(described, /<dns_server>\r\n<address type="dn">ns\.example\.net<\/address>/);
  assert.match(described, /<prefix length="56">2001:0db8:20/);
});
