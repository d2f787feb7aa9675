// The fast path as an operator gets it, by one line of configuration, and what an administrator says of
// a tunnel while its traffic flows: closed ports, rates, disabling; and what the user is shown of it.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { buildInternet, type Internet, WEB_IPV6 } from '../lab/internet.ts';
import { eventually, Lab, type Service } from '../lab/lab.ts';
import { ping } from '../lab/probe.ts';
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
let client: Service;
let tunnel: ClientTunnel;

before(async () => {
  net = await buildInternet(lab);
  // As a card would: poll for frames, and finish checksums before XDP sees them.
  await net.backbone.run('ethtool', ['-K', 'to-broker', 'gro', 'on', 'tx', 'off']);
  broker = await startBroker(net, { dataplane: 'mode = "fast"' });
  const secret = await addUser(broker, 'alice');
  client = startClient(net.client, 'alice@203.0.113.53', secret, '--json');
  tunnel = await tunnelUp(client);
});
after(() => lab.close());

async function outcome(name: string): Promise<number> {
  const { [name]: counted } = Object.fromEntries(
    (JSON.parse(await broker.sixway('counters', '--json')) as CounterRow[]).map((row) => [
      row.outcome,
      row.packets,
    ]),
  );
  return Number(counted);
}
interface CounterRow {
  readonly outcome: string;
  readonly packets: number;
}

interface Shown {
  readonly faults?: unknown;
  readonly drops?: unknown;
}

const show = async () =>
  JSON.parse(await broker.sixway('tunnel', 'show', 'alice', '--json')) as Shown;

test('serve says that packets pass by the firewall, and they do', async () => {
  assert.match(broker.service.output, /fast path: ordinary packets pass by firewall/);
  await ping(net.client, WEB_IPV6); // the complete path asks for the neighbours
  const [inBefore, outBefore] = [await outcome('in_forwarded'), await outcome('out_forwarded')];
  await net.client.run('ping', ['-c', '20', '-i', '0.02', WEB_IPV6]);
  assert.ok((await outcome('in_forwarded')) >= inBefore + 20);
  assert.ok((await outcome('out_forwarded')) >= outBefore + 20);
});

test('port 25 is closed until an administrator opens it', async () => {
  const connect = () => net.client.try('curl', ['-sm', '2', `http://[${WEB_IPV6}]:25/`]);
  assert.equal((await connect()).code, 28, 'nothing answers');
  assert.ok((await outcome('in_filtered')) > 0);
  assert.match(JSON.stringify(await show()), /filtered/);
  await broker.sixway('tunnel', 'set', 'alice', '--open-ports');
  // Open: the web server's host refuses, since nobody listens there.
  await eventually('the port is open', async () => (await connect()).code === 7);
});

test('a rate holds as soon as it is said, and no longer than that', async () => {
  const flood = ['-qf', '-c', '400', '-s', '1200', '-W', '1', WEB_IPV6];
  assert.match(await net.client.run('ping', flood), / 0% packet loss/);
  await broker.sixway('tunnel', 'set', 'alice', '--rate-in', '500k');
  await eventually('packets are dropped', async () => {
    await net.client.try('ping', flood);
    return (await outcome('in_rate_limited')) > 0;
  });
  await broker.sixway('tunnel', 'set', 'alice', '--rate-in', 'none');
  await eventually('none is dropped', async () =>
    / 0% packet loss/.test((await net.client.try('ping', flood)).stdout),
  );
});

test('a disabled tunnel is silent within a second, and its peers are told', async () => {
  await broker.sixway('tunnel', 'disable', 'alice');
  await eventually(
    'the sender is told that it is prohibited',
    async () =>
      /prohibited/.test((await net.web.try('ping', ['-c', '1', '-W', '1', tunnel.address])).stdout),
    1500,
  );
  assert.equal((await net.client.try('ping', ['-c', '1', '-W', '1', WEB_IPV6])).code, 1);
});
