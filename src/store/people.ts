// People: who signs in to the portal. Each is at most one tunnel user, and a user at most one person.
// What they prove who they are with is opaque here: hashes, and what the broker sealed. Every writing
// method is one transaction, with its entry in the audit log and its mail.

import { sql } from 'kysely';
import { ApiTokens } from './api-tokens.ts';
import { type AuditEntry, AuditLog, appendAudit, forgetInAudit } from './audit-log.ts';
import type { Act } from './changes.ts';
import { Invitations } from './invitations.ts';
import { MailQueue, queueMail } from './mail-queue.ts';
import { OwnTunnels } from './own-tunnels.ts';
import type { StoreAccess } from './people-access.ts';
import type { EmailTokenPurpose, PersonState, Role } from './people-tables.ts';
import {
  type AddPersonRefusal,
  addPerson,
  type NewPerson,
  type Person,
  type PersonKey,
  personRows,
  readPerson,
  toPerson,
} from './person.ts';
import type { Reader } from './schema.ts';
import { SignUps } from './sign-ups.ts';
import { removeUser, setUserDisabled } from './users.ts';
import { WebSessions } from './web-sessions.ts';

/** What proves who somebody is. */
export interface Proofs {
  readonly passwordHash: string | undefined;
  readonly sealedTotp: string | undefined;
  readonly totpLastStep: number | undefined;
}

export interface EmailToken {
  readonly personId: number;
  readonly newEmail: string | undefined;
}

export interface NewEmailToken {
  readonly personId: number;
  readonly purpose: EmailTokenPurpose;
  readonly tokenHash: string;
  readonly newEmail: string | undefined;
  readonly expiresAtMs: number;
}

export class PeopleStore {
  readonly audit: AuditLog;
  readonly invitations: Invitations;
  readonly mails: MailQueue;
  readonly sessions: WebSessions;
  readonly signUps: SignUps;
  readonly tokens: ApiTokens;
  readonly tunnels: OwnTunnels;
  readonly #access: StoreAccess;

  constructor(access: StoreAccess) {
    this.#access = access;
    this.audit = new AuditLog(access);
    this.invitations = new Invitations(access);
    this.mails = new MailQueue(access);
    this.sessions = new WebSessions(access);
    this.signUps = new SignUps(access);
    this.tokens = new ApiTokens(access);
    this.tunnels = new OwnTunnels(access);
  }

  async find(key: PersonKey): Promise<Person | undefined> {
    return readPerson(this.#access.reading(), key);
  }

  /** The next `limit` people after the id. */
  async after(id: number, limit: number): Promise<readonly Person[]> {
    const rows = await personRows(this.#access.reading())
      .where('people.id', '>', id)
      .orderBy('people.id')
      .limit(limit)
      .execute();
    return rows.map(toPerson);
  }

  async proofs(personId: number): Promise<Proofs | undefined> {
    const row = await this.#access
      .reading()
      .selectFrom('people')
      .select(['password_hash', 'sealed_totp', 'totp_last_step'])
      .where('id', '=', personId)
      .executeTakeFirst();
    return (
      row && {
        passwordHash: row.password_hash ?? undefined,
        sealedTotp: row.sealed_totp ?? undefined,
        totpLastStep: row.totp_last_step ?? undefined,
      }
    );
  }

  async add(
    asked: NewPerson,
    audit: AuditEntry,
    nowMs: number,
  ): Promise<Person | AddPersonRefusal> {
    return this.#access.act(nowMs, async (act) => {
      const person = await addPerson(act, asked);
      if (typeof person === 'object') await appendAudit(act, audit);
      return person;
    });
  }

