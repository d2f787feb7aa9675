// What can happen to a tunnel: opened, attached, detached, closed. Each is a part of a transaction
// and notes in the change feed what it changed. Which pools, who may take whose place and how long
// a lease lasts come in as arguments: this file keeps the rows consistent and decides nothing else.

import { formatIpv4, type Ipv4Address, type Ipv4Endpoint } from '../address.ts';
import type { Act } from './changes.ts';
import { claimPosition, freeLeases, lease, type PoolChoice } from './leases.ts';
import { noteDetached, noteFreed } from './past.ts';
import { type Pool, readPools } from './pools.ts';
import { prepared } from './prepared.ts';
import type { ChangeKind, Encapsulation, Reader, Writer } from './schema.ts';
import {
  type AnyTunnel,
  type AttachedTunnel,
  readAttachedAtAddress,
  readTunnel,
  type Tunnel,
} from './tunnels.ts';

export interface TunnelRequest {
  /** Undefined: an anonymous tunnel, which is the same one for the same endpoint while it lives. */
  readonly userId: number | undefined;
  readonly encapsulation: Encapsulation;
  readonly client: Ipv4Endpoint;
  /** Decides, from what there is, where the addresses may come from. */
  readonly choose: (situation: OpenSituation) => OpenChoice;
  /** Whether `choose` wants to know of the other tunnels at the client's address. */
  readonly countsAtAddress: boolean;
  readonly requestedPrefixLength: number | undefined;
  /** Whom the client wants the names of its prefix delegated to. */
  readonly nameServers: readonly string[];
  /** Only for users who are trusted with it. */
  readonly proxy: boolean;
  /** For a tunnel that has to be made. */
  readonly interfaceId: bigint;
  readonly keepaliveSeconds: number;
  readonly lifetimeSeconds: number;
  /** How long the addresses stay the tunnel's while it has no client; undefined: for ever. */
  readonly leaseMs: number | undefined;
}

/** What a request meets. */
export interface OpenSituation {
  readonly pools: readonly Pool[];
  /** The tunnel that is asked for, if it is there already. */
  readonly standing: Tunnel | undefined;
  /** Whose tunnel is at the endpoint. */
  readonly occupant: Tunnel | undefined;
  /** All with a client at the endpoint's address; empty unless they count. */
  readonly atAddress: readonly AttachedTunnel[];
}

export type OpenChoice =
  | {
      readonly ok: true;
      /** Where a link may come from, in order of preference. */
      readonly linkPools: readonly PoolChoice[];
      /** Where a delegation may come from when the tunnel has none; empty: none is asked for. */
      readonly delegationPools: readonly PoolChoice[];
    }
  | { readonly ok: false; readonly refusal: ChoiceRefusal };

export type ChoiceRefusal =
  | 'prefix-length-unavailable'
  | 'prefix-for-anonymous'
  | 'address-in-use'
  | 'too-many-from-address';

export type OpenRefusal =
  | ChoiceRefusal
  | 'no-such-user'
  | 'user-disabled'
  | 'proxy-not-allowed'
  | 'tunnel-disabled'
  | 'no-free-tunnel'
  | 'no-free-prefix';

export type OpenResult =
  | { readonly ok: true; readonly tunnel: Tunnel }
  | { readonly ok: false; readonly refusal: OpenRefusal };

export interface AttachRequest {
  readonly tunnelId: number;
  /** Whose tunnel it must be; undefined: an anonymous one. */
  readonly userId: number | undefined;
  readonly encapsulation: Encapsulation;
  readonly client: Ipv4Endpoint;
  readonly proxy: boolean;
  /** Which tunnels that are attached at this endpoint have to make room. */
  readonly displaces: 'any' | 'anonymous' | 'none';
  /**
   * How many tunnels may be at the client's address, of users only if this is a user's; undefined:
   * any number. A tunnel that is at the address already may stay.
   */
  readonly maxAtAddress: number | undefined;
  /** When the lease ends though the client is there; undefined: it does not. */
  readonly expiresAtMs: number | undefined;
}

