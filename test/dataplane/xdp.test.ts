// What tunnel_strip and tunnel_forward do: plain packets are stripped, or routed and sent; all others
// pass untouched and uncounted, for the tc programs. Runs the compiled programs in the kernel, in a
// host of its own that has the routes.

import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { type Host, Lab } from '../lab/lab.ts';
import { DELEGATED, ELSEWHERE, GATEWAY, INSIDE, SITE } from './bench.ts';
import type { ServerEnd } from './ends.ts';
import {
  bytes,
  echo,
  ethernet,
  filler,
  type Ipv4Fields,
  type Ipv6Fields,
  ipv4,
  ipv6,
  tcp,
  udp,
  withoutIdentification,
} from './packets.ts';
import { BROKER, CLIENT, CLIENT_PORT, PORT, unmountPins } from './scratch.ts';
import type { XdpCase, XdpResult } from './xdp-bench.ts';

const [XDP_PASS, XDP_REDIRECT] = [2, 4];
const [WEST, WEST_ROUTER] = ['02:00:5e:00:53:01', '02:00:5e:00:53:02'];
const [EAST, EAST_ROUTER] = ['02:00:5e:00:53:11', '02:00:5e:00:53:12'];
const RUNNER = join(import.meta.dirname, 'xdp-bench.ts');
const ENDS = join(import.meta.dirname, 'ends.ts');
const ROUTED_BACK = '2001:db8:81::1';
const UNROUTED = '2001:db8:99::1';
const NO_NEIGHBOUR = '2001:db8:98::1';

let lab: Lab;
let broker: Host;

before(async () => {
  lab = new Lab();
  broker = await lab.host('broker');
  for (const [device, address] of [
    ['west', WEST],
    ['east', EAST],
  ])
    await broker.ip(`link add ${device} address ${address} type veth peer name ${device}-far`);
  for (const device of ['west', 'east']) {
    await broker.run('ethtool', ['-K', device, 'gro', 'on']);
    await broker.ip(`link set ${device} up`);
    await broker.ip(`link set ${device}-far up`);
  }
  await broker.run('sysctl', [
    ...['-qw', 'net.ipv6.conf.all.forwarding=1', 'net.ipv4.conf.lo.forwarding=1'],
  ]);
  for (const line of [
    `addr add ${BROKER}/24 dev west`,
    `neigh replace 192.0.2.254 lladdr ${WEST_ROUTER} nud permanent dev west`,
    'route add default via 192.0.2.254',
    '-6 addr add 2001:db8:53::53/64 dev east nodad',
    `-6 neigh replace 2001:db8:53::1 lladdr ${EAST_ROUTER} nud permanent dev east`,
    '-6 route add 2001:db8:80::/48 via 2001:db8:53::1',
    `-6 neigh replace fe80::9 lladdr ${WEST_ROUTER} nud permanent dev west`,
    '-6 route add 2001:db8:81::/48 via fe80::9 dev west',
    '-6 route add 2001:db8:98::/48 via 2001:db8:53::7',
  ])
    await broker.ip(line);
});

after(async () => {
  await lab.close();
});

async function runAll(cases: readonly (Omit<XdpCase, 'packet'> & { packet: Uint8Array })[]) {
  const texts = cases.map((each) => ({
    ...each,
    packet: Buffer.from(each.packet).toString('hex'),
  }));
  const job = JSON.stringify({ west: 'west', east: 'east', cases: texts });
  return JSON.parse(await broker.run(process.execPath, [RUNNER, job])) as XdpResult[];
}

const octetsOf = (text: string) => new Uint8Array(Buffer.from(text, 'hex'));

function addressed(to: string, from: string, packet: Uint8Array): Uint8Array {
  const octets = (mac: string) => mac.split(':').map((octet) => Number.parseInt(octet, 16));
  return bytes(octets(to), octets(from), packet.slice(12));
}

