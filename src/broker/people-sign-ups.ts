// Becoming somebody: the sign-up policy, invitations, and the link in a mail that proves an address.
// Whether an address is known is told to its owner only; whether a user name is taken is no secret.

import type { Invitation } from '../store/invitations.ts';
import type { Role } from '../store/people-tables.ts';
import type { Person } from '../store/person.ts';
import type { ConfirmRefusal } from '../store/sign-ups.ts';
import { isUserName } from './accounts.ts';
import { Budget } from './people-budget.ts';
import {
  auditOf,
  DAY_MS,
  evenly,
  HOUR_MS,
  letterTo,
  type PeopleParts,
  parseEmail,
  placeOf,
  type SignUpPolicy,
  type Visitor,
} from './people-parts.ts';
import { judgePassword, type PasswordRefusal } from './people-passwords.ts';
import { hashToken, isToken, makeToken } from './people-tokens.ts';

export interface SignUpRequest {
  readonly email: string;
  /** May be empty for staff, who then have no tunnels. */
  readonly userName: string;
  readonly password: string;
  /** An invitation's; undefined: came without one. */
  readonly code: string | undefined;
}

export type SignUpRefusal =
  | PasswordRefusal
  | 'closed'
  | 'domain-not-allowed'
  | 'email-invalid'
  /** The invitation is for somebody else. */
  | 'email-not-invited'
  | 'name-invalid'
  | 'name-taken'
  | 'no-such-invitation'
  /** From this network, lately. */
  | 'too-many';

export type Invited = Pick<Invitation, 'email' | 'role' | 'user' | 'expiresAtMs'>;

const VERIFY_MS = DAY_MS;
const INVITATION_MS = 14 * DAY_MS;
/** Mails to one address: nobody's letter box is filled by typing their address here. */
const MAILS = { max: 3, windowMs: HOUR_MS };
/** A carrier-grade NAT has many behind it, and a lecture hall too. */
const SIGN_UPS_EACH_PLACE = { max: 30, windowMs: HOUR_MS };
/** Guesses at the password of one sign-up's link. */
const GUESSES = { max: 10, windowMs: HOUR_MS };

export class SignUpDesk {
  readonly #parts: PeopleParts;
  readonly #mails = new Budget(MAILS.max, MAILS.windowMs);
  readonly #places = new Budget(SIGN_UPS_EACH_PLACE.max, SIGN_UPS_EACH_PLACE.windowMs);
  readonly #guesses = new Budget(GUESSES.max, GUESSES.windowMs);

  constructor(parts: PeopleParts) {
    this.#parts = parts;
  }

  get policy(): SignUpPolicy {
    return this.#parts.policy.signUp;
  }

