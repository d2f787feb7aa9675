// How mails are worded: plain text first, and the same as simple HTML for those who want to click.

import type { Composed, Composer, Letter } from '../broker/people-mail.ts';
import { html } from './html.ts';
import { LANGUAGES, type LanguageTag, languageOf } from './i18n/languages.ts';
import type { Words } from './i18n/words.ts';

export interface Sender {
  readonly name: string;
  readonly contact: string;
  /** Without a slash at the end. */
  readonly url: string;
  readonly language: LanguageTag;
}

/** `/verify?token=…`: single use, and used by a form, not by looking at it. */
function pathOf(letter: Letter): string {
  switch (letter.type) {
    case 'verify':
      return `/verify?token=${letter.token}`;
    case 'reset':
      return `/reset/set?token=${letter.token}`;
    case 'change-email':
      return `/account/email/confirm?token=${letter.token}`;
    case 'invitation':
      return `/invitation?code=${letter.code}`;
    case 'already-known':
    case 'approved':
      return '/sign-in';
    case 'password-changed':
      return '/reset';
    case 'email-changing':
    case 'two-factor':
      return '/account';
  }
}

function wordsOf(letter: Letter, { mail }: Words) {
  switch (letter.type) {
    case 'verify': {
      const { after, ...rest } = mail.verify;
      return { ...rest, after: letter.userName === '' ? '' : after(letter.userName) };
    }
    case 'email-changing': {
      const { text, ...rest } = mail['email-changing'];
      return { ...rest, text: text(letter.newEmail) };
    }
    case 'two-factor':
      return letter.enabled ? mail['two-factor-on'] : mail['two-factor-off'];
    default:
      return mail[letter.type];
  }
}

export function composeLetters(sender: Sender): Composer {
  return (letter, tag): Composed => {
    const language = languageOf(tag) ?? LANGUAGES[sender.language];
    const { mail } = language.words;
    const words = wordsOf(letter, language.words);
    const link = sender.url + pathOf(letter);
    const ignore = ['verify', 'reset', 'change-email'].includes(letter.type) ? mail.ignore : '';
    const help = sender.contact === '' ? '' : mail.help(sender.contact);
    const after = [words.after, ignore].filter((part) => part !== '').join(' ');
    const signature = [mail.closing(sender.name), help].filter((part) => part !== '');
    return {
      subject: `${words.subject} – ${sender.name}`,
      text: [mail.greeting, words.text, link, after, signature.join('\n')]
        .filter((part) => part !== '')
        .join('\n\n')
        .concat('\n'),
      html: html`<!doctype html>
<html lang="${language.tag}" dir="${language.direction}">
<head><meta charset="utf-8"><title>${words.subject}</title></head>
<body style="margin:0;padding:24px;font:16px/1.6 sans-serif;max-width:36em">
<p>${mail.greeting}</p>
<p>${words.text}</p>
<p><a href="${link}" style="display:inline-block;padding:10px 18px;background:#0b6b5d;color:#fff;text-decoration:none;border-radius:6px">${words.link}</a></p>
<p dir="ltr" style="font-size:13px;color:#555;word-break:break-all">${link}</p>
${after !== '' && html`<p>${after}</p>`}
<p style="color:#555">${signature.map((line) => html`${line}<br>`)}</p>
</body>
</html>
`.toString(),
    };
  };
}