function inUdp(
  payload: Uint8Array,
  outer: Partial<Ipv4Fields> = {},
  ports: { from?: number; to?: number } = {},
): Uint8Array {
  const datagram = udp({ from: CLIENT_PORT, to: PORT, ...ports }, payload);
  return addressed(
    WEST,
    WEST_ROUTER,
    ethernet('ipv4', ipv4({ from: CLIENT, to: BROKER, protocol: 17, ...outer }, datagram)),
  );
}

function inProtocol41(payload: Uint8Array, outer: Partial<Ipv4Fields> = {}): Uint8Array {
  const packet = ipv4({ from: CLIENT, to: BROKER, protocol: 41, ...outer }, payload);
  return addressed(WEST, WEST_ROUTER, ethernet('ipv4', packet));
}

function inner(fields: Partial<Ipv6Fields> = {}, payload = filler(64)): Uint8Array {
  return ipv6({ from: INSIDE, to: ELSEWHERE, nextHeader: 17, ...fields }, payload);
}

const segment = (fields: { syn?: boolean; to?: number; data?: number }) => {
  const octets = tcp({ from: 4000, to: fields.to ?? 443, flags: fields.syn ? 0x02 : 0x10 });
  return bytes(octets, filler(fields.data ?? 0));
};

const overTcp = (fields: { syn?: boolean; to?: number; data?: number }) =>
  inner({ nextHeader: 6 }, segment(fields));

const fromEast = (packet: Uint8Array) => addressed(EAST, EAST_ROUTER, ethernet('ipv6', packet));
const toClient = (fields: Partial<Ipv6Fields> = {}, payload = filler(64)) =>
  ipv6({ from: ELSEWHERE, to: INSIDE, nextHeader: 17, hopLimit: 9, ...fields }, payload);

describe('tunnel_strip', () => {
  test('takes the outer headers off plain packets and passes them on (in_decapsulated)', async () => {
    const packets = [
      inner(),
      inner({ from: DELEGATED }),
      inner({ nextHeader: 58 }, echo('request', { from: INSIDE, to: ELSEWHERE }, ECHO).slice(40)),
      overTcp({ data: 900 }),
    ];
    const results = await runAll([
      ...packets.map((packet) => ({
        program: 'tunnel_strip' as const,
        from: 'west' as const,
        packet: inUdp(packet),
      })),
      { program: 'tunnel_strip', from: 'west', packet: inProtocol41(inner({ from: SITE })) },
    ]);
    for (const [index, packet] of [...packets, inner({ from: SITE })].entries()) {
      const { verdict, outcomes, counted, packet: out } = results[index]!;
      assert.deepEqual([verdict, outcomes, counted], [XDP_PASS, ['in_decapsulated'], [1, 0]]);
      assert.deepEqual(octetsOf(out), addressed(WEST, WEST_ROUTER, ethernet('ipv6', packet)));
    }
  });
});

