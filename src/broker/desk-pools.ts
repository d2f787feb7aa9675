// Staff's desk for what is handed out, and for groups: which pools there are and how full, and what
// holds for the tunnels of a group's users. The rules are those of the command line.

import { parseIpv4Prefix, parseIpv6Prefix } from '../address.ts';
import type { GroupUsage, PolicyChange } from '../store/policies.ts';
import type { NewPool, PoolUsage } from '../store/pools.ts';
import type { PoolPurpose } from '../store/schema.ts';
import { type Actor, actorAudit, type DeskParts, Kept } from './desk-parts.ts';
import { limitsDetails } from './desk-tunnels.ts';
import { addGroup, type GroupRefusal, NO_GROUP, removeGroup, setGroup } from './groups.ts';
import { type AddedPool, addPool } from './pools.ts';

/** Counting looks at every lease. */
const USAGE_KEPT_MS = 30_000;

export class PoolDesk {
  readonly #parts: DeskParts;
  readonly #usage: Kept<readonly PoolUsage[]>;

  constructor(parts: DeskParts) {
    this.#parts = parts;
    this.#usage = new Kept(() => parts.store.poolUsage(), USAGE_KEPT_MS, parts.clock);
  }

  /** As full as they were up to half a minute ago. */
  async list(): Promise<readonly PoolUsage[]> {
    return this.#usage.get();
  }

  async add(
    asked: {
      readonly purpose: PoolPurpose;
      readonly prefix: string;
      readonly positionLength: number;
    },
    actor: Actor,
  ): Promise<AddedPool | { readonly ok: false; readonly refusal: 'prefix-invalid' }> {
    const { store, capacity, clock } = this.#parts;
    const wish = wishOf(asked);
    if (!wish) return { ok: false, refusal: 'prefix-invalid' };
    const { purpose, prefix, positionLength } = asked;
    const audit = actorAudit(actor, 'pool-add', {
      subject: `pool:${prefix.trim()}`,
      details: { purpose, positionLength },
    });
    const added = await addPool(store, wish, capacity, clock(), audit);
    this.#usage.forget();
    return added;
  }
}

function wishOf(asked: {
  readonly purpose: PoolPurpose;
  readonly prefix: string;
  readonly positionLength: number;
}): NewPool | undefined {
  const { purpose, positionLength } = asked;
  const text = asked.prefix.trim();
  if (purpose === 'ipv4-link') {
    const prefix = parseIpv4Prefix(text);
    return prefix && { purpose, prefix, positionLength };
  }
  const prefix = parseIpv6Prefix(text);
  return prefix && { purpose, prefix, positionLength };
}

export class GroupDesk {
  readonly #parts: DeskParts;
  readonly #all: Kept<readonly GroupUsage[]>;

  constructor(parts: DeskParts) {
    this.#parts = parts;
    this.#all = new Kept(() => parts.store.groups(), USAGE_KEPT_MS, parts.clock);
  }

  /** With as many users as they had up to half a minute ago. */
  async list(): Promise<readonly GroupUsage[]> {
    return this.#all.get();
  }

  async find(name: string): Promise<GroupUsage | undefined> {
    return (await this.#parts.store.groups()).find((group) => group.name === name);
  }

  async add(name: string, limits: PolicyChange, actor: Actor): Promise<'done' | GroupRefusal> {
    return this.#act(actor, 'group-add', name, limitsDetails(limits), (audit, nowMs) =>
      addGroup(this.#parts.store, name, limits, nowMs, audit),
    );
  }

  /** At once, for all its users' tunnels. */
  async set(name: string, limits: PolicyChange, actor: Actor): Promise<'done' | GroupRefusal> {
    return this.#act(actor, 'group-set', name, limitsDetails(limits), (audit, nowMs) =>
      setGroup(this.#parts.store, name, limits, nowMs, audit),
    );
  }

  /** Only when nobody is in it. */
  async remove(name: string, actor: Actor): Promise<'done' | GroupRefusal> {
    return this.#act(actor, 'group-remove', name, undefined, (audit, nowMs) =>
      removeGroup(this.#parts.store, name, nowMs, audit),
    );
  }

  async #act(
    actor: Actor,
    act: string,
    name: string,
    details: Record<string, string | number | null> | undefined,
    run: (audit: ReturnType<typeof actorAudit>, nowMs: number) => ReturnType<typeof addGroup>,
  ): Promise<'done' | GroupRefusal> {
    const rest = { subject: `group:${name}`, ...(details && { details }) };
    const result = await run(actorAudit(actor, act, rest), this.#parts.clock());
    this.#all.forget();
    return result.ok ? 'done' : result.refusal;
  }
}

export { NO_GROUP };
