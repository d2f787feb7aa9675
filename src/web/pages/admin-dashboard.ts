// The overview: how many, how full, what was lately.

import { formatPrefix } from '../../address.ts';
import { RANGES, type Range } from '../../broker/desk.ts';
import type { PoolUsage, Totals } from '../../broker/desk-parts.ts';
import { type Chart, chart, fillBar, type Series } from '../charts.ts';
import { bitRate, shortNumber, wholeNumber } from '../figures.ts';
import { bdi, code, type Html, type HtmlValue, html } from '../html.ts';
import type { Routes } from '../routes.ts';
import { formatterOf } from '../times.ts';
import type { Visit } from '../visit.ts';
import { deskPage, may } from './admin-parts.ts';

const HOUR_MS = 3_600_000;

export function dashboardPages(routes: Routes): void {
  routes.staff('dashboard.see').get('/admin', async (visit, me) => {
    const { desk } = visit.portal;
    const range = rangeOf(visit.field('range'));
    const [counts, pools, totals, isUp] = await Promise.all([
      desk.overview.counts(),
      desk.pools.list(),
      desk.overview.totals(range),
      visit.portal.isUp(),
    ]);
    const { overview: words, dashboard: title } = visit.words.admin;
    const { tunnels } = counts;
    const seesUsers = may(me, 'users.see');
    return deskPage(visit, me, {
      title,
      section: 'dashboard',
      main: html`
        <div class="figures">
          ${
            counts.waiting > 0 &&
            figure(words.waiting, counts.waiting, seesUsers && '/admin/users?state=waiting')
          }
          ${figure(
            words.users,
            counts.users,
            seesUsers && '/admin/users',
            counts.disabledUsers > 0 && words.disabled(bdi(wholeNumber(counts.disabledUsers))),
          )}
          ${figure(
            words.up,
            tunnels.up,
            '/admin/tunnels?state=up',
            tunnels.anonymous > 0 && words.anonymous(bdi(wholeNumber(tunnels.anonymous))),
          )}
          ${figure(words.down, tunnels.down, '/admin/tunnels?state=down')}
          ${figure(words.closed, tunnels.disabled, '/admin/tunnels?state=disabled')}
          <section class="card">
            <h2 class="overline">${words.service}</h2>
            <p class="state ${isUp ? 'good' : 'bad'}">${isUp ? words.isUp : words.isDown}</p>
          </section>
        </div>
        <nav class="ranges" aria-label="${words.range}">
          <span class="label">${words.range}</span>
          ${(Object.keys(RANGES) as Range[]).map(
            (each) => html`
              <a href="/admin?range=${each}" ${each === range && html`aria-current="true"`}>${words.ranges[each]}</a>
            `,
          )}
        </nav>
        <div class="charts">${charts(visit, range, totals)}</div>
        <section aria-labelledby="fill">
          <h2 id="fill">${words.fill}</h2>
          ${
            pools.length === 0
              ? html`<p class="hint">${visit.words.admin.pool.none}</p>`
              : pools.map((pool) => poolFill(visit, pool))
          }
        </section>
      `,
    });
  });
}

function rangeOf(text: string): Range {
  return Object.hasOwn(RANGES, text) ? (text as Range) : 'day';
}

function figure(name: string, count: number, href: string | false, more?: HtmlValue): Html {
  const number = html`<span class="number"><bdi>${wholeNumber(count)}</bdi></span>`;
  return html`
    <section class="card">
      <h2 class="overline">${name}</h2>
      <p>${href === false ? number : html`<a href="${href}" aria-label="${name}: ${wholeNumber(count)}">${number}</a>`}</p>
      ${more && html`<p class="hint">${more}</p>`}
    </section>
  `;
}

export function poolFill(visit: Visit, pool: PoolUsage): Html {
  const { pool: words } = visit.words.admin;
  const whole = pool.purpose === 'delegation' ? pool.positionCount : pool.positionCount - 1;
  return html`
    <div class="pool">
      <p class="pool-name">
        ${code(formatPrefix(pool.prefix))}
        <span class="hint">${words.purposes[pool.purpose]} · ${code(`/${pool.positionLength}`)}</span>
      </p>
      ${fillBar(pool.leased, whole)}
      <p class="hint">${words.of(bdi(wholeNumber(pool.leased)), bdi(wholeNumber(whole)))}
        (<bdi>${percent(pool.leased, whole)}</bdi>)</p>
    </div>
  `;
}

function percent(part: number, whole: number): string {
  return `${whole === 0 ? 0 : Number(((part / whole) * 100).toFixed(part === 0 ? 0 : 1))} %`;
}

function charts(
  visit: Visit,
  range: Range,
  totals: {
    readonly fromMs: number;
    readonly untilMs: number;
    readonly stepMs: number;
    readonly rows: readonly Totals[];
  },
): readonly Html[] {
  const { overview: words, time } = visit.words.admin;
  const { rows, ...span } = totals;
  const series = (name: string, value: (row: Totals) => number): Series => ({
    name,
    points: rows.map((row) => ({ atMs: row.atMs, value: value(row) })),
  });
  // What was counted in one step, as if it went on for an hour.
  const hourly = (count: number) => (count * HOUR_MS) / span.stepMs;
  const rate = (octets: number) => (octets * 8 * 1000) / span.stepMs;
  const shared: Omit<Chart, 'id' | 'title' | 'series' | 'format'> = {
    ...span,
    time: (atMs) => timeLabel(visit, range, atMs),
    words: {
      none: words.noFigures,
      figures: words.figures,
      time: `${time} (UTC)`,
      latest: words.latest,
      highest: words.highest,
    },
  };
  return [
    chart({
      ...shared,
      id: 'states',
      title: words.states,
      format: shortNumber,
      series: [
        series(words.up, ({ attached }) => attached),
        series(words.down, ({ down }) => down),
        series(words.closed, ({ disabled }) => disabled),
      ],
    }),
    chart({
      ...shared,
      id: 'logins',
      title: words.logins,
      format: shortNumber,
      series: [
        series(words.good, ({ logins }) => hourly(logins)),
        series(words.failed, ({ login_failures }) => hourly(login_failures)),
      ],
    }),
    chart({
      ...shared,
      id: 'traffic',
      title: words.traffic,
      format: bitRate,
      series: [
        series(words.fromClients, ({ in_bytes }) => rate(in_bytes)),
        series(words.toClients, ({ out_bytes }) => rate(out_bytes)),
      ],
    }),
  ];
}

function timeLabel(visit: Visit, range: Range, atMs: number): string {
  const options: Intl.DateTimeFormatOptions =
    range === 'day'
      ? { hour: '2-digit', minute: '2-digit', hourCycle: 'h23' }
      : { day: 'numeric', month: 'short', ...(range === 'year' && { year: 'numeric' }) };
  return formatterOf(visit.language.locale, options).format(atMs);
}
