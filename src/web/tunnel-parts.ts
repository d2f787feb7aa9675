// Pieces of the pages about tunnels: a state, a list of facts, the diagnosis. Each says by a sign and a
// word what it says by colour.

import { bdi, type Html, type HtmlValue, html } from './html.ts';
import type { Language } from './i18n/languages.ts';
import { findingText, type ShownState, type TunnelLook } from './tunnel-look.ts';

const CLASS_OF: Readonly<Record<ShownState, 'good' | 'bad' | 'plainly'>> = {
  heard: 'good',
  up: 'good',
  silent: 'bad',
  down: 'plainly',
  paused: 'plainly',
  disabled: 'bad',
  deleted: 'plainly',
};

export function stateLine(language: Language, state: ShownState): Html {
  const { tunnels: words } = language.words;
  return html`<p class="state ${CLASS_OF[state]}" data-state><span data-live="state">${words.state[state]}</span></p>`;
}

/** Those without a value are left out. */
export function factList(facts: readonly (readonly [name: string, value: HtmlValue])[]): Html {
  return html`
    <dl class="facts-list">
      ${facts
        .filter(([, value]) => value !== undefined && value !== false)
        .map(([name, value]) => html`<div><dt>${name}</dt><dd>${value}</dd></div>`)}
    </dl>
  `;
}

const SIGNS = {
  problem: 'M12 3 22 21H2zM12 10v5M12 17.500v.5',
  notice: 'M12 3a9 9 0 1 0 .01 0zM12 7.500v.5M12 11v6',
  fine: 'M4 13l5 5L20 6',
} as const;

export function diagnosisHtml(language: Language, { findings, live }: TunnelLook): Html {
  const { tunnels: words } = language.words;
  const nowMs = live?.nowMs ?? Date.now();
  if (findings.length === 0) return html`<p class="hint">${words.nothingFound}</p>`;
  return html`
    <ul class="findings">
      ${findings.map(
        (finding) => html`
          <li class="finding is-${finding.severity}">
            <svg viewBox="0 0 24 24" aria-hidden="true" focusable="false">
              <path d="${SIGNS[finding.severity]}"></path>
            </svg>
            <p><strong>${words.severity[finding.severity]}</strong> ${findingText(finding, language, nowMs)}</p>
          </li>
        `,
      )}
    </ul>
  `;
}

/** Numbers with units, in a sentence. */
export function quantity(text: string): Html {
  return bdi(text);
}
