// `sixway person …`: who signs in to the portal, for the first administrator and for when there is no
// page at hand.

import type { Command } from 'commander';
import type { People } from '../broker/people.ts';
import type { Person } from '../broker/people-parts.ts';
import { ROLES, type StaffRefusal, type StaffResult } from '../broker/people-staff.ts';
import { openPeople, openStore, realmOf } from '../parts.ts';
import { composeLetters } from '../web/letters.ts';
import { addConfigOption, configOf } from './config-option.ts';
import { readSecret } from './input.ts';
import { fail, isoTime, printJson, printTable } from './output.ts';

interface Flags {
  config?: string;
  json?: boolean;
  role?: string;
  user?: string;
  email?: string;
  passwordFile?: string;
}

const PAGE = 1000;

const REASONS: Readonly<Record<StaffRefusal | Exclude<StaffResult, 'done'>, string>> = {
  'email-invalid': 'this is not an e-mail address',
  'email-taken': 'there is a person with this e-mail address already',
  'name-invalid':
    'a user name has 1 to 64 octets and no colon, comma, double quote or control character',
  'name-taken': 'there is a user of this name already',
  'user-taken': 'this user has a person already',
  'no-such-person': 'there is no person with this e-mail address',
  'password-short': 'a password has 12 characters at least',
  'password-long': 'a password has 256 octets at most',
  'last-administrator': 'this is the last administrator: give somebody else the role first',
  'password-obvious': 'this password is easy to guess',
};

export function addPersonCommands(program: Command): void {
  const person = program.command('person').description('people: who may sign in to the portal');
  const command = (words: string) =>
    addConfigOption(person.command(words)).option('--json', 'for machines');
  const roles = ROLES.join(', ');

  command('add <email>')
    .description('add a person who needs no invitation, such as the first administrator')
    .option('--role <role>', roles, 'user')
    .option('--user <name>', 'their tunnel user, who exists or is made')
    .option('--password-file <file>', 'take the password from a file, - for standard input')
    .action(async (email: string, flags: Flags) => {
      const role = roleOf(flags);
      const password =
        (await readSecret(`Password for ${email}: `, flags.passwordFile)) ??
        fail('no password was given: --password-file, or invite them with `sixway person invite`');
      const { user: userName } = flags;
      const added = await withPeople(flags, ({ staff }) =>
        staff.add({ email, password, role, userName, language: undefined }, undefined),
      );
      if (typeof added === 'string') fail(REASONS[added]);
      if (flags.json) printJson({ email: added.email, role, result: 'added' });
      else console.log(`Added ${added.email} (${role})`);
    });

  command('invite')
    .description(
      'make a link by which somebody may sign up, whatever the policy; mailed if --email',
    )
    .option('--email <email>', 'only for whom it is')
    .option('--role <role>', roles, 'user')
    .option('--user <name>', 'a user who exists and has no person yet')
    .action(async (flags: Flags) => {
      const role = roleOf(flags);
      const { email, user: userName } = flags;
      const { config } = configOf(flags);
      const made = await withPeople(flags, ({ signUps }) =>
        signUps.invite({ email, role, userName, language: undefined }, undefined),
      );
      if (!made.ok)
        fail(made.refusal === 'no-such-user' ? 'there is no such user' : REASONS[made.refusal]);
      const link = `${portalUrl(config)}/invitation?code=${made.code}`;
      if (flags.json) printJson({ link, expires: isoTime(made.expiresAtMs) });
      else console.log(`Good until ${isoTime(made.expiresAtMs)}, and once: ${link}`);
    });

  for (const [word, description, act, done] of [
    ['approve', 'let somebody in who waits, or who was disabled', 'activate', 'active'],
    ['disable', 'sign somebody out, and end their tunnels’ traffic', 'disable', 'disabled'],
  ] as const) {
    command(`${word} <email>`)
      .description(description)
      .action(async (email: string, flags: Flags) => {
        await withPerson(flags, email, ({ staff }, found) => staff[act](found, undefined));
        if (flags.json) printJson({ email, result: done });
        else console.log(`${email} is ${done}`);
      });
  }

  command('role <email> <role>')
    .description(`give somebody a role: ${roles}`)
    .action(async (email: string, role: string, flags: Flags) => {
      const given = roleOf({ role });
      await withPerson(flags, email, ({ staff }, found) => staff.setRole(found, given, undefined));
      if (flags.json) printJson({ email, role: given });
      else console.log(`${email} is ${given}`);
    });

  command('list')
    .description('all people')
    .action(async (flags: Flags) => {
      const people = await withPeople(flags, ({ staff }) => all(staff));
      const shown = people.map((each) => ({
        email: each.email,
        user: each.user?.name,
        role: each.role,
        state: each.state,
        twoFactor: each.totpEnabledAtMs === undefined ? 'off' : 'on',
        created: isoTime(each.createdAtMs),
      }));
      if (flags.json) printJson(shown);
      else
        printTable(
          ['email', 'user', 'role', 'state', 'two-factor', 'created'],
          shown.map((row) => Object.values(row)),
        );
    });
}

async function all(staff: People['staff']): Promise<readonly Person[]> {
  const people: Person[] = [];
  for (let afterId = 0; ; ) {
    const page = await staff.list(afterId, PAGE);
    people.push(...page);
    if (page.length < PAGE) return people;
    afterId = page.at(-1)?.id ?? 0;
  }
}

function roleOf({ role }: Flags) {
  return ROLES.find((each) => each === role) ?? fail(`a role is one of ${ROLES.join(', ')}`);
}

function portalUrl({ web }: ReturnType<typeof configOf>['config']): string {
  return web.url === '' ? `http://${web.listen}` : web.url;
}

/** Mails that come of it are carried by the portal's process. */
async function withPeople<T>(flags: Flags, work: (people: People) => Promise<T>): Promise<T> {
  const { config } = configOf(flags);
  const store = await openStore(config);
  try {
    const { contact, language, serviceName } = config.web;
    const name = serviceName === '' ? await realmOf(config, store) : serviceName;
    const compose = composeLetters({ name, contact, language, url: portalUrl(config) });
    return await work(await openPeople(config, store, compose));
  } finally {
    await store.close();
  }
}

async function withPerson(
  flags: Flags,
  email: string,
  work: (people: People, person: Person) => Promise<StaffResult>,
): Promise<void> {
  await withPeople(flags, async (people) => {
    const found = (await people.staff.find(email)) ?? fail(REASONS['no-such-person']);
    const result = await work(people, found);
    if (result !== 'done') fail(REASONS[result]);
  });
}
