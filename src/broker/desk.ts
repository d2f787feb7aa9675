// What staff do, one desk for each thing. Everything is done in the store, so this works in a process
// without privileges beside the broker's daemon, which learns of it from the change feed.

import type { Counts, Totals, TotalsSpan } from '../store/overview.ts';
import { AbuseDesk, AuditDesk } from './desk-log.ts';
import { type DeskParts, Kept } from './desk-parts.ts';
import { GroupDesk, PoolDesk } from './desk-pools.ts';
import { AnnouncementDesk, InvitationDesk, StaffRolesDesk } from './desk-staff.ts';
import { TunnelsDesk } from './desk-tunnels.ts';
import { UserDesk } from './desk-users.ts';

/** Every method of the desks may reject with the store's StoreError. */
export class Desk {
  readonly users: UserDesk;
  readonly tunnels: TunnelsDesk;
  readonly pools: PoolDesk;
  readonly groups: GroupDesk;
  readonly announcements: AnnouncementDesk;
  readonly invitations: InvitationDesk;
  readonly staff: StaffRolesDesk;
  readonly audit: AuditDesk;
  readonly abuse: AbuseDesk;
  readonly overview: OverviewDesk;

  constructor(options: Omit<DeskParts, 'clock'> & Partial<Pick<DeskParts, 'clock'>>) {
    const parts = { clock: Date.now, ...options };
    this.users = new UserDesk(parts);
    this.tunnels = new TunnelsDesk(parts);
    this.pools = new PoolDesk(parts);
    this.groups = new GroupDesk(parts);
    this.announcements = new AnnouncementDesk(parts);
    this.invitations = new InvitationDesk(parts);
    this.staff = new StaffRolesDesk(parts);
    this.audit = new AuditDesk(parts);
    this.abuse = new AbuseDesk(parts);
    this.overview = new OverviewDesk(parts);
  }
}

const COUNTS_KEPT_MS = 15_000;
const HOUR_MS = 3_600_000;

/** How far back the graphs go, and in which steps. */
export const RANGES = {
  day: { span: '5_minutes', stepMs: HOUR_MS / 12, backMs: 24 * HOUR_MS },
  month: { span: 'hours', stepMs: HOUR_MS, backMs: 31 * 24 * HOUR_MS },
  year: { span: 'days', stepMs: 24 * HOUR_MS, backMs: 366 * 24 * HOUR_MS },
} as const satisfies Record<string, { span: TotalsSpan; stepMs: number; backMs: number }>;

export type Range = keyof typeof RANGES;

export class OverviewDesk {
  readonly #parts: DeskParts;
  readonly #counts: Kept<Counts>;

  constructor(parts: DeskParts) {
    this.#parts = parts;
    this.#counts = new Kept(() => parts.store.overview.counts(), COUNTS_KEPT_MS, parts.clock);
  }

  /** As it was up to a quarter of a minute ago. */
  async counts(): Promise<Counts> {
    return this.#counts.get();
  }

  /** In the order of time; empty while the daemon has counted nothing. */
  async totals(range: Range): Promise<{
    readonly fromMs: number;
    readonly untilMs: number;
    readonly stepMs: number;
    readonly rows: readonly Totals[];
  }> {
    const { span, stepMs, backMs } = RANGES[range];
    const untilMs = this.#parts.clock();
    const fromMs = untilMs - backMs;
    const rows = await this.#parts.store.overview.totals(span, fromMs);
    return { fromMs, untilMs, stepMs, rows };
  }
}
