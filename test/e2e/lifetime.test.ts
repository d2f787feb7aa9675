// How long things last when nobody says good-bye: a silent client's tunnel is taken down and comes
// back with the next login; nothing is sent to an anonymous client that has not spoken, and one that
// never speaks is gone within 30 s.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { formatIpv6, type Ipv6Address, parseIpv6 } from '../../src/address.ts';
import { BROKER_IPV4, buildInternet, type Internet, WEB_IPV6 } from '../lab/internet.ts';
import { eventually, type Host, Lab, type Service } from '../lab/lab.ts';
import { ping, sendDatagrams, startWebServer } from '../lab/probe.ts';
import { addUser, type RunningBroker, startBroker, startClient, tunnelUp } from '../lab/sixway.ts';

const KEEPALIVE_SECONDS = 5;
/** Three lost keepalives, 30 s, and the broker's looking around. */
const SILENCE_MS = (3 * KEEPALIVE_SECONDS + 30 + 8) * 1000;
const NEVER_HEARD_MS = 30_000;

const lab = new Lab();
let net: Internet;
let broker: RunningBroker;
let office: Host;
let secret: string;
/** Sends keepalives and nothing else, all the time. */
let quiet: Service;

before(async () => {
  net = await buildInternet(lab);
  broker = await startBroker(net, {
    tsp: 'mechanisms = ["DIGEST-MD5", "ANONYMOUS"]',
    tunnel: `keepaliveSeconds = ${KEEPALIVE_SECONDS}`,
  });
  await startWebServer(net.web);
  office = await net.addOffice('office', 7);
  secret = await addUser(broker, 'alice');
  const neighbour = await net.addClient('neighbour');
  quiet = startClient(neighbour, `bob@${BROKER_IPV4}`, await addUser(broker, 'bob'), '--json');
  await tunnelUp(quiet);
});
after(() => lab.close());

interface Shown {
  readonly user?: string;
  readonly state: string;
  readonly link: string;
  readonly prefix?: string;
}

async function stateOf(user: string): Promise<string | undefined> {
  return (await tunnels()).find((shown) => shown.user === user)?.state;
}

async function tunnels(): Promise<Shown[]> {
  return JSON.parse(await broker.sixway('tunnel', 'list', '--json')) as Shown[];
}

async function packets(outcome: string): Promise<number> {
  const rows = JSON.parse(await broker.sixway('counters', '--json')) as {
    outcome: string;
    packets: number;
  }[];
  return rows.find((row) => row.outcome === outcome)?.packets ?? 0;
}

function login(): Service {
  return startClient(net.client, `alice@${BROKER_IPV4}`, secret, '--json', '--prefix-length', '56');
}

/** Without a word, as when the power fails. */
async function vanish(client: Service): Promise<void> {
  await client.stop('SIGKILL');
  await net.client.try('ip', ['link', 'del', 'tb6']);
}

/** One TSP message with its header (RFC 5572 §5.4), in hex. */
function message(sequence: number, text: string): string {
  const header = Buffer.from([0xf0, 0, 0, sequence, 0, 0, 0, 7]);
  return Buffer.concat([header, Buffer.from(text, 'latin1')]).toString('hex');
}

function request(xml: string): string {
  return `Content-length: ${xml.length + 2}\r\n${xml}\r\n`;
}

/** As a client does whose address may be anybody's; answers the inner address. */
async function logInAnonymously(host: Host, own: string, port: number): Promise<Ipv6Address> {
  const create =
    `<tunnel action="create" type="v6udpv4"><client>` +
    `<address type="ipv4">${own}</address></client></tunnel>`;
  const say = (...messages: string[]) => sendDatagrams(host, BROKER_IPV4, 3653, messages, port);
  await say(message(240, 'VERSION=2.0.0\r\n'));
  await say(message(241, 'AUTHENTICATE ANONYMOUS\r\n'));
  const answers = await say(message(242, request(create)));
  const answer = Buffer.from(answers.join(''), 'hex').toString('latin1');
  await say(message(243, request('<tunnel action="accept"></tunnel>')));
  const [, text = ''] = /<client>.*?<address type="ipv6">([0-9a-f:]+)</is.exec(answer) ?? [];
  return parseIpv6(text) ?? assert.fail(`no address in ${answer}`);
}

/** The shortest packet that there is: nothing follows the header. In hex. */
function innerPacket(source: Ipv6Address, destination: Ipv6Address): string {
  const hex = (address: Ipv6Address) => address.toString(16).padStart(32, '0');
  return `6000000000003b40${hex(source)}${hex(destination)}`;
}

test('a client that vanished loses its endpoint, not its prefix, and comes back by a login', async () => {
  const client = login();
  const first = await tunnelUp(client);
  assert.equal(await ping(net.client, WEB_IPV6), 1);
  await vanish(client);
  assert.equal(await stateOf('alice'), 'attached', 'it may come back any moment');
  await eventually(
    'the silent tunnel is detached',
    async () => (await stateOf('alice')) === 'detached',
    SILENCE_MS,
  );
  const before = await packets('out_detached_told');
  assert.equal(await ping(net.web, first.address), 0);
  assert.ok((await packets('out_detached_told')) > before, 'nothing leaves for who is gone');

  const again = login();
  const second = await tunnelUp(again);
  assert.deepEqual([second.address, second.prefix], [first.address, first.prefix]);
  assert.equal(await ping(net.client, WEB_IPV6), 1);
  await again.stop();
});

test('a client that sent keepalives and nothing else all the while was left alone', async () => {
  assert.equal(await ping(net.web, (await tunnelUp(quiet)).address), 1);
  assert.doesNotMatch(quiet.output, /"event":"lost"/);
});

test('nothing is sent to an anonymous client that has not spoken, everything from then on', async () => {
  const inner = await logInAnonymously(office, '198.18.7.2', 41_000);
  const sent = await packets('out_encapsulated');
  const held = await packets('out_not_yet_heard');
  assert.equal(await ping(net.web, formatIpv6(inner), { count: 3 }), 0);
  assert.equal((await packets('out_not_yet_heard')) - held, 3);
  assert.equal(await packets('out_encapsulated'), sent);

  const spoken = innerPacket(inner, parseIpv6(WEB_IPV6)!);
  await sendDatagrams(office, BROKER_IPV4, 3653, [spoken], 41_000);
  await ping(net.web, formatIpv6(inner), { count: 3 });
  assert.equal((await packets('out_not_yet_heard')) - held, 3);
  assert.ok((await packets('out_encapsulated')) - sent >= 3);
});

test('an anonymous tunnel whose client never spoke is closed within 30 s', async () => {
  const beganMs = Date.now();
  const inner = await logInAnonymously(office, '198.18.7.2', 42_000);
  const link = `${formatIpv6((inner >> 64n) << 64n)}/64`;
  const isThere = async () => (await tunnels()).some((shown) => shown.link === link);
  assert.equal(await isThere(), true);
  await eventually('it is closed', async () => !(await isThere()), NEVER_HEARD_MS);
  const afterMs = Date.now() - beganMs;
  assert.ok(afterMs > 15_000, `its client had time to speak: ${afterMs} ms`);
});