export type AttachRefusal =
  | 'no-such-tunnel'
  | 'tunnel-disabled'
  | 'user-disabled'
  | 'proxy-not-allowed'
  | 'address-in-use'
  | 'too-many-from-address';

export type AttachResult =
  | { readonly ok: true; readonly tunnel: Tunnel; readonly displacedTunnelId: number | undefined }
  | { readonly ok: false; readonly refusal: AttachRefusal };

/** Finds or makes the tunnel. A refusal leaves nothing behind only if the transaction is undone. */
export async function openTunnel(act: Act, request: TunnelRequest): Promise<OpenResult> {
  const { tx, changed } = act;
  const { userId } = request;
  const own = userId === undefined ? undefined : await readTunnel(tx, { userId });
  const occupant = await readOccupant(tx, request, own);
  const anonymous = occupant?.user ? undefined : occupant;
  const standing = userId === undefined ? anonymous : own;
  const choice = request.choose({
    pools: await readPools(tx),
    standing,
    occupant,
    atAddress: request.countsAtAddress
      ? await readAttachedAtAddress(tx, request.client.address)
      : [],
  });
  if (!choice.ok) return choice;
  const refusal = await standingRefusal(tx, request, standing);
  if (refusal) return { ok: false, refusal };
  if (standing && isClosed(standing)) return { ok: false, refusal: 'tunnel-disabled' };

  const needsDelegation = choice.delegationPools.length > 0 && !standing?.delegation;
  // Most logins come back to what they had: nothing is written then.
  if (standing && !needsDelegation && isOnTheseTerms(standing, request))
    return { ok: true, tunnel: standing };
  const tunnelId = standing?.id ?? (await makeTunnel(act, request, choice.linkPools));
  if (tunnelId === undefined) return { ok: false, refusal: 'no-free-tunnel' };
  if (needsDelegation) {
    const claim = await claimPosition(tx, choice.delegationPools);
    if (!claim) return { ok: false, refusal: 'no-free-prefix' };
    await lease(tx, claim, tunnelId, undefined, standing && act.nowMs);
    changed('owner', claim.pool.firstIndex + claim.position);
  }
  if (standing) {
    // One that was deleted comes back with what it had.
    const terms = { ...termsOf(request), state: 'enabled' } as const;
    await tx.updateTable('tunnels').set(terms).where('id', '=', tunnelId).execute();
    if (!standing.attachment) await setLeaseEnd(tx, tunnelId, endOf(request.leaseMs, act.nowMs));
  }
  return { ok: true, tunnel: (await readTunnel(tx, { tunnelId }))! };
}

/** Whose tunnel is at the endpoint; `own` is one that was read already. */
async function readOccupant(
  db: Reader,
  { encapsulation, client }: Pick<TunnelRequest, 'encapsulation' | 'client'>,
  own: Tunnel | undefined,
): Promise<Tunnel | undefined> {
  const address = formatIpv4(client.address);
  const [row] = (await occupantId(db, encapsulation, address, client.port)).rows;
  if (!row) return undefined;
  return row.tunnel_id === own?.id ? own : readTunnel(db, { tunnelId: row.tunnel_id });
}

const occupantId = prepared((db, encapsulation: Encapsulation, address: string, port: number) =>
  db
    .selectFrom('attachments')
    .select('tunnel_id')
    .where('encapsulation', '=', encapsulation)
    .where('client_address', '=', address)
    .where('client_port', '=', port),
);

/** The same as {@link userRefusal}, which is asked only for what the tunnel does not say. */
async function standingRefusal(
  db: Reader,
  request: Pick<TunnelRequest, 'userId' | 'proxy'>,
  standing: Tunnel | undefined,
): ReturnType<typeof userRefusal> {
  if (!standing || request.proxy) return userRefusal(db, request);
  return standing.userDisabled ? 'user-disabled' : undefined;
}

function isOnTheseTerms(tunnel: Tunnel, request: TunnelRequest): boolean {
  return (
    tunnel.state === 'enabled' &&
    tunnel.keepaliveSeconds === request.keepaliveSeconds &&
    tunnel.lifetimeSeconds === request.lifetimeSeconds &&
    tunnel.leaseMs === request.leaseMs &&
    tunnel.requestedPrefixLength === request.requestedPrefixLength &&
    (tunnel.ownNameServers ||
      (tunnel.nameServers.length === request.nameServers.length &&
        tunnel.nameServers.every((name, i) => name === request.nameServers[i])))
  );
}

