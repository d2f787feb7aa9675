// What network.ts does, for the IPv4 that v4v6 tunnels carry: addresses, routes, forwarding, and the
// masquerading of private pools. It must not know tunnels or maps.

import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { formatIpv4, formatPrefix, type Ipv4Address, type Ipv4Prefix } from '../address.ts';
import { ip } from './network.ts';

/** On a device without neighbours, one address and its only peer, which is routed to the device. */
export function addAddress4(device: string, address: Ipv4Address, peer: Ipv4Address): void {
  ip('-4', 'address', 'replace', formatIpv4(address), 'peer', formatIpv4(peer), 'dev', device);
}

export function addDefaultRoute4(device: string, metric: number): void {
  ip('-4', 'route', 'replace', 'default', 'dev', device, 'metric', String(metric));
}

/** With the MTU of what is inside: the kernel then fragments, or tells the sender. */
export function addTunnelRoute4(device: string, prefix: Ipv4Prefix, mtu: number): void {
  const to = ['-4', 'route', 'replace', formatPrefix(prefix), 'dev', device];
  ip(...to, 'proto', 'static', 'mtu', String(mtu));
}

export function removeTunnelRoute4(device: string, prefix: string): void {
  ip('-4', 'route', 'delete', prefix, 'dev', device);
}

/** Prefixes routed to the device the way {@link addTunnelRoute4} does it, and with which MTU. */
export function tunnelRoutes4(device: string): { prefix: string; mtu: number | undefined }[] {
  const text = ip('-json', '-4', 'route', 'show', 'dev', device, 'proto', 'static');
  const routes = JSON.parse(text || '[]') as { dst: string; metrics?: { mtu?: number }[] }[];
  return routes.map(({ dst, metrics }) => ({
    prefix: dst.includes('/') ? dst : `${dst}/32`,
    mtu: metrics?.[0]?.mtu,
  }));
}

/**
 * Lets the kernel forward IPv4. What comes out of a tunnel appears to come in on `uplink`, though its
 * source is routed to the tunnel device: checks of sources would drop it, and the kernel would tell
 * clients of better ways that are none. Returns what had to be changed, in words.
 */
export function enableForwarding4(uplink: string): string[] {
  const actions: string[] = [];
  const set = (name: string, value: string) => {
    if (read(name) === value) return;
    writeFileSync(`/proc/sys/${name}`, value);
    actions.push(`set ${name.replaceAll('/', '.')}=${value}`);
  };
  set('net/ipv4/ip_forward', '1');
  relaxSourceChecks('lo', set);
  relaxSourceChecks(uplink, set);
  for (const name of ['all', uplink]) set(`${CONF}/${name}/send_redirects`, '0');
  return actions;
}

const CONF = 'net/ipv4/conf';

/**
 * A source has to have a route, but not by way of this interface: rp_filter 2. On an interface without
 * an IPv4 address the kernel takes 2 for 1; it needs 0, and as the larger of its own value and that of
 * `all` is what holds, `all` then needs 0, too: every other interface keeps what held.
 */
function relaxSourceChecks(name: string, set: (name: string, value: string) => void): void {
  const value = (of: string) => Number(read(`${CONF}/${of}/rp_filter`));
  const all = value('all');
  const held = Math.max(all, value(name));
  if (hasIpv4Address(name)) {
    if (held === 1) set(`${CONF}/${name}/rp_filter`, '2');
    return;
  }
  if (held === 0) return;
  for (const other of readdirSync(`/proc/sys/${CONF}`))
    if (other !== 'all' && other !== name && value(other) < all)
      set(`${CONF}/${other}/rp_filter`, String(all));
  set(`${CONF}/${name}/rp_filter`, '0');
  set(`${CONF}/all/rp_filter`, '0');
}

function hasIpv4Address(device: string): boolean {
  return JSON.parse(ip('-json', '-4', 'address', 'show', 'dev', device) || '[]').length > 0;
}

/**
 * Lets programs ask the kernel's IPv4 routes as for packets that came in by this device. Nothing of IPv4
 * comes in by it otherwise but what v4v6 tunnels carry, so nothing else is forwarded for it.
 */
export function answerRoutesFor(device: string): void {
  writeFileSync(`/proc/sys/${CONF}/${device}/forwarding`, '1');
}

/** RFC 1918 and RFC 6598: addresses that the internet does not route back. */
export function isPrivate({ address }: Ipv4Prefix): boolean {
  return PRIVATE.some(([network, bits]) => address >>> (32 - bits) === network >>> (32 - bits));
}

const PRIVATE = [
  [0x0a000000, 8],
  [0xac100000, 12],
  [0xc0a80000, 16],
  [0x64400000, 10],
] as const;

/**
 * Masquerades what comes from these prefixes and leaves by any interface but the device, by a table of
 * our own; none: takes the table away. Returns what was done, in words.
 */
export function setMasquerade(device: string, prefixes: readonly Ipv4Prefix[]): string[] {
  const table = tableOf(device);
  const texts = prefixes.map(formatPrefix);
  if (texts.length === 0)
    return removeMasquerade(device) ? [`removed the nftables table ip ${table}`] : [];
  // Adding before deleting, because deleting what is not there is an error. All or nothing.
  nft(`
    add table ip ${table}
    delete table ip ${table}
    table ip ${table} {
      chain postrouting {
        type nat hook postrouting priority srcnat; policy accept;
        ip saddr { ${texts.join(', ')} } oifname != "${device}" masquerade
      }
    }`);
  return [`masqueraded ${texts.join(', ')} by the nftables table ip ${table}`];
}

/** Whether there was anything to remove. */
export function removeMasquerade(device: string): boolean {
  try {
    execFileSync('nft', ['delete', 'table', 'ip', tableOf(device)], { stdio: 'ignore' });
    return true;
  } catch {
    return false; // No such table, or no nft, and then no table either.
  }
}

function tableOf(device: string): string {
  return `sixway_${device.replace(/[^A-Za-z0-9_]/g, '_')}`;
}

function read(name: string): string {
  return readFileSync(`/proc/sys/${name}`, 'utf8').trim();
}

/** Throws with nft's own words. */
function nft(script: string): void {
  try {
    execFileSync('nft', ['-f', '-'], { input: script, stdio: ['pipe', 'ignore', 'pipe'] });
  } catch (error) {
    const { stderr, code } = error as { stderr?: Buffer; code?: string };
    if (code === 'ENOENT')
      throw new Error('The nft command (package nftables) is missing: private pools need it');
    throw new Error(`nft: ${stderr?.toString().trim() || String(error)}`);
  }
}
