// What went through tunnels, and through all of them together, over time: what was counted is added to
// spans of five minutes, hours and days in one transaction, so that their sums agree. With it is kept
// what the counters said, so that nothing is counted twice or lost when a process ends. Knows no kernel.

import type { Room } from './backend.ts';
import {
  addCounts,
  bucketOf,
  bucketsBetween,
  type Counts,
  NO_COUNTS,
  RESOLUTIONS,
  type Resolution,
} from './buckets.ts';
import { readDense } from './dense.ts';
import { prepared } from './prepared.ts';
import type { Reader, TunnelFamily, Writer } from './schema.ts';

/** What is to be added. */
export interface Counted {
  /** Undefined: nobody knows which; it goes into the totals only. */
  readonly tunnelId: number | undefined;
  readonly counts: Counts;
  /** What the counters said. */
  readonly seen?: Seen;
}

export interface Seen {
  readonly family: TunnelFamily;
  readonly slot: number;
  readonly tunnelId: number;
  readonly counts: Counts;
}

/** How things are, and what happened since this was said last. */
export interface Gauges {
  readonly logins: number;
  readonly loginFailures: number;
  readonly attached: number;
  readonly down: number;
  readonly disabled: number;
  readonly sessions: number;
}

/** One span, named by its beginning. */
export type TrafficPoint = Counts & { readonly atMs: number };
/** The gauges are those at the span's end; logins are all of the span's. */
export type TotalsPoint = TrafficPoint & Gauges;

export interface PoolFill {
  readonly atMs: number;
  readonly poolId: number;
  readonly leased: number;
}

const EPOCH = 'traffic_epoch';
const SEEN_PAGE = 5000;
/** Points that one question may ask for. */
const POINTS_MOST = 10_000;

type Five = readonly [number, number, number, number, number];

/** Every method may reject with StoreError. */
export class TrafficStore {
  readonly #room: Room;

  constructor(room: Room) {
    this.#room = room;
  }

  /** Which counters {@link seen} is of; undefined: nothing was ever seen. */
  async epoch(): Promise<string | undefined> {
    const row = await this.#room
      .reading()
      .selectFrom('settings')
      .select('value')
      .where('name', '=', EPOCH)
      .executeTakeFirst();
    return row?.value;
  }

