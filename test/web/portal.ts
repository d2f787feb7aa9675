// A portal for tests: a real store, a real web server, a browser without a window, and the letter box
// that all mails go to.

import assert from 'node:assert/strict';
import { createSecretKey } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import { parseIpv4, parseIpv6 } from '../../src/address.ts';
import { Accounts } from '../../src/broker/accounts.ts';
import { Desk } from '../../src/broker/desk.ts';
import { People } from '../../src/broker/people.ts';
import type { Mail } from '../../src/broker/people-mail.ts';
import type { PeoplePolicy } from '../../src/broker/people-parts.ts';
import { Passwords } from '../../src/broker/people-passwords.ts';
import { TunnelDesk, type TunnelTerms } from '../../src/broker/tunnel-desk.ts';
import { Visitors } from '../../src/broker/visitors.ts';
import { openSqliteStore } from '../../src/store/sqlite.ts';
import type { Store } from '../../src/store/store.ts';
import { composeLetters } from '../../src/web/letters.ts';
import { type LiveSource, NOTHING_LIVE } from '../../src/web/live-source.ts';
import { startWeb } from '../../src/web/server.ts';
import type { StaffRoute } from '../../src/web/staff-routes.ts';

export const PASSWORD = 'correct horse battery staple';
const KEY = new Uint8Array(32).fill(7);
const DAY_MS = 86_400_000;
const TERMS: TunnelTerms = {
  server: { name: 'broker.example', address: parseIpv4('203.0.113.1')!, port: 3653 },
  keepaliveSeconds: 30,
  mtu: 1280,
  resolver: parseIpv6('2001:db8::53')!,
  leaseMs: undefined,
  deletedHoldMs: 14 * DAY_MS,
  maxAtAddress: undefined,
  v4v6: true,
};

export interface TestPortal {
  readonly url: string;
  readonly store: Store;
  /** The store's. */
  readonly file: string;
  readonly people: People;
  readonly desk: Desk;
  readonly staffRoutes: readonly StaffRoute[];
  readonly tunnels: TunnelDesk;
  readonly mails: readonly Mail[];
  /** Sends what waits, and answers all that was sent to the address. */
  mailsTo(email: string): Promise<readonly Mail[]>;
  /** Lines of the log. */
  readonly log: readonly string[];
  /** Added to the real time by the portal's clock. */
  advance(ms: number): void;
  close(): Promise<void>;
}

export interface TestOptions extends Partial<PeoplePolicy> {
  /** As people would type it; decides about cookies. */
  readonly url?: string;
  readonly trustProxy?: readonly string[];
  readonly live?: LiveSource;
  readonly requestsAMinute?: number;
  readonly terms?: Partial<TunnelTerms>;
  readonly tls?: { readonly certificateFile: string; readonly keyFile: string };
}

export async function openPortal(options: TestOptions = {}): Promise<TestPortal> {
  const directory = mkdtempSync(join(tmpdir(), 'sixway-web-'));
  const file = join(directory, 'sixway.db');
  const store = await openSqliteStore({ file, create: true });
  let aheadMs = 0;
  const clock = () => Date.now() + aheadMs;
  const lines: string[] = [];
  const log = pino({ base: null }, { write: (line: string) => lines.push(line) });
  const service = {
    name: 'Example Tunnels',
    contact: 'help@example.net',
    url: options.url ?? 'http://portal.test',
    language: 'en',
  } as const;
  const accounts = new Accounts(store, KEY, 'broker.example', clock);
  await accounts.keyFits();
  const people = new People({
    store,
    accounts,
    key: createSecretKey(KEY),
    policy: {
      signUp: 'open',
      domains: [],
      sessionIdleMs: 3 * DAY_MS,
      sessionMaxMs: 30 * DAY_MS,
      serviceName: service.name,
      ...options,
    },
    // Less memory: the tests are about what is around it.
    passwords: new Passwords(1024),
    compose: composeLetters(service),
    clock,
    evenMs: 10,
  });
  const tunnels = new TunnelDesk({
    store,
    accounts,
    terms: { ...TERMS, ...options.terms },
    clock,
  });
  const mails: Mail[] = [];
  const transport = async (mail: Mail) => {
    mails.push(mail);
  };
  const postman = people.sendMail(transport, () => {}, 60_000);
  const capacity = { link: 65_536, delegation: 65_536, 'ipv4-link': 256 };
  const desk = new Desk({ store, people, capacity, pastKeptMs: 180 * DAY_MS, clock });
  const web = await startWeb(
    {
      people,
      desk,
      tunnels,
      live: options.live ?? NOTHING_LIVE,
      visitors: new Visitors(store),
      service,
      isUp: async () => true,
      log,
    },
    {
      host: '127.0.0.1',
      port: 0,
      tls: options.tls,
      trustProxy: options.trustProxy ?? [],
      ...(options.requestsAMinute !== undefined && { requestsAMinute: options.requestsAMinute }),
      lookEveryMs: 50,
    },
  );
  return {
    url: `${options.tls ? 'https' : 'http'}://127.0.0.1:${web.port}`,
    store,
    file,
    people,
    desk,
    staffRoutes: web.staffRoutes,
    tunnels,
    mails,
    mailsTo: async (email) => {
      await postman.round();
      return mails.filter(({ to }) => to === email);
    },
    log: lines,
    advance: (ms) => {
      aheadMs += ms;
    },
    close: async () => {
      await web.close();
      await postman.stop();
      await store.close();
      rmSync(directory, { recursive: true });
    },
  };
}

