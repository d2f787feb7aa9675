// What a person does to their own tunnels in the portal. Each act is one transaction with its entry in
// the audit log, and looks first whose the tunnel is. What may be done is said by the caller; what it
// does to a tunnel is in tunnel-acts.ts.

import type { Ipv4Address } from '../address.ts';
import { type AuditEntry, appendAudit } from './audit-log.ts';
import type { Act } from './changes.ts';
import {
  type Ipv4Tunnel,
  type Ipv4TunnelRequest,
  openIpv4Tunnel,
  readIpv4Tunnel,
} from './ipv4-tunnels.ts';
import type { StoreAccess } from './people-access.ts';
import {
  type AttachRefusal,
  attachTunnel,
  deleteTunnel,
  type OpenRefusal,
  openTunnel,
  setStaticClient,
  setTunnelState,
  type TunnelRequest,
  takeDownTunnel,
} from './tunnel-acts.ts';
import { readTunnel, type Tunnel } from './tunnels.ts';
import { type SealedSecret, secretColumns } from './users.ts';

export type OwnRefusal =
  | OpenRefusal
  | AttachRefusal
  /** The user has a tunnel of this kind already. */
  | 'has-tunnel'
  /** Nothing would change. */
  | 'unchanged';

export type OwnResult =
  | { readonly ok: true; readonly tunnelId: number }
  | { readonly ok: false; readonly refusal: OwnRefusal };

/** Where the client is by protocol 41. */
export interface StaticPlace {
  readonly client: Ipv4Address;
  /** Another machine's address than the one that asks. */
  readonly proxy: boolean;
  readonly maxAtAddress: number | undefined;
}

type Whose = { readonly tunnelId: number; readonly userId: number };
type Audit = Omit<AuditEntry, 'subject'>;

export class OwnTunnels {
  readonly #access: StoreAccess;

  constructor(access: StoreAccess) {
    this.#access = access;
  }

