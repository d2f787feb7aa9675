// Staff's desk for staff: who works here and as what, invitations, and what the operator has to say to
// everybody.

import type { Announcement, NewAnnouncement } from '../store/announcements.ts';
import { personSubject } from '../store/audit-log.ts';
import type { Invitation } from '../store/invitations.ts';
import type { Page, PageRequest } from '../store/pages.ts';
import { type Actor, actorAudit, actorBy, type DeskParts } from './desk-parts.ts';
import type { Person, Role } from './people-parts.ts';
import type { StaffResult } from './people-staff.ts';
import { permits } from './permissions.ts';

export class StaffRolesDesk {
  readonly #parts: DeskParts;

  constructor(parts: DeskParts) {
    this.#parts = parts;
  }

  /** Who has a role; then people who have no tunnel user, and so are in no list of users. */
  async list(page: PageRequest): Promise<Page<Person>> {
    return this.#parts.store.directory.staff(page);
  }

  async find(key: { readonly id: number } | { readonly email: string }) {
    return 'id' in key
      ? this.#parts.store.people.find(key)
      : this.#parts.people.staff.find(key.email);
  }

  async setRole(id: number, role: Role, actor: Actor): Promise<StaffResult> {
    const person = await this.find({ id });
    if (!person) return 'no-such-person';
    return this.#parts.people.staff.setRole(person, role, actorBy(actor));
  }

  async disable(id: number, actor: Actor): Promise<StaffResult> {
    const person = await this.find({ id });
    if (!person) return 'no-such-person';
    return this.#parts.people.staff.disable(person, actorBy(actor));
  }

  async enable(id: number, actor: Actor): Promise<StaffResult> {
    const person = await this.find({ id });
    if (!person) return 'no-such-person';
    return this.#parts.people.staff.activate(person, actorBy(actor));
  }

  /** What was done to somebody who is in no list of users. */
  async acts(id: number) {
    const subjects = [personSubject(id)];
    return this.#parts.store.people.audit.before(undefined, 30, { subjects });
  }
}

export type InviteRefusal =
  | 'email-invalid'
  | 'no-such-user'
  | 'user-taken'
  /** Only who gives roles invites staff. */
  | 'role-not-yours';

export class InvitationDesk {
  readonly #parts: DeskParts;

  constructor(parts: DeskParts) {
    this.#parts = parts;
  }

  /** All that can still be used, the latest first. */
  async list(): Promise<readonly Invitation[]> {
    return this.#parts.store.people.invitations.open(this.#parts.clock());
  }

  /** Answers the code, told once; mailed, too, if it is for an address. */
  async add(
    asked: {
      readonly email: string;
      readonly role: Role;
      readonly userName: string;
      readonly language: string | undefined;
    },
    actor: Actor,
  ): Promise<
    | { readonly ok: true; readonly code: string; readonly expiresAtMs: number }
    | { readonly ok: false; readonly refusal: InviteRefusal }
  > {
    const { role, language } = asked;
    if (role !== 'user' && !permits(actor.person.role, 'staff.change'))
      return { ok: false, refusal: 'role-not-yours' };
    const email = asked.email.trim() || undefined;
    const userName = asked.userName.trim() || undefined;
    const { signUps } = this.#parts.people;
    return signUps.invite({ email, role, userName, language }, actorBy(actor));
  }

  async withdraw(id: number, actor: Actor): Promise<'done' | 'no-such-invitation' | 'is-staff'> {
    const { store, clock } = this.#parts;
    const found = (await this.list()).find((each) => each.id === id);
    if (!found) return 'no-such-invitation';
    if (found.role !== 'user' && !permits(actor.person.role, 'staff.change')) return 'is-staff';
    const audit = actorAudit(actor, 'invitation-withdraw', { subject: `invitation:${id}` });
    const done = await store.people.invitations.withdraw(id, audit, clock());
    return done ? 'done' : 'no-such-invitation';
  }
}

export type AnnouncementRefusal =
  | 'text-missing'
  | 'text-long'
  | 'time-order'
  | 'no-such-announcement';

const MAX_TEXT = 2000;
const LISTED = 100;

export class AnnouncementDesk {
  readonly #parts: DeskParts;

  constructor(parts: DeskParts) {
    this.#parts = parts;
  }

  /** For everybody, the latest first. */
  async current(): Promise<readonly Announcement[]> {
    return this.#parts.store.announcements.current(this.#parts.clock());
  }

  async list(): Promise<readonly Announcement[]> {
    return this.#parts.store.announcements.all(LISTED);
  }

  async find(id: number): Promise<Announcement | undefined> {
    return this.#parts.store.announcements.find(id);
  }

  async add(asked: NewAnnouncement, actor: Actor): Promise<Announcement | AnnouncementRefusal> {
    const wish = tidy(asked);
    if (typeof wish === 'string') return wish;
    const { store, clock } = this.#parts;
    return store.announcements.add(wish, (id) => audit(actor, 'announcement-add', id), clock());
  }

  async set(
    id: number,
    asked: NewAnnouncement,
    actor: Actor,
  ): Promise<'done' | AnnouncementRefusal> {
    const wish = tidy(asked);
    if (typeof wish === 'string') return wish;
    const { store, clock } = this.#parts;
    const entry = audit(actor, 'announcement-set', id);
    return (await store.announcements.set(id, wish, entry, clock()))
      ? 'done'
      : 'no-such-announcement';
  }

  async remove(id: number, actor: Actor): Promise<'done' | AnnouncementRefusal> {
    const { store, clock } = this.#parts;
    const entry = audit(actor, 'announcement-remove', id);
    return (await store.announcements.remove(id, entry, clock())) ? 'done' : 'no-such-announcement';
  }
}

function audit(actor: Actor, act: string, id: number) {
  return actorAudit(actor, act, { subject: `announcement:${id}` });
}

function tidy(asked: NewAnnouncement): NewAnnouncement | AnnouncementRefusal {
  const texts = Object.fromEntries(
    Object.entries(asked.texts)
      .map(([tag, text]) => [tag, text.replaceAll('\r\n', '\n').trim()] as const)
      .filter(([, text]) => text !== ''),
  );
  if (Object.keys(texts).length === 0) return 'text-missing';
  if (Object.values(texts).some((text) => text.length > MAX_TEXT)) return 'text-long';
  if (asked.untilMs !== undefined && asked.untilMs <= asked.fromMs) return 'time-order';
  return { ...asked, texts };
}
