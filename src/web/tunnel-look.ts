// One look at a tunnel: what the store says, and what the daemon says at this moment if it can be asked.
// Pages and API show the same.

import type { Finding } from '../broker/diagnosis.ts';
import { type Format, sentenceOf } from '../broker/diagnosis-texts.ts';
import type { OwnState, OwnTunnel } from '../broker/tunnel-desk.ts';
import type { Language } from './i18n/languages.ts';
import type { LiveTunnel } from './live-source.ts';
import type { Portal } from './portal.ts';
import { formatAgo, formatNumber } from './quantities.ts';

/** `heard` and `silent`: where a client is known, whether it is heard from. */
export type ShownState = OwnState | 'heard' | 'silent';

export interface TunnelLook {
  readonly tunnel: OwnTunnel;
  readonly state: ShownState;
  /** Undefined: the daemon cannot be asked. */
  readonly live: LiveTunnel | undefined;
  readonly findings: readonly Finding[];
}

export async function lookAt(
  portal: Pick<Portal, 'live' | 'tunnels'>,
  tunnel: OwnTunnel,
): Promise<TunnelLook> {
  const asked = await portal.live.tunnel(tunnel.id);
  const live = asked.ok ? asked.value : undefined;
  const isQuiet = tunnel.state === 'paused' || tunnel.state === 'deleted';
  const findings = isQuiet
    ? []
    : (live?.findings ?? (await portal.tunnels.findingsOnPaper(tunnel)));
  return { tunnel, state: stateOf(tunnel, live), live, findings };
}

/** Two keepalives and a moment: what the diagnosis calls silent. */
function stateOf({ state, keepaliveSeconds, attachedAtMs = 0 }: OwnTunnel, live?: LiveTunnel) {
  if (state !== 'up' || !live) return state;
  const heardMs = live.counters.inLastSeenMs ?? 0;
  const isHeard = heardMs >= attachedAtMs && live.nowMs - heardMs <= limitMs(keepaliveSeconds);
  return isHeard ? 'heard' : 'silent';
}

function limitMs(keepaliveSeconds: number): number {
  return 2 * (keepaliveSeconds * 1000 + 5000);
}

/** In a sentence or two, with what to do. */
export function findingText(finding: Finding, language: Language, nowMs: number): string {
  return sentenceOf(finding, language.tag, formatOf(language, nowMs));
}

function formatOf(language: Language, nowMs: number): Format {
  return {
    time: (atMs) =>
      // Of what is to come the day matters, of what was how long ago.
      atMs > nowMs
        ? new Intl.DateTimeFormat(language.locale, { dateStyle: 'medium', timeZone: 'UTC' }).format(
            atMs,
          )
        : formatAgo(language, atMs, nowMs),
    count: (count) => formatNumber(language, count),
  };
}