  /** The counters are others: what was seen of the former ones is forgotten. */
  async beginEpoch(epoch: string, seen: 'forgotten' | 'kept'): Promise<void> {
    await this.#room.writing(async (tx) => {
      if (seen === 'forgotten') await tx.deleteFrom('traffic_seen').execute();
      await tx
        .insertInto('settings')
        .values({ name: EPOCH, value: epoch })
        .onConflict((conflict) => conflict.column('name').doUpdateSet({ value: epoch }))
        .execute();
    });
  }

  /** All that was seen, some at a time. */
  async *seen(family: TunnelFamily): AsyncGenerator<readonly Seen[]> {
    for (let slot = -1; ; ) {
      const query = this.#room
        .reading()
        .selectFrom('traffic_seen')
        .select([
          'slot',
          'tunnel_id',
          'in_packets',
          'in_bytes',
          'out_packets',
          'out_bytes',
          'drops',
        ])
        .where('family', '=', family)
        .where('slot', '>', slot)
        .orderBy('slot')
        .limit(SEEN_PAGE);
      const rows = await readDense<readonly [number, number, ...Five]>(this.#room.reading(), query);
      yield rows.map(([slot, tunnelId, inPackets, inBytes, outPackets, outBytes, drops]) => ({
        family,
        slot,
        tunnelId,
        counts: { inPackets, inBytes, outPackets, outBytes, drops },
      }));
      if (rows.length < SEEN_PAGE) return;
      slot = rows.at(-1)![0];
    }
  }

  /** Where the kernel counts for the tunnel; undefined: there is no such tunnel. */
  async placeOf(
    tunnelId: number,
  ): Promise<{ readonly family: TunnelFamily; readonly slot: number } | undefined> {
    const { rows } = await placeOfTunnel(this.#room.reading(), tunnelId);
    return rows[0];
  }

  /** The tunnels in the slots from `first` to before `end`. */
  async tunnelsInSlots(
    family: TunnelFamily,
    first: number,
    end: number,
  ): Promise<ReadonlyMap<number, number>> {
    const db = this.#room.reading();
    const query = db
      .selectFrom('tunnels')
      .select(['slot', 'id'])
      .where('family', '=', family)
      .where('slot', '>=', first)
      .where('slot', '<', end);
    return new Map(await readDense<readonly [slot: number, id: number]>(db, query));
  }

  /** Adds up, in one transaction. `atMs`: a span of five minutes. */
  async record(atMs: number, counted: readonly Counted[]): Promise<void> {
    await this.#room.writing(async (tx) => {
      let sum = NO_COUNTS;
      for (const { tunnelId, counts, seen } of counted) {
        sum = addCounts(sum, counts);
        if (tunnelId !== undefined)
          for (const resolution of RESOLUTIONS)
            await addTraffic[resolution](tx, bucketOf(atMs, resolution), tunnelId, ...five(counts));
        if (seen) await putSeen(tx, seen.family, seen.slot, seen.tunnelId, ...five(seen.counts));
      }
      for (const resolution of RESOLUTIONS)
        await addTotals[resolution](tx, bucketOf(atMs, resolution), ...five(sum));
    });
  }

  /** How things are at the end of a span of five minutes, with the fill of the pools. */
  async recordGauges(atMs: number, gauges: Gauges): Promise<void> {
    const { logins, loginFailures, attached, down, disabled, sessions } = gauges;
    const values = [logins, loginFailures, attached, down, disabled, sessions] as const;
    await this.#room.writing(async (tx) => {
      for (const resolution of RESOLUTIONS)
        await putGauges[resolution](tx, bucketOf(atMs, resolution), ...values);
      for (const { id, leased } of await poolFill(tx))
        await putFill(tx, bucketOf(atMs, 'hours'), id, leased);
    });
  }

  /** Spans in which something was counted, in order; of what is kept. */
  async ofTunnel(
    tunnelId: number,
    resolution: Resolution,
    fromMs: number,
    untilMs: number,
  ): Promise<readonly TrafficPoint[]> {
    // Rows are in the order of time, so each span is looked up by itself.
    const spans = bucketsBetween(fromMs, untilMs, resolution).slice(-POINTS_MOST);
    if (spans.length === 0) return [];
    const rows = await this.#room
      .reading()
      .selectFrom(TABLES[resolution].traffic)
      .selectAll()
      .where('at_ms', 'in', spans)
      .where('tunnel_id', '=', tunnelId)
      .orderBy('at_ms')
      .execute();
    return rows.map(toPoint);
  }

  /** Of all tunnels together; a span that is missing was not sampled. */
  async totals(
    resolution: Resolution,
    fromMs: number,
    untilMs: number,
  ): Promise<readonly TotalsPoint[]> {
    const rows = await this.#room
      .reading()
      .selectFrom(TABLES[resolution].totals)
      .selectAll()
      .where('at_ms', '>=', fromMs)
      .where('at_ms', '<', untilMs)
      .orderBy('at_ms')
      .limit(POINTS_MOST)
      .execute();
    return rows.map((row) => ({
      ...toPoint(row),
      logins: row.logins,
      loginFailures: row.login_failures,
      attached: row.attached,
      down: row.down,
      disabled: row.disabled,
      sessions: row.sessions,
    }));
  }

  /** One for each pool and hour, in order. */
  async poolFill(fromMs: number, untilMs: number): Promise<readonly PoolFill[]> {
    const rows = await this.#room
      .reading()
      .selectFrom('pool_fill')
      .selectAll()
      .where('at_ms', '>=', fromMs)
      .where('at_ms', '<', untilMs)
      .orderBy('at_ms')
      .orderBy('pool_id')
      .limit(POINTS_MOST)
      .execute();
    return rows.map((row) => ({ atMs: row.at_ms, poolId: row.pool_id, leased: row.leased }));
  }

  /** Forgets some of the spans that began before; answers how many rows went, 0: there are no more. */
  async prune(resolution: Resolution, beforeMs: number, limit = 500): Promise<number> {
    const { traffic, totals } = TABLES[resolution];
    const last = await this.#room
      .reading()
      .selectFrom(traffic)
      .select(['at_ms', 'tunnel_id'])
      .where('at_ms', '<', beforeMs)
      .orderBy('at_ms')
      .orderBy('tunnel_id')
      .limit(1)
      .offset(limit - 1)
      .executeTakeFirst();
    const old = await this.#room
      .reading()
      .selectFrom(traffic)
      .select('at_ms')
      .where('at_ms', '<', beforeMs)
      .limit(1)
      .executeTakeFirst();
    const oldTotals = await this.#room
      .reading()
      .selectFrom(totals)
      .select('at_ms')
      .where('at_ms', '<', beforeMs)
      .limit(1)
      .executeTakeFirst();
    if (!old && !oldTotals) return 0;
    return this.#room.writing(async (tx) => {
      const deletion = tx.deleteFrom(traffic);
      const { numDeletedRows } = await (last
        ? deletion.where((row) =>
            row.or([
              row('at_ms', '<', last.at_ms),
              row.and([row('at_ms', '=', last.at_ms), row('tunnel_id', '<=', last.tunnel_id)]),
            ]),
          )
        : deletion.where('at_ms', '<', beforeMs)
      ).executeTakeFirst();
      const oldest = tx
        .selectFrom(totals)
        .select('at_ms')
        .where('at_ms', '<', beforeMs)
        .orderBy('at_ms')
        .limit(limit);
      const { numDeletedRows: others } = await tx
        .deleteFrom(totals)
        .where('at_ms', 'in', oldest)
        .executeTakeFirst();
      if (resolution === 'days')
        await tx.deleteFrom('pool_fill').where('at_ms', '<', beforeMs).execute();
      return Number(numDeletedRows + others);
    });
  }
}

