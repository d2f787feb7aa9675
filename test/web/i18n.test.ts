// Every language says everything, in itself.

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { html } from '../../src/web/html.ts';
import { acceptedLanguage, LANGUAGES } from '../../src/web/i18n/languages.ts';

/** Every text by the path of its keys; functions are given something to say. */
function texts(words: unknown, path = ''): Map<string, string> {
  if (typeof words === 'string') return new Map([[path, words]]);
  if (typeof words === 'function') {
    const values = Array.from({ length: words.length }, () => html`<i>7</i>`);
    return new Map([[path, String(words(...values))]]);
  }
  return new Map(
    Object.entries(words as object).flatMap(([key, value]) => [...texts(value, `${path}.${key}`)]),
  );
}

describe('the languages', () => {
  const english = texts(LANGUAGES.en.words);

  for (const language of Object.values(LANGUAGES)) {
    it(`${language.tag} says everything that English says`, () => {
      const found = texts(language.words);
      assert.deepEqual([...found.keys()].sort(), [...english.keys()].sort());
      for (const [path, text] of found) {
        assert.equal(text === '', english.get(path) === '', path);
        assert.doesNotMatch(text, /undefined|\[object/, path);
        // What is put in is not forgotten.
        assert.equal(text.includes('7'), english.get(path)?.includes('7'), path);
      }
    });
  }

  it('Arabic is in Arabic', () => {
    for (const [path, text] of texts(LANGUAGES.ar.words))
      if (text !== '' && !path.endsWith('.closing')) assert.match(text, /\p{Script=Arabic}/u, path);
  });

  it('takes the one that the browser likes best', () => {
    const chosen = (header: string | undefined) => acceptedLanguage(header)?.tag;
    assert.equal(chosen('ar-EG,ar;q=0.9,en;q=0.8'), 'ar');
    assert.equal(chosen('de, en;q=0.4, ar;q=0.5'), 'ar');
    assert.equal(chosen('en;q=0, ar'), 'ar');
    assert.equal(chosen('de'), undefined);
    assert.equal(chosen('constructor, *;q=x'), undefined);
    assert.equal(chosen(undefined), undefined);
  });
});
