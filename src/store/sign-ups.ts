// Sign-ups whose address waits to be verified. They take neither the address nor the user name: both
// go to whoever is verified first, so that nobody can sit on somebody else's, and nobody outside can
// find out what is taken by asking for it.

import { appendAudit } from './audit-log.ts';
import { readInvitation, spendInvitation } from './invitations.ts';
import { queueMail } from './mail-queue.ts';
import type { StoreAccess } from './people-access.ts';
import type { PersonState } from './people-tables.ts';
import { type AddPersonRefusal, addPerson, type Person } from './person.ts';
import type { Reader } from './schema.ts';
import type { SealedSecret } from './users.ts';

export interface SignUp {
  readonly email: string;
  /** Empty: no tunnel user. */
  readonly userName: string;
  readonly passwordHash: string;
  readonly language: string | undefined;
  readonly invitationId: number | undefined;
}

export interface NewSignUp extends SignUp {
  readonly tokenHash: string;
  readonly expiresAtMs: number;
}

export interface Confirmation {
  readonly tokenHash: string;
  /** May be another one than was asked for first. */
  readonly userName: string;
  /** For the user that is made; unused when there is none to make. */
  readonly secret: SealedSecret;
  /** Of people who come without an invitation. */
  readonly state: PersonState;
  readonly address: string;
}

export type ConfirmRefusal = AddPersonRefusal | 'no-such-token' | 'no-such-invitation';

export class SignUps {
  readonly #access: StoreAccess;

  constructor(access: StoreAccess) {
    this.#access = access;
  }

  /** `too-many`: `max` for this address since `sinceMs`; then neither row nor mail is written. */
  async add(
    asked: NewSignUp,
    mail: string,
    limit: { readonly max: number; readonly sinceMs: number },
    nowMs: number,
  ): Promise<'added' | 'too-many'> {
    return this.#access.act(nowMs, async (act) => {
      const { count } = await act.tx
        .selectFrom('sign_ups')
        .select((select) => select.fn.countAll<number>().as('count'))
        .where('email', '=', asked.email)
        .where('created_at_ms', '>', limit.sinceMs)
        .executeTakeFirstOrThrow();
      if (count >= limit.max) return 'too-many';
      await act.tx
        .insertInto('sign_ups')
        .values({
          email: asked.email,
          user_name: asked.userName,
          password_hash: asked.passwordHash,
          language: asked.language ?? null,
          invitation_id: asked.invitationId ?? null,
          token_hash: asked.tokenHash,
          created_at_ms: nowMs,
          expires_at_ms: asked.expiresAtMs,
        })
        .execute();
      await queueMail(act, mail);
      return 'added';
    });
  }

  async find(tokenHash: string, nowMs: number): Promise<SignUp | undefined> {
    return readSignUp(this.#access.reading(), tokenHash, nowMs);
  }

  /** Makes the person, with the user unless the invitation is for one; a refusal writes nothing. */
  async confirm(asked: Confirmation, nowMs: number): Promise<Person | ConfirmRefusal> {
    return this.#access.act(nowMs, async (act) => {
      const { tx } = act;
      const signUp = await readSignUp(tx, asked.tokenHash, nowMs);
      if (!signUp) return 'no-such-token';
      const { email, passwordHash, language, invitationId } = signUp;
      const invitation =
        invitationId === undefined
          ? undefined
          : await readInvitation(tx, { id: invitationId }, nowMs);
      if (invitationId !== undefined && !invitation) return 'no-such-invitation';
      const { userName: name, secret } = asked;
      const person = await addPerson(act, {
        email,
        emailVerified: true,
        passwordHash,
        role: invitation?.role ?? 'user',
        state: invitation ? 'active' : asked.state,
        language,
        user: invitation?.user ?? (name === '' ? undefined : { name, secret }),
      });
      if (typeof person === 'string') return person;
      if (invitation) await spendInvitation(act, invitation.id, person.id);
      await tx.deleteFrom('sign_ups').where('email', '=', email).execute();
      await appendAudit(act, { personId: person.id, act: 'sign-up', address: asked.address });
      return person;
    });
  }
}

async function readSignUp(
  db: Reader,
  tokenHash: string,
  nowMs: number,
): Promise<SignUp | undefined> {
  const row = await db
    .selectFrom('sign_ups')
    .selectAll()
    .where('token_hash', '=', tokenHash)
    .where('expires_at_ms', '>', nowMs)
    .executeTakeFirst();
  return (
    row && {
      email: row.email,
      userName: row.user_name,
      passwordHash: row.password_hash,
      language: row.language ?? undefined,
      invitationId: row.invitation_id ?? undefined,
    }
  );
}
