// One request of a browser: who comes, in which language, with which form; and the ways to answer it.

import type { FastifyReply, FastifyRequest } from 'fastify';
import { type IpAddress, parseIp } from '../address.ts';
import type { Visitor } from '../broker/people-parts.ts';
import type { SignedIn } from '../broker/people-sign-in.ts';
import { isStaff } from '../broker/permissions.ts';
import { Fields, type Mistakes } from './fields.ts';
import { type Html, type HtmlValue, html } from './html.ts';
import { acceptedLanguage, LANGUAGES, type Language, languageOf } from './i18n/languages.ts';
import type { Words } from './i18n/words.ts';
import { type Frame, layout } from './layout.ts';
import type { Portal } from './portal.ts';
import { type Cookies, csrfToken, makeVisitorToken } from './session.ts';
import type { StaticFiles } from './static-files.ts';
import { formatTime } from './times.ts';

export type Flash = keyof Words['flash'];

export interface Page {
  readonly title: string;
  readonly main: HtmlValue;
  readonly kind?: Frame['kind'];
  readonly status?: number;
  readonly scripts?: readonly string[];
}

/** What all visits share. */
export interface House {
  readonly portal: Portal;
  readonly cookies: Cookies;
  readonly files: StaticFiles;
}

export class Visit {
  readonly portal: Portal;
  readonly request: FastifyRequest;
  readonly reply: FastifyReply;
  readonly language: Language;
  readonly visitor: Visitor;
  /** At whichever stage: see {@link person}. */
  readonly session: SignedIn | undefined;
  readonly #house: House;
  #visitorToken: string | undefined;

  constructor(
    house: House,
    request: FastifyRequest,
    reply: FastifyReply,
    session: SignedIn | undefined,
  ) {
    this.#house = house;
    this.portal = house.portal;
    this.request = request;
    this.reply = reply;
    this.session = session;
    this.#visitorToken = house.cookies.read(request, 'visitor');
    this.language =
      languageOf(session?.person.language) ??
      languageOf(house.cookies.read(request, 'language')) ??
      acceptedLanguage(request.headers['accept-language']) ??
      LANGUAGES[house.portal.service.language];
    this.visitor = { ...visitorOf(request), language: this.language.tag };
  }

  get words(): Words {
    return this.language.words;
  }

  /** Who is signed in, wholly; undefined: nobody. */
  get signedIn(): SignedIn | undefined {
    return this.session?.session.stage === 'signed-in' ? this.session : undefined;
  }

  /** What a form says in a field, or an address in its query; empty when it says nothing. */
  field(name: string): string {
    const from = (this.request.method === 'POST' ? this.request.body : this.request.query) as
      | Readonly<Record<string, unknown>>
      | undefined;
    const value = from?.[name];
    return typeof value === 'string' ? value : Array.isArray(value) ? String(value[0]) : '';
  }

  /** What stands in the path at `:name`; empty when there is nothing. */
  param(name: string): string {
    return (this.request.params as Readonly<Record<string, string>>)[name] ?? '';
  }

  /** As {@link param}, of a number; undefined: it is none. */
  id(name = 'id'): number | undefined {
    const text = this.param(name);
    return /^[1-9]\d{0,14}$/.test(text) ? Number(text) : undefined;
  }

  /** All that a form says under one name: check boxes. */
  fieldAll(name: string): readonly string[] {
    const value = (this.request.body as Readonly<Record<string, unknown>> | undefined)?.[name];
    return [value].flat().filter((each) => typeof each === 'string');
  }

  fields(mistakes?: Mistakes): Fields {
    return new Fields(this.words, mistakes);
  }

  /** Belongs into every form. */
  csrf(): Html {
    const { cookies } = this.#house;
    let token = this.session && cookies.read(this.request, 'session');
    if (token === undefined) {
      if (this.#visitorToken === undefined) {
        this.#visitorToken = makeVisitorToken();
        cookies.set(this.reply, 'visitor', this.#visitorToken);
      }
      token = this.#visitorToken;
    }
    return html`<input type="hidden" name="csrf" value="${csrfToken(token)}">`;
  }

  form(action: string, content: HtmlValue, className = ''): Html {
    return html`<form method="post" action="${action}" class="${className}">${this.csrf()}${content}</form>`;
  }

  page({ title, main, kind = 'text', status = 200, scripts = [] }: Page): FastifyReply {
    const { cookies, files, portal } = this.#house;
    const flash = cookies.read(this.request, 'flash');
    if (flash !== undefined) cookies.clear(this.reply, 'flash');
    const person = this.signedIn?.person;
    const text = layout({
      title,
      main,
      kind,
      scripts,
      language: this.language,
      service: portal.service,
      who: person && (person.user?.name ?? person.email),
      isStaff: person !== undefined && isStaff(person.role),
      maySignUp: !['closed', 'invitation'].includes(portal.people.signUps.policy),
      notice:
        flash !== undefined && Object.hasOwn(this.words.flash, flash)
          ? this.words.flash[flash as Flash]
          : undefined,
      csrf: this.csrf(),
      // A link's token stays out of forms that do not need it.
      path: this.request.method === 'GET' ? this.request.url.split('?')[0]! : '/',
      asset: (name) => files.path(name),
    });
    return this.reply.code(status).type('text/html; charset=utf-8').send(text);
  }

  /** After a form has done something: the answer can then be loaded again. */
  redirect(path: string, flash?: Flash): FastifyReply {
    if (flash !== undefined) this.#house.cookies.set(this.reply, 'flash', flash);
    return this.reply.redirect(path, 303);
  }

  /** The browser is somebody's from now on; what it was before is forgotten. */
  signIn(token: string): void {
    const { cookies } = this.#house;
    cookies.set(this.reply, 'session', token);
    cookies.clear(this.reply, 'visitor');
  }

  forget(): void {
    this.#house.cookies.clear(this.reply, 'session');
  }

  rememberLanguage(language: Language): void {
    this.#house.cookies.set(this.reply, 'language', language.tag, 365);
  }

  /** In the visitor's language; UTC, since the server cannot know where they are. */
  time(atMs: number | undefined): HtmlValue {
    if (atMs === undefined) return '–';
    const at = new Date(atMs);
    const shown = formatTime(this.language.locale, atMs);
    return html`<time datetime="${at.toISOString()}"><bdi>${shown} UTC</bdi></time>`;
  }
}

/** For who has no page, and so no language. */
export function visitorOf(request: FastifyRequest): Visitor {
  const { 'user-agent': userAgent = '' } = request.headers;
  return { address: addressOf(request), userAgent, language: undefined };
}

/** IPv4 arrives as IPv4 also at a socket for both. */
function addressOf(request: FastifyRequest): IpAddress {
  return parseIp(request.ip.replace(/^::ffff:(?=\d+\.)/i, '').replace(/%.*$/, '')) ?? 0;
}

/** A path of ours to go on to; anything else is none. */
export function localPath(text: string): string | undefined {
  return /^\/(?![/\\])[\x21-\x7e]*$/.test(text) && text.length <= 500 ? text : undefined;
}
