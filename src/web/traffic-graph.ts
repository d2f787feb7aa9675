// A tunnel's traffic as a drawing that needs no script: to the client above the line, from the client
// below it, on one scale. Time runs from left to right in every language.

import type { TunnelTraffic } from '../broker/tunnel-desk.ts';
import { type Html, html } from './html.ts';

const WIDTH = 720;
const HALF = 90;
const HEIGHT = 2 * HALF + 20;
/** Where the line is that both are drawn from. */
const MIDDLE = HALF + 2;

export interface Totals {
  readonly inBytes: number;
  readonly outBytes: number;
  /** Of one span, either way; bits a second. */
  readonly peakRate: number;
}

export function totalsOf({ points, spanMs }: TunnelTraffic): Totals {
  const sum = (read: (point: TunnelTraffic['points'][number]) => number) =>
    points.reduce((total, point) => total + read(point), 0);
  const most = Math.max(0, ...points.map(({ inBytes, outBytes }) => Math.max(inBytes, outBytes)));
  return {
    inBytes: sum(({ inBytes }) => inBytes),
    outBytes: sum(({ outBytes }) => outBytes),
    peakRate: (most * 8) / (spanMs / 1000),
  };
}

/** `ticks`: what is written below, from the beginning to the end. */
export function trafficGraph(
  traffic: TunnelTraffic,
  label: Html | string,
  ticks: readonly string[],
): Html {
  const { fromMs, untilMs, spanMs, points } = traffic;
  const most = Math.max(1, ...points.map(({ inBytes, outBytes }) => Math.max(inBytes, outBytes)));
  const spans = Math.max(1, (untilMs - fromMs) / spanMs);
  const width = WIDTH / spans;
  const bars = points.map(({ atMs, inBytes, outBytes }) => {
    const x = ((atMs - fromMs) / spanMs) * width;
    return { x, up: (outBytes / most) * HALF, down: (inBytes / most) * HALF };
  });
  const path = (bar: (each: (typeof bars)[number]) => string) => bars.map(bar).join('');
  const barWidth = round(Math.max(1, width * (spans > 100 ? 1 : 0.82)));
  return html`
    <svg class="graph" viewBox="0 0 ${WIDTH} ${HEIGHT}" role="img" aria-label="${String(label)}">
      <g class="grid"><path d="M0 2H${WIDTH}M0 ${MIDDLE - HALF / 2}H${WIDTH}M0 ${MIDDLE + HALF / 2}H${WIDTH}M0 ${MIDDLE + HALF}H${WIDTH}"></path></g>
      <path class="to" d="${path(
        ({ x, up }) => (up > 0 && barOf(x, MIDDLE - up, barWidth, up)) || '',
      )}"></path>
      <path class="from" d="${path(
        ({ x, down }) => (down > 0 && barOf(x, MIDDLE, barWidth, down)) || '',
      )}"></path>
      <path class="axis" d="M0 ${MIDDLE}H${WIDTH}"></path>
      ${ticks.map((text, i) => {
        const x = round((i / Math.max(1, ticks.length - 1)) * WIDTH);
        const anchor = i === 0 ? 'start' : i === ticks.length - 1 ? 'end' : 'middle';
        return html`<text x="${x}" y="${HEIGHT - 2}" text-anchor="${anchor}">${text}</text>`;
      })}
    </svg>
  `;
}

function barOf(x: number, y: number, width: number, height: number): string {
  return `M${round(x)} ${round(y)}h${width}v${round(Math.max(height, 0.8))}h-${width}z`;
}

function round(value: number): number {
  return Math.round(value * 10) / 10;
}
