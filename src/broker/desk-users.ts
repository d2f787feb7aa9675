// Staff's desk for users and for the people that they are: finding them, letting them in, ending and
// allowing their traffic, groups, trust, removal. Works on the store; the broker's daemon follows.

import { type IpAddress, parseIp, parseIpv4Prefix, parseIpv6Prefix } from '../address.ts';
import { personSubject } from '../store/audit-log.ts';
import type { Account, Found } from '../store/directory.ts';
import type { AttachmentTenure, LeaseTenure, Span } from '../store/history.ts';
import type { Page, PageRequest } from '../store/pages.ts';
import { type Actor, actorAudit, actorBy, type DeskParts, mayTouch } from './desk-parts.ts';
import { moveToGroup } from './groups.ts';

export type UserState = 'waiting' | 'disabled';

export type UserRefusal =
  | 'no-such-user'
  | 'no-such-group'
  /** Whoever has a role, only an administrator touches. */
  | 'is-staff'
  | 'last-administrator'
  /** Nobody has to be let in or turned away. */
  | 'not-waiting';

export interface UserQuery {
  /** The beginning of a name or an e-mail address, or an address; empty: all. */
  readonly search: string;
  readonly state: UserState | undefined;
  /** A group's name. */
  readonly group: string | undefined;
}

const ACTS_SHOWN = 30;
const PAST_SHOWN = 200;

export class UserDesk {
  readonly #parts: DeskParts;

  constructor(parts: DeskParts) {
    this.#parts = parts;
  }

  async list({ search, state, group }: UserQuery, page: PageRequest): Promise<Page<Account>> {
    const { store } = this.#parts;
    const groupId = group === undefined ? undefined : (await store.group(group))?.id;
    if (group !== undefined && groupId === undefined) return { items: [], next: undefined };
    return store.directory.users({ state, groupId, search: parseSearch(search) }, page);
  }

  async find(id: number): Promise<Account | undefined> {
    return this.#parts.store.directory.user({ id });
  }

  async tunnels(id: number): Promise<readonly Found[]> {
    return this.#parts.store.directory.tunnelsOf(id);
  }

  /** What was done to the user, to the person that they are, and to their tunnels; the latest first. */
  async acts({ user, person }: Account, tunnels: readonly Found[]) {
    const subjects = [
      userSubject(user.id),
      ...(person ? [personSubject(person.id)] : []),
      ...tunnels.map(({ id }) => tunnelSubject(id)),
    ];
    return this.#parts.store.people.audit.before(undefined, ACTS_SHOWN, { subjects });
  }

  /** Where the clients were and which addresses they had: asking is written down. */
  async past(
    id: number,
    actor: Actor,
  ): Promise<{
    readonly span: Span;
    readonly attachments: readonly AttachmentTenure[];
    readonly leases: readonly LeaseTenure[];
    readonly truncated: boolean;
  }> {
    const { store, clock, pastKeptMs } = this.#parts;
    const untilMs = clock();
    const span = { fromMs: untilMs - pastKeptMs, untilMs };
    const audit = actorAudit(actor, 'user-history', { subject: userSubject(id) });
    await store.people.audit.append(audit, untilMs);
    const page = { limit: PAST_SHOWN };
    const attachments = await store.history.attachmentsOf({ userId: id }, span, page);
    const leases = await store.history.leasesOf({ userId: id }, span, page);
    const byTime = (a: { readonly fromMs: number }, b: { readonly fromMs: number }) =>
      b.fromMs - a.fromMs;
    return {
      span,
      attachments: attachments.items.toSorted(byTime),
      leases: leases.items.toSorted(byTime),
      truncated: attachments.next !== undefined || leases.next !== undefined,
    };
  }

