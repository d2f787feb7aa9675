// Figures over everything: how many users and tunnels there are, and what was counted in the last day.
// Reads only; counting runs along indices, and is still not for every page.

import { sql } from 'kysely';
import type { TotalsColumns } from './history-tables.ts';
import type { StoreAccess } from './people-access.ts';
import type { Reader } from './schema.ts';

export interface Counts {
  readonly users: number;
  /** Sign-ups that somebody has to look at. */
  readonly waiting: number;
  readonly disabledUsers: number;
  readonly tunnels: {
    readonly up: number;
    readonly down: number;
    readonly disabled: number;
    /** Of all those. */
    readonly anonymous: number;
  };
}

export type TotalsSpan = '5_minutes' | 'hours' | 'days';

/** What was counted from `atMs` until the next row of the same span. */
export type Totals = { readonly atMs: number } & Readonly<TotalsColumns>;

export class Overview {
  readonly #access: StoreAccess;

  constructor(access: StoreAccess) {
    this.#access = access;
  }

  async counts(): Promise<Counts> {
    const db = this.#access.reading();
    const one = async (query: ReturnType<typeof sql<{ n: number }>>) =>
      (await query.execute(db)).rows[0]!.n;
    const tunnels = await one(sql`select count(*) as n from tunnels`);
    const up = await one(sql`select count(*) as n from attachments`);
    const closed = await one(sql`select count(*) as n from tunnels where state = 'disabled'`);
    const ofDisabled = await one(sql`
      select count(*) as n from users join tunnels on tunnels.user_id = users.id
      where users.disabled_at_ms is not null and tunnels.state = 'enabled'
    `);
    // A disabled tunnel has no client, whoever disabled it.
    const disabled = closed + ofDisabled;
    const waiting = await one(
      sql`select count(*) as n from people where state = 'waiting-approval'`,
    );
    // Who waits is disabled, too, as a user.
    const notIn = await one(sql`select count(*) as n from users where disabled_at_ms is not null`);
    return {
      users: await one(sql`select count(*) as n from users`),
      waiting,
      disabledUsers: Math.max(0, notIn - waiting),
      tunnels: {
        up,
        down: Math.max(0, tunnels - up - disabled),
        disabled,
        anonymous: await one(sql`select count(*) as n from tunnels where user_id is null`),
      },
    };
  }

  /** In the order of time. */
  async totals(span: TotalsSpan, sinceMs: number): Promise<readonly Totals[]> {
    const rows = await totalsSince(this.#access.reading(), span, sinceMs).execute();
    return rows.map(({ at_ms, ...columns }) => ({ atMs: at_ms, ...columns }));
  }
}

function totalsSince(db: Reader, span: TotalsSpan, sinceMs: number) {
  return db.selectFrom(`totals_${span}`).selectAll().where('at_ms', '>=', sinceMs).orderBy('at_ms');
}