const TABLES = {
  '5-minutes': { traffic: 'traffic_5_minutes', totals: 'totals_5_minutes' },
  hours: { traffic: 'traffic_hours', totals: 'totals_hours' },
  days: { traffic: 'traffic_days', totals: 'totals_days' },
} as const;

const placeOfTunnel = prepared((db, tunnelId: number) =>
  db.selectFrom('tunnels').select(['family', 'slot']).where('id', '=', tunnelId),
);

function five({ inPackets, inBytes, outPackets, outBytes, drops }: Counts): Five {
  return [inPackets, inBytes, outPackets, outBytes, drops];
}

function toPoint(row: {
  at_ms: number;
  in_packets: number;
  in_bytes: number;
  out_packets: number;
  out_bytes: number;
  drops: number;
}): TrafficPoint {
  return {
    atMs: row.at_ms,
    inPackets: row.in_packets,
    inBytes: row.in_bytes,
    outPackets: row.out_packets,
    outBytes: row.out_bytes,
    drops: row.drops,
  };
}

function eachResolution<T>(make: (resolution: Resolution) => T): Readonly<Record<Resolution, T>> {
  return { '5-minutes': make('5-minutes'), hours: make('hours'), days: make('days') };
}

const addTraffic = eachResolution((resolution) =>
  prepared(
    (
      tx,
      atMs: number,
      tunnelId: number,
      inPackets: number,
      inBytes: number,
      outPackets: number,
      outBytes: number,
      drops: number,
    ) =>
      // They are alike; named for one, so that the types are known.
      tx
        .insertInto(TABLES[resolution].traffic as 'traffic_hours')
        .values({
          at_ms: atMs,
          tunnel_id: tunnelId,
          in_packets: inPackets,
          in_bytes: inBytes,
          out_packets: outPackets,
          out_bytes: outBytes,
          drops,
        })
        .onConflict((conflict) =>
          conflict.columns(['at_ms', 'tunnel_id']).doUpdateSet((row) => ({
            in_packets: row('in_packets', '+', inPackets),
            in_bytes: row('in_bytes', '+', inBytes),
            out_packets: row('out_packets', '+', outPackets),
            out_bytes: row('out_bytes', '+', outBytes),
            drops: row('drops', '+', drops),
          })),
        ),
  ),
);

