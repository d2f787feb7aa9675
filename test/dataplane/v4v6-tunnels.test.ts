// Whole tunnels for IPv4 over IPv6 between network namespaces: clients that have IPv6 only reach the
// IPv4 internet by way of the broker, whose IPv6 side is the same interface or one of its own.

import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { BROKER_IPV4, buildInternet, type Internet } from '../lab/internet.ts';
import { type Host, Lab } from '../lab/lab.ts';
import { received, type ServerEnd, type V4v6ClientEnd } from './ends.ts';
import { unmountPins } from './scratch.ts';

const NODE = process.execPath;
const ENDS = join(import.meta.dirname, 'ends.ts');
const BROKER_IPV6 = '2001:db8:53::53';
const OFFICE_IPV4 = '198.18.1.2';
const FOURS = '10.64.0.0/24';
const SINGLES = '192.0.2.0/25';
/** A client behind a private /30, masqueraded; and one with a public address of its own. */
const PRIVATE = { address: '10.64.0.22', gateway: '10.64.0.21', client: '2001:db8:6::2' };
const PUBLIC = { address: '192.0.2.7', gateway: '192.0.2.0', client: '2001:db8:7::2' };
const MTU = 1400;
const PUBLIC_MTU = 1300;
const MEGABYTE = 1_000_000;

