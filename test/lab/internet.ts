// A small internet: an access network with a masquerading home router, a backbone, a broker with
// one or two interfaces, and a web server that has IPv6 only. Pure topology: starts no daemon.
//
//   client ─┐
//           ├─ home (NAT) ── backbone ── broker
//   client2 ┘                   └────── web (IPv6 only)
//
// Addresses come from the documentation ranges (RFC 5737, RFC 3849) and the
// benchmarking range (RFC 2544).

import type { Host, Lab } from './lab.ts';

export const BROKER_IPV4 = '203.0.113.53';
export const HOME_IPV4 = '198.51.100.10';
export const WEB_IPV6 = '2001:db8:80::80';
export const LINK_POOL = '2001:db8:1000::/48';
export const DELEGATION_POOL = '2001:db8:2000::/40';

export interface Internet {
  readonly lab: Lab;
  readonly backbone: Host;
  readonly broker: Host;
  readonly home: Host;
  readonly client: Host;
  readonly web: Host;
  /** The interface of the broker that has its IPv4 address. */
  readonly uplink: string;
  /** Puts one more IPv4-only host behind the home router. */
  addClient(name: string): Promise<Host>;
  /** An IPv4-only host with a public address of its own: 198.18.`number`.2. */
  addOffice(name: string, number: number): Promise<Host>;
}

export async function buildInternet(
  lab: Lab,
  options: { brokerInterfaces: 1 | 2 } = { brokerInterfaces: 1 },
): Promise<Internet> {
  const backbone = await lab.host('backbone');
  const broker = await lab.host('broker');
  const home = await lab.host('home');
  const web = await lab.host('web');

  // The backbone routes both families, and both pools towards the broker.
  await forward(backbone);
  await lab.cable(broker, 'eth0', backbone, 'to-broker');
  await backbone.ip('addr add 203.0.113.1/24 dev to-broker');
  await broker.ip(`addr add ${BROKER_IPV4}/24 dev eth0`);
  await broker.ip('route add default via 203.0.113.1');
  let ipv6Side = ['eth0', 'to-broker'];
  if (options.brokerInterfaces === 2) {
    await lab.cable(broker, 'eth1', backbone, 'to-broker6');
    ipv6Side = ['eth1', 'to-broker6'];
  }
  await broker.ip(`addr add 2001:db8:53::53/64 dev ${ipv6Side[0]} nodad`);
  await backbone.ip(`addr add 2001:db8:53::1/64 dev ${ipv6Side[1]} nodad`);
  await broker.ip('-6 route add default via 2001:db8:53::1');
  for (const pool of [LINK_POOL, DELEGATION_POOL]) {
    await backbone.ip(`-6 route add ${pool} via 2001:db8:53::53`);
  }

  await lab.cable(web, 'eth0', backbone, 'to-web');
  await backbone.ip('addr add 2001:db8:80::1/64 dev to-web nodad');
  await web.ip(`addr add ${WEB_IPV6}/64 dev eth0 nodad`);
  await web.ip('-6 route add default via 2001:db8:80::1');

  // The home: a bridge as its LAN, masquerading towards the backbone, and no IPv6 at all.
  await forward(home);
  await lab.cable(home, 'wan', backbone, 'to-home');
  await backbone.ip('addr add 198.51.100.1/24 dev to-home');
  await home.ip(`addr add ${HOME_IPV4}/24 dev wan`);
  await home.ip('route add default via 198.51.100.1');
  // An address of its own: a bridge's changes with its ports, and hosts would have to ask again.
  await home.ip('link add lan address 02:00:5e:00:53:01 type bridge');
  await home.ip('link set lan up');
  await home.ip('addr add 192.168.7.1/24 dev lan');
  await home.run('nft', [
    'add table ip nat; add chain ip nat post { type nat hook postrouting priority 100; }; ' +
      'add rule ip nat post oifname wan masquerade',
  ]);

  let clients = 0;
  const addClient = async (name: string): Promise<Host> => {
    const client = await lab.host(name);
    clients++;
    await lab.cable(client, 'eth0', home, `to-${name}`);
    await home.ip(`link set to-${name} master lan`);
    await client.ip(`addr add 192.168.7.${clients + 1}/24 dev eth0`);
    await client.ip('route add default via 192.168.7.1');
    return client;
  };

  const addOffice = async (name: string, number: number): Promise<Host> => {
    const office = await lab.host(name);
    await lab.cable(office, 'eth0', backbone, `to-${name}`);
    await backbone.ip(`addr add 198.18.${number}.1/24 dev to-${name}`);
    await office.ip(`addr add 198.18.${number}.2/24 dev eth0`);
    await office.ip(`route add default via 198.18.${number}.1`);
    return office;
  };

  const client = await addClient('client');
  return { lab, backbone, broker, home, client, web, uplink: 'eth0', addClient, addOffice };
}

async function forward(host: Host): Promise<void> {
  await host.run('sysctl', ['-qw', 'net.ipv4.ip_forward=1', 'net.ipv6.conf.all.forwarding=1']);
}
