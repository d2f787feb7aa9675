// What the desks for people share: the parts they work with, who comes to them, and answers that take
// the same time whatever is known.

import type { KeyObject } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { formatIp, type IpAddress } from '../address.ts';
import type { AuditEntry } from '../store/audit-log.ts';
import type { Store } from '../store/store.ts';
import type { Accounts } from './accounts.ts';

// What the portal knows of the store: these shapes, by way of the desks that hand them out.
export type { ApiToken } from '../store/api-tokens.ts';
export type { Role } from '../store/people-tables.ts';
export type { Person } from '../store/person.ts';
export type { WebSession } from '../store/web-sessions.ts';

import { type Composer, type Letter, sealMail } from './people-mail.ts';
import type { Passwords } from './people-passwords.ts';

/** Who may sign up. */
export type SignUpPolicy = 'closed' | 'open' | 'domains' | 'invitation' | 'approval';

export interface PeoplePolicy {
  readonly signUp: SignUpPolicy;
  /** For `domains`: of the e-mail address, in lower case. */
  readonly domains: readonly string[];
  /** A session ends when it was not used for so long … */
  readonly sessionIdleMs: number;
  /** … and in any case after so long. */
  readonly sessionMaxMs: number;
  /** As it stands in authenticator apps. */
  readonly serviceName: string;
}

export interface PeopleParts {
  readonly store: Store;
  readonly accounts: Accounts;
  /** The store's. */
  readonly key: KeyObject;
  readonly policy: PeoplePolicy;
  readonly passwords: Passwords;
  readonly compose: Composer;
  /** Unix milliseconds. */
  readonly clock: () => number;
  /** See {@link evenly}. */
  readonly evenMs: number;
}

/** Who comes to a desk; not known to be anybody yet. */
export interface Visitor {
  readonly address: IpAddress;
  readonly userAgent: string;
  readonly language: string | undefined;
}

export const MINUTE_MS = 60_000;
export const HOUR_MS = 60 * MINUTE_MS;
export const DAY_MS = 24 * HOUR_MS;

/** More than what is answered that way takes on a machine that is not overloaded. */
export const EVEN_MS = 250;

/** Answers at whole multiples of `evenMs`, so that the time taken tells nothing. */
export async function evenly<T>({ evenMs }: PeopleParts, work: () => Promise<T>): Promise<T> {
  const beganMs = performance.now();
  try {
    return await work();
  } finally {
    await sleep(evenMs - ((performance.now() - beganMs) % evenMs));
  }
}

/** Sealed, for the store's queue. */
export function letterTo(
  parts: PeopleParts,
  to: string,
  language: string | undefined,
  letter: Letter,
): string {
  return sealMail(parts.key, { to, ...parts.compose(letter, language) });
}

export function auditOf(
  act: string,
  personId: number | undefined,
  visitor: Visitor | undefined,
  rest: Pick<AuditEntry, 'subject' | 'details'> = {},
): AuditEntry {
  return { ...rest, act, personId, address: visitor && formatIp(visitor.address) };
}

/** The customer's whole /64 counts as one in IPv6. */
export function placeOf(address: IpAddress): string {
  return typeof address === 'number' ? `4 ${address}` : `6 ${address >> 64n}`;
}

/** In lower case, the domain as DNS has it; undefined: it cannot be one. */
export function parseEmail(text: string): string | undefined {
  const trimmed = text.trim().toLowerCase();
  if (trimmed.length > 254) return undefined;
  const [, local, domain = ''] =
    /^([^\s@<>()[\],;:\\"]{1,64})@([^\s@/:?#[\]]+)$/.exec(trimmed) ?? [];
  if (local === undefined || !local.isWellFormed()) return undefined;
  const host = URL.parse(`http://${domain}`)?.hostname ?? '';
  return /^(?:[a-z0-9-]+\.)+[a-z][a-z0-9-]*$/.test(host) ? `${local}@${host}` : undefined;
}
