// `sixway user …`: who may log in.

import type { Command } from 'commander';
import type { AccountRefusal, Accounts } from '../broker/accounts.ts';
import { moveToGroup, NO_GROUP } from '../broker/groups.ts';
import { openAccounts, withStore } from '../parts.ts';
import { addConfigOption, configOf } from './config-option.ts';
import { explainGroup } from './groups.ts';
import { readSecret } from './input.ts';
import { fail, isoTime, printJson, printTable } from './output.ts';

interface Flags {
  config?: string;
  json?: boolean;
  secretFile?: string;
  ask?: boolean;
  proxy?: boolean;
}

const PAGE = 1000;

const REASONS: Readonly<Record<AccountRefusal, (name: string) => string>> = {
  'name-invalid': () =>
    'a user name has 1 to 64 octets and no colon, comma, double quote or control character',
  'name-taken': (name) => `there is a user ${name} already`,
  'secret-invalid': () => 'a secret has 1 to 255 octets and no control characters',
  'no-such-user': (name) => `there is no user ${name}`,
  'wrong-key': () => 'the key file is not the one that the secrets are sealed with',
};

export function explainAccount(refusal: AccountRefusal, name: string): string {
  return REASONS[refusal](name);
}

function refuse(refusal: AccountRefusal, name: string): never {
  fail(explainAccount(refusal, name));
}

function withAccounts<T>(flags: Flags, work: (accounts: Accounts) => Promise<T>): Promise<T> {
  const { config } = configOf(flags);
  return withStore(config, async (store) => work(await openAccounts(config, store)));
}

export function addUserCommands(program: Command): void {
  const user = program.command('user').description('users: who may log in');
  const command = (words: string) =>
    addConfigOption(user.command(words)).option('--json', 'for machines');
  const withSecret = (made: Command) =>
    made
      .option('--secret-file <file>', 'take the secret from a file, - for standard input')
      .option('--ask', 'ask for the secret instead of making one');

  withSecret(command('add <name>'))
    .description('add a user; prints the secret, which is not kept')
    .action(async (name: string, flags: Flags) => {
      const given = await givenSecret(name, flags);
      const result = await withAccounts(flags, (accounts) => accounts.add(name, given));
      if (!result.ok) refuse(result.refusal, name);
      tellSecret(`Added ${name}`, name, result.secret, given !== undefined, flags);
    });

  withSecret(command('passwd <name>'))
    .description('give a user another secret')
    .action(async (name: string, flags: Flags) => {
      const given = await givenSecret(name, flags);
      const result = await withAccounts(flags, (accounts) => accounts.setSecret(name, given));
      if (!result.ok) refuse(result.refusal, name);
      tellSecret(`Changed the secret of ${name}`, name, result.secret, given !== undefined, flags);
    });

  for (const [words, description, act, done] of [
    [
      'disable',
      'end a user’s traffic and refuse logins; the prefix is kept',
      'disable',
      'disabled',
    ],
    ['enable', 'let a disabled user log in again', 'enable', 'enabled'],
    ['remove', 'remove a user; link and prefix go back to their pools', 'remove', 'removed'],
  ] as const) {
    command(`${words} <name>`)
      .description(description)
      .action(async (name: string, flags: Flags) => {
        const result = await withAccounts(flags, (accounts) => accounts[act](name));
        if (!result.ok) refuse(result.refusal, name);
        if (flags.json) printJson({ user: name, result: done });
        else console.log(`${name} is ${done}`);
      });
  }

  command('trust <name>')
    .description('what a user may do beyond having a tunnel of their own')
    .option('--proxy', 'ask for tunnels to other machines’ addresses, unproved: for your own staff')
    .option('--no-proxy', 'only tunnels to where their own packets come from')
    .action(async (name: string, flags: Flags) => {
      const trusted = flags.proxy ?? fail('say --proxy or --no-proxy');
      const result = await withAccounts(flags, (accounts) => accounts.setProxyTrust(name, trusted));
      if (!result.ok) refuse(result.refusal, name);
      if (flags.json) printJson({ user: name, proxy: trusted });
      else console.log(`${name} is ${trusted ? '' : 'not '}trusted to set up others’ tunnels`);
    });

  command('group <name> <group>')
    .description(`put a user into a group, or into ${NO_GROUP}: its limits are the user’s then`)
    .action(async (name: string, group: string, flags: Flags) => {
      const { config } = configOf(flags);
      const result = await withStore(config, async (store) => {
        const user = await store.user(name);
        const audit = user && {
          act: 'user-group',
          subject: `user:${user.id}`,
          details: { to: group },
        };
        return moveToGroup(store, name, group, Date.now(), audit);
      });
      if (!result.ok)
        fail(
          result.refusal === 'no-such-user'
            ? REASONS['no-such-user'](name)
            : explainGroup(result.refusal, group),
        );
      if (flags.json) printJson({ user: name, group: group === NO_GROUP ? undefined : group });
      else console.log(group === NO_GROUP ? `${name} is in no group` : `${name} is in ${group}`);
    });

  command('list')
    .description('all users')
    .action(async (flags: Flags) => {
      const groups = await withStore(configOf(flags).config, (store) => store.groups());
      const groupNames = new Map(groups.map(({ id, name }) => [id, name]));
      const users = await withAccounts(flags, async (accounts) => {
        const all = [];
        for (let after = ''; ; ) {
          const page = await accounts.list(after, PAGE);
          all.push(...page);
          if (page.length < PAGE) return all;
          after = page.at(-1)?.name ?? '';
        }
      });
      const shown = users.map(({ name, disabledAtMs, proxyTrustedAtMs, groupId, createdAtMs }) => ({
        name,
        state: disabledAtMs === undefined ? 'enabled' : 'disabled',
        trusted: proxyTrustedAtMs === undefined ? undefined : 'proxy',
        group: groupId === undefined ? undefined : groupNames.get(groupId),
        created: isoTime(createdAtMs),
      }));
      if (flags.json) printJson(shown);
      else
        printTable(
          ['name', 'state', 'trusted', 'group', 'created'],
          shown.map((row) => Object.values(row)),
        );
    });
}

/** Undefined: one is to be made. */
async function givenSecret(name: string, flags: Flags): Promise<string | undefined> {
  if (flags.secretFile === undefined && !flags.ask) return undefined;
  return (
    (await readSecret(`Secret for ${name}: `, flags.secretFile)) ?? fail('no secret was given')
  );
}

function tellSecret(
  what: string,
  name: string,
  secret: string,
  given: boolean,
  flags: Flags,
): void {
  if (flags.json) printJson({ user: name, ...(!given && { secret }) });
  else if (given) console.log(what);
  else console.log(`${what}. The secret, shown only this once: ${secret}`);
}
