// What administrators do to people, from a page or the command line: make, approve, disable, give roles.
// Who may do that is asked before.

import { personSubject } from '../store/audit-log.ts';
import type { Role } from '../store/people-tables.ts';
import type { AddPersonRefusal, Person } from '../store/person.ts';
import { isUserName } from './accounts.ts';
import { auditOf, letterTo, type PeopleParts, parseEmail, type Visitor } from './people-parts.ts';
import { judgePassword, type PasswordRefusal } from './people-passwords.ts';

/** Undefined: the command line. */
export type By = { readonly personId: number; readonly visitor: Visitor } | undefined;

export type StaffRefusal =
  | AddPersonRefusal
  | PasswordRefusal
  | 'email-invalid'
  | 'name-invalid'
  | 'no-such-person';

/** The last administrator who can sign in stays one. */
export type StaffResult = 'done' | 'no-such-person' | 'last-administrator';

export const ROLES = ['user', 'support', 'abuse', 'read-only', 'administrator'] as const;

export class StaffDesk {
  readonly #parts: PeopleParts;

  constructor(parts: PeopleParts) {
    this.#parts = parts;
  }

  /**
   * Without asking anybody: the first administrator, and people who were known before the portal.
   * `userName`: a user who exists, or one to be made; undefined: none.
   */
  async add(
    asked: {
      readonly email: string;
      readonly password: string;
      readonly role: Role;
      readonly userName: string | undefined;
      readonly language: string | undefined;
    },
    by: By,
  ): Promise<Person | StaffRefusal> {
    const { store, accounts, passwords, clock } = this.#parts;
    const email = parseEmail(asked.email);
    if (email === undefined) return 'email-invalid';
    const { userName, role, language } = asked;
    if (userName !== undefined && !isUserName(userName)) return 'name-invalid';
    const judged = judgePassword(asked.password, [email, userName ?? '']);
    if (judged) return judged;
    const standing = userName === undefined ? undefined : await store.user(userName);
    return store.people.add(
      {
        email,
        emailVerified: false,
        passwordHash: await passwords.hash(asked.password),
        role,
        state: 'active',
        language,
        user:
          userName === undefined
            ? undefined
            : (standing ?? { name: userName, secret: accounts.sealMadeSecret(userName) }),
      },
      auditOf('person-add', by?.personId, by?.visitor, { details: { role } }),
      clock(),
    );
  }

  async find(emailText: string): Promise<Person | undefined> {
    const email = parseEmail(emailText);
    return email === undefined ? undefined : this.#parts.store.people.find({ email });
  }

  /** The next `limit` people after the id, in the order in which they came. */
  async list(afterId: number, limit: number): Promise<readonly Person[]> {
    return this.#parts.store.people.after(afterId, limit);
  }

  /** For who waits, and who was disabled; the first are told by mail. */
  async activate(person: Person, by: By): Promise<StaffResult> {
    const mail =
      person.state === 'waiting-approval'
        ? letterTo(this.#parts, person.email, person.language, { type: 'approved' })
        : undefined;
    return this.#setState(person, 'active', mail, by);
  }

  /** Signs them out and ends their tunnels' traffic; the prefix stays theirs. */
  async disable(person: Person, by: By): Promise<StaffResult> {
    return this.#setState(person, 'disabled', undefined, by);
  }

  async setRole(person: Person, role: Role, by: By): Promise<StaffResult> {
    const { store, clock } = this.#parts;
    const audit = auditOf('role', by?.personId, by?.visitor, {
      subject: personSubject(person.id),
      details: { from: person.role, to: role },
    });
    return store.people.setRole(person.id, role, audit, clock());
  }

  /** Turns a sign-up away: as if it had never been. */
  async refuse(person: Person, by: By): Promise<StaffResult> {
    if (person.state !== 'waiting-approval') return 'no-such-person';
    const { store, clock } = this.#parts;
    const audit = auditOf('person-refused', by?.personId, by?.visitor, {
      subject: personSubject(person.id),
    });
    return (await store.people.erase(person.id, audit, clock())) ? 'done' : 'no-such-person';
  }

  async #setState(
    person: Person,
    state: 'active' | 'disabled',
    mail: string | undefined,
    by: By,
  ): Promise<StaffResult> {
    const { store, clock } = this.#parts;
    const audit = auditOf(`person-${state}`, by?.personId, by?.visitor, {
      subject: personSubject(person.id),
    });
    return store.people.setState(person.id, state, mail, audit, clock());
  }
}