  /** Ends all sessions but `keepSession`, and all links that would set another password. */
  async setPassword(
    personId: number,
    passwordHash: string,
    keepSession: number | undefined,
    mail: string | undefined,
    audit: AuditEntry,
    nowMs: number,
  ): Promise<void> {
    await this.#access.act(nowMs, async (act) => {
      await act.tx
        .updateTable('people')
        .set({ password_hash: passwordHash })
        .where('id', '=', personId)
        .execute();
      await endSessions(act, personId, keepSession);
      await act.tx.deleteFrom('email_tokens').where('person_id', '=', personId).execute();
      await queueMail(act, mail);
      await appendAudit(act, audit);
    });
  }

  /** The same password, hashed with other parameters. */
  async refreshPasswordHash(personId: number, passwordHash: string, nowMs: number): Promise<void> {
    await this.#update(personId, { password_hash: passwordHash }, undefined, nowMs);
  }

  async setLanguage(personId: number, language: string, nowMs: number): Promise<void> {
    await this.#update(personId, { language }, undefined, nowMs);
  }

  /** The last administrator who can sign in stays one. */
  async setRole(
    personId: number,
    role: Role,
    audit: AuditEntry,
    nowMs: number,
  ): Promise<'done' | 'no-such-person' | 'last-administrator'> {
    return this.#access.act(nowMs, async (act) => {
      const person = await readPerson(act.tx, { id: personId });
      if (!person) return 'no-such-person';
      if (role !== 'administrator' && (await isLastAdministrator(act.tx, person)))
        return 'last-administrator';
      await act.tx.updateTable('people').set({ role }).where('id', '=', personId).execute();
      await appendAudit(act, audit);
      return 'done';
    });
  }

  /**
   * Who is not active is signed out, and the user's tunnels lose their clients. `mail`: tells the
   * person. The last administrator who can sign in stays so.
   */
  async setState(
    personId: number,
    state: PersonState,
    mail: string | undefined,
    audit: AuditEntry,
    nowMs: number,
  ): Promise<'done' | 'no-such-person' | 'last-administrator'> {
    return this.#access.act(nowMs, async (act) => {
      const person = await readPerson(act.tx, { id: personId });
      if (!person) return 'no-such-person';
      if (state !== 'active' && (await isLastAdministrator(act.tx, person)))
        return 'last-administrator';
      await act.tx.updateTable('people').set({ state }).where('id', '=', personId).execute();
      if (state !== 'active') await endSessions(act, personId, undefined);
      if (person.user) await setUserDisabled(act, person.user.id, state !== 'active');
      await queueMail(act, mail);
      await appendAudit(act, audit);
      return 'done';
    });
  }

  /** The person, their user, its tunnels, and all that is theirs. False: there is no such person. */
  async erase(personId: number, audit: AuditEntry, nowMs: number): Promise<boolean> {
    return this.#access.act(nowMs, async (act) => {
      const person = await readPerson(act.tx, { id: personId });
      if (!person) return false;
      await appendAudit(act, audit);
      await forgetInAudit(act, personId);
      await act.tx.deleteFrom('sign_ups').where('email', '=', person.email).execute();
      await act.tx.deleteFrom('people').where('id', '=', personId).execute();
      if (person.user) await removeUser(act, person.user.id);
      return true;
    });
  }

  // The second factor

  /** Sealed, and without effect until it is enabled. */
  async prepareTotp(personId: number, sealedTotp: string, nowMs: number): Promise<void> {
    await this.#access.act(nowMs, async ({ tx }) => {
      await tx
        .updateTable('people')
        .set({ sealed_totp: sealedTotp, totp_last_step: null })
        .where('id', '=', personId)
        .where('totp_enabled_at_ms', 'is', null)
        .execute();
    });
  }

  /** `step`: of the code that proved it; undefined `codeHashes`: the recovery codes stay. */
  async enableTotp(
    personId: number,
    step: number,
    codeHashes: readonly string[],
    mail: string | undefined,
    audit: AuditEntry,
    nowMs: number,
  ): Promise<void> {
    await this.#access.act(nowMs, async (act) => {
      await act.tx
        .updateTable('people')
        .set({ totp_enabled_at_ms: nowMs, totp_last_step: step })
        .where('id', '=', personId)
        .execute();
      await replaceRecoveryCodes(act, personId, codeHashes);
      await queueMail(act, mail);
      await appendAudit(act, audit);
    });
  }

  async disableTotp(
    personId: number,
    mail: string | undefined,
    audit: AuditEntry,
    nowMs: number,
  ): Promise<void> {
    await this.#access.act(nowMs, async (act) => {
      await act.tx
        .updateTable('people')
        .set({ sealed_totp: null, totp_enabled_at_ms: null, totp_last_step: null })
        .where('id', '=', personId)
        .execute();
      await replaceRecoveryCodes(act, personId, []);
      await queueMail(act, mail);
      await appendAudit(act, audit);
    });
  }

  /** False: a code of this step or a later one was used already. */
  async useTotpStep(personId: number, step: number, nowMs: number): Promise<boolean> {
    return this.#access.act(nowMs, async ({ tx }) => {
      const { numUpdatedRows } = await tx
        .updateTable('people')
        .set({ totp_last_step: step })
        .where('id', '=', personId)
        .where((where) =>
          where.or([where('totp_last_step', 'is', null), where('totp_last_step', '<', step)]),
        )
        .executeTakeFirst();
      return numUpdatedRows === 1n;
    });
  }

  /** Each works once. False: it is none of the person's. */
  async useRecoveryCode(
    personId: number,
    codeHash: string,
    audit: AuditEntry,
    nowMs: number,
  ): Promise<boolean> {
    return this.#access.act(nowMs, async (act) => {
      const { numDeletedRows } = await act.tx
        .deleteFrom('recovery_codes')
        .where('person_id', '=', personId)
        .where('code_hash', '=', codeHash)
        .executeTakeFirst();
      if (numDeletedRows === 1n) await appendAudit(act, audit);
      return numDeletedRows === 1n;
    });
  }

  async recoveryCodesLeft(personId: number): Promise<number> {
    const { count } = await this.#access
      .reading()
      .selectFrom('recovery_codes')
      .select((select) => select.fn.countAll<number>().as('count'))
      .where('person_id', '=', personId)
      .executeTakeFirstOrThrow();
    return count;
  }

  // Links in mails

  /** `too-many`: `max` were asked for since `sinceMs`; nothing is written then. */
  async addEmailToken(
    asked: NewEmailToken,
    mails: readonly string[],
    limit: { readonly max: number; readonly sinceMs: number },
    audit: AuditEntry | undefined,
    nowMs: number,
  ): Promise<'added' | 'too-many'> {
    return this.#access.act(nowMs, async (act) => {
      const { count } = await act.tx
        .selectFrom('email_tokens')
        .select((select) => select.fn.countAll<number>().as('count'))
        .where('person_id', '=', asked.personId)
        .where('purpose', '=', asked.purpose)
        .where('created_at_ms', '>', limit.sinceMs)
        .executeTakeFirstOrThrow();
      if (count >= limit.max) return 'too-many';
      await act.tx
        .insertInto('email_tokens')
        .values({
          person_id: asked.personId,
          purpose: asked.purpose,
          token_hash: asked.tokenHash,
          new_email: asked.newEmail ?? null,
          created_at_ms: nowMs,
          expires_at_ms: asked.expiresAtMs,
        })
        .execute();
      for (const mail of mails) await queueMail(act, mail);
      if (audit) await appendAudit(act, audit);
      return 'added';
    });
  }

  /** Looks without using it. */
  async emailToken(
    purpose: EmailTokenPurpose,
    tokenHash: string,
    nowMs: number,
  ): Promise<EmailToken | undefined> {
    return readEmailToken(this.#access.reading(), purpose, tokenHash, nowMs);
  }

  /** By a reset's token: sets the password, verifies the address, ends every session and link. */
  async resetPassword(
    tokenHash: string,
    passwordHash: string,
    mail: (person: Person) => string,
    address: string,
    nowMs: number,
  ): Promise<Person | undefined> {
    return this.#access.act(nowMs, async (act) => {
      const token = await readEmailToken(act.tx, 'reset', tokenHash, nowMs);
      const person = token && (await readPerson(act.tx, { id: token.personId }));
      if (!person) return undefined;
      await act.tx
        .updateTable('people')
        .set({ password_hash: passwordHash, email_verified_at_ms: nowMs })
        .where('id', '=', person.id)
        .execute();
      await act.tx.deleteFrom('email_tokens').where('person_id', '=', person.id).execute();
      await endSessions(act, person.id, undefined);
      await queueMail(act, mail(person));
      await appendAudit(act, { personId: person.id, act: 'password-reset', address });
      return person;
    });
  }

  /** By a change's token, for the person who is signed in and no other. */
  async changeEmail(
    personId: number,
    tokenHash: string,
    audit: AuditEntry,
    nowMs: number,
  ): Promise<'changed' | 'no-such-token' | 'email-taken'> {
    return this.#access.act(nowMs, async (act) => {
      const token = await readEmailToken(act.tx, 'change', tokenHash, nowMs);
      if (token?.newEmail === undefined || token.personId !== personId) return 'no-such-token';
      await act.tx.deleteFrom('email_tokens').where('token_hash', '=', tokenHash).execute();
      if (await readPerson(act.tx, { email: token.newEmail })) return 'email-taken';
      await act.tx
        .updateTable('people')
        .set({ email: token.newEmail, email_verified_at_ms: nowMs })
        .where('id', '=', personId)
        .execute();
      // A link to set the password that went to the address before must not work any more.
      await act.tx.deleteFrom('email_tokens').where('person_id', '=', personId).execute();
      await appendAudit(act, audit);
      return 'changed';
    });
  }

  /** What has expired and is of no use to anybody. */
  async prune(nowMs: number): Promise<void> {
    await this.#access.act(nowMs, async ({ tx }) => {
      for (const table of ['web_sessions', 'email_tokens', 'sign_ups'] as const)
        await tx.deleteFrom(table).where('expires_at_ms', '<=', nowMs).execute();
    });
  }

  async #update(
    personId: number,
    set: { language?: string; password_hash?: string },
    audit: AuditEntry | undefined,
    nowMs: number,
  ): Promise<void> {
    await this.#access.act(nowMs, async (act) => {
      await act.tx.updateTable('people').set(set).where('id', '=', personId).execute();
      if (audit) await appendAudit(act, audit);
    });
  }
}

