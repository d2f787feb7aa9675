// `sixway tunnel …`: what is up, for whom, and what went through it. Counters come from the kernel's
// maps, everything else from the store.

import type { Command } from 'commander';
import { formatEndpoint, formatIpv6, formatIpv6Prefix } from '../address.ts';
import { Dataplane } from '../dataplane/dataplane.ts';
import { withStore } from '../parts.ts';
import type { Store } from '../store/store.ts';
import type { Tunnel } from '../store/tunnels.ts';
import { addConfigOption, configOf } from './config-option.ts';
import {
  fail,
  formatAgo,
  formatBytes,
  isoTime,
  printFacts,
  printJson,
  printTable,
} from './output.ts';

interface Flags {
  config?: string;
  json?: boolean;
}

type Counters = ReturnType<Dataplane['counters']>;

const PAGE = 1000;

export function addTunnelCommands(program: Command): void {
  const tunnel = program.command('tunnel').description('tunnels: what is up, and for whom');
  const command = (words: string) =>
    addConfigOption(tunnel.command(words)).option('--json', 'for machines');

  command('list')
    .description('all tunnels')
    .action(async (flags: Flags) => {
      const { config } = configOf(flags);
      const dataplane = Dataplane.read(config.dataplane.pinDirectory);
      const tunnels = await withStore(config, allTunnels);
      const shown = tunnels.map((found) => describe(found, dataplane?.counters(found.slot)));
      dataplane?.close();
      if (flags.json) {
        printJson(shown);
        return;
      }
      printTable(
        ['id', 'user', 'state', 'by', 'client', 'link', 'prefix', 'last seen'],
        shown.map((row) => [
          row.tunnel,
          row.user ?? '(anonymous)',
          row.state,
          row.encapsulation,
          row.endpoint,
          row.link,
          row.prefix,
          formatAgo(row.counters && Date.parse(row.counters.inLastSeen ?? ''), Date.now()),
        ]),
      );
    });

  command('show <tunnel>')
    .description('one tunnel, by its number or its user’s name')
    .action(async (which: string, flags: Flags) => {
      const { config } = configOf(flags);
      const found = await withStore(config, (store) => findTunnel(store, which));
      const dataplane = Dataplane.read(config.dataplane.pinDirectory);
      const shown = describe(found, dataplane?.counters(found.slot));
      dataplane?.close();
      if (flags.json) printJson(shown);
      else showTunnel(shown);
    });

  command('close <tunnel>')
    .description('end a tunnel; its addresses go back to their pools')
    .action(async (which: string, flags: Flags) => {
      const { config } = configOf(flags);
      const closed = await withStore(config, async (store) => {
        const found = await findTunnel(store, which);
        await store.closeTunnel(found.id, Date.now());
        return found;
      });
      if (flags.json) printJson({ tunnel: closed.id, result: 'closed' });
      else console.log(`Closed tunnel ${closed.id} of ${closed.user?.name ?? 'nobody'}`);
    });
}

async function allTunnels(store: Store): Promise<Tunnel[]> {
  const all: Tunnel[] = [];
  for (let after = 0; ; ) {
    const page = await store.tunnelsAfter(after, PAGE);
    all.push(...page);
    if (page.length < PAGE) return all;
    after = page.at(-1)?.id ?? 0;
  }
}

/** A number is a tunnel's, anything else a user's name. */
async function findTunnel(store: Store, which: string): Promise<Tunnel> {
  if (/^\d{1,15}$/.test(which)) {
    return (await store.tunnel({ tunnelId: Number(which) })) ?? fail(`there is no tunnel ${which}`);
  }
  const user = await store.user(which);
  if (!user) fail(`there is no user ${which}`);
  const tunnel = await store.tunnel({ userId: user.id });
  return tunnel ?? fail(`${which} has no tunnel yet: it is made at the first login`);
}

function describe(tunnel: Tunnel, counters: Counters | undefined) {
  const { attachment, delegation, state } = tunnel;
  return {
    tunnel: tunnel.id,
    user: tunnel.user?.name,
    state: state === 'disabled' ? 'disabled' : attachment ? 'attached' : 'detached',
    encapsulation: attachment?.encapsulation,
    endpoint: attachment && formatEndpoint(attachment.client),
    link: formatIpv6Prefix(tunnel.link),
    address: formatIpv6(tunnel.link.address | tunnel.interfaceId),
    prefix: delegation && formatIpv6Prefix(delegation),
    nameServers: tunnel.nameServers,
    keepaliveSeconds: tunnel.keepaliveSeconds,
    created: isoTime(tunnel.createdAtMs),
    lastLogin: isoTime(tunnel.lastLoginAtMs),
    expires: isoTime(tunnel.expiresAtMs),
    counters: counters && {
      inPackets: counters.inPackets,
      inBytes: counters.inBytes,
      outPackets: counters.outPackets,
      outBytes: counters.outBytes,
      inLastSeen: isoTime(counters.inLastSeenMs),
      outLastSeen: isoTime(counters.outLastSeenMs),
    },
  };
}

function showTunnel({ counters, ...shown }: ReturnType<typeof describe>): void {
  const nowMs = Date.now();
  const traffic = (packets: bigint, bytes: bigint, lastSeen: string | undefined) =>
    `${packets} packets, ${formatBytes(bytes)}, last ${formatAgo(lastSeen === undefined ? undefined : Date.parse(lastSeen), nowMs)}`;
  printFacts({
    tunnel: shown.tunnel,
    user: shown.user ?? '(anonymous)',
    state: shown.state,
    'client at': shown.endpoint,
    encapsulation: shown.encapsulation,
    'client address': shown.address,
    prefix: shown.prefix,
    'names to': shown.nameServers.join(', ') || undefined,
    keepalive: `every ${shown.keepaliveSeconds} s`,
    created: shown.created,
    'last login': shown.lastLogin,
    expires: shown.expires,
    'from client': counters && traffic(counters.inPackets, counters.inBytes, counters.inLastSeen),
    'to client': counters && traffic(counters.outPackets, counters.outBytes, counters.outLastSeen),
  });
}
