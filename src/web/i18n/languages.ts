// The languages there are, and which of them a browser wants. To add one: a file like en.ts, and a line
// here.

import { ar } from './ar.ts';
import { en } from './en.ts';
import type { Words } from './words.ts';

export interface Language {
  readonly tag: LanguageTag;
  /** In the language itself. */
  readonly name: string;
  readonly direction: 'ltr' | 'rtl';
  readonly words: Words;
  /** For dates and numbers; digits as in addresses, so that one page has one kind. */
  readonly locale: string;
}

export const LANGUAGES = {
  en: { tag: 'en', name: 'English', direction: 'ltr', words: en, locale: 'en-GB' },
  ar: {
    tag: 'ar',
    name: 'العربية',
    direction: 'rtl',
    words: ar,
    locale: 'ar-u-nu-latn-ca-gregory',
  },
} as const satisfies Record<string, Omit<Language, 'tag'> & { tag: string }>;

export type LanguageTag = keyof typeof LANGUAGES;

export function languageOf(tag: string | undefined): Language | undefined {
  return Object.values(LANGUAGES).find((language) => language.tag === tag);
}

/** The one of ours that an Accept-Language header (RFC 9110 §12.5.4) likes best. */
export function acceptedLanguage(header: string | undefined): Language | undefined {
  const wanted = (header ?? '')
    .slice(0, 500)
    .split(',')
    .map((part) => {
      const [range = '', ...parameters] = part
        .trim()
        .toLowerCase()
        .split(/\s*;\s*/);
      const quality = parameters.find((each) => each.startsWith('q='))?.slice(2);
      return { tag: range.split('-')[0], quality: quality === undefined ? 1 : Number(quality) };
    })
    .filter(({ quality }) => quality > 0)
    .sort((a, b) => b.quality - a.quality);
  for (const { tag } of wanted) {
    const language = languageOf(tag);
    if (language) return language;
  }
  return undefined;
}