function termsOf(request: TunnelRequest) {
  return {
    keepalive_seconds: request.keepaliveSeconds,
    lifetime_seconds: request.lifetimeSeconds,
    lease_ms: request.leaseMs ?? null,
    requested_prefix_length: request.requestedPrefixLength ?? null,
    name_servers: request.nameServers.length > 0 ? JSON.stringify(request.nameServers) : null,
  };
}

async function makeTunnel(
  { tx, nowMs, changed }: Act,
  request: TunnelRequest,
  linkPools: readonly PoolChoice[],
): Promise<number | undefined> {
  const claim = await claimPosition(tx, linkPools);
  if (!claim) return undefined;
  const slot = claim.pool.firstIndex + claim.position;
  const terms = termsOf(request);
  const { insertId } = await insertTunnel(
    tx,
    request.userId ?? null,
    slot,
    request.interfaceId.toString(16).padStart(16, '0'),
    terms.keepalive_seconds,
    terms.lifetime_seconds,
    terms.lease_ms,
    terms.requested_prefix_length,
    terms.name_servers,
    nowMs,
  );
  // Not every database tells.
  const id = insertId === undefined ? await idOfSlot(tx, slot) : Number(insertId);
  await lease(tx, claim, id, endOf(request.leaseMs, nowMs), undefined);
  changed('slot', slot);
  return id;
}

const insertTunnel = prepared(
  (
    tx,
    userId: number | null,
    slot: number,
    interfaceId: string,
    keepaliveSeconds: number,
    lifetimeSeconds: number,
    leaseMs: number | null,
    requestedPrefixLength: number | null,
    nameServers: string | null,
    nowMs: number,
  ) =>
    tx.insertInto('tunnels').values({
      user_id: userId,
      family: 'ipv6',
      slot,
      interface_id: interfaceId,
      state: 'enabled',
      keepalive_seconds: keepaliveSeconds,
      lifetime_seconds: lifetimeSeconds,
      lease_ms: leaseMs,
      requested_prefix_length: requestedPrefixLength,
      name_servers: nameServers,
      created_at_ms: nowMs,
    }),
);

async function idOfSlot(tx: Writer, slot: number): Promise<number> {
  const { id } = await tx
    .selectFrom('tunnels')
    .select('id')
    .where('family', '=', 'ipv6')
    .where('slot', '=', slot)
    .executeTakeFirstOrThrow();
  return id;
}

/** Puts the tunnel at the endpoint, in place of where it was and, if allowed, of who was there. */
export async function attachTunnel(act: Act, request: AttachRequest): Promise<AttachResult> {
  const { tx, nowMs, changed } = act;
  const { tunnelId, encapsulation, client } = request;
  const tunnel = await readTunnel(tx, { tunnelId });
  if (!tunnel || tunnel.user?.id !== request.userId)
    return { ok: false, refusal: 'no-such-tunnel' };
  if (tunnel.state !== 'enabled') return { ok: false, refusal: 'tunnel-disabled' };
  const refusal = await standingRefusal(tx, request, tunnel);
  if (refusal)
    return { ok: false, refusal: refusal === 'no-such-user' ? 'user-disabled' : refusal };

  const occupant = await readOccupant(tx, request, tunnel);
  if (occupant && occupant.id !== tunnelId) {
    const yields =
      request.displaces === 'any' || (request.displaces === 'anonymous' && !occupant.user);
    if (!yields) return { ok: false, refusal: 'address-in-use' };
    await takeDownTunnel(act, occupant);
  }
  if (await isFull(tx, request)) return { ok: false, refusal: 'too-many-from-address' };
  const stays = occupant?.id === tunnelId;
  if (!stays) {
    if (tunnel.attachment) await endAttachment(act, tunnel);
    const address = formatIpv4(client.address);
    await insertAttachment(tx, tunnelId, encapsulation, address, client.port, nowMs);
    // Who logs in from elsewhere does not want to be where they once said.
    if (tunnel.staticClient !== undefined && tunnel.staticClient !== client.address)
      await setStaticClient(tx, tunnelId, undefined);
    changed('slot', tunnel.slot);
  }
  await setLastLogin(tx, tunnelId, nowMs);
  if (tunnel.expiresAtMs !== request.expiresAtMs)
    await setLeaseEnd(tx, tunnelId, request.expiresAtMs);
  return {
    ok: true,
    tunnel: {
      ...tunnel,
      attachment: stays ? occupant.attachment : { encapsulation, client, attachedAtMs: nowMs },
      lastLoginAtMs: nowMs,
      expiresAtMs: request.expiresAtMs,
    },
    displacedTunnelId: stays ? undefined : occupant?.id,
  };
}