  /** `place`: brought up there at once; undefined: at the first login. */
  async create(
    request: TunnelRequest & { readonly userId: number },
    place: StaticPlace | undefined,
    audit: Audit,
    nowMs: number,
  ): Promise<OwnResult> {
    return this.#access.actOrUndo(nowMs, async (act) => {
      const standing = await readTunnel(act.tx, { userId: request.userId });
      if (standing && standing.state !== 'deleted') return refuse('has-tunnel');
      const opened = await openTunnel(act, request);
      if (!opened.ok) return opened;
      const placed = place && (await putAt(act, opened.tunnel, place));
      return placed && !placed.ok ? placed : done(act, opened.tunnel.id, audit);
    });
  }

  async createIpv4(request: Ipv4TunnelRequest, audit: Audit, nowMs: number): Promise<OwnResult> {
    return this.#access.actOrUndo(nowMs, async (act) => {
      const standing = await readIpv4Tunnel(act.tx, { userId: request.userId });
      if (standing && standing.state !== 'deleted') return refuse('has-tunnel');
      const opened = await openIpv4Tunnel(act, request);
      return opened.ok ? done(act, opened.tunnel.id, audit) : opened;
    });
  }

  /** A prefix for a tunnel that has none. */
  async addPrefix(
    whose: Whose,
    request: TunnelRequest,
    audit: Audit,
    nowMs: number,
  ): Promise<OwnResult> {
    return this.#on(whose, audit, nowMs, async (act, tunnel) => {
      if (tunnel.family !== 'ipv6' || tunnel.delegation) return 'unchanged';
      const opened = await openTunnel(act, request);
      return opened.ok ? undefined : opened.refusal;
    });
  }

  /** Takes the client away and lets none in. */
  async pause(whose: Whose, audit: Audit, nowMs: number): Promise<OwnResult> {
    return this.#on(whose, audit, nowMs, async (act, tunnel) => {
      if (tunnel.state === 'paused') return 'unchanged';
      await setTunnelState(act, tunnel, 'paused');
      return undefined;
    });
  }

  /** Lets clients in again; one whose address was set is there at once. */
  async resume(
    whose: Whose,
    maxAtAddress: number | undefined,
    audit: Audit,
    nowMs: number,
  ): Promise<OwnResult> {
    return this.#on(whose, audit, nowMs, async (act, tunnel) => {
      if (tunnel.state === 'enabled' && tunnel.attachment) return 'unchanged';
      if (tunnel.state === 'paused') await setTunnelState(act, tunnel, 'enabled');
      const { staticClient: client } = tunnel.family === 'ipv6' ? tunnel : {};
      if (client === undefined) return tunnel.state === 'paused' ? undefined : 'unchanged';
      // The address was checked when it was set.
      const placed = await putAt(act, tunnel, { client, proxy: false, maxAtAddress });
      return placed.ok ? undefined : placed.refusal;
    });
  }

  /** Its addresses are held for so long; 0: not at all. */
  async delete(whose: Whose, holdMs: number, audit: Audit, nowMs: number): Promise<OwnResult> {
    return this.#on(whose, audit, nowMs, async (act, tunnel) => {
      await deleteTunnel(act, tunnel, holdMs);
      return undefined;
    });
  }

  /** Undefined: where the next login says. */
  async setPlace(
    whose: Whose,
    place: StaticPlace | undefined,
    audit: Audit,
    nowMs: number,
  ): Promise<OwnResult> {
    return this.#on(whose, audit, nowMs, async (act, tunnel) => {
      if (tunnel.family !== 'ipv6') return 'no-such-tunnel';
      if (tunnel.state !== 'enabled') return 'tunnel-disabled';
      const { staticClient, attachment } = tunnel;
      if (!place) {
        if (staticClient === undefined) return 'unchanged';
        await takeDownTunnel(act, tunnel);
        await setStaticClient(act.tx, tunnel.id, undefined);
        return undefined;
      }
      const isThere =
        attachment?.encapsulation === 'v6v4' && attachment.client.address === place.client;
      if (isThere && staticClient === place.client) return 'unchanged';
      const placed = await putAt(act, tunnel, place);
      return placed.ok ? undefined : placed.refusal;
    });
  }

  /** Undefined: what the client asks for. */
  async setNameServers(
    whose: Whose,
    names: readonly string[] | undefined,
    audit: Audit,
    nowMs: number,
  ): Promise<OwnResult> {
    return this.#on(whose, audit, nowMs, async ({ tx }, tunnel) => {
      await tx
        .updateTable('tunnels')
        .set({ own_name_servers: names ? JSON.stringify(names) : null })
        .where('id', '=', tunnel.id)
        .execute();
      return undefined;
    });
  }

  /** The secret that the user's clients log in with. What is up stays up. */
  async setSecret(
    userId: number,
    secret: SealedSecret,
    audit: AuditEntry,
    nowMs: number,
  ): Promise<void> {
    await this.#access.act(nowMs, async (act) => {
      await act.tx
        .updateTable('users')
        .set(secretColumns(secret))
        .where('id', '=', userId)
        .execute();
      act.changed('user', userId);
      await appendAudit(act, audit);
    });
  }

  async #on(
    { tunnelId, userId }: Whose,
    audit: Audit,
    nowMs: number,
    work: (act: Act, tunnel: Tunnel | Ipv4Tunnel) => Promise<OwnRefusal | undefined>,
  ): Promise<OwnResult> {
    return this.#access.actOrUndo<OwnResult>(nowMs, async (act) => {
      const tunnel =
        (await readTunnel(act.tx, { tunnelId })) ?? (await readIpv4Tunnel(act.tx, { tunnelId }));
      if (tunnel?.user?.id !== userId || tunnel.state === 'deleted')
        return refuse('no-such-tunnel');
      if (tunnel.userDisabled) return refuse('user-disabled');
      if (tunnel.state === 'disabled') return refuse('tunnel-disabled');
      const refusal = await work(act, tunnel);
      return refusal === undefined ? done(act, tunnelId, audit) : refuse(refusal);
    });
  }
}

async function putAt(
  act: Act,
  tunnel: Tunnel | Ipv4Tunnel,
  place: StaticPlace,
): Promise<OwnResult> {
  const { client, proxy, maxAtAddress } = place;
  const attached = await attachTunnel(act, {
    tunnelId: tunnel.id,
    userId: tunnel.user?.id,
    encapsulation: 'v6v4',
    client: { address: client, port: 0 },
    proxy,
    // As at a login: a whole address stays its user's while it is in use.
    displaces: 'anonymous',
    maxAtAddress,
    expiresAtMs: undefined,
  });
  if (!attached.ok) return attached;
  await setStaticClient(act.tx, tunnel.id, client);
  act.changed('slot', tunnel.slot);
  return { ok: true, tunnelId: tunnel.id };
}

async function done(act: Act, tunnelId: number, audit: Audit): Promise<OwnResult> {
  await appendAudit(act, { ...audit, subject: `tunnel:${tunnelId}` });
  return { ok: true, tunnelId };
}

function refuse(refusal: OwnRefusal): OwnResult {
  return { ok: false, refusal };
}
