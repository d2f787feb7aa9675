// Fields of forms: every one has a label, its hint and its error are read out with it, and a summary on
// top leads to the ones that need another look.

import { type Html, type HtmlValue, html } from './html.ts';
import type { Words } from './i18n/words.ts';

/** What is wrong, by field; the field `form` is the whole of it. */
export type Mistakes = Readonly<Partial<Record<string, keyof Words['errors']>>>;

export interface Field {
  readonly name: string;
  readonly label: string;
  readonly type?: 'text' | 'email' | 'password' | 'search';
  readonly value?: string | undefined;
  readonly hint?: HtmlValue;
  readonly required?: boolean;
  /** What browsers and password managers fill in. */
  readonly autocomplete: string;
  readonly inputmode?: 'numeric' | 'email' | 'text';
  /** Left to right in every language: addresses, names, codes. */
  readonly ltr?: boolean;
  readonly maxLength?: number;
}

export class Fields {
  readonly #words: Words;
  readonly #mistakes: Mistakes;

  constructor(words: Words, mistakes: Mistakes = {}) {
    this.#words = words;
    this.#mistakes = mistakes;
  }

  /** Above the form; it has the focus when the page comes with mistakes. */
  summary(): Html {
    const found = Object.entries(this.#mistakes);
    if (found.length === 0) return html``;
    return html`
      <div class="summary" role="alert" tabindex="-1" autofocus aria-labelledby="summary-title">
        <h2 id="summary-title">${this.#words.form.summary}</h2>
        <ul>
          ${found.map(([name, mistake]) => {
            const text = mistake && this.#words.errors[mistake];
            return html`<li>${name === 'form' ? text : html`<a href="#${name}">${text}</a>`}</li>`;
          })}
        </ul>
      </div>
    `;
  }

  input(field: Field): Html {
    const { name, label, type = 'text', value, hint, required = true, autocomplete } = field;
    const { inputmode, ltr, maxLength = 300 } = field;
    const isLtr = ltr ?? (type === 'email' || type === 'password');
    return html`
      <div class="field${this.#mistakes[name] !== undefined && ' wrong'}">
        <label for="${name}">
          ${label} ${!required && html`<span class="optional">(${this.#words.form.optional})</span>`}
        </label>
        ${hint && html`<p class="hint" id="${name}-hint">${hint}</p>`}
        ${this.error(name)}
        <input id="${name}" name="${name}" type="${type}" maxlength="${maxLength}"
          autocomplete="${autocomplete}"
          ${value !== undefined && type !== 'password' && html`value="${value}"`}
          ${inputmode && html`inputmode="${inputmode}"`}
          ${isLtr && html`dir="ltr" autocapitalize="none" spellcheck="false"`}
          ${required && html`required`}
          ${this.#described(name, hint)}>
      </div>
    `;
  }

  /** Whose the password in a form is: for password managers, and for nobody to see or change. */
  owner(email: string): Html {
    return html`
      <input type="text" name="owner" autocomplete="username" value="${email}" readonly hidden>
    `;
  }

  /** The password of who is signed in, asked for again. */
  ownPassword(email: string): Html {
    return html`${this.owner(email)}${this.input({
      name: 'password',
      label: this.#words.form.currentPassword,
      type: 'password',
      autocomplete: 'current-password',
    })}`;
  }

  checkbox(name: string, value: string, label: HtmlValue, checked = false, id = name): Html {
    return html`
      <div class="field check">
        ${id === name && this.error(name)}
        <label for="${id}">
          <input id="${id}" name="${name}" type="checkbox" value="${value}"
            ${checked && html`checked`} ${id === name && this.#described(name, undefined)}>
          <span>${label}</span>
        </label>
      </div>
    `;
  }

  /** One of several, each with a sentence. */
  radios(
    name: string,
    legend: string,
    options: readonly { readonly value: string; readonly text: HtmlValue }[],
    chosen: string | undefined,
  ): Html {
    return html`
      <fieldset id="${name}">
        <legend>${legend}</legend>
        ${this.error(name)}
        ${options.map(
          ({ value, text }) => html`
            <div class="field check">
              <label for="${name}-${value}">
                <input id="${name}-${value}" name="${name}" type="radio" value="${value}"
                  ${value === chosen && html`checked`}>
                <span>${text}</span>
              </label>
            </div>
          `,
        )}
      </fieldset>
    `;
  }

  /** Left to right in every language: lines of names and addresses. */
  lines(name: string, label: string, value: string, rows: number): Html {
    return html`
      <div class="field${this.#mistakes[name] !== undefined && ' wrong'}">
        <label for="${name}">${label}</label>
        ${this.error(name)}
        <textarea id="${name}" name="${name}" rows="${rows}" maxlength="2000" dir="ltr"
          autocapitalize="none" spellcheck="false"${this.#described(name, undefined)}>${value}</textarea>
      </div>
    `;
  }

  select(
    name: string,
    label: string,
    options: readonly { readonly value: string; readonly text: string; readonly lang?: string }[],
    chosen: string | undefined,
  ): Html {
    return html`
      <div class="field">
        <label for="${name}">${label}</label>
        <select id="${name}" name="${name}">
          ${options.map(
            ({ value, text, lang }) => html`
              <option value="${value}" ${lang && html`lang="${lang}"`}
                ${value === chosen && html`selected`}>${text}</option>
            `,
          )}
        </select>
      </div>
    `;
  }

  /** What is wrong with a field; {@link input} and {@link checkbox} show theirs themselves. */
  error(name: string): HtmlValue {
    const mistake = this.#mistakes[name];
    return mistake && html`<p class="error" id="${name}-error">${this.#words.errors[mistake]}</p>`;
  }

  #described(name: string, hint: HtmlValue): HtmlValue {
    const wrong = this.#mistakes[name] !== undefined;
    const ids = [hint ? `${name}-hint` : '', wrong ? `${name}-error` : ''].filter(Boolean);
    return [
      ids.length > 0 && html` aria-describedby="${ids.join(' ')}"`,
      wrong && html` aria-invalid="true"`,
    ];
  }
}
