// `sixway group …`: groups of users, and what holds for their tunnels.

import type { Command } from 'commander';
import { addGroup, type GroupRefusal, removeGroup, setGroup } from '../broker/groups.ts';
import { withStore } from '../parts.ts';
import { addConfigOption, configOf } from './config-option.ts';
import { fail, formatRate, printJson, printTable } from './output.ts';
import {
  addPolicyOptions,
  type PolicyFlags,
  policyChangeOf,
  policyJson,
} from './policy-options.ts';

interface Flags extends PolicyFlags {
  config?: string;
  json?: boolean;
}

const REASONS: Readonly<Record<GroupRefusal, (name: string) => string>> = {
  'name-invalid': () =>
    'a group’s name is 1 to 64 letters, digits, dots, dashes and underscores, and not none',
  'name-taken': (name) => `there is a group ${name} already`,
  'in-use': (name) => `there are users in ${name}: move them with 'sixway user group' first`,
  'no-such-group': (name) => `there is no group ${name}`,
  'no-such-user': () => 'there is no such user',
};

export function explainGroup(refusal: GroupRefusal, name: string): string {
  return REASONS[refusal](name);
}

export function addGroupCommands(program: Command): void {
  const group = program.command('group').description('groups: what holds for their users’ tunnels');
  const command = (words: string) =>
    addConfigOption(group.command(words)).option('--json', 'for machines');

  for (const [word, description, act, done] of [
    ['add', 'add a group; a tunnel may say otherwise for itself', addGroup, 'added'],
    ['set', 'change what holds for a group, at once', setGroup, 'changed'],
  ] as const) {
    addPolicyOptions(command(`${word} <name>`))
      .description(description)
      .action(async (name: string, flags: Flags) => {
        const change = policyChangeOf(flags);
        const { config } = configOf(flags);
        const result = await withStore(config, (store) =>
          act(store, name, change, Date.now(), { act: `group-${word}`, subject: `group:${name}` }),
        );
        if (!result.ok) fail(explainGroup(result.refusal, name));
        if (flags.json) printJson({ group: name, result: done });
        else console.log(`Group ${name} is ${done}`);
      });
  }

  command('remove <name>')
    .description('remove a group that nobody is in')
    .action(async (name: string, flags: Flags) => {
      const { config } = configOf(flags);
      const result = await withStore(config, (store) =>
        removeGroup(store, name, Date.now(), { act: 'group-remove', subject: `group:${name}` }),
      );
      if (!result.ok) fail(explainGroup(result.refusal, name));
      if (flags.json) printJson({ group: name, result: 'removed' });
      else console.log(`Group ${name} is removed`);
    });

  command('list')
    .description('all groups')
    .action(async (flags: Flags) => {
      const groups = await withStore(configOf(flags).config, (store) => store.groups());
      if (flags.json) {
        printJson(
          groups.map(({ name, users, policy }) => ({ name, users, ...policyJson(policy) })),
        );
        return;
      }
      printTable(
        ['name', 'users', 'mtu', 'rate in', 'rate out', 'ports'],
        groups.map(({ name, users, policy: { mtu, inBitsPerSecond, outBitsPerSecond, ports } }) => [
          name,
          users,
          mtu,
          inBitsPerSecond === undefined ? undefined : formatRate(inBitsPerSecond),
          outBitsPerSecond === undefined ? undefined : formatRate(outBitsPerSecond),
          ports,
        ]),
      );
    });
}