const NO_GAUGES = {
  logins: 0,
  login_failures: 0,
  attached: 0,
  down: 0,
  disabled: 0,
  sessions: 0,
};
const NO_TRAFFIC = { in_packets: 0, in_bytes: 0, out_packets: 0, out_bytes: 0, drops: 0 };

const addTotals = eachResolution((resolution) =>
  prepared(
    (
      tx,
      atMs: number,
      inPackets: number,
      inBytes: number,
      outPackets: number,
      outBytes: number,
      drops: number,
    ) =>
      tx
        .insertInto(TABLES[resolution].totals as 'totals_hours')
        .values({
          at_ms: atMs,
          in_packets: inPackets,
          in_bytes: inBytes,
          out_packets: outPackets,
          out_bytes: outBytes,
          drops,
          ...NO_GAUGES,
        })
        .onConflict((conflict) =>
          conflict.column('at_ms').doUpdateSet((row) => ({
            in_packets: row('in_packets', '+', inPackets),
            in_bytes: row('in_bytes', '+', inBytes),
            out_packets: row('out_packets', '+', outPackets),
            out_bytes: row('out_bytes', '+', outBytes),
            drops: row('drops', '+', drops),
          })),
        ),
  ),
);

const putGauges = eachResolution((resolution) =>
  prepared(
    (
      tx,
      atMs: number,
      logins: number,
      loginFailures: number,
      attached: number,
      down: number,
      disabled: number,
      sessions: number,
    ) =>
      tx
        .insertInto(TABLES[resolution].totals as 'totals_hours')
        .values({
          at_ms: atMs,
          ...NO_TRAFFIC,
          logins,
          login_failures: loginFailures,
          attached,
          down,
          disabled,
          sessions,
        })
        .onConflict((conflict) =>
          conflict.column('at_ms').doUpdateSet((row) => ({
            logins: row('logins', '+', logins),
            login_failures: row('login_failures', '+', loginFailures),
            attached,
            down,
            disabled,
            sessions,
          })),
        ),
  ),
);

const putSeen = prepared(
  (
    tx,
    family: TunnelFamily,
    slot: number,
    tunnelId: number,
    inPackets: number,
    inBytes: number,
    outPackets: number,
    outBytes: number,
    drops: number,
  ) => {
    const counts = {
      in_packets: inPackets,
      in_bytes: inBytes,
      out_packets: outPackets,
      out_bytes: outBytes,
      drops,
    };
    return tx
      .insertInto('traffic_seen')
      .values({ family, slot, tunnel_id: tunnelId, ...counts })
      .onConflict((conflict) =>
        conflict.columns(['family', 'slot']).doUpdateSet({ tunnel_id: tunnelId, ...counts }),
      );
  },
);

const putFill = prepared((tx, atMs: number, poolId: number, leased: number) =>
  tx
    .insertInto('pool_fill')
    .values({ at_ms: atMs, pool_id: poolId, leased })
    .onConflict((conflict) => conflict.columns(['at_ms', 'pool_id']).doUpdateSet({ leased })),
);

/** What was ever handed out, without what was given back: few rows are counted while few are free. */
async function poolFill(db: Reader | Writer) {
  const rows = await db
    .selectFrom('pools')
    .select((row) => [
      'id',
      'purpose',
      'next_position',
      row
        .selectFrom('leases')
        .select((free) => free.fn.countAll<number>().as('count'))
        .whereRef('leases.pool_id', '=', 'pools.id')
        .where('leases.tunnel_id', 'is', null)
        .as('free'),
    ])
    .execute();
  return rows.map(({ id, purpose, next_position, free }) => ({
    id,
    leased: next_position - (purpose === 'delegation' ? 0 : 1) - Number(free ?? 0),
  }));
}
