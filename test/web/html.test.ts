// Nothing that comes from outside becomes markup.

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { bdi, code, escapeHtml, html } from '../../src/web/html.ts';

describe('html', () => {
  it('escapes text in elements and in attributes', () => {
    const bad = `<script>alert("1" & '2')</script>`;
    assert.equal(
      html`<p title="${bad}">${bad}</p>`.toString(),
      '<p title="&lt;script&gt;alert(&quot;1&quot; &amp; &#39;2&#39;)&lt;/script&gt;">' +
        '&lt;script&gt;alert(&quot;1&quot; &amp; &#39;2&#39;)&lt;/script&gt;</p>',
    );
  });

  it('keeps what is HTML already, and writes lists and nothing', () => {
    const items = ['a', '<b>'].map((each) => html`<li>${each}</li>`);
    assert.equal(html`<ul>${items}</ul>`.toString(), '<ul><li>a</li><li>&lt;b&gt;</li></ul>');
    assert.equal(html`${false}${null}${undefined}${0}${''}`.toString(), '0');
  });

  it('isolates what has its own direction', () => {
    assert.equal(bdi('<x>').toString(), '<bdi>&lt;x&gt;</bdi>');
    assert.match(
      code('2001:db8::1').toString(),
      /^<bdi dir="ltr" class="code">2001:db8::1<\/bdi>$/,
    );
  });

  it('leaves no character that could begin or end markup, whatever the text', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (text) => {
        assert.doesNotMatch(escapeHtml(text), /[<>"']|&(?!(?:amp|lt|gt|quot|#39);)/);
      }),
    );
  });

  it('does not take something for HTML because it looks like it', () => {
    const fake = { toString: () => '<b>' } as unknown as string;
    assert.throws(() => html`${fake}`);
  });
});
