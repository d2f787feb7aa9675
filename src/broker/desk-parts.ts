// What the staff's desks share: the parts they work with, and who stands at them. Whether the role may
// do it was asked before (permissions.ts); what depends on whom it is done to is asked here.

import type { AuditEntry } from '../store/audit-log.ts';
import type { Store } from '../store/store.ts';
import type { People } from './people.ts';
import { auditOf, type Person, type Visitor } from './people-parts.ts';
import { isStaff, permits } from './permissions.ts';
import type { PoolCapacity } from './pools.ts';

// What the portal knows of the store: these shapes, by way of the desks that hand them out.
export type { Announcement, NewAnnouncement } from '../store/announcements.ts';
export type { AuditRecord } from '../store/audit-log.ts';
export type { Account, Found } from '../store/directory.ts';
export type { AttachmentTenure, LeaseTenure, Span } from '../store/history.ts';
export type { Invitation } from '../store/invitations.ts';
export type { Counts, Totals, TotalsSpan } from '../store/overview.ts';
export type { Page, PageRequest } from '../store/pages.ts';
export type { GroupUsage, PolicyChange, TunnelPolicy } from '../store/policies.ts';
export type { PoolUsage } from '../store/pools.ts';
export type { PoolPurpose } from '../store/schema.ts';

export interface DeskParts {
  readonly store: Store;
  readonly people: People;
  /** Of the data plane, whose process this is not. */
  readonly capacity: PoolCapacity;
  /** How long it is known who had which address. */
  readonly pastKeptMs: number;
  /** Unix milliseconds. */
  readonly clock: () => number;
}

/** Who stands at the desk. */
export interface Actor {
  readonly person: Person;
  readonly visitor: Visitor;
}

export function actorAudit(
  { person, visitor }: Actor,
  act: string,
  rest: Pick<AuditEntry, 'subject' | 'details'> = {},
): AuditEntry {
  return auditOf(act, person.id, visitor, rest);
}

export function actorBy({ person, visitor }: Actor) {
  return { personId: person.id, visitor };
}

/** Whoever has a role is touched only by who gives roles: support does not disable administrators. */
export function mayTouch(actor: Actor, touched: Person | undefined): boolean {
  if (touched === undefined || !isStaff(touched.role)) return true;
  return permits(actor.person.role, 'staff.change');
}

/** Keeps an answer for a while: what takes long to count is not counted for every page. */
export class Kept<T> {
  readonly #read: () => Promise<T>;
  readonly #clock: () => number;
  readonly #forMs: number;
  #kept: { readonly atMs: number; readonly value: Promise<T> } | undefined;

  constructor(read: () => Promise<T>, forMs: number, clock: () => number) {
    this.#read = read;
    this.#forMs = forMs;
    this.#clock = clock;
  }

  async get(): Promise<T> {
    const nowMs = this.#clock();
    if (!this.#kept || this.#kept.atMs + this.#forMs <= nowMs) {
      const value = this.#read();
      this.#kept = { atMs: nowMs, value };
      value.catch(() => this.forget());
    }
    return this.#kept.value;
  }

  forget(): void {
    this.#kept = undefined;
  }
}
