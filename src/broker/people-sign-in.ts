// Showing who one is: password, second factor, sessions, API tokens. Wrong ones hold back an account at
// an address, and an address where many were tried, never an account everywhere: nobody can lock
// somebody else out.

import { formatIp } from '../address.ts';
import type { Person } from '../store/person.ts';
import type { WebSession } from '../store/web-sessions.ts';
import { Lockout } from './lockout.ts';
import { Budget } from './people-budget.ts';
import {
  auditOf,
  HOUR_MS,
  MINUTE_MS,
  type PeopleParts,
  parseEmail,
  type Visitor,
} from './people-parts.ts';
import { hashRecoveryCode, hashToken, isApiToken, isToken, makeToken } from './people-tokens.ts';
import { matchTotp } from './people-totp.ts';
import { unseal } from './sealing.ts';

export type SignInRefusal =
  /** The address is unknown, or the password or code is wrong: nobody outside can tell which. */
  | 'wrong'
  /** Too many wrong ones lately: nothing was looked at. */
  | 'held-back'
  /** The password was right. */
  | 'waiting-approval'
  | 'disabled';

export type SignInResult =
  | {
      readonly ok: true;
      /** For the cookie; told once. */
      readonly token: string;
      readonly stage: WebSession['stage'];
      readonly person: Person;
    }
  | { readonly ok: false; readonly refusal: SignInRefusal };

export interface SignedIn {
  readonly session: WebSession;
  readonly person: Person;
}

const SECOND_FACTOR_MS = 10 * MINUTE_MS;
/** Of a million codes three are right; where the person has signed in before there is no such limit. */
const WRONG_CODES = { max: 20, windowMs: HOUR_MS };
/** A session's last use is written once in so long. */
const TOUCH_MS = MINUTE_MS;
const MAX_USER_AGENT = 200;

export function totpContext(personId: number): string {
  return `totp:${personId}`;
}

export class SignInDesk {
  readonly #parts: PeopleParts;
  readonly #lockout = new Lockout();
  readonly #wrongCodes = new Budget(WRONG_CODES.max, WRONG_CODES.windowMs);

  constructor(parts: PeopleParts) {
    this.#parts = parts;
  }

