// The frame of every page. Knows who is signed in and in which language, and nothing of what is inside.

import { type Html, type HtmlValue, html } from './html.ts';
import { LANGUAGES, type Language } from './i18n/languages.ts';

export interface Frame {
  readonly title: string;
  readonly main: HtmlValue;
  /** `form`: a narrow column; `wide`: as wide as there is room for; `desk`: staff's, with a menu. */
  readonly kind: 'form' | 'text' | 'wide' | 'desk';
  /** Modules that make the page nicer; it works without. */
  readonly scripts: readonly string[];
  readonly language: Language;
  readonly service: { readonly name: string; readonly contact: string };
  /** Who is signed in: their address or name. */
  readonly who: string | undefined;
  readonly isStaff: boolean;
  readonly maySignUp: boolean;
  /** What was just done. */
  readonly notice: string | undefined;
  /** Hidden field of every form on the page. */
  readonly csrf: Html;
  /** Where choosing a language leads back to. */
  readonly path: string;
  readonly asset: (name: string) => string;
}

/** Six ways out of one ring, and one of them leads in. */
export function mark(): Html {
  return html`
    <svg class="mark" viewBox="0 0 32 32" aria-hidden="true" focusable="false">
      <g fill="none" stroke="currentColor" stroke-width="3" stroke-linecap="round">
        <circle cx="16" cy="16" r="4.5"></circle>
        <path d="M16 3v4M27.3 9.5l-3.5 2M27.3 22.5l-3.5-2M16 29v-4M4.7 22.5l3.5-2"></path>
        <path class="way" d="M4.7 9.5l7 4"></path>
      </g>
    </svg>
  `;
}

export function layout(frame: Frame): string {
  const { title, main, kind, scripts, language, service, who, notice, csrf, path, asset } = frame;
  const { layout: words } = language.words;
  const heading = title === service.name ? title : `${title} · ${service.name}`;
  return html`<!doctype html>
<html lang="${language.tag}" dir="${language.direction}">
<head>
<meta charset="utf-8">
<title>${heading}</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<link rel="icon" href="${asset('mark.svg')}" type="image/svg+xml">
<link rel="stylesheet" href="${asset('style.css')}">
${kind === 'desk' && html`<link rel="stylesheet" href="${asset('desk.css')}">`}
${scripts.map(
  (name) => html`<script type="module" src="${asset(name)}"></script>
`,
)}
</head>
<body>
<a class="skip" href="#content">${words.skip}</a>
<header class="top">
  <a class="brand" href="/">${mark()}<bdi>${service.name}</bdi></a>
  <nav aria-label="${words.menu}">
    ${
      who === undefined
        ? html`
          <a href="/sign-in">${words.signIn}</a>
          ${frame.maySignUp && html`<a class="button small" href="/sign-up">${words.signUp}</a>`}
        `
        : html`
          ${frame.isStaff && html`<a href="/admin">${language.words.admin.title}</a>`}
          <a href="/tunnels">${language.words.tunnels.title}</a>
          <a href="/account"><bdi>${who}</bdi></a>
          <form method="post" action="/sign-out">${csrf}
            <button class="plain">${words.signOut}</button>
          </form>
        `
    }
  </nav>
</header>
<main id="content" class="${kind}" tabindex="-1">
  ${notice !== undefined && html`<p class="notice" role="status">${notice}</p>`}
  ${main}
</main>
<footer class="bottom">
  ${service.contact !== '' && html`<p>${words.help(contactLink(service.contact))}</p>`}
  <form class="languages" method="post" action="/language" aria-label="${words.language}">
    ${csrf}<input type="hidden" name="back" value="${path}">
    ${Object.values(LANGUAGES).map(
      ({ tag, name, direction }) => html`
        <button class="plain" name="language" value="${tag}" lang="${tag}" dir="${direction}"
          ${tag === language.tag && html`aria-current="true"`}>${name}</button>
      `,
    )}
  </form>
</footer>
</body>
</html>
`.toString();
}

function contactLink(contact: string): Html {
  if (/^https?:\/\//.test(contact)) return html`<a href="${contact}"><bdi>${contact}</bdi></a>`;
  if (contact.includes('@')) return html`<a href="mailto:${contact}"><bdi>${contact}</bdi></a>`;
  return html`<bdi>${contact}</bdi>`;
}