  /**
   * Undefined: a mail is on its way, to whoever has the address: a link for a stranger, a notice for
   * who has an account already.
   */
  async signUp(asked: SignUpRequest, visitor: Visitor): Promise<SignUpRefusal | undefined> {
    return evenly(this.#parts, () => this.#signUp(asked, visitor));
  }

  async #signUp(asked: SignUpRequest, visitor: Visitor): Promise<SignUpRefusal | undefined> {
    const { store, passwords, clock } = this.#parts;
    const invitation =
      asked.code === undefined || asked.code === '' ? undefined : await this.#find(asked.code);
    if (asked.code && !invitation) return 'no-such-invitation';
    const email = parseEmail(asked.email);
    if (email === undefined) return 'email-invalid';
    const refusal = this.#mayCome(email, invitation);
    if (refusal) return refusal;
    const userName = invitation?.user?.name ?? asked.userName.trim();
    const isStaff = invitation !== undefined && invitation.role !== 'user';
    if (!invitation?.user && !(isStaff && userName === '')) {
      if (!isUserName(userName)) return 'name-invalid';
      if (await store.user(userName)) return 'name-taken';
    }
    const judged = judgePassword(asked.password, [email, email.split('@')[0] ?? '', userName]);
    if (judged) return judged;
    const nowMs = clock();
    if (!this.#places.take(placeOf(visitor.address), nowMs)) return 'too-many';
    // From here on everything is the same for a known address and an unknown one.
    const passwordHash = await passwords.hash(asked.password);
    const known = await store.people.find({ email });
    if (!this.#mails.take(email, nowMs)) return undefined;
    if (known) {
      const mail = letterTo(this.#parts, email, known.language, { type: 'already-known' });
      await store.people.mails.add(mail, nowMs);
      return undefined;
    }
    const token = makeToken();
    await store.people.signUps.add(
      {
        email,
        userName,
        passwordHash,
        language: visitor.language,
        invitationId: invitation?.id,
        tokenHash: hashToken(token),
        expiresAtMs: nowMs + VERIFY_MS,
      },
      letterTo(this.#parts, email, visitor.language, { type: 'verify', token, userName }),
      { max: MAILS.max, sinceMs: nowMs - MAILS.windowMs },
      nowMs,
    );
    return undefined;
  }

  #mayCome(email: string, invitation: Invitation | undefined): SignUpRefusal | undefined {
    if (invitation)
      return invitation.email === undefined || invitation.email === email
        ? undefined
        : 'email-not-invited';
    const { signUp, domains } = this.#parts.policy;
    if (signUp === 'closed' || signUp === 'invitation') return 'closed';
    const domain = email.slice(email.indexOf('@') + 1);
    return signUp === 'domains' && !domains.includes(domain) ? 'domain-not-allowed' : undefined;
  }

  /** What a link in a mail leads to, without using it. */
  async pending(token: string): Promise<{ email: string; userName: string } | undefined> {
    if (!isToken(token)) return undefined;
    const found = await this.#parts.store.people.signUps.find(
      hashToken(token),
      this.#parts.clock(),
    );
    return found && { email: found.email, userName: found.userName };
  }

  /**
   * Makes the person. The password is asked for again: otherwise somebody could sign up with
   * another's address and wait for the owner to confirm it. `userName`: when the first one was
   * taken meanwhile. The person may have to wait for approval.
   */
  async confirm(
    token: string,
    password: string,
    userName: string | undefined,
    visitor: Visitor,
  ): Promise<Person | ConfirmRefusal | 'password-wrong' | 'name-invalid'> {
    const { store, accounts, passwords, policy, clock } = this.#parts;
    const tokenHash = hashToken(token);
    const found = isToken(token) ? await store.people.signUps.find(tokenHash, clock()) : undefined;
    if (!found) return 'no-such-token';
    if (!this.#guesses.take(tokenHash, clock())) return 'password-wrong';
    if (!(await passwords.matches(password, found.passwordHash))) return 'password-wrong';
    const name = userName?.trim() ?? found.userName;
    if (found.userName !== '' && !isUserName(name)) return 'name-invalid';
    return store.people.signUps.confirm(
      {
        tokenHash,
        userName: name,
        // Told to nobody: the person has one made when they want to see it.
        secret: accounts.sealMadeSecret(name),
        state: policy.signUp === 'approval' ? 'waiting-approval' : 'active',
        address: auditOf('', undefined, visitor).address ?? '',
      },
      clock(),
    );
  }

  /** Undefined: there is no such invitation, or it was used or has expired. */
  async invitation(code: string): Promise<Invited | undefined> {
    return this.#find(code);
  }

  async #find(code: string): Promise<Invitation | undefined> {
    if (!isToken(code)) return undefined;
    return this.#parts.store.people.invitations.find(hashToken(code), this.#parts.clock());
  }

  /**
   * `email`: only for whom it is, and sent there. `userName`: a user who exists and has no person
   * yet. `by`: undefined for the command line. Answers the code, told once.
   */
  async invite(
    asked: {
      readonly email: string | undefined;
      readonly role: Role;
      readonly userName: string | undefined;
      readonly language: string | undefined;
    },
    by: { readonly personId: number; readonly visitor: Visitor } | undefined,
  ): Promise<
    | { readonly ok: true; readonly code: string; readonly expiresAtMs: number }
    | { readonly ok: false; readonly refusal: 'email-invalid' | 'no-such-user' | 'user-taken' }
  > {
    const { store, clock } = this.#parts;
    const email = asked.email === undefined ? undefined : parseEmail(asked.email);
    if (asked.email !== undefined && email === undefined)
      return { ok: false, refusal: 'email-invalid' };
    const user = asked.userName === undefined ? undefined : await store.user(asked.userName);
    if (asked.userName !== undefined && !user) return { ok: false, refusal: 'no-such-user' };
    if (user && (await store.people.find({ userId: user.id })))
      return { ok: false, refusal: 'user-taken' };
    const code = makeToken();
    const nowMs = clock();
    const expiresAtMs = nowMs + INVITATION_MS;
    await store.people.invitations.add(
      {
        codeHash: hashToken(code),
        email,
        role: asked.role,
        userId: user?.id,
        invitedBy: by?.personId,
        expiresAtMs,
      },
      email && letterTo(this.#parts, email, asked.language, { type: 'invitation', code }),
      auditOf('invite', by?.personId, by?.visitor, { details: { role: asked.role } }),
      nowMs,
    );
    return { ok: true, code, expiresAtMs };
  }
}
