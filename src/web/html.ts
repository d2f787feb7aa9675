// HTML as values: what goes into a template is escaped unless it is HTML already, so that forgetting
// something shows as text and never as markup. Attributes are written in double quotes.

export class Html {
  readonly #text: string;

  private constructor(text: string) {
    this.#text = text;
  }

  /** Only for what this program itself has written. */
  static trusted(text: string): Html {
    return new Html(text);
  }

  toString(): string {
    return this.#text;
  }
}

/** Nothing is written for `false`, `null` and `undefined`; lists are written one after the other. */
export type HtmlValue = Html | string | number | false | null | undefined | readonly HtmlValue[];

export function html(strings: TemplateStringsArray, ...values: readonly HtmlValue[]): Html {
  let text = strings[0] ?? '';
  for (const [i, value] of values.entries()) text += write(value) + (strings[i + 1] ?? '');
  return Html.trusted(text);
}

function write(value: HtmlValue): string {
  if (value instanceof Html) return value.toString();
  if (typeof value === 'string') return escapeHtml(value);
  if (typeof value === 'number') return String(value);
  if (value === false || value === null || value === undefined) return '';
  return value.map(write).join('');
}

const ESCAPES: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
};

export function escapeHtml(text: string): string {
  return text.replace(/[&<>"']/g, (character) => ESCAPES[character] ?? '');
}

/** What has a direction of its own inside a sentence: names, addresses, numbers with units. */
export function bdi(text: string | number): Html {
  return html`<bdi>${text}</bdi>`;
}

/** Addresses, prefixes and codes: always from left to right, in type that tells 1 from l. */
export function code(text: string): Html {
  return html`<bdi dir="ltr" class="code">${text}</bdi>`;
}
