// Facts about the machine that the broker runs on: the uplink and its address, forwarding, the
// kernel's release, the firewall. Changes nothing; knows nothing of tunnels or the store.

import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { release } from 'node:os';
import { type Ipv4Address, type Ipv6Address, parseIpv4, parseIpv6 } from './address.ts';

/** The interface of the IPv4 default route with the lowest metric. */
export function defaultUplink(): string | undefined {
  const routes = ipJson('-4', 'route', 'show', 'default') as { dev?: string; metric?: number }[];
  return routes.toSorted((a, b) => (a.metric ?? 0) - (b.metric ?? 0))[0]?.dev;
}

/** The global IPv4 addresses of an interface, in the kernel's order; undefined without the interface. */
export function ipv4AddressesOf(device: string): Ipv4Address[] | undefined {
  try {
    const links = ipJson('-4', 'addr', 'show', 'dev', device, 'scope', 'global') as {
      addr_info?: { local?: string }[];
    }[];
    return links
      .flatMap(({ addr_info }) => addr_info ?? [])
      .map(({ local }) => parseIpv4(local ?? ''))
      .filter((address) => address !== undefined);
  } catch {
    return undefined;
  }
}

/** Its global IPv6 addresses that last and are in use, in the kernel's order; none without it. */
export function ipv6AddressesOf(device: string): Ipv6Address[] {
  try {
    const links = ipJson('-6', 'addr', 'show', 'dev', device, 'scope', 'global') as {
      addr_info?: {
        local?: string;
        temporary?: boolean;
        deprecated?: boolean;
        tentative?: boolean;
        dadfailed?: boolean;
      }[];
    }[];
    return links
      .flatMap(({ addr_info }) => addr_info ?? [])
      .filter((info) => !info.temporary && !info.deprecated && !info.tentative && !info.dadfailed)
      .map(({ local }) => parseIpv6(local ?? ''))
      .filter((address) => address !== undefined);
  } catch {
    return [];
  }
}

function ipJson(...args: string[]): unknown[] {
  const printed = execFileSync('ip', ['-json', ...args], { encoding: 'utf8', stdio: 'pipe' });
  // Some versions print nothing, and some an empty object a line, where there is nothing to say.
  return printed.trim() === '' ? [] : (JSON.parse(printed) as unknown[]);
}

/** `net.ipv6.conf.all.forwarding` and the like; undefined where the kernel has no such switch. */
export function sysctl(name: string): string | undefined {
  try {
    return readFileSync(`/proc/sys/${name.replaceAll('.', '/')}`, 'utf8').trim();
  } catch {
    return undefined;
  }
}

/** Major and minor number of the running kernel. */
export function kernelVersion(text = release()): { major: number; minor: number } {
  const [, major, minor] = /^(\d+)\.(\d+)/.exec(text) ?? [];
  return { major: Number(major ?? 0), minor: Number(minor ?? 0) };
}

/** The first kernel that has everything the data plane uses: tcx links (6.6). */
export const REQUIRED_KERNEL = { major: 6, minor: 6 } as const;

export function kernelIsRecentEnough(version = kernelVersion()): boolean {
  return (
    version.major > REQUIRED_KERNEL.major ||
    (version.major === REQUIRED_KERNEL.major && version.minor >= REQUIRED_KERNEL.minor)
  );
}

/** The interface of the IPv6 default route. */
export function ipv6DefaultRoute(): string | undefined {
  const routes = ipJson('-6', 'route', 'show', 'default') as {
    dev?: string;
    nexthops?: { dev?: string }[];
  }[];
  return routes[0]?.dev ?? routes[0]?.nexthops?.[0]?.dev;
}

/** nftables chains that hook forwarding and drop by default; undefined without nftables. */
export function rulesThatDropForwarding(): string[] | undefined {
  let printed: string;
  try {
    printed = execFileSync('nft', ['-j', 'list', 'chains'], { encoding: 'utf8', stdio: 'pipe' });
  } catch {
    return undefined;
  }
  interface Chain {
    family: string;
    table: string;
    name: string;
    hook?: string;
    policy?: string;
  }
  const { nftables } = JSON.parse(printed) as { nftables: { chain?: Chain }[] };
  return nftables
    .map(({ chain }) => chain)
    .filter((chain) => chain !== undefined)
    .filter(
      ({ family, hook, policy }) => hook === 'forward' && policy === 'drop' && family !== 'ip',
    )
    .map(({ family, table, name }) => `${family} ${table} ${name}`);
}