describe('tunnel_forward', () => {
  test('routes and sends plain packets of clients (in_forwarded)', async () => {
    const results = await runAll([
      { program: 'tunnel_forward', from: 'west', packet: inUdp(inner({ hopLimit: 9 })) },
      { program: 'tunnel_forward', from: 'west', packet: inUdp(overTcp({ data: 0 })) },
      {
        program: 'tunnel_forward',
        from: 'west',
        packet: inUdp(inner({ to: ROUTED_BACK, hopLimit: 9 })),
      },
    ]);
    const sent = (packet: Uint8Array) => addressed(EAST_ROUTER, EAST, ethernet('ipv6', packet));
    const expected = [
      [XDP_REDIRECT, sent(inner({ hopLimit: 8 }))],
      [XDP_REDIRECT, undefined],
      [
        XDP_REDIRECT,
        addressed(WEST_ROUTER, WEST, ethernet('ipv6', inner({ to: ROUTED_BACK, hopLimit: 8 }))),
      ],
    ] as const;
    for (const [index, [verdict, packet]] of expected.entries()) {
      const result = results[index]!;
      assert.deepEqual(
        [result.verdict, result.outcomes, result.counted],
        [verdict, ['in_forwarded'], [1, 0]],
      );
      if (packet) assert.deepEqual(octetsOf(result.packet), packet);
    }
  });

  test('leaves TCP with payload to the kernel, to be put together (in_decapsulated)', async () => {
    const packet = overTcp({ data: 900 });
    const [result] = await runAll([
      { program: 'tunnel_forward', from: 'west', packet: inUdp(packet) },
    ]);
    assert.deepEqual([result!.verdict, result!.outcomes], [XDP_PASS, ['in_decapsulated']]);
    assert.deepEqual(octetsOf(result!.packet).slice(14), packet);
  });

  test('encapsulates, routes and sends plain packets to clients (out_forwarded)', async () => {
    const results = await runAll([
      { program: 'tunnel_forward', from: 'east', packet: fromEast(toClient({ trafficClass: 2 })) },
      { program: 'tunnel_forward', from: 'east', packet: fromEast(toClient({ to: SITE })) },
      { program: 'tunnel_forward', from: 'east', packet: fromEast(toClient({ to: DELEGATED })) },
    ]);
    const sent = (packet: Uint8Array) => addressed(WEST_ROUTER, WEST, ethernet('ipv4', packet));
    const udpTo = (packet: Uint8Array, tos = 0) =>
      sent(
        ipv4(
          { from: BROKER, to: CLIENT, protocol: 17, tos },
          udp({ from: PORT, to: CLIENT_PORT }, packet),
        ),
      );
    const expected = [
      udpTo(toClient({ trafficClass: 2, hopLimit: 8 }), 2),
      sent(ipv4({ from: BROKER, to: CLIENT, protocol: 41 }, toClient({ to: SITE, hopLimit: 8 }))),
      udpTo(toClient({ to: DELEGATED, hopLimit: 8 })),
    ];
    for (const [index, packet] of expected.entries()) {
      const result = results[index]!;
      assert.deepEqual(
        [result.verdict, result.outcomes, result.counted],
        [XDP_REDIRECT, ['out_forwarded'], [0, 1]],
      );
      assert.deepEqual(withoutIdentification(octetsOf(result.packet)), packet);
    }
  });
});

const ECHO = { identifier: 1, sequence: 1, payload: filler(16) };

