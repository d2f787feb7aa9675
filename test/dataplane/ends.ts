// The two ends of tunnels as small processes, for tests that put each into a host of its own:
//   ends.ts server '{"pinDirectory", "uplink", "localAddress", "mtu"?, "pools", "tunnels", "owners"?}'
//   ends.ts client '{"name", "encapsulation", "server", "local", "address", "mtu"?, …}'
// Addresses are text; ports stand behind a colon. Each says "ready" and then lives until it is ended;
// the client says what it counted whenever a line comes in.

import { createSocket } from 'node:dgram';
import { parseIpv4, parseIpv6, parseIpv6Prefix } from '../../src/address.ts';
import { Dataplane, type Encapsulation } from '../../src/dataplane/dataplane.ts';
import { TunnelDevice } from '../../src/dataplane/tunnel-device.ts';

export interface ServerEnd {
  pinDirectory: string;
  uplink: string;
  localAddress: string;
  mtu?: number;
  links: string;
  delegations?: { prefix: string; positionLength: number };
  tunnels: {
    slot: number;
    encapsulation: Encapsulation;
    client: string;
    mtu?: number;
    silentUntilHeard?: boolean;
  }[];
  owners?: { index: number; slot: number }[];
}

export interface ClientEnd {
  name: string;
  encapsulation: Encapsulation;
  server: string;
  local: string;
  address: string;
  mtu?: number;
  delegated?: { prefix: string; lanInterface?: string };
}

const [role, text] = process.argv.slice(2);
if (role === 'server') runServer(JSON.parse(text ?? '') as ServerEnd);
else runClient(JSON.parse(text ?? '') as ClientEnd);

function runServer(end: ServerEnd): void {
  const plane = Dataplane.open({
    pinDirectory: end.pinDirectory,
    capacity: { tunnels: 256, owners: 65536 },
  });
  const { delegations } = end;
  plane.reconcile({
    pools: [
      { purpose: 'link', prefix: prefix(end.links), positionLength: 64, firstIndex: 0 },
      ...(delegations
        ? [
            {
              purpose: 'delegation' as const,
              prefix: prefix(delegations.prefix),
              positionLength: delegations.positionLength,
              firstIndex: 0,
            },
          ]
        : []),
    ],
    tunnels: end.tunnels.map(
      ({ slot, encapsulation, client, mtu = 0, silentUntilHeard = false }) => ({
        slot,
        attachment: {
          encapsulation,
          client: endpoint(client),
          interfaceId: 2n,
          mtu,
          silentUntilHeard,
        },
      }),
    ),
    owners: end.owners ?? [],
  });
  const { upgraded, actions } = plane.attach({
    uplink: end.uplink,
    localAddress: endpoint(end.localAddress).address,
    port: 3653,
    device: 'sixway0',
    mtu: end.mtu ?? 1280,
  });
  for (const action of actions) console.log(action);
  console.log(upgraded ? 'ready, upgraded' : 'ready');
  plane.close();
}

function runClient(end: ClientEnd): void {
  const local = endpoint(end.local);
  const open = () => {
    const device = TunnelDevice.open({
      name: end.name,
      encapsulation: end.encapsulation,
      server: endpoint(end.server),
      local,
      address: parseIpv6(end.address) ?? 0n,
      mtu: end.mtu ?? 1280,
      defaultRouteMetric: 1024,
      ...(end.delegated && {
        delegated: { ...end.delegated, prefix: prefix(end.delegated.prefix) },
      }),
    });
    console.log(device.actions.join('\n'));
    console.log('ready');
    const gateway = ((parseIpv6(end.address) ?? 0n) & ~0xffffn) | 1n;
    device.sendEcho(gateway, 4711, 0);
    setTimeout(() => {
      const { inPackets, outPackets, droppedPackets } = device.counters();
      console.log(`counted in=${inPackets} out=${outPackets} dropped=${droppedPackets}`);
      console.log(`last seen ${Date.now() - (device.inLastSeenMs() ?? 0)} ms ago`);
    }, 500);
    process.on('SIGTERM', () => {
      device.close();
      console.log('closed');
      process.exit(0);
    });
  };
  const socket = createSocket('udp4');
  if (end.encapsulation === 'v6v4') {
    setInterval(() => {}, 60_000);
    open();
  } else {
    socket.bind(local.port, open);
  }
}

function endpoint(value: string): { address: number; port: number } {
  const [address = '', port = '0'] = value.split(':');
  const parsed = parseIpv4(address);
  if (parsed === undefined) throw new Error(`not an address: ${value}`);
  return { address: parsed, port: Number(port) };
}

function prefix(value: string) {
  const parsed = parseIpv6Prefix(value);
  if (!parsed) throw new Error(`not a prefix: ${value}`);
  return parsed;
}
