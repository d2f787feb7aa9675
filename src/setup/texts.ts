// What instructions say in words, in each language. A text names its values in braces; commands,
// addresses and names of menus are values and are never translated. A language is a file of texts, and
// a line in LANGUAGES.

import { ARABIC } from './texts-ar.ts';
import { ENGLISH, type NamesIn, type TextKey, type Texts, type TextValues } from './texts-en.ts';

/** A text that is still to be put into a language. */
export type Prose = {
  readonly [K in TextKey]: { readonly key: K; readonly values: TextValues<K> };
}[TextKey];

export function prose<K extends TextKey>(
  key: K,
  ...values: NamesIn<(typeof ENGLISH)[K]> extends never ? [] : [TextValues<K>]
): Prose {
  return { key, values: values[0] ?? {} } as unknown as Prose;
}

/** `direction` is how the language is written. */
export const LANGUAGES = {
  en: { name: 'English', direction: 'ltr', texts: ENGLISH },
  ar: { name: 'العربية', direction: 'rtl', texts: ARABIC },
} as const satisfies Readonly<
  Record<string, { name: string; direction: 'ltr' | 'rtl'; texts: Texts }>
>;
export type Language = keyof typeof LANGUAGES;

/** A value stands apart so that it can be set as code, and be isolated in a text of the other direction. */
export type ProsePart =
  | { readonly type: 'words'; readonly text: string }
  | { readonly type: 'value'; readonly text: string };

export function proseParts(said: Prose, language: Language): readonly ProsePart[] {
  const texts: Texts = LANGUAGES[language].texts;
  const values: Readonly<Record<string, string>> = said.values;
  return texts[said.key]
    .split(/(\{[a-z]+\})/)
    .filter((part) => part !== '')
    .map((part) =>
      part.startsWith('{')
        ? { type: 'value', text: values[part.slice(1, -1)] ?? part }
        : { type: 'words', text: part },
    );
}

const [LEFT_TO_RIGHT_ISOLATE, POP_ISOLATE] = ['\u2066', '\u2069'];

/** As plain text; what is written from left to right is isolated where the text is not (UAX #9). */
export function proseText(said: Prose, language: Language): string {
  const isolate = LANGUAGES[language].direction === 'rtl';
  return proseParts(said, language)
    .map(({ type, text }) =>
      isolate && type === 'value' ? `${LEFT_TO_RIGHT_ISOLATE}${text}${POP_ISOLATE}` : text,
    )
    .join('');
}
