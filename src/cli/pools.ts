// `sixway pool …`: where links and delegated prefixes come from.

import type { Command } from 'commander';
import { formatPrefix, parseIpv4Prefix, parseIpv6Prefix } from '../address.ts';
import { type AddedPool, addPool, type PoolCapacity } from '../broker/pools.ts';
import { withStore } from '../parts.ts';
import type { NewPool } from '../store/pools.ts';
import type { PoolPurpose } from '../store/schema.ts';
import { addConfigOption, configOf } from './config-option.ts';
import { fail, printJson, printTable, wholeNumber } from './output.ts';

interface AddFlags {
  config?: string;
  json?: boolean;
  for?: string;
  length?: string;
}

const PURPOSES = { links: 'link', delegations: 'delegation', ipv4: 'ipv4-link' } as const;
/** The other way round. */
const NAMES = { link: 'links', delegation: 'delegations', 'ipv4-link': 'ipv4' } as const;

export function addPoolCommands(program: Command): void {
  const pool = program.command('pool').description('pools: where prefixes come from');
  const command = (words: string) =>
    addConfigOption(pool.command(words)).option('--json', 'for machines');

  command('add <prefix>')
    .description('add a pool; your network must route it to this machine')
    .requiredOption('--for <purpose>', 'links (a /64 for each tunnel itself), delegations or ipv4')
    .option('--length <n>', 'length of the prefixes handed out; 64 for links, 30 or 32 for ipv4')
    .action(async (text: string, flags: AddFlags) => {
      const wish = wishOf(text, flags);
      const { purpose, positionLength } = wish;
      const { config } = configOf(flags);
      const { maxTunnels, maxDelegations, maxIpv4Tunnels } = config.dataplane;
      const capacity: PoolCapacity = {
        link: maxTunnels,
        delegation: maxDelegations,
        'ipv4-link': maxIpv4Tunnels,
      };
      const added = await withStore(config, (store) =>
        addPool(store, wish, capacity, Date.now(), { act: 'pool-add', subject: `pool:${text}` }),
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
      const users = purpose === 'delegation' ? positionCount : positionCount - 1;
      console.log(`Added ${text}: a /${positionLength} each for ${users} tunnels`);
    });

  command('list')
    .description('all pools and how full they are')
    .action(async (flags: { config?: string; json?: boolean }) => {
      const pools = await withStore(configOf(flags).config, (store) => store.poolUsage());
      const shown = pools.map((found) => ({
        prefix: formatPrefix(found.prefix),
        for: NAMES[found.purpose],
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

function wishOf(text: string, flags: AddFlags): NewPool {
  const purpose = PURPOSES[flags.for as keyof typeof PURPOSES];
  if (!purpose) fail('--for is links, delegations or ipv4');
  if (purpose !== 'link' && flags.length === undefined) {
    fail(
      purpose === 'delegation'
        ? 'a pool for delegations needs --length, for example 56'
        : 'a pool for ipv4 needs --length: 30 for a link of its own each, 32 for one address each',
    );
  }
  const positionLength = wholeNumber('--length', flags.length ?? '64', 1, 64);
  if (purpose === 'ipv4-link') {
    const prefix = parseIpv4Prefix(text);
    if (!prefix) fail(`${text} is not an IPv4 prefix without bits beyond its length`);
    return { purpose, prefix, positionLength };
  }
  const prefix = parseIpv6Prefix(text);
  if (!prefix) fail(`${text} is not an IPv6 prefix without bits beyond its length`);
  return { purpose, prefix, positionLength };
}

const LENGTHS: Readonly<Record<PoolPurpose, string>> = {
  link: 'links are /64s, so a pool for them is shorter than /64',
  delegation: 'delegated prefixes are at least as long as their pool, and at most /64',
  'ipv4-link': 'IPv4 is handed out as /30 or /32, from a pool that is shorter',
};

const CAPACITIES: Readonly<Record<PoolPurpose, string>> = {
  link: 'maxTunnels',
  delegation: 'maxDelegations',
  'ipv4-link': 'maxIpv4Tunnels',
};

function explain(
  added: Extract<AddedPool, { ok: false }>,
  text: string,
  purpose: PoolPurpose,
): string {
  switch (added.refusal) {
    case 'prefix-unusable':
      return purpose === 'ipv4-link'
        ? `${text} has addresses that hosts cannot have`
        : `${text} is not global unicast or unique local space of yours to hand out`;
    case 'length-unusable':
      return LENGTHS[purpose];
    case 'too-many-pools':
      return 'the data plane has no room for another pool';
    case 'overlaps-pool':
      return `${text} overlaps the pool ${formatPrefix(added.with)}`;
    case 'over-capacity': {
      const setting = CAPACITIES[purpose];
      return (
        `${text} has more prefixes than the ${added.free} that the data plane has room for: ` +
        `raise dataplane.${setting}, or add a smaller pool`
      );
    }
  }
}