export interface Shown {
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
  /** Where it led in the end. */
  readonly path: string;
}

/** Keeps cookies, follows redirects, and fills in forms that it was shown. */
export class Browser {
  readonly cookies = new Map<string, string>();
  readonly #base: string;
  readonly #headers: Record<string, string>;
  shown: Shown | undefined;

  constructor(portal: { readonly url: string }, headers: Record<string, string> = {}) {
    this.#base = portal.url;
    this.#headers = headers;
  }

  async get(path: string): Promise<Shown> {
    return this.#request('GET', path);
  }

  /** Submits the shown page's form to `action`, with its hidden fields. */
  async submit(action: string, fields: Readonly<Record<string, string>>): Promise<Shown> {
    const form = new RegExp(`<form method="post" action="${action}"[^>]*>(.*?)</form>`, 's').exec(
      this.shown?.text ?? '',
    )?.[1];
    assert.ok(form !== undefined, `no form to ${action} on ${this.shown?.path}`);
    const hidden = [...form.matchAll(/type="hidden" name="([^"]+)"[^>]* value="([^"]*)"/g)].map(
      ([, name = '', value = '']) => [name, value] as const,
    );
    return this.post(action, { ...Object.fromEntries(hidden), ...fields });
  }

  async post(path: string, fields: Readonly<Record<string, string>>): Promise<Shown> {
    return this.#request('POST', path, new URLSearchParams(fields));
  }

  async #request(method: string, path: string, body?: URLSearchParams): Promise<Shown> {
    const response = await fetch(this.#base + path, {
      method,
      redirect: 'manual',
      headers: {
        ...this.#headers,
        cookie: [...this.cookies].map(([name, value]) => `${name}=${value}`).join('; '),
      },
      ...(body && { body }),
    });
    for (const line of response.headers.getSetCookie()) {
      const [, name = '', value = ''] = /^([^=]+)=([^;]*)/.exec(line) ?? [];
      if (value === '' || /Max-Age=0|Expires=Thu, 01 Jan 1970/i.test(line))
        this.cookies.delete(name);
      else this.cookies.set(name, value);
    }
    const text = await response.text();
    const location = response.headers.get('location');
    if (response.status >= 300 && response.status < 400 && location !== null)
      return this.#request('GET', location);
    this.shown = { status: response.status, headers: response.headers, text, path };
    return this.shown;
  }
}

/** The path of the link in a mail. */
export function linkIn(mail: Mail | undefined): string {
  const [, path] = /^http:\/\/portal\.test(\/\S*)$/m.exec(mail?.text ?? '') ?? [];
  assert.ok(path !== undefined, 'no link in the mail');
  return path;
}

/** Signs up and verifies; the browser is signed in then. */
export async function signUp(
  portal: TestPortal,
  browser: Browser,
  email: string,
  userName: string,
): Promise<void> {
  await browser.get('/sign-up');
  await browser.submit('/sign-up', { email, userName, password: PASSWORD });
  await browser.get(linkIn((await portal.mailsTo(email)).at(-1)));
  const shown = await browser.submit('/verify', { password: PASSWORD });
  assert.equal(shown.path, '/tunnels');
}
