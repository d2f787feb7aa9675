// One person's row with their tunnel user, read and added inside other acts.

import type { Act } from './changes.ts';
import type { PersonState, Role } from './people-tables.ts';
import type { Reader } from './schema.ts';
import { insertUser, type SealedSecret, setUserDisabled } from './users.ts';

export interface Person {
  readonly id: number;
  /** The tunnel user; undefined: has no tunnels. */
  readonly user:
    | { readonly id: number; readonly name: string; readonly disabled: boolean }
    | undefined;
  readonly email: string;
  readonly emailVerifiedAtMs: number | undefined;
  readonly role: Role;
  readonly state: PersonState;
  readonly language: string | undefined;
  /** Undefined: the password is enough. */
  readonly totpEnabledAtMs: number | undefined;
  readonly createdAtMs: number;
  readonly lastSignInAtMs: number | undefined;
}

export type PersonKey =
  | { readonly id: number }
  | { readonly email: string }
  | { readonly userId: number };

export interface NewPerson {
  readonly email: string;
  readonly emailVerified: boolean;
  readonly passwordHash: string | undefined;
  readonly role: Role;
  readonly state: PersonState;
  readonly language: string | undefined;
  /** A user who exists, or one to be made with the person; undefined: none. */
  readonly user:
    | { readonly id: number }
    | { readonly name: string; readonly secret: SealedSecret }
    | undefined;
}

export type AddPersonRefusal = 'email-taken' | 'name-taken' | 'user-taken';

/** A refusal has written nothing. */
export async function addPerson(act: Act, asked: NewPerson): Promise<Person | AddPersonRefusal> {
  const { tx, nowMs } = act;
  if (await readPerson(tx, { email: asked.email })) return 'email-taken';
  let userId: number | undefined;
  if (asked.user && 'id' in asked.user) {
    userId = asked.user.id;
    if (await readPerson(tx, { userId })) return 'user-taken';
    if (asked.state !== 'active') await setUserDisabled(act, userId, true);
  } else if (asked.user) {
    const { name, secret } = asked.user;
    const user = await insertUser(act, name, secret, asked.state !== 'active');
    if (user === 'name-taken') return user;
    userId = user.id;
  }
  const { id } = await tx
    .insertInto('people')
    .values({
      user_id: userId ?? null,
      email: asked.email,
      email_verified_at_ms: asked.emailVerified ? nowMs : null,
      password_hash: asked.passwordHash ?? null,
      role: asked.role,
      state: asked.state,
      language: asked.language ?? null,
      created_at_ms: nowMs,
    })
    .returning('id')
    .executeTakeFirstOrThrow();
  return (await readPerson(tx, { id }))!;
}

export async function readPerson(db: Reader, key: PersonKey): Promise<Person | undefined> {
  const rows = personRows(db);
  const row = await ('id' in key
    ? rows.where('people.id', '=', key.id)
    : 'email' in key
      ? rows.where('people.email', '=', key.email)
      : rows.where('people.user_id', '=', key.userId)
  ).executeTakeFirst();
  return row && toPerson(row);
}

export function personRows(db: Reader) {
  return db
    .selectFrom('people')
    .leftJoin('users', 'users.id', 'people.user_id')
    .select([
      'people.id',
      'people.user_id',
      'users.name as user_name',
      'users.disabled_at_ms as user_disabled_at_ms',
      'people.email',
      'people.email_verified_at_ms',
      'people.role',
      'people.state',
      'people.language',
      'people.totp_enabled_at_ms',
      'people.created_at_ms',
      'people.last_sign_in_at_ms',
    ]);
}

export function toPerson(row: {
  id: number;
  user_id: number | null;
  user_name: string | null;
  user_disabled_at_ms: number | null;
  email: string;
  email_verified_at_ms: number | null;
  role: Role;
  state: PersonState;
  language: string | null;
  totp_enabled_at_ms: number | null;
  created_at_ms: number;
  last_sign_in_at_ms: number | null;
}): Person {
  return {
    id: row.id,
    user:
      row.user_id === null
        ? undefined
        : {
            id: row.user_id,
            name: row.user_name ?? '',
            disabled: row.user_disabled_at_ms !== null,
          },
    email: row.email,
    emailVerifiedAtMs: row.email_verified_at_ms ?? undefined,
    role: row.role,
    state: row.state,
    language: row.language ?? undefined,
    totpEnabledAtMs: row.totp_enabled_at_ms ?? undefined,
    createdAtMs: row.created_at_ms,
    lastSignInAtMs: row.last_sign_in_at_ms ?? undefined,
  };
}