  /** The person is told by mail. */
  async approve(id: number, actor: Actor): Promise<'done' | UserRefusal> {
    return this.#withPerson(id, actor, async ({ person }) => {
      if (person?.state !== 'waiting-approval') return 'not-waiting';
      return this.#parts.people.staff.activate(person, actorBy(actor));
    });
  }

  /** The sign-up is as if it had never been. */
  async refuse(id: number, actor: Actor): Promise<'done' | UserRefusal> {
    return this.#withPerson(id, actor, async ({ person }) => {
      if (person?.state !== 'waiting-approval') return 'not-waiting';
      return this.#parts.people.staff.refuse(person, actorBy(actor));
    });
  }

  /** Ends the traffic and the sessions; link and prefix stay the user's. */
  async disable(id: number, actor: Actor): Promise<'done' | UserRefusal> {
    return this.#withPerson(id, actor, async ({ person }) => {
      const { people } = this.#parts;
      return person
        ? people.staff.disable(person, actorBy(actor))
        : this.#setDisabled(id, true, actor);
    });
  }

  async enable(id: number, actor: Actor): Promise<'done' | UserRefusal> {
    return this.#withPerson(id, actor, async ({ person }) => {
      const { people } = this.#parts;
      return person
        ? people.staff.activate(person, actorBy(actor))
        : this.#setDisabled(id, false, actor);
    });
  }

  async #setDisabled(id: number, disabled: boolean, actor: Actor) {
    const { store, clock } = this.#parts;
    const act = disabled ? 'user-disable' : 'user-enable';
    const audit = actorAudit(actor, act, { subject: userSubject(id) });
    const done = await store.setUserDisabled(id, disabled, clock(), audit);
    return done ? 'done' : 'no-such-user';
  }

  /** `group`: its name, or `none`. */
  async setGroup(id: number, group: string, actor: Actor): Promise<'done' | UserRefusal> {
    return this.#withPerson(id, actor, async ({ user }) => {
      const { store, clock } = this.#parts;
      const audit = actorAudit(actor, 'user-group', {
        subject: userSubject(id),
        details: { from: user.group ?? null, to: group },
      });
      const moved = await moveToGroup(store, user.name, group, clock(), audit);
      if (moved.ok) return 'done';
      return moved.refusal === 'no-such-group' ? moved.refusal : 'no-such-user';
    });
  }

  /** Whether the user may ask for tunnels to others' addresses. */
  async setTrust(id: number, trusted: boolean, actor: Actor): Promise<'done' | UserRefusal> {
    return this.#withPerson(id, actor, async () => {
      const { store, clock } = this.#parts;
      const audit = actorAudit(actor, 'user-trust', {
        subject: userSubject(id),
        details: { trusted },
      });
      return (await store.setProxyTrust(id, trusted, clock(), audit)) ? 'done' : 'no-such-user';
    });
  }

  /** For good: the addresses go to others. Staff stay people without tunnels. */
  async remove(id: number, actor: Actor): Promise<'done' | UserRefusal> {
    return this.#withPerson(id, actor, async () => {
      const { store, clock } = this.#parts;
      const audit = actorAudit(actor, 'user-remove', { subject: userSubject(id) });
      return (await store.removeUser(id, clock(), audit)) ? 'done' : 'no-such-user';
    });
  }

  async #withPerson(
    id: number,
    actor: Actor,
    act: (account: Account) => Promise<'done' | UserRefusal | 'no-such-person'>,
  ): Promise<'done' | UserRefusal> {
    const account = await this.find(id);
    if (!account) return 'no-such-user';
    if (!mayTouch(actor, account.person)) return 'is-staff';
    const result = await act(account);
    return result === 'no-such-person' ? 'no-such-user' : result;
  }
}

export function userSubject(userId: number): string {
  return `user:${userId}`;
}

export function tunnelSubject(tunnelId: number): string {
  return `tunnel:${tunnelId}`;
}

/** An address, or the first one of a prefix, or the beginning of a name. */
function parseSearch(text: string): string | IpAddress | undefined {
  const trimmed = text.trim();
  if (trimmed === '') return undefined;
  const prefix = parseIpv6Prefix(trimmed) ?? parseIpv4Prefix(trimmed);
  return parseIp(trimmed) ?? prefix?.address ?? trimmed;
}
