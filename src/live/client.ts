// Asks the daemon through its local socket. It may be away, restarting or overloaded: every question ends
// within its time, with an answer or with why there is none, and none is thrown. Needs no privilege
// beyond being allowed to connect.

import { Agent, request } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import type {
  LiveCounters,
  LiveHealth,
  LiveStrays,
  LiveTotals,
  LiveTunnel,
  Problem,
} from './contract.ts';

export type Asked<T> = { readonly ok: true; readonly value: T } | NotAnswered;

export interface NotAnswered {
  readonly ok: false;
  /**
   * unreachable: the server cannot be asked at present; not-found: it knows of no such tunnel; refused: it
   * does not take the question, or failed.
   */
  readonly why: 'unreachable' | 'not-found' | 'refused';
  /** For a log. */
  readonly detail: string;
}

export interface LiveClientOptions {
  /** Path of the socket; '': there is none, and nothing can be asked. */
  readonly socket: string;
  /** For each question; a second by default. */
  readonly timeoutMs?: number;
}

const ANSWER_OCTETS_MOST = 1 << 20;

export class LiveClient {
  readonly #socket: string;
  readonly #timeoutMs: number;
  readonly #agent = new Agent({ keepAlive: true, maxSockets: 8 });

  constructor({ socket, timeoutMs = 1000 }: LiveClientOptions) {
    this.#socket = socket;
    this.#timeoutMs = timeoutMs;
  }

  health(): Promise<Asked<LiveHealth>> {
    return this.#ask('/health');
  }

  tunnel(tunnelId: number): Promise<Asked<LiveTunnel>> {
    return this.#ask(`/tunnels/${tunnelId}`);
  }

  /** Cheap: to be asked again and again. */
  counters(tunnelId: number): Promise<Asked<LiveCounters>> {
    return this.#ask(`/tunnels/${tunnelId}/counters`);
  }

  /** `address`: IPv4. */
  strays(address: string): Promise<Asked<LiveStrays>> {
    return this.#ask(`/strays?address=${encodeURIComponent(address)}`);
  }

  totals(): Promise<Asked<LiveTotals>> {
    return this.#ask('/totals');
  }

  /** {@link counters} at once and then every `everyMs`, until the signal; also while there is no answer. */
  async *watch(
    tunnelId: number,
    everyMs: number,
    signal: AbortSignal,
  ): AsyncGenerator<Asked<LiveCounters>> {
    while (!signal.aborted) {
      yield await this.counters(tunnelId);
      await sleep(everyMs, undefined, { signal }).catch(() => {});
    }
  }

  close(): void {
    this.#agent.destroy();
  }

  #ask<T>(path: string, mayRepeat = true): Promise<Asked<T>> {
    if (this.#socket === '')
      return Promise.resolve(notAnswered('unreachable', 'no socket is configured (live.socket)'));
    return new Promise((resolve) => {
      const unreachable = (error: Error) => resolve(notAnswered('unreachable', error.message));
      const asking = request(
        {
          socketPath: this.#socket,
          path,
          agent: this.#agent,
          // Of the whole of it, not of a silence: a server that answers slowly is no server.
          signal: AbortSignal.timeout(this.#timeoutMs),
        },
        (response) => {
          const parts: Buffer[] = [];
          let octets = 0;
          response.on('data', (part: Buffer) => {
            octets += part.length;
            if (octets > ANSWER_OCTETS_MOST) asking.destroy(new Error('the answer is too long'));
            else parts.push(part);
          });
          response.on('error', unreachable);
          response.on('end', () => {
            resolve(answerOf(response.statusCode ?? 0, Buffer.concat(parts).toString('utf8')));
          });
        },
      );
      asking.on('error', (error: NodeJS.ErrnoException) => {
        // The server has closed what was kept open, perhaps because it was started anew.
        const isStale = asking.reusedSocket && ['ECONNRESET', 'EPIPE'].includes(error.code ?? '');
        if (isStale && mayRepeat) resolve(this.#ask(path, false));
        else unreachable(error);
      });
      asking.end();
    });
  }
}

function answerOf<T>(status: number, text: string): Asked<T> {
  let body: unknown;
  try {
    body = JSON.parse(text);
  } catch {
    return notAnswered('unreachable', `the answer is no JSON (status ${status})`);
  }
  if (status === 200) return { ok: true, value: body as T };
  const { detail = `status ${status}` } = body as Partial<Problem>;
  return notAnswered(status === 404 ? 'not-found' : 'refused', detail);
}

function notAnswered(why: NotAnswered['why'], detail: string): NotAnswered {
  return { ok: false, why, detail };
}
