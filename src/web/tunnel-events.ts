// A tunnel's page while it is open: what the daemon counts, once a second, as server-sent events whose
// texts are in the reader's language already. A stream ends with the session that it was opened with.

import type { FastifyReply } from 'fastify';
import type { SignedIn } from '../broker/people-sign-in.ts';
import type { OwnTunnel } from '../broker/tunnel-desk.ts';
import type { LiveCounters } from './live-source.ts';
import { formatAgo, formatRate } from './quantities.ts';
import { lookAt } from './tunnel-look.ts';
import { diagnosisHtml } from './tunnel-parts.ts';
import type { Visit } from './visit.ts';

const MAX_EACH = 4;
const MAX_IN_ALL = 500;

export interface EventTimes {
  readonly pollMs: number;
  /** How often it is looked at whether the session and the tunnel still are there. */
  readonly checkMs: number;
}

const TIMES: EventTimes = { pollMs: 1000, checkMs: 5000 };

export class EventStreams {
  readonly #open = new Map<() => void, number>();
  readonly #times: EventTimes;

  constructor(times: EventTimes = TIMES) {
    this.#times = times;
  }

  closeAll(): void {
    for (const end of this.#open.keys()) end();
  }

  /** Answers the request for as long as there is something to tell. */
  open(visit: Visit, me: SignedIn, tunnel: OwnTunnel): FastifyReply {
    const { reply } = visit;
    const mine = [...this.#open.values()].filter((personId) => personId === me.person.id).length;
    if (mine >= MAX_EACH || this.#open.size >= MAX_IN_ALL)
      return reply.code(429).header('retry-after', '60').send();
    reply.hijack();
    const { raw } = reply;
    raw.writeHead(200, {
      ...(reply.getHeaders() as Record<string, string>),
      'content-type': 'text/event-stream; charset=utf-8',
      // Proxies that collect answers would hold it back.
      'x-accel-buffering': 'no',
    });
    const state = { ended: false, timer: undefined as NodeJS.Timeout | undefined };
    const end = () => {
      if (state.ended) return;
      state.ended = true;
      clearTimeout(state.timer);
      this.#open.delete(end);
      raw.end();
    };
    this.#open.set(end, me.person.id);
    raw.on('close', end);
    const { pollMs, checkMs } = this.#times;
    const teller = new Teller(visit, me, tunnel, checkMs);
    const round = async () => {
      const events = await teller.events();
      if (state.ended) return;
      if (!events) return end();
      // A reader that does not take them is not sent more.
      if (raw.writableLength < 65_536) raw.write(events);
      state.timer = setTimeout(step, pollMs);
    };
    const step = () => {
      round().catch((error: unknown) => {
        visit.portal.log.warn({ err: error }, 'a stream of events ended');
        end();
      });
    };
    step();
    return reply;
  }
}

class Teller {
  readonly #visit: Visit;
  readonly #me: SignedIn;
  readonly #checkMs: number;
  #tunnel: OwnTunnel;
  #last: LiveCounters | undefined;
  #checkedAt = Number.NEGATIVE_INFINITY;
  #diagnosis = '';

  constructor(visit: Visit, me: SignedIn, tunnel: OwnTunnel, checkMs: number) {
    this.#visit = visit;
    this.#me = me;
    this.#tunnel = tunnel;
    this.#checkMs = checkMs;
  }

  /** Undefined: there is nothing more to tell. */
  async events(): Promise<string | undefined> {
    const { portal } = this.#visit;
    let text = '';
    if (this.#checkedAt + this.#checkMs <= performance.now()) {
      this.#checkedAt = performance.now();
      const tunnel = await this.#standing();
      if (!tunnel) return undefined;
      this.#tunnel = tunnel;
      text += await this.#look();
    }
    const asked = await portal.live.counters(this.#tunnel.id);
    const counters = asked.ok ? asked.value : undefined;
    text += event('counters', this.#countersView(counters));
    this.#last = counters;
    return text;
  }

  async #standing(): Promise<OwnTunnel | undefined> {
    const { session, person } = this.#me;
    const { people, tunnels } = this.#visit.portal;
    const sessions = await people.signIns.sessions(person.id);
    if (!sessions.some(({ id }) => id === session.id)) return undefined;
    return tunnels.find(person, this.#tunnel.id);
  }

  async #look(): Promise<string> {
    const look = await lookAt(this.#visit.portal, this.#tunnel);
    const { words } = this.#visit;
    const diagnosis = String(diagnosisHtml(this.#visit.language, look));
    const changed = diagnosis !== this.#diagnosis;
    this.#diagnosis = diagnosis;
    return event('look', {
      state: look.state,
      stateText: words.tunnels.state[look.state],
      ...(changed && { diagnosis }),
    });
  }

  #countersView(counters: LiveCounters | undefined) {
    const { language, words } = this.#visit;
    if (!counters) return { known: false };
    const { nowMs, inBytes, outBytes, inLastSeenMs, outLastSeenMs } = counters;
    const last = this.#last;
    const seconds = last ? (nowMs - last.nowMs) / 1000 : 0;
    const rate = (bytes: number, before: number | undefined) =>
      seconds > 0 && before !== undefined && bytes >= before ? ((bytes - before) * 8) / seconds : 0;
    const fromRate = rate(inBytes, last?.inBytes);
    const toRate = rate(outBytes, last?.outBytes);
    const seen = (atMs: number | undefined) =>
      atMs === undefined ? words.tunnels.never : formatAgo(language, atMs, nowMs);
    return {
      known: true,
      atMs: nowMs,
      from: Math.round(fromRate),
      to: Math.round(toRate),
      texts: {
        'from-rate': formatRate(language, fromRate),
        'to-rate': formatRate(language, toRate),
        'last-in': seen(inLastSeenMs),
        'last-out': seen(outLastSeenMs),
      },
    };
  }
}

function event(name: string, data: object): string {
  return `event: ${name}\ndata: ${JSON.stringify(data)}\n\n`;
}
