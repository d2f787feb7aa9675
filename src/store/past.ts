// Writes down what ends: where a tunnel's client was, and which addresses a tunnel had. Part of the
// transaction in which it ends, from what goes away: beginnings cost nothing. Only what can be asked for
// later (past-queries.ts) is kept, and only if the store keeps the past.

import { formatIpv4, formatIpv6, formatIpv6Expanded, type IpPrefix } from '../address.ts';
import type { Act } from './changes.ts';
import { prepared } from './prepared.ts';
import type { Encapsulation, PoolPurpose, Writer } from './schema.ts';
import type { AnyTunnel } from './tunnels.ts';

type Holder = Pick<AnyTunnel, 'id' | 'user' | 'createdAtMs' | 'lastLoginAtMs'>;

export interface EndedLease {
  readonly purpose: PoolPurpose;
  readonly prefix: IpPrefix;
  /** Undefined: it is as old as its tunnel. */
  readonly leasedAtMs: number | undefined;
}

/** Where a client was, as its row says it. */
export interface EndedAttachment {
  readonly encapsulation: Encapsulation | 'v4v6';
  readonly address: string;
  readonly port: number;
  readonly attachedAtMs: number;
}

/** The tunnel's client goes away, or elsewhere. Nothing happens when it has none. */
export async function noteDetached(
  act: Act,
  { id, user, attachment }: Pick<AnyTunnel, 'id' | 'user' | 'attachment'>,
): Promise<void> {
  if (!attachment) return;
  const { encapsulation = 'v4v6', client, attachedAtMs } = attachment;
  const place =
    typeof client === 'bigint'
      ? { address: formatIpv6(client), port: 0 }
      : { address: formatIpv4(client.address), port: client.port };
  await noteAttachmentEnd(act, { id, user }, { encapsulation, attachedAtMs, ...place });
}

export async function noteAttachmentEnd(
  { tx, nowMs, keepsPast }: Act,
  { id, user }: Pick<Holder, 'id' | 'user'>,
  { encapsulation, address, port, attachedAtMs }: EndedAttachment,
): Promise<void> {
  if (!keepsPast) return;
  const untilMs = Math.max(nowMs, attachedAtMs);
  const [userId, name] = [user?.id ?? null, user?.name ?? null];
  await insertAttachment(tx, id, userId, name, attachedAtMs, untilMs, encapsulation, address, port);
}

const insertAttachment = prepared(
  (
    tx,
    tunnelId: number,
    userId: number | null,
    userName: string | null,
    fromMs: number,
    untilMs: number,
    encapsulation: Encapsulation | 'v4v6',
    address: string,
    port: number,
  ) =>
    tx.insertInto('past_attachments').values({
      tunnel_id: tunnelId,
      user_id: userId,
      user_name: userName,
      from_ms: fromMs,
      until_ms: untilMs,
      encapsulation,
      client_address: address,
      client_port: port,
    }),
);

/** The tunnel gives up addresses. Those of tunnels that never were up were used by nobody. */
export async function noteFreed(
  { tx, nowMs, keepsPast }: Act,
  { id, user, createdAtMs, lastLoginAtMs }: Holder,
  leases: readonly EndedLease[],
): Promise<void> {
  if (!keepsPast || lastLoginAtMs === undefined) return;
  for (const { purpose, prefix, leasedAtMs = createdAtMs } of leases)
    await insertLease(
      tx,
      id,
      user?.id ?? null,
      user?.name ?? null,
      leasedAtMs,
      Math.max(nowMs, leasedAtMs),
      purpose,
      networkKey(prefix),
      prefix.length,
    );
}

const insertLease = prepared(
  (
    tx,
    tunnelId: number,
    userId: number | null,
    userName: string | null,
    fromMs: number,
    untilMs: number,
    purpose: PoolPurpose,
    network: string,
    length: number,
  ) =>
    tx.insertInto('past_leases').values({
      tunnel_id: tunnelId,
      user_id: userId,
      user_name: userName,
      from_ms: fromMs,
      until_ms: untilMs,
      purpose,
      network,
      length,
    }),
);

/**
 * Of prefixes up to /64, the first four groups with all their digits; of IPv4, the four numbers with
 * all theirs: so that texts are in the order of the addresses, and a person can read them.
 */
export function networkKey({ address }: IpPrefix): string {
  if (typeof address === 'bigint') return formatIpv6Expanded(address).slice(0, 19);
  return formatIpv4(address)
    .split('.')
    .map((number) => number.padStart(3, '0'))
    .join('.');
}

/** Both tables, of users who are gone for good: how they are called from now on. */
export function erasedName(userId: number): string {
  return `erased-${userId}`;
}

/** Up to `limit` rows of each table; false: there are no more. */
export async function eraseSome(tx: Writer, userId: number, limit: number): Promise<boolean> {
  let full = false;
  for (const table of ['past_attachments', 'past_leases'] as const) {
    const found = await tx
      .selectFrom(table)
      .select('id')
      .where('user_id', '=', userId)
      .where('user_name', '!=', erasedName(userId))
      .limit(limit)
      .execute();
    const ids = found.map(({ id }) => id);
    if (ids.length > 0)
      await tx
        .updateTable(table)
        .set({ user_name: erasedName(userId) })
        .where('id', 'in', ids)
        .execute();
    full ||= ids.length === limit;
  }
  return full;
}

/** Up to `limit` rows of each table that ended before; answers how many went. */
export async function pruneSome(tx: Writer, beforeMs: number, limit: number): Promise<number> {
  let pruned = 0;
  for (const table of ['past_attachments', 'past_leases'] as const) {
    // Rows are numbered in the order in which they ended, so the oldest are the first.
    const oldest = tx.selectFrom(table).select('id').orderBy('id').limit(limit);
    const { numDeletedRows } = await tx
      .deleteFrom(table)
      .where('id', 'in', oldest)
      .where('until_ms', '<', beforeMs)
      .executeTakeFirst();
    pruned += Number(numDeletedRows);
  }
  return pruned;
}
