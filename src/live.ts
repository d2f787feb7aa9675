// What the daemon tells processes on the same machine that hold no privilege over the kernel, such as the
// portal: a local socket that speaks HTTP and can only be read. Every answer is small and quick: logins
// are waited for by the same event loop. Which questions there are is in live/contract.ts.

import { createServer, type IncomingMessage, type ServerResponse, STATUS_CODES } from 'node:http';
import { type Ipv4Address, parseIpv4 } from './address.ts';
import { standingsOf } from './broker/traffic.ts';
import { statusOf, straysAt } from './broker/tunnel-status.ts';
import type { Dataplane } from './dataplane/dataplane.ts';
import type {
  LiveCounters,
  LiveHealth,
  LiveStrays,
  LiveTotals,
  LiveTunnel,
  Problem,
} from './live/contract.ts';
import { listenAt } from './live/socket-file.ts';
import { countersView, outcomesView, strayView, tunnelView } from './live/views.ts';
import { StoreError } from './store/error.ts';
import type { Store } from './store/store.ts';

export interface LiveOptions {
  readonly store: Store;
  readonly dataplane: Dataplane;
  readonly version: string;
  /** Of tunnels that have none of their own, in octets. */
  readonly defaultMtu: number;
  readonly state: () => {
    readonly sessions: number;
    readonly waiting: number;
    readonly overloaded: boolean;
    readonly logins: number;
    readonly loginFailures: number;
  };
  /** Hears of what should not happen. */
  readonly log: (message: string, error: unknown) => void;
}

/** What takes milliseconds to read is read once for all who ask within this time. */
const FRESH_MS = 2000;
const CONNECTIONS_MOST = 64;
const HEADER_OCTETS_MOST = 8192;
const REQUEST_MS = 5000;

type Answer = { readonly status: 200; readonly body: object } | Refused;
type Refused = {
  readonly status: 400 | 404 | 405 | 500 | 503;
  readonly detail: string;
};

export class LiveServer {
  readonly #options: LiveOptions;
  readonly #startedAtMs = Date.now();
  readonly #server = createServer({ maxHeaderSize: HEADER_OCTETS_MOST }, (request, response) => {
    void this.#serve(request, response);
  });
  readonly #strays = fresh(async () => this.#options.dataplane.strays());
  readonly #standings = fresh(() => standingsOf(this.#options.dataplane));

  constructor(options: LiveOptions) {
    this.#options = options;
    this.#server.maxConnections = CONNECTIONS_MOST;
    this.#server.requestTimeout = REQUEST_MS;
    this.#server.headersTimeout = REQUEST_MS;
    this.#server.keepAliveTimeout = 30_000;
  }

  /** See {@link listenAt}. */
  async listen(path: string, group: string): Promise<void> {
    await listenAt(this.#server, path, group);
  }

  async close(): Promise<void> {
    await new Promise<void>((resolve) => {
      this.#server.close(() => resolve());
      this.#server.closeAllConnections();
    });
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    let answer: Answer;
    try {
      answer = await this.#answer(request);
    } catch (error) {
      this.#options.log('a question at the local socket failed', error);
      answer =
        error instanceof StoreError
          ? { status: 503, detail: 'The store does not answer.' }
          : { status: 500, detail: 'The server failed; its log says how.' };
    }
    const headers = {
      'cache-control': 'no-store',
      'content-type': answer.status === 200 ? 'application/json' : 'application/problem+json',
      ...(answer.status === 405 && { allow: 'GET' }),
    };
    const body = answer.status === 200 ? answer.body : problemOf(answer);
    response.writeHead(answer.status, headers).end(JSON.stringify(body));
  }

  async #answer({ method, url = '' }: IncomingMessage): Promise<Answer> {
    if (method !== 'GET') return { status: 405, detail: 'Everything here is only read: use GET.' };
    const [path = '', query = ''] = url.split('?', 2);
    if (path === '/health') return { status: 200, body: this.#health() };
    if (path === '/totals') return { status: 200, body: await this.#totals() };
    if (path === '/strays') return this.#straysFrom(new URLSearchParams(query).get('address'));
    const [, idText, what] = /^\/tunnels\/([^/]+)(\/counters)?$/.exec(path) ?? [];
    if (idText === undefined) return { status: 404, detail: `There is nothing at ${path}.` };
    if (!/^[1-9]\d{0,14}$/.test(idText))
      return { status: 400, detail: 'A tunnel is named by its number.' };
    const tunnelId = Number(idText);
    const found = what ? await this.#counters(tunnelId) : await this.#tunnel(tunnelId);
    return found
      ? { status: 200, body: found }
      : { status: 404, detail: `There is no tunnel ${tunnelId}.` };
  }

  #health(): LiveHealth {
    const { version, state } = this.#options;
    const { sessions, waiting, overloaded } = state();
    const startedAtMs = this.#startedAtMs;
    return { version, nowMs: Date.now(), startedAtMs, overloaded, waiting, sessions };
  }

  async #totals(): Promise<LiveTotals> {
    const { dataplane, state } = this.#options;
    const { sessions, logins, loginFailures } = state();
    return {
      nowMs: Date.now(),
      ...(await this.#standings()),
      sessions,
      logins,
      loginFailures,
      ...outcomesView(dataplane.outcomes()),
    };
  }

  async #tunnel(tunnelId: number): Promise<LiveTunnel | undefined> {
    const { store, dataplane, defaultMtu } = this.#options;
    const tunnel = (await store.tunnel({ tunnelId })) ?? (await store.ipv4Tunnel({ tunnelId }));
    if (!tunnel) return undefined;
    const strays = await this.#strays();
    const nowMs = Date.now();
    return tunnelView(statusOf(tunnel, dataplane, defaultMtu, nowMs, strays), nowMs);
  }

  async #counters(tunnelId: number): Promise<LiveCounters | undefined> {
    const { store, dataplane } = this.#options;
    const place = await store.traffic.placeOf(tunnelId);
    if (!place) return undefined;
    const { family, slot } = place;
    return family === 'ipv6'
      ? countersView(
          dataplane.counters(slot),
          dataplane.faults(slot),
          dataplane.standing(slot),
          Date.now(),
        )
      : countersView(
          dataplane.countersV4v6(slot),
          dataplane.faultsV4v6(slot),
          dataplane.standingV4v6(slot),
          Date.now(),
        );
  }

  async #straysFrom(text: string | null): Promise<Answer> {
    const address: Ipv4Address | undefined = text === null ? undefined : parseIpv4(text);
    if (address === undefined)
      return { status: 400, detail: 'Say the IPv4 address: /strays?address=192.0.2.1' };
    const found = straysAt(await this.#strays(), address);
    const body: LiveStrays = { nowMs: Date.now(), strays: found.map(strayView) };
    return { status: 200, body };
  }
}

function problemOf({ status, detail }: Refused): Problem {
  return { type: 'about:blank', title: STATUS_CODES[status] ?? '', status, detail };
}

/** The value of at most {@link FRESH_MS} ago, read once for all who wait for it. */
function fresh<T>(read: () => Promise<T>): () => Promise<T> {
  let value: Promise<T> | undefined;
  let untilMs = 0;
  return () => {
    const nowMs = performance.now();
    if (value && nowMs < untilMs) return value;
    untilMs = nowMs + FRESH_MS;
    const reading = read();
    value = reading;
    reading.catch(() => {
      if (value === reading) value = undefined;
    });
    return reading;
  };
}
