// Interfaces, and what IPv6 needs of addresses, routes and network settings, of the namespace that the
// process runs in, by way of iproute2 and /proc/sys. It must not know tunnels, pools or maps.

import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { formatIp, formatIpv6Prefix, type IpAddress, type Ipv6Prefix } from '../address.ts';

/** The only neighbour on a tunnel device: routes by way of it need one neighbour entry, not one for
 * each destination. Nobody answers to it; the device has no link layer to ask on. */
const GATEWAY = 'fe80::2';

export interface InterfaceState {
  readonly name: string;
  readonly index: number;
  readonly mtu: number;
  /** Octets of link layer before the network header, as tc programs see packets. */
  readonly headerLength: number;
  /** For example `tun`; absent for most hardware. */
  readonly kind?: string;
}

/** undefined: no interface of that name. Throws for a link layer that the programs cannot parse. */
export function findInterface(name: string): InterfaceState | undefined {
  const found = links().find(({ ifname }) => ifname === name);
  if (!found) return undefined;
  const { ifindex, mtu, link_type, linkinfo } = found;
  const headerLength = HEADER_LENGTHS[link_type];
  if (headerLength === undefined)
    throw new Error(`Interface ${name} has link type ${link_type}, which is not supported`);
  return {
    name,
    index: ifindex,
    mtu,
    headerLength,
    ...(linkinfo?.info_kind !== undefined && { kind: linkinfo.info_kind }),
  };
}

const HEADER_LENGTHS: Record<string, number> = {
  ether: 14,
  loopback: 14,
  none: 0,
  ppp: 0,
  rawip: 0,
};

interface IpLink {
  ifname: string;
  ifindex: number;
  mtu: number;
  link_type: string;
  linkinfo?: { info_kind?: string };
}

function links(): IpLink[] {
  return JSON.parse(ip('-json', '-details', 'link', 'show')) as IpLink[];
}

/** Up, with that MTU, and without addresses that nobody asked for. */
export function bringUp(device: string, mtu: number): void {
  ip('link', 'set', 'dev', device, 'mtu', String(mtu), 'addrgenmode', 'none');
  ip('link', 'set', 'dev', device, 'up');
}

export function deleteInterface(device: string): void {
  ip('link', 'delete', 'dev', device);
}

/** The interface that packets to a destination leave by; undefined when there is no route. */
export function uplinkTowards(destination: IpAddress): string | undefined {
  try {
    const text = ip('-json', 'route', 'get', formatIp(destination));
    return (JSON.parse(text) as { dev?: string }[])[0]?.dev;
  } catch {
    return undefined;
  }
}

/** Whether the host's routes depend on more than the kernel's own tables: rules of the operator's, VRFs. */
export function hasRoutingRules(): boolean {
  const usual = ['local', 'main', 'default'];
  return ['-4', '-6'].some((family) => {
    const rules = JSON.parse(ip('-json', family, 'rule', 'show')) as { table?: string }[];
    return rules.length > 3 || rules.some(({ table }) => !usual.includes(table ?? ''));
  });
}

/** `prefix` is one address with its on-link length, not necessarily without host bits. */
export function addAddress(device: string, prefix: Ipv6Prefix): void {
  ip('-6', 'address', 'replace', formatIpv6Prefix(prefix), 'dev', device, 'nodad');
}

export function removeAddress(device: string, prefix: Ipv6Prefix): void {
  ip('-6', 'address', 'delete', formatIpv6Prefix(prefix), 'dev', device);
}

export function addTunnelRoute(device: string, prefix: Ipv6Prefix, metric?: number): void {
  const metricWords = metric === undefined ? [] : ['metric', String(metric)];
  const to = ['-6', 'route', 'replace', formatIpv6Prefix(prefix)];
  ip(...to, 'via', GATEWAY, 'dev', device, 'onlink', 'proto', 'static', ...metricWords);
}

export function removeTunnelRoute(device: string, prefix: string): void {
  ip('-6', 'route', 'delete', prefix, 'via', GATEWAY, 'dev', device);
}

/** Prefixes routed to the device the way {@link addTunnelRoute} does it. */
export function tunnelRoutes(device: string): string[] {
  const text = ip('-json', '-6', 'route', 'show', 'dev', device);
  const routes = JSON.parse(text || '[]') as { dst: string; gateway?: string }[];
  return routes
    .filter(({ gateway }) => gateway === GATEWAY)
    .map(({ dst }) => (dst === 'default' ? '::/0' : dst.includes('/') ? dst : `${dst}/128`));
}

/** What of the prefix has no route of its own is answered with "unreachable", not sent elsewhere. */
export function addUnreachableRoute(prefix: Ipv6Prefix): void {
  ip('-6', 'route', 'replace', 'unreachable', formatIpv6Prefix(prefix), 'metric', '2147483647');
}

export function removeUnreachableRoute(prefix: Ipv6Prefix): void {
  ip('-6', 'route', 'delete', 'unreachable', formatIpv6Prefix(prefix), 'metric', '2147483647');
}

/**
 * Lets the kernel forward IPv6. Interfaces that learn routes from router advertisements go on doing
 * so, which forwarding would otherwise stop. Returns what had to be changed, in words.
 */
export function enableForwarding(): string[] {
  const settings = '/proc/sys/net/ipv6/conf';
  const forwarding = `${settings}/all/forwarding`;
  if (readFileSync(forwarding, 'utf8').trim() !== '0') return [];
  const actions: string[] = [];
  for (const name of readdirSync(settings)) {
    const acceptAdvertisements = `${settings}/${name}/accept_ra`;
    if (readFileSync(acceptAdvertisements, 'utf8').trim() !== '1') continue;
    writeFileSync(acceptAdvertisements, '2');
    actions.push(`kept ${name} listening to router advertisements (accept_ra=2)`);
  }
  writeFileSync(forwarding, '1');
  return [...actions, 'enabled IPv6 forwarding (net.ipv6.conf.all.forwarding=1)'];
}

/** Runs iproute2's command. Throws with its own words. */
export function ip(...words: string[]): string {
  try {
    return execFileSync('ip', words, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
  } catch (error) {
    const { stderr, code } = error as { stderr?: string; code?: string };
    if (code === 'ENOENT') throw new Error('The ip command (package iproute2) is missing');
    throw new Error(`ip ${words.join(' ')}: ${stderr?.trim() || String(error)}`);
  }
}
