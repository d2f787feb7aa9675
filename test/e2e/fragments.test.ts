// A tunnel whose packets are larger than what the path carries: routers cut the outer packets up, and
// both ends put them together, over UDP behind a NAT and as protocol 41.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { BROKER_IPV4, buildInternet, type Internet, WEB_IPV6 } from '../lab/internet.ts';
import { type Host, Lab } from '../lab/lab.ts';
import { patternSum } from '../lab/pattern.ts';
import { download, ping, sendDatagrams, startWebServer } from '../lab/probe.ts';
import { addUser, type RunningBroker, startBroker, startClient, tunnelUp } from '../lab/sixway.ts';

const MTU = 1472;
const PATH_MTU = 1400;
const BULK_BYTES = 8_000_000;

const lab = new Lab();
let net: Internet;
let broker: RunningBroker;
let office: Host;
const addresses = new Map<Host, { inside: string; gateway: string }>();

before(async () => {
  net = await buildInternet(lab);
  office = await net.addOffice('office', 3);
  await net.home.ip(`link set wan mtu ${PATH_MTU}`);
  await net.backbone.ip(`link set to-home mtu ${PATH_MTU}`);
  // The office's cable is wide enough; what is behind it, either way, is not.
  await net.backbone.ip(`route add 198.18.3.2/32 dev to-office mtu lock ${PATH_MTU}`);
  broker = await startBroker(net, {
    tsp: 'mechanisms = ["DIGEST-MD5", "ANONYMOUS"]',
    tunnel: `mtu = ${MTU}`,
  });
  await startWebServer(net.web);
  await connect(net.client, 'alice', 'v6udpv4');
  await connect(office, 'bob', 'v6v4');
  await net.backbone.ip(`route add ${BROKER_IPV4}/32 dev to-broker mtu lock ${PATH_MTU}`);
});
after(() => lab.close());

async function connect(host: Host, name: string, type: string): Promise<void> {
  const secret = await addUser(broker, name);
  const words = ['--type', type, '--mtu', String(MTU), '--json'];
  const tunnel = await tunnelUp(startClient(host, `${name}@${BROKER_IPV4}`, secret, ...words));
  assert.equal(tunnel.encapsulation, type);
  addresses.set(host, { inside: tunnel.address.replace(/\/.*/, ''), gateway: tunnel.gateway });
}

async function counters(): Promise<Record<string, number>> {
  const rows = JSON.parse(await broker.sixway('counters', '--json')) as {
    outcome: string;
    packets: number;
  }[];
  return Object.fromEntries(rows.map(({ outcome, packets }) => [outcome, packets]));
}

/** On the broker’s machine. */
async function kernelFragments(name: 'ReasmOKs' | 'ReasmReqds'): Promise<number> {
  const [names = [], values = []] = (await broker.host.run('cat', ['/proc/net/snmp']))
    .split('\n')
    .filter((line) => line.startsWith('Ip: '))
    .map((line) => line.split(' '));
  return Number(values[names.indexOf(name)]);
}

const large = { count: 5, extra: ['-s', String(MTU - 48), '-M', 'do'] };

async function largePacketsPass(): Promise<void> {
  for (const [host, { inside, gateway }] of addresses) {
    assert.equal(await ping(host, WEB_IPV6, large), 1, `from ${host.name}`);
    assert.equal(await ping(host, gateway, large), 1, `from ${host.name} to its gateway`);
    assert.equal(await ping(net.web, inside, large), 1, `to ${host.name}`);
  }
}

test('packets as large as the tunnel’s MTU pass, and are counted as what they are', async () => {
  const before = await counters();
  const seenByKernel = await kernelFragments('ReasmReqds');
  await largePacketsPass();
  assert.equal(await kernelFragments('ReasmReqds'), seenByKernel);
  const after = await counters();
  const grown = (name: string) => (after[name] ?? 0) - (before[name] ?? 0);
  // Of each two fragments one is kept, and the other becomes the packet.
  assert.equal(grown('in_fragment'), 2 * 3 * 5);
  assert.ok(grown('in_decapsulated') >= 2 * 2 * 5);
  assert.ok(grown('in_echo_answered') >= 2 * 5);
  for (const name of ['in_truncated', 'in_strip_failed', 'in_wrong_endpoint'])
    assert.equal(grown(name), 0, name);
});

test('transfers arrive whole', async () => {
  const expected = `${BULK_BYTES} ${patternSum(BULK_BYTES)}`;
  for (const host of addresses.keys())
    assert.equal(await download(host, `http://[${WEB_IPV6}]`, BULK_BYTES), expected, host.name);
});

test('signalling in fragments reaches the daemon', async () => {
  const say = async (sequence: number, text: string) => {
    const octets = Buffer.concat([
      Buffer.from([0xf0, 0, 0, sequence, 0, 0, 0, 1]),
      Buffer.from(text, 'latin1'),
    ]);
    const answers = await sendDatagrams(office, BROKER_IPV4, 3653, [octets.toString('hex')], 4711);
    return Buffer.from(answers.join(''), 'hex').toString('latin1');
  };
  await say(1, 'VERSION=2.0.0\r\n');
  await say(2, 'AUTHENTICATE ANONYMOUS\r\n');
  const create =
    '<tunnel action="create" type="v6udpv4"><client><address type="ipv4">198.18.3.2</address>' +
    `</client></tunnel>${' '.repeat(1250)}\r\n`;
  const request = `Content-length: ${create.length}\r\n${create}`;
  await say(3, request); // with Don’t Fragment: the sender learns the path’s MTU
  const before = await kernelFragments('ReasmOKs');
  assert.match(await say(3, request), /<address type="ipv6">/);
  assert.equal(await kernelFragments('ReasmOKs'), before + 1);
});

test('they pass while the daemon is dead, and after it came back', async () => {
  await broker.service.stop('SIGKILL');
  await largePacketsPass();
  await broker.restart();
  await largePacketsPass();
});
