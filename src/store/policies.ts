// What a tunnel may do beyond being there: its MTU, its rates, its ports. A tunnel may say it, and so
// may the group of its user; which of them holds is the broker's business. Reads and writes rows.

import type { Act } from './changes.ts';
import type { Ports, Reader, TunnelFamily } from './schema.ts';

/** Of a tunnel, or of all tunnels of a group's users. Undefined: it does not say. */
export interface TunnelPolicy {
  /** The largest inner packet, in octets. */
  readonly mtu: number | undefined;
  /** Inner packets from the client, in bits a second; 0: no limit. */
  readonly inBitsPerSecond: number | undefined;
  /** To the client. */
  readonly outBitsPerSecond: number | undefined;
  /** Whether the client may connect to the ports that are filtered. */
  readonly ports: Ports | undefined;
}

/** What is left out stays; what is undefined is said no more. */
export type PolicyChange = { readonly [K in keyof TunnelPolicy]?: TunnelPolicy[K] };

export interface Group {
  readonly id: number;
  readonly name: string;
  readonly policy: TunnelPolicy;
  readonly createdAtMs: number;
}

export type GroupUsage = Group & { readonly users: number };

/** A row's part that {@link toPolicy} reads. */
interface PolicyColumns {
  mtu: number | null;
  in_bits_per_second: number | null;
  out_bits_per_second: number | null;
  ports: Ports | null;
}

const SILENT: TunnelPolicy = {
  mtu: undefined,
  inBitsPerSecond: undefined,
  outBitsPerSecond: undefined,
  ports: undefined,
};

/** For queries over `tunnels` with `users` and `groups` joined; {@link toPolicies} reads them. */
export const POLICY_COLUMNS = [
  'tunnels.mtu',
  'tunnels.in_bits_per_second',
  'tunnels.out_bits_per_second',
  'tunnels.ports',
  'groups.name as group_name',
  'groups.mtu as group_mtu',
  'groups.in_bits_per_second as group_in_bits_per_second',
  'groups.out_bits_per_second as group_out_bits_per_second',
  'groups.ports as group_ports',
] as const;

interface PoliciesRow extends PolicyColumns {
  group_name: string | null;
  group_mtu: number | null;
  group_in_bits_per_second: number | null;
  group_out_bits_per_second: number | null;
  group_ports: Ports | null;
}

export interface Policies {
  /** The tunnel's own. */
  readonly policy: TunnelPolicy;
  /** The group of the tunnel's user, if it is in one. */
  readonly group: { readonly name: string; readonly policy: TunnelPolicy } | undefined;
}

export function toPolicies(row: PoliciesRow): Policies {
  return {
    policy: toPolicy(row),
    group:
      row.group_name === null
        ? undefined
        : {
            name: row.group_name,
            policy: toPolicy({
              mtu: row.group_mtu,
              in_bits_per_second: row.group_in_bits_per_second,
              out_bits_per_second: row.group_out_bits_per_second,
              ports: row.group_ports,
            }),
          },
  };
}

function toPolicy(row: PolicyColumns): TunnelPolicy {
  const { mtu, in_bits_per_second, out_bits_per_second, ports } = row;
  // Most say nothing, and there may be a million of them.
  if (mtu === null && in_bits_per_second === null && out_bits_per_second === null && ports === null)
    return SILENT;
  return {
    mtu: mtu ?? undefined,
    inBitsPerSecond: in_bits_per_second ?? undefined,
    outBitsPerSecond: out_bits_per_second ?? undefined,
    ports: ports ?? undefined,
  };
}

const COLUMNS = {
  mtu: 'mtu',
  inBitsPerSecond: 'in_bits_per_second',
  outBitsPerSecond: 'out_bits_per_second',
  ports: 'ports',
} as const;

function toColumns(change: PolicyChange): Partial<PolicyColumns> {
  return Object.fromEntries(
    Object.entries(change).map(([key, value]) => [
      COLUMNS[key as keyof TunnelPolicy],
      value ?? null,
    ]),
  );
}

