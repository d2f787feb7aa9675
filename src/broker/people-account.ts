// What people change about themselves: password, address, language, second factor, API tokens, and that
// they are here at all. Whoever does something that matters has given the password again before.

import { randomBytes } from 'node:crypto';
import { formatIp, formatIpv6, formatIpv6Prefix } from '../address.ts';
import type { ApiToken } from '../store/api-tokens.ts';
import type { Person } from '../store/person.ts';
import type { Tunnel } from '../store/tunnels.ts';
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
  type Visitor,
} from './people-parts.ts';
import { judgePassword, type PasswordRefusal } from './people-passwords.ts';
import { type SignedIn, totpContext } from './people-sign-in.ts';
import {
  hashRecoveryCode,
  hashToken,
  isToken,
  makeApiToken,
  makeRecoveryCodes,
  makeToken,
} from './people-tokens.ts';
import { base32, matchTotp, TOTP_SECRET_OCTETS, totpUri } from './people-totp.ts';
import { seal, unseal } from './sealing.ts';

/** What a token may be for. */
export const SCOPES = [
  'account:read',
  'account:write',
  'tunnels:read',
  'tunnels:write',
  /** Only where a tunnel leads: for routers. */
  'tunnels:endpoint',
  /** What the owner's role as staff lets them read, and do. */
  'admin:read',
  'admin:write',
] as const;
export type Scope = (typeof SCOPES)[number];

const RESET_MS = HOUR_MS;
const CHANGE_MS = DAY_MS;
const MAILS = { max: 3, windowMs: HOUR_MS };
const RESETS_EACH_PLACE = { max: 30, windowMs: HOUR_MS };
const MAX_TOKENS = 50;
const MAX_TOKEN_NAME = 100;
const AUDIT_EXPORTED = 1000;

export class AccountDesk {
  readonly #parts: PeopleParts;
  readonly #places = new Budget(RESETS_EACH_PLACE.max, RESETS_EACH_PLACE.windowMs);

  constructor(parts: PeopleParts) {
    this.#parts = parts;
  }