for (const brokerInterfaces of [1, 2] as const)
  describe(`v4v6, the broker with ${brokerInterfaces} interface${brokerInterfaces > 1 ? 's' : ''}`, () => {
    const lab = new Lab();
    let internet: Internet;
    let office: Host;
    let insider: Host;
    let owner: Host;
    let server: ServerEnd;

    before(async () => {
      internet = await buildInternet(lab, { brokerInterfaces });
      office = await internet.addOffice('office', 1);
      insider = await addIpv6Host('insider', 6);
      owner = await addIpv6Host('owner', 7);
      await internet.backbone.ip(`route add ${SINGLES} via ${BROKER_IPV4}`);
      const pinDirectory = join(lab.directory, 'pins');
      lab.onClose(() => unmountPins(pinDirectory));
      server = {
        pinDirectory,
        uplink: internet.uplink,
        localAddress: BROKER_IPV4,
        mtu: MTU,
        xdp: false,
        links: '2001:db8:1000::/56',
        tunnels: [],
        v4v6: {
          localAddress: BROKER_IPV6,
          ...(brokerInterfaces === 2 && { uplink: 'eth1' }),
          pools: [
            { prefix: FOURS, positionLength: 30, firstIndex: 0 },
            { prefix: SINGLES, positionLength: 32, firstIndex: 64 },
          ],
          tunnels: [
            { slot: 5, client: PRIVATE.client },
            { slot: 64 + 7, client: PUBLIC.client, mtu: PUBLIC_MTU },
          ],
        },
      };
      // As some distributions have it: the kernel is to be told that packets come out of tunnels.
      await internet.broker.run('sysctl', ['-qw', 'net.ipv4.conf.all.rp_filter=1']);
      assert.match(await attachServer(), /^ready$/m);
      await startClient(insider, PRIVATE, MTU);
      await startClient(owner, PUBLIC, PUBLIC_MTU);
    });
    after(() => lab.close());

    /** A host that has 2001:db8:`number`::2 and nothing else. */
    async function addIpv6Host(name: string, number: number): Promise<Host> {
      const host = await lab.host(name);
      await lab.cable(host, 'eth0', internet.backbone, `to-${name}`);
      await internet.backbone.ip(`addr add 2001:db8:${number}::1/64 dev to-${name} nodad`);
      await host.ip(`addr add 2001:db8:${number}::2/64 dev eth0 nodad`);
      await host.ip(`-6 route add default via 2001:db8:${number}::1`);
      return host;
    }

    function attachServer(): Promise<string> {
      return internet.broker.run(NODE, [ENDS, 'server', JSON.stringify(server)]);
    }

    async function startClient(host: Host, inside: typeof PRIVATE, mtu: number): Promise<void> {
      const end: V4v6ClientEnd = {
        name: 'tb4',
        encapsulation: 'v4v6',
        server: BROKER_IPV6,
        local: inside.client,
        address: inside.address,
        gateway: inside.gateway,
        mtu,
      };
      const service = host.start(NODE, [ENDS, 'client', JSON.stringify(end)]);
      // Its one keepalive, answered by the program in the kernel.
      await service.says(/counted in=1 out=1 dropped=0/);
      await service.says(/last seen \d{1,3} ms ago/);
    }

    async function ping(from: Host, to: string, ...options: string[]): Promise<void> {
      await from.run('ping', ['-c', '5', '-i', '0.02', '-W', '2', ...options, to]);
    }

    async function transfer(from: Host, to: Host, address: string, octets: number): Promise<void> {
      const sink = to.start(NODE, [ENDS, 'sink', '5001']);
      await sink.says(/listening/);
      await from.run(NODE, [ENDS, 'source', address, '5001', String(octets)]);
      await sink.says(/\d+ octets, .*/);
      assert.ok(sink.output.includes(received(octets)), sink.output);
      assert.equal(await sink.ended, 0);
    }

    test('the gateways answer pings', async () => {
      await ping(insider, PRIVATE.gateway);
      await ping(owner, PUBLIC.gateway);
    });
    test('a client with a private address reaches the IPv4 internet', () =>
      ping(insider, OFFICE_IPV4));
    test('and comes from the broker’s address there', async () => {
      const dump = office.start('tcpdump', ['-nlc', '1', '-i', 'eth0', 'icmp']);
      await dump.says(/listening/);
      await ping(insider, OFFICE_IPV4);
      await dump.says(new RegExp(`IP ${BROKER_IPV4} > ${OFFICE_IPV4}: ICMP echo request`));
    });
    test('a client with a public address reaches it, and is reached', async () => {
      await ping(owner, OFFICE_IPV4);
      await ping(office, PUBLIC.address);
    });
    test('the broker itself reaches clients', () => ping(internet.broker, PUBLIC.address));
    test('two clients reach each other', async () => {
      await ping(insider, PUBLIC.address);
      await ping(owner, PRIVATE.address);
    });
    test('TCP goes both ways', async () => {
      await transfer(insider, office, OFFICE_IPV4, 30 * MEGABYTE);
      await transfer(owner, office, OFFICE_IPV4, 30 * MEGABYTE);
      await transfer(office, owner, PUBLIC.address, 30 * MEGABYTE);
    });
    test('TCP goes to the broker itself, and from one tunnel into another', async () => {
      await transfer(insider, internet.broker, BROKER_IPV4, 10 * MEGABYTE);
      await transfer(insider, owner, PUBLIC.address, 10 * MEGABYTE);
      await transfer(owner, insider, PRIVATE.address, 10 * MEGABYTE);
      const outcomes = await internet.broker.run(NODE, [ENDS, 'outcomes', server.pinDirectory]);
      assert.match(outcomes, /^out_push_failed 0$/m);
      assert.match(outcomes, /^out_sent_around [1-9]/m);
      assert.match(outcomes, /^in_strip_failed 0$/m);
    });
    test('packets larger than a client’s MTU are reported to their sender', async () => {
      const size = (mtu: number) => ['-M', 'do', '-s', String(mtu - 28)];
      await ping(office, PUBLIC.address, ...size(PUBLIC_MTU));
      const { stdout, stderr } = await office.try('ping', [
        ...['-c', '2', '-i', '0.3', '-W', '1', ...size(PUBLIC_MTU + 1), PUBLIC.address],
      ]);
      assert.match(stdout + stderr, new RegExp(`mtu ?[=:] ?${PUBLIC_MTU}`));
    });
    test('packets larger than the device’s MTU are reported, or cut up', async () => {
      const size = String(MTU + 1 - 28);
      const { stdout, stderr } = await owner.try('ping', [
        ...['-c', '2', '-i', '0.3', '-W', '1', '-M', 'do', '-s', size, PRIVATE.address],
      ]);
      assert.match(stdout + stderr, /mtu ?[=:] ?1300|message too long/);
      await ping(internet.broker, PRIVATE.address, '-M', 'dont', '-s', '3000');
    });
    test('the programs are replaced under traffic without losing a packet', async () => {
      const pinging = office.run('ping', ['-q', '-c', '1000', '-i', '0.002', PUBLIC.address]);
      assert.match(await attachServer(), /^ready, upgraded$/m);
      assert.match(await pinging, / 0% packet loss/);
    });
    test('routes and masquerading follow the pools', async () => {
      const tables = () => internet.broker.run('nft', ['list', 'ruleset']);
      const routes = () => internet.broker.ip('-4 route show dev sixway0');
      assert.match(await tables(), /ip saddr 10\.64\.0\.0\/24 oifname != "sixway0" masquerade/);
      assert.match(await routes(), /10\.64\.0\.0\/24 proto static .*mtu 1400/);
      const { v4v6 } = server;
      assert.ok(v4v6);
      server.v4v6 = {
        ...v4v6,
        pools: v4v6.pools.slice(1),
        tunnels: v4v6.tunnels.slice(1),
      };
      await attachServer();
      assert.doesNotMatch(await tables(), /sixway/);
      assert.doesNotMatch(await routes(), /10\.64/);
      await ping(office, PUBLIC.address);
      server.v4v6 = v4v6;
      await attachServer();
      await ping(insider, OFFICE_IPV4);
    });
    test('uninstalling takes it all away', async () => {
      await internet.broker.run(NODE, [ENDS, 'uninstall', server.pinDirectory]);
      assert.doesNotMatch(await internet.broker.run('nft', ['list', 'ruleset']), /sixway/);
      assert.doesNotMatch(await internet.broker.ip('-4 route'), /10\.64|192\.0\.2/);
      const lost = await insider.try('ping', ['-c', '1', '-W', '1', OFFICE_IPV4]);
      assert.match(lost.stdout, /100% packet loss/);
    });
  });