export async function setTunnelPolicy(
  { tx }: Act,
  tunnelId: number,
  change: PolicyChange,
): Promise<void> {
  if (Object.keys(change).length === 0) return;
  await tx.updateTable('tunnels').set(toColumns(change)).where('id', '=', tunnelId).execute();
}

export async function addGroup(
  { tx, nowMs }: Act,
  name: string,
  policy: PolicyChange,
): Promise<Group | 'name-taken'> {
  const row = await tx
    .insertInto('groups')
    .values({ name, ...toColumns(policy), created_at_ms: nowMs })
    .onConflict((conflict) => conflict.column('name').doNothing())
    .returningAll()
    .executeTakeFirst();
  return row ? toGroup(row) : 'name-taken';
}

/** False: there is no such group. */
export async function setGroupPolicy(
  { tx, changed }: Act,
  groupId: number,
  change: PolicyChange,
): Promise<boolean> {
  // Never an empty change, so that a group that is not there is noticed.
  const { numUpdatedRows } = await tx
    .updateTable('groups')
    .set({ id: groupId, ...toColumns(change) })
    .where('id', '=', groupId)
    .executeTakeFirst();
  changed('group', groupId);
  return numUpdatedRows === 1n;
}

/** Only one without users: what holds for them must be said by who takes it away. */
export async function removeGroup(
  { tx }: Act,
  groupId: number,
): Promise<'removed' | 'in-use' | 'no-such-group'> {
  const member = await tx
    .selectFrom('users')
    .select('id')
    .where('group_id', '=', groupId)
    .limit(1)
    .executeTakeFirst();
  if (member) return 'in-use';
  const { numDeletedRows } = await tx
    .deleteFrom('groups')
    .where('id', '=', groupId)
    .executeTakeFirst();
  return numDeletedRows === 1n ? 'removed' : 'no-such-group';
}

export async function readGroup(db: Reader, name: string): Promise<Group | undefined> {
  const row = await db.selectFrom('groups').selectAll().where('name', '=', name).executeTakeFirst();
  return row && toGroup(row);
}

/** In the order of their names. */
export async function readGroups(db: Reader): Promise<readonly GroupUsage[]> {
  const rows = await db
    .selectFrom('groups')
    .selectAll()
    .select((group) =>
      group
        .selectFrom('users')
        .select((users) => users.fn.countAll<number>().as('users'))
        .whereRef('users.group_id', '=', 'groups.id')
        .as('users'),
    )
    .orderBy('name')
    .execute();
  return rows.map((row) => ({ ...toGroup(row), users: Number(row.users ?? 0) }));
}

/** A slot that a change of a user or a group may have changed. */
export interface TouchedSlot {
  readonly tunnelId: number;
  readonly family: TunnelFamily;
  readonly slot: number;
}

/** The next `limit` tunnels of the user, or of the group's users, after the tunnel id. */
export async function readTouchedSlots(
  db: Reader,
  whose: { readonly userId: number } | { readonly groupId: number },
  afterTunnelId: number,
  limit: number,
): Promise<readonly TouchedSlot[]> {
  return db
    .selectFrom('users')
    .innerJoin('tunnels', 'tunnels.user_id', 'users.id')
    .select(['tunnels.id as tunnelId', 'tunnels.family', 'tunnels.slot'])
    .where((row) =>
      'userId' in whose
        ? row('users.id', '=', whose.userId)
        : row('users.group_id', '=', whose.groupId),
    )
    .where('tunnels.id', '>', afterTunnelId)
    .orderBy('tunnels.id')
    .limit(limit)
    .execute();
}

function toGroup(row: PolicyColumns & { id: number; name: string; created_at_ms: number }): Group {
  return { id: row.id, name: row.name, policy: toPolicy(row), createdAtMs: row.created_at_ms };
}