  /** Rejects with PasswordsBusy. */
  async signIn(emailText: string, password: string, visitor: Visitor): Promise<SignInResult> {
    const { store, passwords, clock } = this.#parts;
    const email = parseEmail(emailText) ?? '';
    const source = { address: visitor.address, port: 0 };
    const name = `password ${email}`;
    if (!this.#lockout.allows(name, source, clock())) return refuse('held-back');
    const person = await store.people.find({ email });
    const proofs = person && (await store.people.proofs(person.id));
    if (!(await passwords.matches(password, proofs?.passwordHash)) || !person) {
      this.#lockout.rejected(name, source, clock());
      return refuse('wrong');
    }
    this.#lockout.accepted(name, source, clock());
    if (person.state !== 'active') return refuse(person.state);
    if (proofs?.passwordHash !== undefined && passwords.isOutdated(proofs.passwordHash))
      await store.people.refreshPasswordHash(person.id, await passwords.hash(password), clock());
    const stage = person.totpEnabledAtMs === undefined ? 'signed-in' : 'second-factor';
    const token = await this.#begin(person, stage, undefined, visitor, 'sign-in');
    return { ok: true, token, stage, person };
  }

  /** Whether the password is the person's: asked again before what matters. */
  async confirmPassword(
    { person }: Pick<SignedIn, 'person'>,
    password: string,
    visitor: Visitor,
  ): Promise<'right' | 'wrong' | 'held-back'> {
    const { store, passwords, clock } = this.#parts;
    const source = { address: visitor.address, port: 0 };
    // Of its own: who has somebody's open browser has signed in from a trusted address.
    const name = `again ${person.id}`;
    if (!this.#lockout.allows(name, source, clock())) return 'held-back';
    const proofs = await store.people.proofs(person.id);
    if (await passwords.matches(password, proofs?.passwordHash)) return 'right';
    this.#lockout.rejected(name, source, clock());
    return 'wrong';
  }

  /** For somebody who has just proved their address and their password. */
  async signInVerified(person: Person, visitor: Visitor): Promise<string> {
    return this.#begin(person, 'signed-in', undefined, visitor, 'sign-in');
  }

  /** With a code of an app or a recovery code; the session is a new one, the old one is gone. */
  async secondFactor(
    { session, person }: SignedIn,
    code: string,
    visitor: Visitor,
  ): Promise<SignInResult> {
    const source = { address: visitor.address, port: 0 };
    const name = `code ${person.id}`;
    const nowMs = this.#parts.clock();
    const trusted = this.#lockout.trusts(name, source, nowMs);
    if (!this.#lockout.allows(name, source, nowMs)) return refuse('held-back');
    if (!trusted && !this.#wrongCodes.has(name, nowMs)) return refuse('held-back');
    if (!(await this.#codeIsRight(person, code, visitor))) {
      this.#lockout.rejected(name, source, nowMs);
      this.#wrongCodes.take(name, nowMs);
      return refuse('wrong');
    }
    this.#lockout.accepted(name, source, nowMs);
    const token = await this.#begin(person, 'signed-in', session.id, visitor, 'sign-in-two-factor');
    return { ok: true, token, stage: 'signed-in', person };
  }

  async #codeIsRight(person: Person, code: string, visitor: Visitor): Promise<boolean> {
    const { store, key, clock } = this.#parts;
    const sealed = (await store.people.proofs(person.id))?.sealedTotp;
    const secret = sealed === undefined ? undefined : unseal(key, sealed, totpContext(person.id));
    const step = secret && matchTotp(secret, code, clock());
    if (step !== undefined) return store.people.useTotpStep(person.id, step, clock());
    const recovery = hashRecoveryCode(key, person.id, code);
    if (recovery === undefined) return false;
    const audit = auditOf('recovery-code', person.id, visitor);
    return store.people.useRecoveryCode(person.id, recovery, audit, clock());
  }

  async #begin(
    person: Person,
    stage: WebSession['stage'],
    replaces: number | undefined,
    visitor: Visitor,
    act: string,
  ): Promise<string> {
    const { store, clock } = this.#parts;
    const token = makeToken();
    const nowMs = clock();
    await store.people.sessions.begin(
      {
        personId: person.id,
        tokenHash: hashToken(token),
        stage,
        address: formatIp(visitor.address),
        userAgent: visitor.userAgent.slice(0, MAX_USER_AGENT),
        expiresAtMs: stage === 'signed-in' ? this.#expiry(nowMs, nowMs) : nowMs + SECOND_FACTOR_MS,
        replaces,
      },
      auditOf(act, person.id, visitor),
      nowMs,
    );
    return token;
  }

  #expiry(createdAtMs: number, nowMs: number): number {
    const { sessionIdleMs, sessionMaxMs } = this.#parts.policy;
    return Math.min(createdAtMs + sessionMaxMs, nowMs + sessionIdleMs);
  }

  /** Whose cookie it is, at whichever stage; undefined: nobody's, or no longer. */
  async session(token: string): Promise<SignedIn | undefined> {
    if (!isToken(token)) return undefined;
    const { store, clock } = this.#parts;
    const nowMs = clock();
    const session = await store.people.sessions.find(hashToken(token), nowMs);
    if (!session) return undefined;
    const person = await store.people.find({ id: session.personId });
    if (person?.state !== 'active') return undefined;
    if (session.stage === 'signed-in' && session.lastUsedAtMs + TOUCH_MS <= nowMs)
      await store.people.sessions.touch(
        session.id,
        this.#expiry(session.createdAtMs, nowMs),
        nowMs,
      );
    return { session, person };
  }

  /** The person's sessions, the one used last first. */
  async sessions(personId: number): Promise<readonly WebSession[]> {
    return this.#parts.store.people.sessions.of(personId, this.#parts.clock());
  }

  async endSession(personId: number, sessionId: number, visitor: Visitor): Promise<boolean> {
    return (await this.#end(personId, { id: sessionId }, 'sign-out', visitor)) > 0;
  }

  /** Answers how many there were. */
  async endOtherSessions({ session, person }: SignedIn, visitor: Visitor): Promise<number> {
    return this.#end(person.id, { keep: session.id }, 'sign-out-others', visitor);
  }

  async #end(
    personId: number,
    which: { readonly id: number } | { readonly keep: number },
    act: string,
    visitor: Visitor,
  ): Promise<number> {
    const { store, clock } = this.#parts;
    const audit = auditOf(act, personId, visitor);
    return store.people.sessions.end(personId, which, audit, clock());
  }

  /** Who a program speaks for, and what it may; undefined: there is no such token. */
  async apiToken(
    token: string,
  ): Promise<{ readonly person: Person; readonly scopes: readonly string[] } | undefined> {
    if (!isApiToken(token)) return undefined;
    const { store, clock } = this.#parts;
    const nowMs = clock();
    const found = await store.people.tokens.find(hashToken(token), nowMs);
    if (!found) return undefined;
    const person = await store.people.find({ id: found.personId });
    if (person?.state !== 'active') return undefined;
    if ((found.lastUsedAtMs ?? 0) + TOUCH_MS <= nowMs)
      await store.people.tokens.touch(found.id, nowMs);
    return { person, scopes: found.scopes };
  }
}

function refuse(refusal: SignInRefusal): SignInResult {
  return { ok: false, refusal };
}
