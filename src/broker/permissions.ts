// Who of the staff may do what: one table. Whoever registers a page or an API route for staff names one
// of these, and the router asks this table and nothing else. Pure.

import type { Role } from './people-parts.ts';

const ADMINISTRATOR = ['administrator'] as const;
const STAFF = ['administrator', 'support', 'abuse', 'read-only'] as const;

export const PERMISSIONS = {
  'dashboard.see': STAFF,

  'users.see': STAFF,
  /** Let sign-ups in, or turn them away. */
  'users.approve': ['administrator', 'support'],
  /** Ends their traffic, and lets them log in again. */
  'users.disable': ['administrator', 'support', 'abuse'],
  'users.group': ['administrator', 'support'],
  /** Whoever is trusted can aim traffic at others' addresses (RFC 5572, proxy). */
  'users.trust': ADMINISTRATOR,
  /** For good; the addresses go to others. */
  'users.remove': ADMINISTRATOR,
  /** Where their clients were, and which addresses they had. */
  'users.history': ['administrator', 'abuse'],

  'tunnels.see': STAFF,
  'tunnels.disable': ['administrator', 'support', 'abuse'],
  'tunnels.limit': ['administrator', 'support'],
  /** The addresses go to others. */
  'tunnels.close': ADMINISTRATOR,

  'pools.see': STAFF,
  'pools.add': ADMINISTRATOR,

  'groups.see': STAFF,
  'groups.change': ADMINISTRATOR,

  'announcements.see': STAFF,
  'announcements.change': ['administrator', 'support'],

  'invitations.see': ['administrator', 'support', 'read-only'],
  'invitations.change': ['administrator', 'support'],

  'staff.see': ['administrator', 'read-only'],
  /** Roles, and whatever is done to somebody who has one. */
  'staff.change': ADMINISTRATOR,

  'audit.see': ['administrator', 'read-only'],
  'audit.export': ADMINISTRATOR,

  'abuse.ask': ['administrator', 'abuse'],
} as const satisfies Readonly<Record<string, readonly Role[]>>;

export type Permission = keyof typeof PERMISSIONS;

export function isStaff(role: Role): boolean {
  return role !== 'user';
}

export function permits(role: Role, permission: Permission): boolean {
  return (PERMISSIONS[permission] as readonly Role[]).includes(role);
}
