// Octets, rates and times in words of the reader's language. Knows no page.

import { bdi, type Html, html } from './html.ts';
import type { Language } from './i18n/languages.ts';

const BYTE_UNITS = ['byte', 'kilobyte', 'megabyte', 'gigabyte', 'terabyte', 'petabyte'] as const;
/** Names of units, the same in every language. */
const RATE_UNITS = ['bit/s', 'kbit/s', 'Mbit/s', 'Gbit/s', 'Tbit/s'] as const;
const SPANS = [
  ['second', 1],
  ['minute', 60],
  ['hour', 3600],
  ['day', 86_400],
  ['month', 2_629_800],
  ['year', 31_557_600],
] as const;

/** In powers of a thousand, as networks count. */
export function formatBytes({ locale }: Language, octets: number): string {
  const { step, shown, digits } = scale(octets, BYTE_UNITS.length);
  const unitDisplay = step === 0 ? 'long' : 'short';
  const unit = BYTE_UNITS[step] ?? 'byte';
  return new Intl.NumberFormat(locale, { style: 'unit', unit, unitDisplay, ...digits }).format(
    shown,
  );
}

export function formatRate({ locale }: Language, bitsPerSecond: number): string {
  const { step, shown, digits } = scale(bitsPerSecond, RATE_UNITS.length);
  return `${new Intl.NumberFormat(locale, digits).format(shown)} ${RATE_UNITS[step]}`;
}

export function formatNumber(language: Language, value: number): string {
  return new Intl.NumberFormat(language.locale).format(value);
}

/** `12 seconds ago`. */
export function formatAgo(language: Language, atMs: number, nowMs: number): string {
  // A clock that is a little behind makes nothing happen in the future.
  const seconds = Math.max(0, Math.round((nowMs - atMs) / 1000));
  const [unit, size] = SPANS.findLast(([, length]) => seconds >= length) ?? SPANS[0];
  const format = new Intl.RelativeTimeFormat(language.locale, { numeric: 'auto' });
  return format.format(-Math.floor(seconds / size), unit);
}

/** The same with the moment itself, for who wants to know exactly. */
export function ago(language: Language, atMs: number, nowMs: number): Html {
  const iso = new Date(atMs).toISOString();
  return html`<time datetime="${iso}" title="${iso.replace('T', ' ').slice(0, 19)} UTC">${bdi(
    formatAgo(language, atMs, nowMs),
  )}</time>`;
}

/** In steps of a thousand, with one digit more where it says something. */
function scale(value: number, steps: number) {
  const step = value < 1000 ? 0 : Math.min(steps - 1, Math.floor(Math.log10(value) / 3));
  const shown = value / 1000 ** step;
  return { step, shown, digits: { maximumFractionDigits: step > 0 && shown < 100 ? 1 : 0 } };
}
