// Staff's desk for tunnels: finding them, what they may do, ending them. Works on the store; the
// broker's daemon follows.

import { parseIp, parseIpv4Prefix, parseIpv6Prefix } from '../address.ts';
import type { Found, TunnelFilter } from '../store/directory.ts';
import type { Page, PageRequest } from '../store/pages.ts';
import type { PolicyChange } from '../store/policies.ts';
import { type Actor, actorAudit, type DeskParts } from './desk-parts.ts';
import { tunnelSubject } from './desk-users.ts';

export type TunnelListState = NonNullable<TunnelFilter['state']>;
export type TunnelRefusal = 'no-such-tunnel';

export class TunnelsDesk {
  readonly #parts: DeskParts;

  constructor(parts: DeskParts) {
    this.#parts = parts;
  }

  /** `search`: a tunnel's number, an address, or a user's name; empty: all. */
  async list(
    search: string,
    state: TunnelListState | undefined,
    page: PageRequest,
  ): Promise<Page<Found>> {
    return this.#parts.store.directory.tunnels({ state, search: parseSearch(search) }, page);
  }

  async find(id: number): Promise<Found | undefined> {
    return this.#parts.store.directory.tunnel(id);
  }

  /** What was done to it, the latest first. */
  async acts(id: number) {
    const subjects = [tunnelSubject(id)];
    return this.#parts.store.people.audit.before(undefined, 30, { subjects });
  }

  /** Ends the traffic, and no login sets it up again; the addresses stay. */
  async disable(id: number, actor: Actor): Promise<'done' | TunnelRefusal> {
    return this.#setState(id, 'disabled', actor);
  }

  async enable(id: number, actor: Actor): Promise<'done' | TunnelRefusal> {
    return this.#setState(id, 'enabled', actor);
  }

  async #setState(id: number, state: 'enabled' | 'disabled', actor: Actor) {
    const { store, clock } = this.#parts;
    const tunnel = await this.find(id);
    if (!tunnel) return 'no-such-tunnel';
    // Either takes the client away: what is so already stays as it is.
    if (tunnel.state === state) return 'done';
    const audit = actorAudit(actor, `tunnel-${state}`, { subject: tunnelSubject(id) });
    return (await store.setTunnelState(id, state, clock(), audit)) ? 'done' : 'no-such-tunnel';
  }

  /** At once, also while the tunnel is up. */
  async setLimits(id: number, change: PolicyChange, actor: Actor): Promise<'done' | TunnelRefusal> {
    const { store, clock } = this.#parts;
    const audit = actorAudit(actor, 'tunnel-limits', {
      subject: tunnelSubject(id),
      details: limitsDetails(change),
    });
    return (await store.setTunnelPolicy(id, change, clock(), audit)) ? 'done' : 'no-such-tunnel';
  }

  /** For good: the addresses go to others. */
  async close(id: number, actor: Actor): Promise<'done' | TunnelRefusal> {
    const { store, clock } = this.#parts;
    const audit = actorAudit(actor, 'tunnel-close', { subject: tunnelSubject(id) });
    return (await store.closeTunnel(id, clock(), audit)) ? 'done' : 'no-such-tunnel';
  }
}

/** As the audit log has it. */
export function limitsDetails(change: PolicyChange): Record<string, string | number | null> {
  return Object.fromEntries(Object.entries(change).map(([key, value]) => [key, value ?? null]));
}

function parseSearch(text: string): TunnelFilter['search'] {
  const trimmed = text.trim();
  if (trimmed === '') return undefined;
  if (/^\d{1,15}$/.test(trimmed)) return Number(trimmed);
  const prefix = parseIpv6Prefix(trimmed) ?? parseIpv4Prefix(trimmed);
  const address = parseIp(trimmed) ?? prefix?.address;
  return address === undefined ? { user: trimmed } : { address };
}
