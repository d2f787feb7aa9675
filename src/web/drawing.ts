// The front page's picture: a way that goes through arches, one behind the other, and opens into six.

import { type Html, html } from './html.ts';

export function tunnelDrawing(): Html {
  const arches = Array.from({ length: 7 }, (_, i) => {
    const width = 15 + i * 3;
    const x = 96 + i * 33;
    return html`<ellipse cx="${x}" cy="140" rx="${width * 0.42}" ry="${36 + i * 9}"></ellipse>`;
  });
  return html`
    <svg class="drawing" viewBox="8 40 408 200" aria-hidden="true" focusable="false">
      <g fill="none" stroke="currentColor" stroke-width="3">${arches}</g>
      <g class="way" fill="none" stroke-width="4" stroke-linecap="round">
        <path d="M25 140h311"></path>
        <circle cx="352" cy="140" r="16"></circle>
        <path d="M352 112V72M376.3 126l34.6-20M376.3 154l34.6 20M352 168v40M327.700 154l-14 8M327.700 126l-14-8"></path>
      </g>
      <g class="way" fill="none" stroke-width="4"><circle cx="18" cy="140" r="7"></circle></g>
    </svg>
  `;
}