describe('whatever is not plain passes untouched and uncounted', () => {
  const odd: Record<string, Uint8Array> = {
    'another port': inUdp(inner(), {}, { to: PORT + 1 }),
    signalling: inUdp(bytes([0xf0], filler(40))),
    'another IPv4 destination': inUdp(inner(), { to: '192.0.2.9' }),
    'IPv4 options': inUdp(inner(), { options: [1, 1, 1, 0] }),
    'an outer fragment': inUdp(inner(), { fragment: 0x2000 }),
    'a later outer fragment': inUdp(inner(), { fragment: 0x0010 }),
    'a fragment of protocol 41': inProtocol41(inner({ from: SITE }), { fragment: 0x2000 }),
    'octets behind the inner packet': inUdp(bytes(inner(), filler(6))),
    'a length that does not fit': inUdp(inner({ payloadLength: 65 })),
    'congestion to be told of': inUdp(inner({ trafficClass: 2 }), { tos: 3 }),
    'congestion that is a loss': inUdp(inner(), { tos: 3 }),
    'a keepalive': inUdp(echo('request', { from: INSIDE, to: GATEWAY }, ECHO)),
    'a wrong endpoint': inUdp(inner(), { from: '198.51.100.8' }),
    'a wrong port': inUdp(inner(), {}, { from: 1 }),
    'a source outside the pools': inUdp(inner({ from: ELSEWHERE })),
    'a prefix that is nobody’s': inUdp(inner({ from: '2001:db8:2000:400::1' })),
    'a wrong interface identifier': inUdp(inner({ from: '2001:db8:1000:5::3' })),
    'the gateway as source': inUdp(inner({ from: GATEWAY })),
    'a detached tunnel': inUdp(inner({ from: '2001:db8:1000:9::2' })),
    'link-local': inUdp(inner({ from: 'fe80::1', to: 'ff02::2' })),
    multicast: inUdp(inner({ to: 'ff0e::1' })),
    'hop-by-hop options': inUdp(inner({ nextHeader: 0 })),
    'an inner fragment': inUdp(inner({ nextHeader: 44 })),
    'a connection that begins': inUdp(overTcp({ syn: true })),
    'a filtered port': inUdp(overTcp({ to: 25 })),
    'TCP without room for its header': inUdp(inner({ nextHeader: 6 }, filler(12))),
    'a frame to a group': bytes([0xff, 0xff, 0xff, 0xff, 0xff, 0xff], inUdp(inner()).slice(6)),
    'a frame cut short': inUdp(inner()).slice(0, 60),
  };
  const oddToForward: Record<string, Uint8Array> = {
    'a hop limit that ends here': inUdp(inner({ hopLimit: 1 })),
    'no route': inUdp(inner({ to: UNROUTED })),
    'a neighbour that is not known': inUdp(inner({ to: NO_NEIGHBOUR })),
    'the host itself': inUdp(inner({ to: '2001:db8:53::53' })),
  };
  const oddFromEast: Record<string, Uint8Array> = {
    'no pool’s destination': fromEast(toClient({ to: ROUTED_BACK })),
    'a hop limit that ends here': fromEast(toClient({ hopLimit: 1 })),
    'more than the tunnel’s MTU': fromEast(toClient({}, filler(1241))),
    'a detached tunnel': fromEast(toClient({ to: '2001:db8:1000:9::2' })),
    'a tunnel not heard of yet': fromEast(toClient({ to: '2001:db8:1000:7::2' })),
    'the gateway': fromEast(toClient({ to: GATEWAY })),
    'a wrong interface identifier': fromEast(toClient({ to: '2001:db8:1000:5::3' })),
    'extension headers': fromEast(toClient({ nextHeader: 60 })),
    'a connection that begins': fromEast(toClient({ nextHeader: 6 }, segment({ syn: true }))),
    'TCP with payload': fromEast(toClient({ nextHeader: 6 }, segment({ data: 500 }))),
    'a link-local source': fromEast(toClient({ from: 'fe80::1' })),
    'octets behind the packet': bytes(fromEast(toClient()), filler(4)),
    'another version': bytes(fromEast(toClient()).slice(0, 14), [0x45], filler(60)),
  };
  for (const [program, from, packets] of [
    ['tunnel_strip', 'west', odd],
    ['tunnel_forward', 'west', { ...odd, ...oddToForward }],
    ['tunnel_forward', 'east', oddFromEast],
    ['tunnel_strip', 'east', { 'the other interface': inUdp(inner()) }],
  ] as const)
    test(`by ${program} from the ${from}: ${Object.keys(packets).join(', ')}`, async () => {
      const named = Object.entries(packets);
      const results = await runAll(named.map(([, packet]) => ({ program, from, packet })));
      const wrong = named
        .filter(([, packet], index) => {
          const { verdict, outcomes, counted, packet: out } = results[index]!;
          const untouched = Buffer.from(packet).toString('hex') === out;
          return verdict !== XDP_PASS || outcomes.length > 0 || counted.some(Boolean) || !untouched;
        })
        .map(([name]) => name);
      assert.deepEqual(wrong, []);
    });
});

test('where another program has the driver, tc does everything', async () => {
  const end: ServerEnd = {
    pinDirectory: join(lab.directory, 'pins'),
    uplink: 'west',
    localAddress: BROKER,
    links: '2001:db8:1000::/56',
    tunnels: [],
  };
  lab.onClose(() => unmountPins(end.pinDirectory));
  // The other program is one of ours, of another broker.
  await broker.run(process.execPath, [ENDS, 'server', JSON.stringify(end)]);
  const other = { ...end, pinDirectory: join(lab.directory, 'other-pins') };
  lab.onClose(() => unmountPins(other.pinDirectory));
  const said = await broker.run(process.execPath, [ENDS, 'server', JSON.stringify(other)]);
  assert.match(said, /no XDP on west .*tc does all/);
  assert.match(said, /attached the ingress program to west/);
});