export async function setStaticClient(
  tx: Writer,
  tunnelId: number,
  client: Ipv4Address | undefined,
): Promise<void> {
  await tx
    .updateTable('tunnels')
    .set({ static_client: client === undefined ? null : formatIpv4(client) })
    .where('id', '=', tunnelId)
    .execute();
}

const insertAttachment = prepared(
  (
    tx,
    tunnelId: number,
    encapsulation: Encapsulation,
    address: string,
    port: number,
    nowMs: number,
  ) =>
    tx.insertInto('attachments').values({
      tunnel_id: tunnelId,
      encapsulation,
      client_address: address,
      client_port: port,
      attached_at_ms: nowMs,
    }),
);

/** Where the tunnel's client is, if anywhere, becomes a place where it was. */
export async function endAttachment(
  act: Act,
  tunnel: Pick<AnyTunnel, 'id' | 'user' | 'attachment'>,
): Promise<void> {
  await deleteAttachment(act.tx, tunnel.id);
  await noteDetached(act, tunnel);
}

const deleteAttachment = prepared((tx, tunnelId: number) =>
  tx.deleteFrom('attachments').where('tunnel_id', '=', tunnelId),
);

const setLastLogin = prepared((tx, tunnelId: number, nowMs: number) =>
  tx.updateTable('tunnels').set({ last_login_at_ms: nowMs }).where('id', '=', tunnelId),
);

async function isFull(db: Reader, request: AttachRequest): Promise<boolean> {
  const { tunnelId, userId, client, maxAtAddress } = request;
  if (maxAtAddress === undefined) return false;
  const there = await readAttachedAtAddress(db, client.address);
  if (there.some(({ id }) => id === tunnelId)) return false;
  const counted = there.filter(({ anonymous }) => userId === undefined || !anonymous);
  return counted.length >= maxAtAddress;
}

/** Takes the tunnel's client away. Addresses stay leased, but to a user only. */
export async function takeDownTunnel(act: Act, tunnel: AnyTunnel): Promise<void> {
  // An anonymous tunnel without a client is nobody's: no login leads back to it.
  if (tunnel.user) await detachTunnel(act, tunnel);
  else await closeTunnel(act, tunnel);
}

/** The lease begins to run out when the client goes: what is in use is never taken back. */
async function detachTunnel(act: Act, tunnel: AnyTunnel): Promise<void> {
  await endAttachment(act, tunnel);
  if (tunnel.attachment) await setLeaseEnd(act.tx, tunnel.id, endOf(tunnel.leaseMs, act.nowMs));
  act.changed(slotKind(tunnel), tunnel.slot);
}

/** Ends the tunnel and frees its addresses. */
export async function closeTunnel(act: Act, tunnel: AnyTunnel): Promise<void> {
  await endAttachment(act, tunnel);
  const freed = await freeLeases(act, tunnel.id);
  await noteFreed(act, tunnel, freed);
  await act.tx.deleteFrom('tunnels').where('id', '=', tunnel.id).execute();
  for (const { ownerIndex } of freed)
    if (ownerIndex !== undefined) act.changed('owner', ownerIndex);
  act.changed(slotKind(tunnel), tunnel.slot);
}

