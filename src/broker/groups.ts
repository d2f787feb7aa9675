// Groups of users: what holds for the tunnels of all their users. Works without a running broker: the
// command line writes to the store, and the broker follows.

import type { AuditEntry } from '../store/audit-log.ts';
import type { PolicyChange } from '../store/policies.ts';
import type { Store } from '../store/store.ts';

export type GroupRefusal =
  /** 1 to 64 letters, digits, dots, dashes and underscores, with a letter or digit first; not "none". */
  'name-invalid' | 'name-taken' | 'in-use' | 'no-such-group' | 'no-such-user';

export type GroupResult =
  | { readonly ok: true }
  | { readonly ok: false; readonly refusal: GroupRefusal };

/** Rejects with StoreError, as the others do. */
export async function addGroup(
  store: Store,
  name: string,
  policy: PolicyChange,
  nowMs: number,
  audit?: AuditEntry,
): Promise<GroupResult> {
  if (!/^[a-z0-9][a-z0-9._-]{0,63}$/i.test(name) || name === NO_GROUP)
    return refuse('name-invalid');
  const added = await store.addGroup(name, policy, nowMs, audit);
  return added === 'name-taken' ? refuse(added) : { ok: true };
}

export async function setGroup(
  store: Store,
  name: string,
  change: PolicyChange,
  nowMs: number,
  audit?: AuditEntry,
): Promise<GroupResult> {
  const group = await store.group(name);
  return group && (await store.setGroupPolicy(group.id, change, nowMs, audit))
    ? { ok: true }
    : refuse('no-such-group');
}

/** Only when nobody is in it. */
export async function removeGroup(
  store: Store,
  name: string,
  nowMs: number,
  audit?: AuditEntry,
): Promise<GroupResult> {
  const group = await store.group(name);
  const result = group ? await store.removeGroup(group.id, nowMs, audit) : 'no-such-group';
  return result === 'removed' ? { ok: true } : refuse(result);
}

/** What a person says who means no group. */
export const NO_GROUP = 'none';

/** A user is in one group, or with {@link NO_GROUP} in none. */
export async function moveToGroup(
  store: Store,
  userName: string,
  groupName: string,
  nowMs: number,
  audit?: AuditEntry,
): Promise<GroupResult> {
  const user = await store.user(userName);
  if (!user) return refuse('no-such-user');
  const group = groupName === NO_GROUP ? undefined : await store.group(groupName);
  if (groupName !== NO_GROUP && !group) return refuse('no-such-group');
  const moved = await store.setUserGroup(user.id, group?.id, nowMs, audit);
  return moved ? { ok: true } : refuse('no-such-user');
}

function refuse(refusal: GroupRefusal): GroupResult {
  return { ok: false, refusal };
}
