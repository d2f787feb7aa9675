// The two ends of tunnels as small processes, for tests that put each into a host of its own:
//   ends.ts server '{"pinDirectory", "uplink", "localAddress", "mtu"?, "links", "tunnels", "owners"?}'
//   ends.ts client '{"name", "encapsulation", "server", "local", "address", "mtu"?, …}'
//   ends.ts outcomes PIN-DIRECTORY
//   ends.ts uninstall PIN-DIRECTORY
//   ends.ts sink PORT            takes one TCP connection and says what came
//   ends.ts source ADDRESS PORT OCTETS   sends that much to a sink
// Addresses are text; ports stand behind a colon. Server and client say "ready": the server's end
// then goes away, as what it pinned stays; the client's lives until it is ended.

import { createHash } from 'node:crypto';
import { createSocket } from 'node:dgram';
import { connect, createServer } from 'node:net';
import { pipeline, Readable } from 'node:stream';
import { parseIpv4, parseIpv4Prefix, parseIpv6, parseIpv6Prefix } from '../../src/address.ts';
import { Dataplane, type Encapsulation } from '../../src/dataplane/dataplane.ts';
import { TunnelDevice, type TunnelDeviceOptions } from '../../src/dataplane/tunnel-device.ts';

export interface ServerEnd {
  pinDirectory: string;
  uplink: string;
  localAddress: string;
  mtu?: number;
  /** Whether the uplink's driver may be made use of (XDP). */
  xdp?: boolean;
  mode?: 'complete' | 'fast';
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
  v4v6?: {
    localAddress: string;
    uplink?: string;
    pools: { prefix: string; positionLength: 30 | 32; firstIndex: number }[];
    tunnels: { slot: number; client: string; mtu?: number }[];
  };
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

export interface V4v6ClientEnd {
  name: string;
  encapsulation: 'v4v6';
  server: string;
  local: string;
  address: string;
  gateway: string;
  mtu?: number;
}

if (import.meta.main) runRole(...process.argv.slice(2));

function runRole(role?: string, text = '', port = '', octets = ''): void {
  if (role === 'server') runServer(JSON.parse(text) as ServerEnd);
  else if (role === 'client') runClient(JSON.parse(text) as ClientEnd | V4v6ClientEnd);
  else if (role === 'outcomes') printOutcomes(text);
  else if (role === 'uninstall') console.log(Dataplane.uninstall(text, 'sixway0').join('\n'));
  else if (role === 'sink') runSink(Number(text));
  else runSource(text, Number(port), Number(octets));
}

function printOutcomes(pinDirectory: string): void {
  for (const { outcome, packets } of Dataplane.read(pinDirectory)?.outcomes() ?? [])
    console.log(`${outcome} ${packets}`);
}

/** What a sink says of a source's octets. */
export function received(octets: number): string {
  const hash = createHash('sha256');
  for (const chunk of stream(octets)) hash.update(chunk);
  return `${octets} octets, ${hash.digest('hex')}`;
}

function* stream(octets: number): Generator<Uint8Array> {
  const block = Uint8Array.from({ length: 65_521 }, (_, index) => (index * 31 + 7) & 0xff);
  for (let left = octets; left > 0; left -= block.length)
    yield block.subarray(0, Math.min(left, block.length));
}

function runSink(port: number): void {
  const server = createServer((connection) => {
    const hash = createHash('sha256');
    let octets = 0;
    connection.on('data', (chunk: Uint8Array) => {
      hash.update(chunk);
      octets += chunk.length;
    });
    connection.on('end', () => {
      console.log(`${octets} octets, ${hash.digest('hex')}`);
      connection.end();
      server.close();
    });
  });
  server.listen(port, '::', () => console.log('listening'));
}

function runSource(address: string, port: number, octets: number): void {
  const connection = connect(port, address);
  pipeline(Readable.from(stream(octets)), connection, (error) => {
    if (error) throw error;
  });
  connection.on('close', () => process.exit(0));
}

function runServer(end: ServerEnd): void {
  const plane = Dataplane.open({
    pinDirectory: end.pinDirectory,
    capacity: { tunnels: 256, owners: 65536, v4v6: 1024 },
  });
  const { delegations, v4v6 } = end;
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
      ...(v4v6?.pools ?? []).map((pool) => ({
        ...pool,
        purpose: 'ipv4-link' as const,
        prefix: prefix4(pool.prefix),
      })),
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
    v4v6: (v4v6?.tunnels ?? []).map((tunnel) => ({ ...tunnel, client: ipv6(tunnel.client) })),
  });
  const { upgraded, actions } = plane.attach({
    uplink: end.uplink,
    localAddress: endpoint(end.localAddress).address,
    ...(v4v6 && { localAddress6: ipv6(v4v6.localAddress) }),
    ...(v4v6?.uplink !== undefined && { uplink6: v4v6.uplink }),
    port: 3653,
    device: 'sixway0',
    mtu: end.mtu ?? 1280,
    xdp: end.xdp ?? true,
    mode: end.mode ?? 'complete',
  });
  for (const action of actions) console.log(action);
  console.log(upgraded ? 'ready, upgraded' : 'ready');
  plane.close();
}

function runClient(end: ClientEnd | V4v6ClientEnd): void {
  if (end.encapsulation === 'v6udpv4') {
    const socket = createSocket('udp4');
    socket.bind(endpoint(end.local).port, () => openDevice(end));
  } else {
    setInterval(() => {}, 60_000);
    openDevice(end);
  }
}

function openDevice(end: ClientEnd | V4v6ClientEnd): void {
  const device = TunnelDevice.open(deviceOptions(end));
  console.log(device.actions.join('\n'));
  console.log('ready');
  const gateway =
    end.encapsulation === 'v4v6'
      ? endpoint(end.gateway).address
      : (ipv6(end.address) & ~0xffffn) | 1n;
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
}

function deviceOptions(end: ClientEnd | V4v6ClientEnd): TunnelDeviceOptions {
  const { name, mtu = 1280 } = end;
  const all = { name, mtu, defaultRouteMetric: 1024 };
  if (end.encapsulation === 'v4v6')
    return {
      ...all,
      encapsulation: 'v4v6',
      server: ipv6(end.server),
      local: ipv6(end.local),
      address: endpoint(end.address).address,
      gateway: endpoint(end.gateway).address,
    };
  return {
    ...all,
    encapsulation: end.encapsulation,
    server: endpoint(end.server),
    local: endpoint(end.local),
    address: ipv6(end.address),
    ...(end.delegated && {
      delegated: { ...end.delegated, prefix: prefix(end.delegated.prefix) },
    }),
  };
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

function ipv6(value: string): bigint {
  const parsed = parseIpv6(value);
  if (parsed === undefined) throw new Error(`not an address: ${value}`);
  return parsed;
}

function prefix4(value: string) {
  const parsed = parseIpv4Prefix(value);
  if (!parsed) throw new Error(`not a prefix: ${value}`);
  return parsed;
}