/** Its user, or an administrator, does not let its client in. */
export function isClosed({ state }: Pick<AnyTunnel, 'state'>): boolean {
  return state === 'paused' || state === 'disabled';
}

/** Its addresses stay its user's for so long, in case they want it back. */
export async function deleteTunnel(act: Act, tunnel: AnyTunnel, holdMs: number): Promise<void> {
  if (holdMs === 0) return closeTunnel(act, tunnel);
  await setTunnelState(act, tunnel, 'deleted');
  await setStaticClient(act.tx, tunnel.id, undefined);
  await setLeaseEnd(act.tx, tunnel.id, act.nowMs + holdMs);
}

export function slotKind({ family }: Pick<AnyTunnel, 'family'>): ChangeKind {
  return family === 'ipv4' ? 'ipv4-slot' : 'slot';
}

export async function setTunnelState(
  act: Act,
  tunnel: AnyTunnel,
  state: AnyTunnel['state'],
): Promise<void> {
  await act.tx.updateTable('tunnels').set({ state }).where('id', '=', tunnel.id).execute();
  await detachTunnel(act, tunnel);
  // A disabled tunnel that ended by itself would let its user have an enabled one.
  const leaseMs = state === 'disabled' ? undefined : tunnel.leaseMs;
  await setLeaseEnd(act.tx, tunnel.id, endOf(leaseMs, act.nowMs));
}

/**
 * Makes every user's tunnel subject to a lease of this length, undefined: for ever. Those without a
 * client have all of it from now on.
 */
export async function setUserLeases(
  { tx, nowMs }: Act,
  leaseMs: number | undefined,
): Promise<void> {
  const others = tunnelsWithOtherLease(tx, leaseMs).select('id');
  await tx
    .updateTable('leases')
    .set({ expires_at_ms: endOf(leaseMs, nowMs) ?? null })
    .where('tunnel_id', 'in', others.where('state', 'in', ['enabled', 'paused']))
    .where('tunnel_id', 'not in', tx.selectFrom('attachments').select('tunnel_id'))
    .where('purpose', '!=', 'delegation')
    .execute();
  await tx
    .updateTable('tunnels')
    .set({ lease_ms: leaseMs ?? null })
    .where('id', 'in', others)
    .execute();
}

/** The tunnels that {@link setUserLeases} would change. */
export function tunnelsWithOtherLease(db: Reader, leaseMs: number | undefined) {
  return db
    .selectFrom('tunnels')
    .where('user_id', 'is not', null)
    .where((row) =>
      leaseMs === undefined
        ? row('lease_ms', 'is not', null)
        : row.or([row('lease_ms', 'is', null), row('lease_ms', '!=', leaseMs)]),
    );
}

export async function setLeaseEnd(
  tx: Writer,
  tunnelId: number,
  expiresAtMs: number | undefined,
): Promise<void> {
  await setLinkEnd(tx, tunnelId, expiresAtMs ?? null);
}

const setLinkEnd = prepared((tx, tunnelId: number, expiresAtMs: number | null) =>
  tx
    .updateTable('leases')
    .set({ expires_at_ms: expiresAtMs })
    .where('tunnel_id', '=', tunnelId)
    .where('purpose', '!=', 'delegation'),
);

export function endOf(leaseMs: number | undefined, nowMs: number): number | undefined {
  return leaseMs === undefined ? undefined : nowMs + leaseMs;
}

export async function userRefusal(
  db: Reader,
  { userId, proxy }: Pick<TunnelRequest, 'userId' | 'proxy'>,
): Promise<'no-such-user' | 'user-disabled' | 'proxy-not-allowed' | undefined> {
  if (userId === undefined) return proxy ? 'proxy-not-allowed' : undefined;
  const [user] = (await standingOfUser(db, userId)).rows;
  if (!user) return 'no-such-user';
  if (user.disabled_at_ms !== null) return 'user-disabled';
  return proxy && user.proxy_trusted_at_ms === null ? 'proxy-not-allowed' : undefined;
}

const standingOfUser = prepared((db, userId: number) =>
  db.selectFrom('users').select(['disabled_at_ms', 'proxy_trusted_at_ms']).where('id', '=', userId),
);
