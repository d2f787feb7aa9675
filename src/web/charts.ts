// Graphs as SVG, drawn by the server: no script, no inline style, and the figures in words and as a table
// beside it. Time runs from left to right in every language, as it does on instruments.

import { type Html, type HtmlValue, html } from './html.ts';

export interface Series {
  readonly name: string;
  /** In the order of time. */
  readonly points: readonly { readonly atMs: number; readonly value: number }[];
}

export interface Chart {
  /** Unique on the page. */
  readonly id: string;
  readonly title: string;
  /** At most three: each has a colour and a dash of its own. */
  readonly series: readonly Series[];
  readonly fromMs: number;
  readonly untilMs: number;
  /** Points further apart than this are not joined: nothing was counted between them. */
  readonly stepMs: number;
  readonly format: (value: number) => string;
  readonly time: (atMs: number) => string;
  readonly words: {
    readonly none: string;
    readonly figures: string;
    readonly time: string;
    readonly latest: string;
    readonly highest: string;
  };
}

const WIDTH = 480;
const HEIGHT = 190;
const LEFT = 4;
const RIGHT = 4;
const TOP = 22;
const BOTTOM = 24;
const ROWS_SHOWN = 24;

export function chart(asked: Chart): Html {
  const { id, title, series, words } = asked;
  const empty = series.every(({ points }) => points.length === 0);
  return html`
    <figure class="chart card" aria-labelledby="${id}-title">
      <figcaption>
        <h2 id="${id}-title">${title}</h2>
        ${empty ? html`<p class="hint">${words.none}</p>` : legend(asked)}
      </figcaption>
      ${!empty && [drawing(asked), figures(asked)]}
    </figure>
  `;
}

function legend({ series, format, words }: Chart): Html {
  return html`
    <ul class="legend">
      ${series.map(({ name, points }, index) => {
        const values = points.map(({ value }) => value);
        const latest = values.at(-1);
        return html`
          <li>
            <svg class="swatch" viewBox="0 0 24 8" aria-hidden="true" focusable="false">
              <path class="line line-${index + 1}" d="M1 4h22"></path>
            </svg>
            ${name}: <bdi>${latest === undefined ? '–' : format(latest)}</bdi>
            <span class="hint">(${words.highest} <bdi>${format(Math.max(0, ...values))}</bdi>)</span>
          </li>
        `;
      })}
    </ul>
  `;
}

function drawing(asked: Chart): Html {
  const { series, fromMs, untilMs, format, time } = asked;
  const highest = niceAbove(
    Math.max(0, ...series.flatMap(({ points }) => points.map(({ value }) => value))),
  );
  const x = (atMs: number) =>
    round(LEFT + ((atMs - fromMs) / (untilMs - fromMs)) * (WIDTH - LEFT - RIGHT));
  const y = (value: number) => round(HEIGHT - BOTTOM - (value / highest) * (HEIGHT - TOP - BOTTOM));
  const levels = [0, highest / 2, highest];
  const times = [fromMs, (fromMs + untilMs) / 2, untilMs];
  return html`
    <svg class="time-graph" viewBox="0 0 ${WIDTH} ${HEIGHT}" direction="ltr" aria-hidden="true"
      focusable="false">
      ${levels.map(
        (level) => html`
          <path class="grid" d="M${LEFT} ${y(level)}H${WIDTH - RIGHT}"></path>
          ${level > 0 && html`<text x="${LEFT}" y="${y(level) - 5}">${format(level)}</text>`}
        `,
      )}
      ${times.map(
        (atMs, index) => html`
          <text x="${x(atMs)}" y="${HEIGHT - 6}" text-anchor="${['start', 'middle', 'end'][index]!}">${time(atMs)}</text>
        `,
      )}
      ${series.map(
        ({ points }, index) => html`
          <path class="line line-${index + 1}" d="${path(asked, points, x, y)}"></path>
        `,
      )}
    </svg>
  `;
}

function path(
  { stepMs, fromMs }: Chart,
  points: Series['points'],
  x: (atMs: number) => number,
  y: (value: number) => number,
): string {
  let beforeMs = Number.NEGATIVE_INFINITY;
  return points
    .map(({ atMs, value }) => {
      const joined = atMs - beforeMs <= stepMs * 1.5;
      beforeMs = atMs;
      const at = `${x(Math.max(fromMs, atMs))} ${y(value)}`;
      // A point alone is a dot: a line of no length with round ends.
      return joined ? `L${at}` : `M${at}h0`;
    })
    .join('');
}

/** The latest ones, for who cannot see the lines. */
function figures({ series, format, time, words, title }: Chart): Html {
  const times = [...new Set(series.flatMap(({ points }) => points.map(({ atMs }) => atMs)))]
    .sort((a, b) => b - a)
    .slice(0, ROWS_SHOWN);
  const cell = ({ points }: Series, atMs: number): HtmlValue => {
    const found = points.find((point) => point.atMs === atMs);
    return found ? format(found.value) : '–';
  };
  return html`
    <details>
      <summary>${words.figures}<span class="unseen"> – ${title}</span></summary>
      <table>
        <thead>
          <tr><th scope="col">${words.time}</th>
            ${series.map(({ name }) => html`<th scope="col">${name}</th>`)}</tr>
        </thead>
        <tbody>
          ${times.map(
            (atMs) => html`
              <tr><th scope="row"><bdi>${time(atMs)}</bdi></th>
                ${series.map((each) => html`<td><bdi>${cell(each, atMs)}</bdi></td>`)}</tr>
            `,
          )}
        </tbody>
      </table>
    </details>
  `;
}

/** How full something is; what it means stands beside it. */
export function fillBar(part: number, whole: number): Html {
  const share = whole === 0 ? 0 : Math.min(1, part / whole);
  // Something is seen even of one in a million.
  const width = part === 0 ? 0 : Math.max(1, round(share * 100));
  return html`
    <svg class="fill${share >= 0.9 && ' nearly'}" viewBox="0 0 100 6" preserveAspectRatio="none"
      aria-hidden="true" focusable="false">
      <rect class="whole" width="100" height="6"></rect>
      <rect class="part" width="${width}" height="6"></rect>
    </svg>
  `;
}

/** The next number above that people write without thinking; never 0. */
export function niceAbove(value: number): number {
  if (value <= 0) return 1;
  const magnitude = 10 ** Math.floor(Math.log10(value));
  for (const step of [1, 2, 5, 10]) if (step * magnitude >= value) return step * magnitude;
  return 10 * magnitude;
}

function round(value: number): number {
  return Math.round(value * 10) / 10;
}
