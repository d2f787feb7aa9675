// `sixway pool …`: where links and delegated prefixes come from.

import type { Command } from 'commander';
import { formatIpv6Prefix, parseIpv6Prefix } from '../address.ts';
import { type AddedPool, addPool } from '../broker/pools.ts';
import { withStore } from '../parts.ts';
import { addConfigOption, configOf } from './config-option.ts';
import { fail, printJson, printTable, wholeNumber } from './output.ts';

interface AddFlags {
  config?: string;
  json?: boolean;
  for?: string;
  length?: string;
}

const PURPOSES = { links: 'link', delegations: 'delegation' } as const;

export function addPoolCommands(program: Command): void {
  const pool = program.command('pool').description('pools: where prefixes come from');
  const command = (words: string) =>
    addConfigOption(pool.command(words)).option('--json', 'for machines');

  command('add <prefix>')
    .description('add a pool; your network must route it to this machine')
    .requiredOption('--for <purpose>', 'links (a /64 for each tunnel itself) or delegations')
    .option('--length <n>', 'length of the prefixes handed out; 64 for links')
    .action(async (text: string, flags: AddFlags) => {
      const prefix = parseIpv6Prefix(text);
      if (!prefix) fail(`${text} is not an IPv6 prefix without bits beyond its length`);
      const purpose = PURPOSES[flags.for as keyof typeof PURPOSES];
      if (!purpose) fail('--for is links or delegations');
      if (purpose === 'delegation' && flags.length === undefined) {
        fail('a pool for delegations needs --length, for example 56');
      }
      const positionLength = wholeNumber('--length', flags.length ?? '64', 1, 64);
      const { config } = configOf(flags);
      const capacity = {
        tunnels: config.dataplane.maxTunnels,
        owners: config.dataplane.maxDelegations,
      };
      const added = await withStore(config, (store) =>
        addPool(store, { purpose, prefix, positionLength }, capacity, Date.now()),
      );
      if (!added.ok) fail(explain(added, text, purpose));
      const { positionCount } = added.pool;
      if (flags.json) {
        printJson({
          prefix: text,
          for: flags.for,
          length: positionLength,
          positions: positionCount,
        });
        return;
      }
      // Position 0 of a link pool is the server's own.
      const users = purpose === 'link' ? positionCount - 1 : positionCount;
      console.log(`Added ${text}: a /${positionLength} each for ${users} tunnels`);
    });

  command('list')
    .description('all pools and how full they are')
    .action(async (flags: { config?: string; json?: boolean }) => {
      const pools = await withStore(configOf(flags).config, (store) => store.poolUsage());
      const shown = pools.map((found) => ({
        prefix: formatIpv6Prefix(found.prefix),
        for: found.purpose === 'link' ? 'links' : 'delegations',
        length: found.positionLength,
        leased: found.leased,
        positions: found.positionCount,
      }));
      if (flags.json) printJson(shown);
      else {
        printTable(
          ['prefix', 'for', 'length', 'leased', 'positions'],
          shown.map((row) => Object.values(row)),
        );
      }
    });
}

function explain(
  added: Extract<AddedPool, { ok: false }>,
  text: string,
  purpose: 'link' | 'delegation',
): string {
  switch (added.refusal) {
    case 'prefix-unusable':
      return `${text} is not global unicast or unique local space of yours to hand out`;
    case 'length-unusable':
      return purpose === 'link'
        ? 'links are /64s, so a pool for them is shorter than /64'
        : 'delegated prefixes are at least as long as their pool, and at most /64';
    case 'too-many-pools':
      return 'the data plane has no room for another pool';
    case 'overlaps-pool':
      return `${text} overlaps the pool ${formatIpv6Prefix(added.with)}`;
    case 'over-capacity': {
      const setting = purpose === 'link' ? 'dataplane.maxTunnels' : 'dataplane.maxDelegations';
      return (
        `${text} has more prefixes than the ${added.free} that the data plane has room for: ` +
        `raise ${setting}, or add a smaller pool`
      );
    }
  }
}