  get #people() {
    return this.#parts.store.people;
  }

  // The password

  async changePassword(
    { session, person }: SignedIn,
    password: string,
    visitor: Visitor,
  ): Promise<PasswordRefusal | undefined> {
    const judged = judgePassword(password, namesOf(person));
    if (judged) return judged;
    await this.#people.setPassword(
      person.id,
      await this.#parts.passwords.hash(password),
      session.id,
      this.#letter(person, { type: 'password-changed' }),
      auditOf('password-change', person.id, visitor),
      this.#parts.clock(),
    );
    return undefined;
  }

  /** The answer is the same whether there is such a person. */
  async askForReset(emailText: string, visitor: Visitor): Promise<'sent' | 'too-many'> {
    return evenly(this.#parts, async () => {
      const { clock } = this.#parts;
      const nowMs = clock();
      if (!this.#places.take(placeOf(visitor.address), nowMs)) return 'too-many';
      const email = parseEmail(emailText);
      const person = email === undefined ? undefined : await this.#people.find({ email });
      if (!person || person.state === 'disabled') return 'sent';
      const token = makeToken();
      await this.#people.addEmailToken(
        {
          personId: person.id,
          purpose: 'reset',
          tokenHash: hashToken(token),
          newEmail: undefined,
          expiresAtMs: nowMs + RESET_MS,
        },
        [this.#letter(person, { type: 'reset', token })],
        { max: MAILS.max, sinceMs: nowMs - MAILS.windowMs },
        undefined,
        nowMs,
      );
      return 'sent';
    });
  }

  /** Whose password a link sets, without using it; undefined: it cannot be used. */
  async resetOf(token: string): Promise<Person | undefined> {
    if (!isToken(token)) return undefined;
    const { clock } = this.#parts;
    const found = await this.#people.emailToken('reset', hashToken(token), clock());
    return found && this.#people.find({ id: found.personId });
  }

  /** Ends every session. The second factor stays. */
  async reset(
    token: string,
    password: string,
    visitor: Visitor,
  ): Promise<PasswordRefusal | 'no-such-token' | undefined> {
    const { clock, passwords } = this.#parts;
    const person = await this.resetOf(token);
    if (!person) return 'no-such-token';
    const judged = judgePassword(password, namesOf(person));
    if (judged) return judged;
    const done = await this.#people.resetPassword(
      hashToken(token),
      await passwords.hash(password),
      (whose) => this.#letter(whose, { type: 'password-changed' }),
      formatIp(visitor.address),
      clock(),
    );
    return done ? undefined : 'no-such-token';
  }

  // The address

  /** A link goes to the address that is to be, and a notice to the one so far. */
  async askForEmailChange(
    person: Person,
    emailText: string,
    visitor: Visitor,
  ): Promise<'sent' | 'email-invalid' | 'too-many'> {
    return evenly(this.#parts, async () => {
      const email = parseEmail(emailText);
      if (email === undefined || email === person.email) return 'email-invalid';
      const { clock } = this.#parts;
      const nowMs = clock();
      const known = await this.#people.find({ email });
      const token = makeToken();
      const result = await this.#people.addEmailToken(
        {
          personId: person.id,
          purpose: 'change',
          tokenHash: hashToken(token),
          newEmail: email,
          expiresAtMs: nowMs + CHANGE_MS,
        },
        [
          known
            ? this.#letter(known, { type: 'already-known' })
            : letterTo(this.#parts, email, person.language, { type: 'change-email', token }),
          this.#letter(person, { type: 'email-changing', newEmail: email }),
        ],
        { max: MAILS.max, sinceMs: nowMs - MAILS.windowMs },
        auditOf('email-change-asked', person.id, visitor),
        nowMs,
      );
      return result === 'added' ? 'sent' : result;
    });
  }

  /** The address that the link is for; undefined: it cannot be used, or not by this person. */
  async emailChange(person: Person, token: string): Promise<string | undefined> {
    if (!isToken(token)) return undefined;
    const found = await this.#people.emailToken('change', hashToken(token), this.#parts.clock());
    return found?.personId === person.id ? found.newEmail : undefined;
  }

  async changeEmail(person: Person, token: string, visitor: Visitor) {
    return this.#people.changeEmail(
      person.id,
      hashToken(token),
      auditOf('email-change', person.id, visitor),
      this.#parts.clock(),
    );
  }

  async setLanguage(person: Person, language: string): Promise<void> {
    if (person.language !== language)
      await this.#people.setLanguage(person.id, language, this.#parts.clock());
  }

  // The second factor

  /** The secret that waits to be enabled, made when there is none; undefined: it is enabled. */
  async preparedTotp(
    person: Person,
  ): Promise<{ readonly uri: string; readonly secret: string } | undefined> {
    if (person.totpEnabledAtMs !== undefined) return undefined;
    const { key, policy, clock } = this.#parts;
    let secret = await this.#totpSecret(person);
    if (!secret) {
      secret = randomBytes(TOTP_SECRET_OCTETS);
      const sealed = seal(key, secret, totpContext(person.id));
      await this.#people.prepareTotp(person.id, sealed, clock());
    }
    return {
      uri: totpUri(policy.serviceName, person.email, secret),
      secret: base32(secret),
    };
  }

  /** A code proves that the app has the secret. Answers the recovery codes, told once. */
  async enableTotp(
    person: Person,
    code: string,
    visitor: Visitor,
  ): Promise<readonly string[] | 'code-wrong'> {
    const { clock } = this.#parts;
    const secret =
      person.totpEnabledAtMs === undefined ? await this.#totpSecret(person) : undefined;
    const step = secret && matchTotp(secret, code, clock());
    if (step === undefined) return 'code-wrong';
    const codes = makeRecoveryCodes();
    await this.#people.enableTotp(
      person.id,
      step,
      codes.map((each) => hashRecoveryCode(this.#parts.key, person.id, each)!),
      this.#letter(person, { type: 'two-factor', enabled: true }),
      auditOf('two-factor-on', person.id, visitor),
      clock(),
    );
    return codes;
  }

  async disableTotp(person: Person, visitor: Visitor): Promise<void> {
    await this.#people.disableTotp(
      person.id,
      this.#letter(person, { type: 'two-factor', enabled: false }),
      auditOf('two-factor-off', person.id, visitor),
      this.#parts.clock(),
    );
  }

  async recoveryCodesLeft(person: Person): Promise<number> {
    return this.#people.recoveryCodesLeft(person.id);
  }

  async #totpSecret(person: Person): Promise<Buffer | undefined> {
    const sealed = (await this.#people.proofs(person.id))?.sealedTotp;
    return sealed === undefined
      ? undefined
      : unseal(this.#parts.key, sealed, totpContext(person.id));
  }

  // API tokens

  async tokens(person: Person): Promise<readonly ApiToken[]> {
    return this.#people.tokens.of(person.id);
  }

  /** Answers the token, told once. `lifetimeMs`: undefined for ever. */
  async addToken(
    person: Person,
    name: string,
    scopes: readonly Scope[],
    lifetimeMs: number | undefined,
    visitor: Visitor,
  ): Promise<
    | { readonly ok: true; readonly token: string }
    | { readonly ok: false; readonly refusal: 'name-invalid' | 'no-scope' | 'too-many' }
  > {
    const trimmed = name.trim();
    if (trimmed === '' || trimmed.length > MAX_TOKEN_NAME)
      return { ok: false, refusal: 'name-invalid' };
    if (scopes.length === 0) return { ok: false, refusal: 'no-scope' };
    const token = makeApiToken();
    const nowMs = this.#parts.clock();
    const result = await this.#people.tokens.add(
      {
        personId: person.id,
        name: trimmed,
        tokenHash: hashToken(token),
        scopes,
        expiresAtMs: lifetimeMs === undefined ? undefined : nowMs + lifetimeMs,
      },
      MAX_TOKENS,
      auditOf('token-add', person.id, visitor, { details: { name: trimmed } }),
      nowMs,
    );
    return result === 'added' ? { ok: true, token } : { ok: false, refusal: result };
  }

  async removeToken(person: Person, id: number, visitor: Visitor): Promise<boolean> {
    const audit = auditOf('token-remove', person.id, visitor, { subject: `token:${id}` });
    return this.#people.tokens.remove(person.id, id, audit, this.#parts.clock());
  }

  // Everything

  /** All that is kept about the person, but for what proves who they are. */
  async exportAll(person: Person): Promise<Readonly<Record<string, unknown>>> {
    const { store, clock } = this.#parts;
    const time = (atMs: number | undefined) =>
      atMs === undefined ? null : new Date(atMs).toISOString();
    const sessions = await this.#people.sessions.of(person.id, clock());
    const tokens = await this.#people.tokens.of(person.id);
    const log = await this.#people.audit.about(person.id, AUDIT_EXPORTED);
    const tunnel = person.user && (await store.tunnel({ userId: person.user.id }));
    return {
      email: person.email,
      emailVerified: time(person.emailVerifiedAtMs),
      userName: person.user?.name ?? null,
      role: person.role,
      state: person.state,
      language: person.language ?? null,
      twoFactor: time(person.totpEnabledAtMs),
      created: time(person.createdAtMs),
      lastSignIn: time(person.lastSignInAtMs),
      tunnel: tunnel ? tunnelFacts(tunnel, time) : null,
      sessions: sessions.map((each) => ({
        address: each.address,
        userAgent: each.userAgent,
        begun: time(each.createdAtMs),
        lastUsed: time(each.lastUsedAtMs),
        expires: time(each.expiresAtMs),
      })),
      apiTokens: tokens.map((each) => ({
        name: each.name,
        scopes: each.scopes,
        created: time(each.createdAtMs),
        lastUsed: time(each.lastUsedAtMs),
        expires: time(each.expiresAtMs),
      })),
      log: log.map(({ atMs, act, personId, details, address }) => ({
        time: time(atMs),
        act,
        byYou: personId === person.id,
        details: details ?? null,
        address: address ?? null,
      })),
    };
  }

  /**
   * Tunnels and addresses go too, at once and for good. Staff are not erased by themselves: what they
   * did has to stay answerable until another administrator takes their role.
   */
  async erase(person: Person, visitor: Visitor): Promise<'erased' | 'is-staff'> {
    if (person.role !== 'user') return 'is-staff';
    const audit = auditOf('erase', person.id, visitor);
    await this.#people.erase(person.id, audit, this.#parts.clock());
    return 'erased';
  }

  #letter(person: Person, letter: Parameters<typeof letterTo>[3]): string {
    return letterTo(this.#parts, person.email, person.language, letter);
  }
}

function namesOf(person: Person): readonly string[] {
  return [person.email, person.email.split('@')[0] ?? '', person.user?.name ?? ''];
}

function tunnelFacts(tunnel: Tunnel, time: (atMs: number | undefined) => string | null) {
  const { link, interfaceId, delegation, attachment } = tunnel;
  return {
    address: formatIpv6(link.address | interfaceId),
    link: formatIpv6Prefix(link),
    prefix: delegation ? formatIpv6Prefix(delegation) : null,
    client: attachment ? formatIp(attachment.client.address) : null,
    created: time(tunnel.createdAtMs),
    lastLogin: time(tunnel.lastLoginAtMs),
  };
}
