// Whole tunnels between network namespaces: a broker's data plane at one end, the client's device at
// the other, through a masquerading home router (UDP) and without one (protocol 41). What is counted
// is what applications see: pings answered, octets of TCP that arrived. Runs whichever way packets take
// through the broker: by tc alone, stripped in XDP, or forwarded there.

import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { Dataplane } from '../../src/dataplane/dataplane.ts';
import { BROKER_IPV4, buildInternet, HOME_IPV4, type Internet, WEB_IPV6 } from '../lab/internet.ts';
import { type Host, Lab } from '../lab/lab.ts';
import { type ClientEnd, received, type ServerEnd } from './ends.ts';
import { unmountPins } from './scratch.ts';
import { becomeVersion3 } from './version-3.ts';

const NODE = process.execPath;
const ENDS = join(import.meta.dirname, 'ends.ts');
const HOME_INSIDE = '2001:db8:1000:5::2';
const OFFICE_INSIDE = '2001:db8:1000:6::2';
const OFFICE_LAN = '2001:db8:2000:300::1';
const MEGABYTE = 1_000_000;

/** How packets are to pass through the broker, and what must have been counted in the end. */
export interface Way {
  readonly xdp: boolean;
  readonly mode: 'complete' | 'fast';
}

export function testTunnels(way: Way): void {
  const lab = new Lab();
  let internet: Internet;
  let office: Host;
  let server: ServerEnd;

  before(async () => {
    internet = await buildInternet(lab);
    office = await internet.addOffice('office', 1);
    // A cable takes XDP's frames only where its other end polls, and does no card's checksums for them.
    const router = ['to-broker', 'gro', 'on', 'tx', 'off'];
    if (way.mode === 'fast') await internet.backbone.run('ethtool', ['-K', ...router]);
    await office.ip('link add lan type bridge');
    await office.ip('link set lan up');
    const pinDirectory = join(lab.directory, 'pins');
    lab.onClose(() => unmountPins(pinDirectory));
    server = {
      pinDirectory,
      uplink: internet.uplink,
      localAddress: BROKER_IPV4,
      mtu: 1400,
      ...way,
      links: '2001:db8:1000::/56',
      delegations: { prefix: '2001:db8:2000::/40', positionLength: 56 },
      tunnels: [
        { slot: 5, encapsulation: 'v6udpv4', client: `${HOME_IPV4}:40000` },
        { slot: 6, encapsulation: 'v6v4', client: '198.18.1.2', mtu: 1300 },
      ],
      owners: [{ index: 3, slot: 6 }],
    };
    const said = await attachServer();
    assert.match(said, /attached the ingress program/);
    assert.match(said, /^ready$/m);
    await startClient(internet.client, {
      name: 'tb6',
      encapsulation: 'v6udpv4',
      server: `${BROKER_IPV4}:3653`,
      local: '192.168.7.2:40000',
      address: HOME_INSIDE,
      mtu: 1400,
    });
    await startClient(office, {
      name: 'tb6',
      encapsulation: 'v6v4',
      server: BROKER_IPV4,
      local: '198.18.1.2',
      address: OFFICE_INSIDE,
      mtu: 1300,
      delegated: { prefix: '2001:db8:2000:300::/56', lanInterface: 'lan' },
    });
  });
  after(() => lab.close());

  function attachServer(): Promise<string> {
    return internet.broker.run(NODE, [ENDS, 'server', JSON.stringify(server)]);
  }

  async function startClient(host: Host, end: ClientEnd): Promise<void> {
    const service = host.start(NODE, [ENDS, 'client', JSON.stringify(end)]);
    // Its one keepalive, answered by the program in the kernel.
    await service.says(/counted in=1 out=1 /);
    await service.says(/last seen \d{1,3} ms ago/);
  }

  async function ping(from: Host, to: string, ...options: string[]): Promise<void> {
    await from.run('ping', ['-c', '5', '-i', '0.02', '-W', '2', ...options, to]);
  }

  async function transfer(from: Host, to: Host, address: string, octets: number): Promise<void> {
    const sink = to.start(NODE, [ENDS, 'sink', '5001']);
    await sink.says(/listening/);
    await from.run(NODE, [ENDS, 'source', address, '5001', String(octets)]);
    assert.match(await sink.says(/\d+ octets, .*/).then(([line]) => line), /octets/);
    assert.ok(sink.output.includes(received(octets)), sink.output);
    assert.equal(await sink.ended, 0);
  }

  function counterOf(pinDirectory: string, slot: number): bigint {
    const plane = Dataplane.read(pinDirectory);
    assert.ok(plane);
    const { outPackets } = plane.counters(slot);
    plane.close();
    return outPackets;
  }

  /** The client's end of a tunnel; a function, because the hosts are built later. */
  type End = () => { host: Host; address: string; mtu: number };
  const home: End = () => ({ host: internet.client, address: HOME_INSIDE, mtu: 1400 });
  const officeEnd: End = () => ({ host: office, address: OFFICE_INSIDE, mtu: 1300 });

  for (const [name, end] of [
    ['in UDP, from behind a NAT', home],
    ['in protocol 41', officeEnd],
  ] as const) {
    describe(`a tunnel ${name}`, () => {
      test('answers pings to its gateway', () =>
        ping(end().host, end().address.replace(/2$/, '1')));
      test('reaches the IPv6 internet', () => ping(end().host, WEB_IPV6));
      test('is reached from it', () => ping(internet.web, end().address));
      test('is reached from the broker itself', () => ping(internet.broker, end().address));
      test('sends TCP', () => transfer(end().host, internet.web, WEB_IPV6, 50 * MEGABYTE));
      test('receives TCP', () => transfer(internet.web, end().host, end().address, 50 * MEGABYTE));
      test('sends TCP to the broker itself', () =>
        transfer(end().host, internet.broker, '2001:db8:53::53', 20 * MEGABYTE));
      test('receives TCP from the broker itself', () =>
        transfer(internet.broker, end().host, end().address, 20 * MEGABYTE));
      test('carries packets as large as its MTU and reports larger ones', async () => {
        const { mtu } = end();
        await ping(internet.web, end().address, '-M', 'do', '-s', String(mtu - 48));
        const larger = await internet.web.try('ping', [
          ...['-c', '2', '-i', '0.3', '-W', '1', '-M', 'do', '-s', String(mtu - 47)],
          end().address,
        ]);
        assert.match(larger.stdout, new RegExp(`mtu=${mtu}|message too long, mtu: ${mtu}`, 'i'));
      });
    });
  }

  describe('a path on which outer packets are fragmented', () => {
    const narrow = () => [
      `route NAME ${BROKER_IPV4}/32 dev to-broker mtu lock 1000`,
      `route NAME ${HOME_IPV4}/32 dev to-home mtu lock 1000`,
      'route NAME 198.18.1.2/32 dev to-office mtu lock 600',
    ];
    const routes = async (verb: string) => {
      for (const line of narrow()) await internet.backbone.ip(line.replace('NAME', verb));
    };
    const counted = async (outcome: string) => {
      const text = await internet.broker.run(NODE, [ENDS, 'outcomes', server.pinDirectory]);
      return Number(new RegExp(`^${outcome} (\\d+)`, 'm').exec(text)?.[1]);
    };
    before(() => routes('add'));
    after(() => routes('delete'));

    for (const [name, end] of [
      ['in UDP', home],
      ['in protocol 41', officeEnd],
    ] as const) {
      test(`carries packets as large as the tunnel’s MTU, ${name}`, async () => {
        const size = String(end().mtu - 48);
        const before = await counted('in_fragment');
        await ping(end().host, WEB_IPV6, '-s', size);
        await ping(internet.web, end().address, '-s', size);
        // Of two fragments each, one is kept and one becomes the whole.
        assert.equal((await counted('in_fragment')) - before, 10);
      });
      test(`answers keepalives of that size, ${name}`, async () => {
        await ping(end().host, end().address.replace(/2$/, '1'), '-s', String(end().mtu - 48));
      });
      test(`carries TCP both ways, ${name}`, async () => {
        await transfer(end().host, internet.web, WEB_IPV6, 5 * MEGABYTE);
        await transfer(internet.web, end().host, end().address, 5 * MEGABYTE);
      });
    }
    test('and leaves nothing over', async () => {
      for (const outcome of ['in_truncated', 'in_strip_failed', 'out_push_failed'])
        assert.equal(await counted(outcome), 0, outcome);
    });
  });

  describe('two tunnels', () => {
    test('reach each other', async () => {
      await ping(internet.client, OFFICE_INSIDE);
      await ping(office, HOME_INSIDE, '-s', '1200');
    });
    // Between namespaces what one end sends as super-packets stays whole, as with GRO on a real card.
    test('exchange TCP, though the kernel does not put super-packets into a second tunnel', async () => {
      await transfer(internet.client, office, OFFICE_INSIDE, 20 * MEGABYTE);
      await transfer(office, internet.client, HOME_INSIDE, 20 * MEGABYTE);
      const around = await internet.broker.run(NODE, [ENDS, 'outcomes', server.pinDirectory]);
      if (!way.xdp) assert.match(around, /^out_sent_around [1-9]/m);
      assert.match(around, /^out_push_failed 0$/m);
    });
  });

  describe('a delegated prefix', () => {
    test('is reached on the LAN behind the client, and reaches out', async () => {
      await ping(internet.web, OFFICE_LAN);
      await ping(office, WEB_IPV6, '-I', OFFICE_LAN);
    });
    test('is unreachable where it is not in use, instead of looping', async () => {
      const { stdout } = await internet.web.try('ping', [
        '-c',
        '1',
        '-W',
        '1',
        '2001:db8:2000:3ff::1',
      ]);
      assert.match(stdout, /Destination unreachable/);
    });
  });

  describe('an address in the pools that is nobody’s', () => {
    const nobody = '2001:db8:1000:9::2';
    test('is known to be so by who pings it', async () => {
      const { stdout } = await internet.web.try('ping', ['-c', '1', '-W', '2', nobody]);
      assert.match(stdout, /From 2001:db8:1000::1.*No route/);
    });
    test('is so at once for who connects to it, over the net or from the broker itself', async () => {
      for (const host of [internet.web, internet.broker]) {
        const { stderr } = await host.try(NODE, [ENDS, 'source', nobody, '5001', '1']);
        assert.match(stderr, /ENETUNREACH/);
      }
    });
  });

  describe('a client that the IPv4 internet cannot reach', () => {
    const missing = 'route add unreachable 198.18.1.2';
    before(() => internet.backbone.ip(missing));
    after(() => internet.backbone.ip(missing.replace('add', 'delete')));

    test('is known to be so by who pings it, from its gateway', async () => {
      const { stdout } = await internet.web.try('ping', ['-c', '1', '-W', '2', OFFICE_INSIDE]);
      assert.match(stdout, /From 2001:db8:1000:6::1.*Address unreachable/);
    });
    test('is so at once for who connects to it, over the net or from the broker itself', async () => {
      for (const host of [internet.web, internet.broker]) {
        const { stderr } = await host.try(NODE, [ENDS, 'source', OFFICE_LAN, '5001', '1']);
        assert.match(stderr, /EHOSTUNREACH/);
      }
    });
  });

  describe('the broker’s data plane', () => {
    test('is replaced under traffic without losing a packet', async () => {
      const pinging = internet.web.run('ping', ['-q', '-c', '1500', '-i', '0.002', HOME_INSIDE]);
      for (let i = 0; i < 3; i++) assert.match(await attachServer(), /^ready, upgraded$/m);
      assert.match(await pinging, / 0% packet loss/);
    });

    test('moves into maps of another layout under traffic without losing a packet', async () => {
      const pinging = internet.web.run('ping', ['-q', '-c', '400', '-i', '0.01', HOME_INSIDE]);
      const counted = () => counterOf(server.pinDirectory, 5);
      const before = counted();
      becomeVersion3(server.pinDirectory);
      assert.match(await attachServer(), /^ready, upgraded$/m);
      assert.match(await pinging, / 0% packet loss/);
      assert.ok(counted() > before, 'it goes on from where the former maps were');
    });

    test('changes its device’s routes with its pools', async () => {
      const routes = () => internet.broker.ip('-6 route show dev sixway0');
      assert.match(await routes(), /2001:db8:1000::\/56 via fe80::2/);
      const { delegations } = server;
      delete server.delegations;
      delete server.owners;
      await attachServer();
      assert.doesNotMatch(await routes(), /2001:db8:2000::/);
      if (delegations) server.delegations = delegations;
      server.owners = [{ index: 3, slot: 6 }];
      await attachServer();
      assert.match(await routes(), /2001:db8:2000::\/40 via fe80::2/);
      await ping(internet.web, OFFICE_LAN);
    });

    test('comes back after its device was deleted', async () => {
      await internet.broker.ip('link delete sixway0');
      assert.match(await attachServer(), /created device sixway0/);
      await ping(internet.web, HOME_INSIDE);
    });

    test('moves a tunnel to another encapsulation and back by one call', async () => {
      const [moving, other] = server.tunnels;
      assert.ok(moving && other);
      server.tunnels = [{ slot: 5, encapsulation: 'v6v4', client: '198.18.9.9' }, other];
      await attachServer();
      const lost = await internet.web.try('ping', ['-c', '2', '-i', '0.1', '-W', '1', HOME_INSIDE]);
      assert.match(lost.stdout, /100% packet loss/);
      server.tunnels = [moving, other];
      await attachServer();
      await ping(internet.web, HOME_INSIDE);
    });
  });

  describe('the client’s device', () => {
    test('takes everything away when it closes', async () => {
      const host = await internet.addOffice('visitor', 2);
      await host.ip('link add lan type bridge');
      await host.ip('link set lan up');
      const end: ClientEnd = {
        name: 'tb6',
        encapsulation: 'v6udpv4',
        server: `${BROKER_IPV4}:3653`,
        local: '198.18.2.2:5000',
        address: '2001:db8:1000:7::2',
        delegated: { prefix: '2001:db8:2000:700::/56', lanInterface: 'lan' },
      };
      const service = host.start(NODE, [ENDS, 'client', JSON.stringify(end)]);
      await service.says(/^ready$/m);
      assert.match(await host.ip('-6 route'), /default via fe80::2 dev tb6/);
      assert.match(await host.ip('-6 address show dev lan'), /2001:db8:2000:700::1\/64/);
      await service.stop('SIGTERM');
      assert.equal((await host.try('ip', ['link', 'show', 'tb6'])).code, 1);
      assert.doesNotMatch(await host.ip('-6 route'), /2001:db8:2000/);
      assert.doesNotMatch(await host.ip('-6 address show dev lan'), /2001:db8:2000/);
      // No program is left on the uplink: what was its port is an ordinary port.
      assert.match(await host.run('ping', ['-c', '1', '198.18.2.1']), / 0% packet loss/);
    });

    test('says what is wrong when the server cannot be reached', async () => {
      const end: ClientEnd = {
        name: 'tb6',
        encapsulation: 'v6v4',
        server: '203.0.113.53',
        local: '192.0.2.9',
        address: '2001:db8:1000:8::2',
      };
      const { code, stderr } = await internet.web.try(NODE, [ENDS, 'client', JSON.stringify(end)]);
      assert.equal(code, 1);
      assert.match(stderr, /There is no route to 203\.0\.113\.53/);
    });
  });

  // Last: nothing works afterwards.
  describe('uninstalling', () => {
    test('leaves what was counted: packets took the way they were to take', async () => {
      const text = await internet.broker.run(NODE, [ENDS, 'outcomes', server.pinDirectory]);
      const isFast = way.mode === 'fast';
      assert.match(text, isFast ? /^in_forwarded [1-9]\d/m : /^in_forwarded 0$/m);
      assert.match(text, isFast ? /^out_forwarded [1-9]\d/m : /^out_forwarded 0$/m);
      if (!isFast) assert.match(text, /^in_decapsulated [1-9]\d/m);
    });

    test('takes programs, maps, device and routes away', async () => {
      await internet.broker.run(NODE, [ENDS, 'uninstall', server.pinDirectory]);
      assert.equal((await internet.broker.try('ip', ['link', 'show', 'sixway0'])).code, 1);
      assert.doesNotMatch(await internet.broker.ip('-6 route'), /2001:db8:1000/);
      const lost = await internet.client.try('ping', ['-c', '1', '-W', '1', WEB_IPV6]);
      assert.match(lost.stdout, /100% packet loss/);
      assert.deepEqual(
        readdirSync(server.pinDirectory).filter((name) => !name.endsWith('.debug')),
        [],
      );
    });
  });
}
