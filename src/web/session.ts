// Cookies, and what proves that a form was ours. A cookie's name says by itself that it came over TLS,
// from this host and for all of it (`__Host-`), where the portal is reached that way.

import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto';
import type { FastifyReply, FastifyRequest } from 'fastify';

const DAY_SECONDS = 86_400;

/** What each is for: who is signed in; that a form was ours, for who is not; what the visitor likes. */
export type CookieName = 'session' | 'visitor' | 'language' | 'flash';

export class Cookies {
  readonly #secure: boolean;

  /** `secure`: the portal is reached over https. */
  constructor(secure: boolean) {
    this.#secure = secure;
  }

  read(request: FastifyRequest, name: CookieName): string | undefined {
    return request.cookies[this.#full(name)];
  }

  /** `days`: how long the browser keeps it; undefined: until it is closed. */
  set(reply: FastifyReply, name: CookieName, value: string, days?: number): void {
    reply.setCookie(this.#full(name), value, {
      ...this.#attributes(),
      ...(days !== undefined && { maxAge: days * DAY_SECONDS }),
    });
  }

  clear(reply: FastifyReply, name: CookieName): void {
    reply.clearCookie(this.#full(name), this.#attributes());
  }

  #full(name: CookieName): string {
    return `${this.#secure ? '__Host-' : ''}sixway-${name}`;
  }

  /** Lax: a link in a mail has to find who is signed in, and no other site's form may. */
  #attributes() {
    return { path: '/', httpOnly: true, sameSite: 'lax', secure: this.#secure } as const;
  }
}

export function makeVisitorToken(): string {
  return randomBytes(24).toString('base64url');
}

/** Derived from the cookie's token, which no page can read: only our own pages can have it. */
export function csrfToken(cookieToken: string): string {
  return createHmac('sha256', cookieToken).update('csrf').digest('base64url');
}

export function csrfFits(cookieToken: string | undefined, given: string | undefined): boolean {
  if (cookieToken === undefined || given === undefined) return false;
  const expected = Buffer.from(csrfToken(cookieToken));
  const found = Buffer.from(given);
  return expected.length === found.length && timingSafeEqual(expected, found);
}