async function isLastAdministrator(db: Reader, { id, role, state }: Person): Promise<boolean> {
  if (role !== 'administrator' || state !== 'active') return false;
  const other = await db
    .selectFrom('people')
    .select('id')
    // As the index of staff says it.
    .where(sql<boolean>`role <> 'user'`)
    .where('role', '=', 'administrator')
    .where('state', '=', 'active')
    .where('id', '!=', id)
    .limit(1)
    .executeTakeFirst();
  return other === undefined;
}

async function endSessions({ tx }: Act, personId: number, keep: number | undefined): Promise<void> {
  await tx
    .deleteFrom('web_sessions')
    .where('person_id', '=', personId)
    .where('id', '!=', keep ?? 0)
    .execute();
}

async function replaceRecoveryCodes({ tx }: Act, personId: number, hashes: readonly string[]) {
  await tx.deleteFrom('recovery_codes').where('person_id', '=', personId).execute();
  for (const code_hash of hashes)
    await tx.insertInto('recovery_codes').values({ person_id: personId, code_hash }).execute();
}

async function readEmailToken(
  db: Reader,
  purpose: EmailTokenPurpose,
  tokenHash: string,
  nowMs: number,
): Promise<EmailToken | undefined> {
  const row = await db
    .selectFrom('email_tokens')
    .select(['person_id', 'new_email'])
    .where('token_hash', '=', tokenHash)
    .where('purpose', '=', purpose)
    .where('expires_at_ms', '>', nowMs)
    .executeTakeFirst();
  return row && { personId: row.person_id, newEmail: row.new_email ?? undefined };
}
