// Looks at this machine with the eyes of somebody who wants the broker to work on it, and says in
// plain words what is missing and what to do. Looks at everything, changes nothing.

import { createSocket } from 'node:dgram';
import { existsSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { formatIpv4, formatPrefix, type Ipv4Address, parseIpv4 } from './address.ts';
import type { Config } from './config.ts';
import {
  defaultUplink,
  ipv4AddressesOf,
  ipv6DefaultRoute,
  kernelIsRecentEnough,
  kernelVersion,
  REQUIRED_KERNEL,
  rulesThatDropForwarding,
  sysctl,
} from './host.ts';
import { StoreError } from './store/error.ts';
import { openSqliteStore } from './store/sqlite.ts';
import type { Store } from './store/store.ts';

export interface Finding {
  readonly check: string;
  /** `warning`: works, or may; `failed`: cannot work. */
  readonly state: 'ok' | 'warning' | 'failed';
  readonly found: string;
  /** What to do; absent when all is well. */
  readonly advice?: string;
}

/** Every check, in the order in which an operator would go. Never throws. */
export async function examine(config: Config): Promise<readonly Finding[]> {
  const uplink = config.server.uplink === 'auto' ? defaultUplink() : config.server.uplink;
  const address = addressOf(config, uplink);
  return [
    checkRoot(),
    checkKernel(),
    checkTun(),
    checkObjects(),
    checkUplink(uplink),
    checkAddress(uplink, address),
    await checkPort(address, config.tsp.port),
    checkPinned(config),
    checkForwarding(config),
    checkFirewall(),
    checkIpv6Route(),
    checkKeyFile(config),
    ...(await checkStore(config)),
  ];
}

function addressOf(config: Config, uplink: string | undefined): Ipv4Address | undefined {
  if (config.server.address !== 'auto') return parseIpv4(config.server.address);
  return uplink === undefined ? undefined : ipv4AddressesOf(uplink)?.[0];
}

function ok(check: string, found: string): Finding {
  return { check, state: 'ok', found };
}

function warning(check: string, found: string, advice: string): Finding {
  return { check, state: 'warning', found, advice };
}

function failed(check: string, found: string, advice: string): Finding {
  return { check, state: 'failed', found, advice };
}

function checkRoot(): Finding {
  const uid = process.getuid?.();
  return uid === 0
    ? ok('privilege', 'root')
    : failed('privilege', `user id ${uid}`, 'Loading eBPF programs needs root: use sudo.');
}

function checkKernel(): Finding {
  const { major, minor } = kernelVersion();
  const needed = `${REQUIRED_KERNEL.major}.${REQUIRED_KERNEL.minor}`;
  return kernelIsRecentEnough()
    ? ok('kernel', `${major}.${minor}`)
    : failed(
        'kernel',
        `${major}.${minor}, needed is ${needed}`,
        'Install a newer kernel: Debian 13 has one, Debian 12 has one in bookworm-backports.',
      );
}

function checkTun(): Finding {
  return existsSync('/dev/net/tun')
    ? ok('TUN devices', '/dev/net/tun')
    : failed('TUN devices', 'no /dev/net/tun', 'Load the module: modprobe tun.');
}

function checkObjects(): Finding {
  const folder = join(import.meta.dirname, '../build');
  const missing = ['tunnel.bpf.o', 'client.bpf.o'].filter(
    (name) => !existsSync(join(folder, name)),
  );
  return missing.length === 0
    ? ok('eBPF programs', 'built')
    : failed('eBPF programs', `missing: ${missing.join(', ')}`, 'Build them: make build.');
}

function checkUplink(uplink: string | undefined): Finding {
  if (uplink === undefined) {
    return failed(
      'uplink',
      'no IPv4 default route',
      'Name the interface of the IPv4 side in the configuration: server.uplink.',
    );
  }
  return ipv4AddressesOf(uplink) === undefined
    ? failed('uplink', `no interface ${uplink}`, 'Correct server.uplink in the configuration.')
    : ok('uplink', uplink);
}

function checkAddress(uplink: string | undefined, address: Ipv4Address | undefined): Finding {
  if (address === undefined) {
    return failed('IPv4 address', 'none', `Give ${uplink ?? 'the uplink'} an IPv4 address.`);
  }
  const text = formatIpv4(address);
  if (uplink !== undefined && !ipv4AddressesOf(uplink)?.includes(address)) {
    return failed(
      'IPv4 address',
      `${text} is not on ${uplink}`,
      'Correct server.address or server.uplink in the configuration.',
    );
  }
  return isPrivate(address)
    ? warning(
        'IPv4 address',
        `${text} is private`,
        'Clients outside this network reach the broker only if your provider maps a public ' +
          'address to it one to one (UDP and protocol 41).',
      )
    : ok('IPv4 address', text);
}

/** RFC 1918, RFC 6598 (carrier-grade NAT), loopback, link-local. */
function isPrivate(address: Ipv4Address): boolean {
  const inside = (network: string, length: number) =>
    Math.floor(address / 2 ** (32 - length)) ===
    Math.floor((parseIpv4(network) ?? 0) / 2 ** (32 - length));
  return (
    inside('10.0.0.0', 8) ||
    inside('172.16.0.0', 12) ||
    inside('192.168.0.0', 16) ||
    inside('100.64.0.0', 10) ||
    inside('127.0.0.0', 8) ||
    inside('169.254.0.0', 16)
  );
}

async function checkPort(address: Ipv4Address | undefined, port: number): Promise<Finding> {
  if (address === undefined) return failed('port', `UDP ${port}`, 'Needs the IPv4 address first.');
  const socket = createSocket('udp4');
  const code = await new Promise<string | undefined>((resolve) => {
    socket.once('error', (error: NodeJS.ErrnoException) => resolve(error.code));
    socket.bind(port, formatIpv4(address), () => resolve(undefined));
  });
  if (code === undefined) {
    await new Promise<void>((resolve) => socket.close(() => resolve()));
    return warning('port', `UDP ${port} is free`, 'The broker is not running: sixway serve.');
  }
  return code === 'EADDRINUSE'
    ? ok('port', `UDP ${port} is in use, by the broker if it is running`)
    : failed('port', `UDP ${port}: ${code}`, 'Choose an address of this machine.');
}

function checkPinned(config: Config): Finding {
  const { pinDirectory } = config.dataplane;
  return existsSync(`${pinDirectory}/tunnels`)
    ? ok('data plane', `pinned in ${pinDirectory}`)
    : warning(
        'data plane',
        `nothing in ${pinDirectory}`,
        'It is loaded when the broker starts: sixway serve.',
      );
}

function checkForwarding(config: Config): Finding {
  if (sysctl('net.ipv6.conf.all.forwarding') === '1') return ok('IPv6 forwarding', 'on');
  return config.server.manageSysctls
    ? warning('IPv6 forwarding', 'off', 'The broker switches it on when it starts.')
    : failed('IPv6 forwarding', 'off', 'sysctl -w net.ipv6.conf.all.forwarding=1');
}

function checkFirewall(): Finding {
  const chains = rulesThatDropForwarding();
  if (chains === undefined) return ok('firewall', 'nftables is not installed');
  return chains.length === 0
    ? ok('firewall', 'no forward chain drops by default')
    : warning(
        'firewall',
        `${chains.join(', ')} drops what no rule accepts`,
        'Accept IPv6 to and from the pools there, and protocol 41 and UDP 3653 on the way in.',
      );
}

function checkIpv6Route(): Finding {
  const route = ipv6DefaultRoute();
  return route === undefined
    ? failed(
        'IPv6 internet',
        'no IPv6 default route',
        'This machine needs IPv6 itself; your provider must route the pools to it.',
      )
    : ok('IPv6 internet', `default route by ${route}`);
}

function checkKeyFile(config: Config): Finding {
  const { keyFile } = config.store;
  try {
    const { mode } = statSync(keyFile);
    return (mode & 0o077) === 0
      ? ok('key file', keyFile)
      : warning('key file', `${keyFile} can be read by others`, `chmod 600 ${keyFile}`);
  } catch {
    return warning('key file', `no ${keyFile}`, 'It is made when it is needed first.');
  }
}

async function checkStore(config: Config): Promise<Finding[]> {
  const { database, keyFile } = config.store;
  if (!existsSync(database) && existsSync(keyFile)) {
    const advice = `The database was lost or moved: ${keyFile} is its key. Restore it.`;
    return [failed('database', `no ${database}`, advice)];
  }
  if (!existsSync(database)) {
    return [warning('database', `no ${database}`, 'It is made when it is needed first.')];
  }
  let store: Store;
  try {
    store = await openSqliteStore({ file: database, create: false });
  } catch (error) {
    const kind = error instanceof StoreError ? error.kind : 'internal';
    return [failed('database', `${database}: ${kind}`, (error as Error).message)];
  }
  try {
    const pools = await store.pools();
    const links = pools.filter(({ purpose }) => purpose === 'link');
    const listed = pools.map(({ prefix }) => formatPrefix(prefix)).join(', ');
    return [
      ok('database', database),
      links.length === 0
        ? failed(
            'pools',
            'no link pool',
            'Every tunnel needs a link: sixway pool add PREFIX --for links.',
          )
        : warning(
            'pools',
            listed,
            'Your network must route them to this machine; nobody can check that from here.',
          ),
    ];
  } finally {
    await store.close();
  }
}
