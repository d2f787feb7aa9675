// `sixway tunnel …`: what is up, for whom, what went through it, and what it may do. Counters come from
// the kernel's maps, everything else from the store.

import type { Command } from 'commander';
import { effectivePolicy } from '../broker/policy.ts';
import { Dataplane } from '../dataplane/dataplane.ts';
import { withStore } from '../parts.ts';
import type { Ipv4Tunnel } from '../store/ipv4-tunnels.ts';
import type { Store } from '../store/store.ts';
import type { Tunnel } from '../store/tunnels.ts';
import { addConfigOption, configOf } from './config-option.ts';
import { fail, formatAgo, formatRate, printJson, printTable } from './output.ts';
import {
  addPolicyOptions,
  effectiveJson,
  type PolicyFlags,
  policyChangeOf,
} from './policy-options.ts';
import { addConfigOptions, type ConfigFlags, showConfig } from './tunnel-config.ts';
import { describe, diagnosisOf, showDiagnosis, showTunnel } from './tunnel-view.ts';

interface Flags {
  config?: string;
  json?: boolean;
}

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
      const shown = tunnels.map((found) => describe(found, dataplane, config.tunnel.mtu));
      dataplane?.close();
      if (flags.json) {
        printJson(shown);
        return;
      }
      printTable(
        ['id', 'user', 'state', 'by', 'client', 'link', 'prefix', 'drops', 'last seen'],
        shown.map((row) => [
          row.tunnel,
          row.user ?? '(anonymous)',
          row.state,
          row.encapsulation,
          row.endpoint,
          row.link,
          row.prefix,
          row.drops?.packets,
          formatAgo(row.counters && Date.parse(row.counters.inLastSeen ?? ''), Date.now()),
        ]),
      );
    });

  command('show <tunnel>')
    .description('one tunnel, by its number or its user’s name (the one of IPv6 if there are two)')
    .action(async (which: string, flags: Flags) => {
      const { config } = configOf(flags);
      const found = await withStore(config, (store) => findTunnel(store, which));
      const dataplane = Dataplane.read(config.dataplane.pinDirectory);
      const shown = describe(found, dataplane, config.tunnel.mtu);
      const diagnosis = diagnosisOf(found, dataplane, config.tunnel.mtu, Date.now());
      dataplane?.close();
      if (flags.json) {
        printJson({ ...shown, diagnosis });
        return;
      }
      showTunnel(shown);
      showDiagnosis(diagnosis);
    });

  addConfigOptions(command('config <tunnel>'))
    .description('how it is set up on the user’s system, with every value filled in')
    .action(async (which: string, flags: Flags & ConfigFlags) => {
      const { config } = configOf(flags);
      const found = await withStore(config, (store) => findTunnel(store, which));
      if (found.family === 'ipv4')
        fail('a tunnel of IPv4 in IPv6 is for the Sixway client only: sixway connect --type v4v6');
      showConfig(found, config, flags);
    });

  addPolicyOptions(command('set <tunnel>'))
    .description('change what one tunnel may do, at once; default: as its user’s group says')
    .action(async (which: string, flags: Flags & PolicyFlags) => {
      const change = policyChangeOf(flags);
      if (Object.keys(change).length === 0) fail('say what is to change: see --help');
      const { config } = configOf(flags);
      const changed = await withStore(config, async (store) => {
        const { id } = await findTunnel(store, which);
        await store.setTunnelPolicy(id, change, Date.now(), auditOf('limits', id));
        return findTunnel(store, String(id));
      });
      const holds = effectiveJson(effectivePolicy(changed), config.tunnel.mtu);
      if (flags.json) printJson({ tunnel: changed.id, ...holds });
      else {
        console.log(
          `Tunnel ${changed.id}: MTU ${holds.mtu}, rate in ${formatRate(holds.rateIn)}, ` +
            `rate out ${formatRate(holds.rateOut)}, filtered ports ${holds.ports}`,
        );
      }
    });

  for (const [word, description, state] of [
    ['disable', 'end a tunnel’s traffic and refuse its logins; its addresses are kept', 'disabled'],
    ['enable', 'let a disabled tunnel’s client log in again', 'enabled'],
  ] as const) {
    command(`${word} <tunnel>`)
      .description(description)
      .action(async (which: string, flags: Flags) => {
        const { config } = configOf(flags);
        const { id, user } = await withStore(config, async (store) => {
          const found = await findTunnel(store, which);
          // Either takes the client away.
          if (found.state !== state)
            await store.setTunnelState(found.id, state, Date.now(), auditOf(state, found.id));
          return found;
        });
        if (flags.json) printJson({ tunnel: id, result: state });
        else console.log(`Tunnel ${id} of ${user?.name ?? 'nobody'} is ${state}`);
      });
  }

  command('close <tunnel>')
    .description('end a tunnel; its addresses go back to their pools')
    .action(async (which: string, flags: Flags) => {
      const { config } = configOf(flags);
      const closed = await withStore(config, async (store) => {
        const found = await findTunnel(store, which);
        await store.closeTunnel(found.id, Date.now(), auditOf('close', found.id));
        return found;
      });
      if (flags.json) printJson({ tunnel: closed.id, result: 'closed' });
      else console.log(`Closed tunnel ${closed.id} of ${closed.user?.name ?? 'nobody'}`);
    });
}

/** By nobody who was signed in. */
function auditOf(act: string, tunnelId: number) {
  return { act: `tunnel-${act}`, subject: `tunnel:${tunnelId}` };
}

/** In the order in which they were made. */
async function allTunnels(store: Store): Promise<(Tunnel | Ipv4Tunnel)[]> {
  const all = [
    ...(await allPages((after) => store.tunnelsAfter(after, PAGE))),
    ...(await allPages((after) => store.ipv4TunnelsAfter(after, PAGE))),
  ];
  return all.sort((a, b) => a.id - b.id);
}

async function allPages<T extends { readonly id: number }>(
  readAfter: (id: number) => Promise<readonly T[]>,
): Promise<T[]> {
  const all: T[] = [];
  for (let after = 0; ; ) {
    const page = await readAfter(after);
    all.push(...page);
    if (page.length < PAGE) return all;
    after = page.at(-1)?.id ?? 0;
  }
}

/** A number is a tunnel's, anything else a user's name. */
async function findTunnel(store: Store, which: string): Promise<Tunnel | Ipv4Tunnel> {
  const find = async (key: { tunnelId: number } | { userId: number }) =>
    (await store.tunnel(key)) ?? (await store.ipv4Tunnel(key));
  if (/^\d{1,15}$/.test(which)) {
    return (await find({ tunnelId: Number(which) })) ?? fail(`there is no tunnel ${which}`);
  }
  const user = await store.user(which);
  if (!user) fail(`there is no user ${which}`);
  const tunnel = await find({ userId: user.id });
  return tunnel ?? fail(`${which} has no tunnel yet: it is made at the first login`);
}
