// Every metric the server has: name, help and labels, in one place, and the page that Prometheus
// reads. Parts report through the methods here; what lives elsewhere (the kernel's counters) is
// pulled when the page is read. Knows nothing of tunnels beyond their numbers.

import { createServer, type Server } from 'node:http';
import { Counter, collectDefaultMetrics, Gauge, Registry } from 'prom-client';

/** What the kernel has counted, by the name of the outcome in `bpf/layout.h`. */
export interface OutcomeCount {
  readonly outcome: string;
  readonly packets: bigint;
  readonly bytes: bigint;
}

/** Read when the page is asked for. */
export interface Pulled {
  readonly outcomes: () => readonly OutcomeCount[];
  readonly sessions: () => number;
  readonly load: () => { readonly waiting: number; readonly tooMuch: boolean };
}

export class Metrics {
  readonly #registry = new Registry();
  readonly #datagrams = new Counter({
    name: 'sixway_tsp_datagrams_total',
    help: 'Signalling datagrams received.',
    registers: [this.#registry],
  });
  readonly #oddities = new Counter({
    name: 'sixway_tsp_oddities_total',
    help: 'Signalling input that was dropped, refused or answered from the cache, by kind.',
    labelNames: ['kind'],
    registers: [this.#registry],
  });
  readonly #logins = new Counter({
    name: 'sixway_logins_total',
    help: 'Finished authentications, by outcome.',
    labelNames: ['outcome'],
    registers: [this.#registry],
  });
  readonly #tunnels = new Counter({
    name: 'sixway_tunnel_requests_total',
    help: 'Requests to the broker, by what was asked and what came of it (ok or the refusal).',
    labelNames: ['request', 'result'],
    registers: [this.#registry],
  });

  /** `pulled` is asked each time the page is read. */
  constructor(pulled: Pulled) {
    collectDefaultMetrics({ register: this.#registry, prefix: 'sixway_' });
    const packets: Gauge = new Gauge({
      name: 'sixway_packets',
      help: 'Packets that the kernel programs handled since they were first loaded, by outcome.',
      labelNames: ['outcome'],
      registers: [this.#registry],
      collect: () => {
        for (const { outcome, packets: count } of pulled.outcomes()) {
          packets.set({ outcome }, Number(count));
        }
      },
    });
    const bytes: Gauge = new Gauge({
      name: 'sixway_bytes',
      help: 'Bytes of inner packets that the kernel programs handled, by outcome.',
      labelNames: ['outcome'],
      registers: [this.#registry],
      collect: () => {
        for (const { outcome, bytes: count } of pulled.outcomes()) {
          bytes.set({ outcome }, Number(count));
        }
      },
    });
    const sessions: Gauge = new Gauge({
      name: 'sixway_tsp_sessions',
      help: 'TSP sessions that hold state.',
      registers: [this.#registry],
      collect: () => sessions.set(pulled.sessions()),
    });
    const waiting: Gauge = new Gauge({
      name: 'sixway_tsp_waiting',
      help: 'Requests of clients that wait for the broker, most of them for the disk.',
      registers: [this.#registry],
      collect: () => waiting.set(pulled.load().waiting),
    });
    const overloaded: Gauge = new Gauge({
      name: 'sixway_tsp_overloaded',
      help: '1 while new clients are told to come back later (530), else 0.',
      registers: [this.#registry],
      collect: () => overloaded.set(pulled.load().tooMuch ? 1 : 0),
    });
  }

  /** Authentications since the process began. */
  readonly loginCounts = { accepted: 0, failed: 0 };

  datagrams(count: number): void {
    this.#datagrams.inc(count);
  }

  oddity(kind: string): void {
    this.#oddities.inc({ kind });
  }

  login(outcome: string): void {
    this.#logins.inc({ outcome });
    this.loginCounts[outcome === 'accepted' ? 'accepted' : 'failed']++;
  }

  tunnelRequest(request: string, result: string): void {
    this.#tunnels.inc({ request, result });
  }

  page(): Promise<string> {
    return this.#registry.metrics();
  }

  /** Serves `/metrics` on `listen` (`address:port`). Rejects when the port is taken. */
  serve(listen: string): Promise<Server> {
    const [, host = '', port = ''] = /^\[?(.*?)\]?:(\d+)$/.exec(listen) ?? [];
    const server = createServer(async (request, response) => {
      if (request.url !== '/metrics') {
        response.writeHead(404).end('Only /metrics is here.\n');
        return;
      }
      const body = await this.page();
      response.writeHead(200, { 'content-type': this.#registry.contentType }).end(body);
    });
    return new Promise((resolve, reject) => {
      server.once('error', reject);
      server.listen(Number(port), host, () => resolve(server));
    });
  }
}
