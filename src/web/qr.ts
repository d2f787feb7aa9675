// QR codes as drawings that need no style and no script.

import { encode } from 'uqr';
import { type Html, html } from './html.ts';

/** Dark on light whatever the page's colours are: readers expect it. `label` is what it is. */
export function qrCode(text: string, label: string): Html {
  const { data, size } = encode(text, { ecc: 'M', border: 4 });
  const path = data
    .flatMap((row, y) => row.map((dark, x) => (dark ? `M${x} ${y}h1v1h-1z` : '')))
    .join('');
  return html`
    <svg class="qr" role="img" viewBox="0 0 ${size} ${size}" shape-rendering="crispEdges">
      <title>${label}</title>
      <rect width="${size}" height="${size}" fill="#fff"></rect>
      <path d="${path}" fill="#000"></path>
    </svg>
  `;
}
