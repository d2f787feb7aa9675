// Drives real clients and a real server against each other in virtual time, over a network that
// loses, doubles, delays and reorders, and with a broker that takes its time. One random schedule is
// one seed. Nothing here waits: the clock jumps to whatever happens next.

import { type Endpoint, formatEndpoint } from '../../src/address.ts';
import {
  type ClientEnd,
  type ClientEvent,
  ClientSession,
  type ClientSettings,
} from '../../src/tsp/client-session.ts';
import type { Mechanism, TunnelInfo } from '../../src/tsp/messages.ts';
import { type ServerCommand, type ServerEvent, TspServer } from '../../src/tsp/server.ts';
import {
  ALICE,
  ALICES_CREDENTIAL,
  CLIENT,
  OFFER,
  offered,
  SETTINGS,
  willingBroker,
} from './wire.ts';

export interface PairOptions {
  readonly seed: number;
  readonly loss: number;
  readonly duplication: number;
  readonly maxDelayMs: number;
  readonly maxBrokerDelayMs: number;
  readonly mechanism: Mechanism;
  /** The first client is replaced at this time by one on the same port, as after a crash. */
  readonly crashMs?: number;
}

export type Fate = 'open' | 'accepted' | 'rejected';

interface Happening {
  readonly atMs: number;
  readonly order: number;
  readonly run: () => void;
}

export class Pair {
  readonly offers = new Map<
    number,
    { fate: Fate; readonly from: string; readonly address: bigint }
  >();
  readonly ends: ClientEnd[] = [];
  /** Rules that were broken on the way. */
  readonly faults: string[] = [];
  tunnel: TunnelInfo | undefined;
  /** Where the client that is up speaks from. */
  endpoint: Endpoint = CLIENT;
  nowMs = 1_000_000;
  datagrams = 0;
  readonly server = new TspServer(SETTINGS);
  readonly #options: PairOptions;
  readonly #queue: Happening[] = [];
  #random: number;
  #order = 0;
  #client: ClientSession | undefined;

  constructor(options: PairOptions) {
    this.#options = options;
    this.#random = options.seed;
  }

  /** Until the client is up and everything under way has come to rest; false when it never is. */
  run(): boolean {
    const { crashMs } = this.#options;
    this.#connect(CLIENT);
    if (crashMs !== undefined) this.#later(crashMs, () => this.#connect(CLIENT));
    const giveUpMs = this.nowMs + 3_600_000;
    const restMs = (crashMs ?? 0) + 4 * this.#options.maxDelayMs + 200_000;
    let upSinceMs: number | undefined;
    while (this.nowMs < giveUpMs) {
      if (!this.tunnel) upSinceMs = undefined;
      else upSinceMs ??= this.nowMs;
      if (upSinceMs !== undefined && this.nowMs - upSinceMs > restMs) return true;
      this.#step();
    }
    return false;
  }

  #step(): void {
    const deadlines = [
      this.#queue[0]?.atMs,
      this.server.deadline(),
      this.#client?.deadline(),
      this.nowMs + 60_000,
    ].filter((at) => at !== undefined);
    this.nowMs = Math.max(this.nowMs, Math.min(...deadlines));
    const next = this.#queue[0];
    if (next && next.atMs <= this.nowMs) {
      this.#queue.shift();
      next.run();
    }
    this.#serve({ type: 'tick' });
    this.#feed({ type: 'tick' });
  }

  #connect(endpoint: Endpoint): void {
    const { mechanism } = this.#options;
    const settings: ClientSettings = {
      transport: 'udp',
      version: '2.0.2',
      mechanisms: [mechanism],
      login: ALICE,
      serverName: 'tb.example',
      tunnelType: 'v6anyv4',
      clientAddress: 0x0a000001,
      keepaliveSeconds: 30,
      cnonce: `c${this.#chance()}`,
      jitterSeed: this.#chance() * 2 ** 32,
    };
    this.#client = new ClientSession(settings);
    this.endpoint = endpoint;
    this.tunnel = undefined;
    this.#feed({ type: 'start' });
  }

  #feed(event: ClientEvent): void {
    const client = this.#client;
    if (!client) return;
    for (const command of client.handle(event, this.nowMs)) {
      switch (command.type) {
        case 'send': {
          const { bytes } = command;
          const from = this.endpoint;
          this.#transport(() => this.#serve({ type: 'datagram', from, bytes }));
          break;
        }
        case 'tunnel-up':
          this.tunnel = command.tunnel;
          break;
        case 'send-keepalive': {
          const { sequence } = command;
          this.#later(10, () => this.#feed({ type: 'keepalive-answered', sequence }));
          break;
        }
        case 'ended': {
          this.ends.push(command.end);
          this.#client = undefined;
          // Half of the time on the same port, as operating systems do.
          const port = this.#chance() < 0.5 ? this.endpoint.port : this.endpoint.port + 1;
          const endpoint = { address: CLIENT.address, port };
          this.#later(1000, () => this.#client ?? this.#connect(endpoint));
        }
      }
    }
  }

  #serve(event: ServerEvent): void {
    let answers = 0;
    for (const command of this.server.handle(event, this.nowMs)) {
      if (command.type === 'send') {
        if (++answers > 1) this.faults.push('two answers to one event');
        const to = formatEndpoint(command.to);
        const { bytes } = command;
        this.#transport(() => {
          if (formatEndpoint(this.endpoint) === to) this.#feed({ type: 'received', bytes });
        });
      } else {
        this.#broker(command);
      }
    }
  }

  #broker(command: ServerCommand): void {
    if (command.type === 'look-up-salt') {
      const { first, ticket } = command;
      const event = {
        type: 'salt-looked-up',
        first,
        ticket,
        found: ALICES_CREDENTIAL.scram,
      } as const;
      this.#later(this.#chance() * this.#options.maxBrokerDelayMs, () => this.#serve(event));
      return;
    }
    if (!('session' in command)) return;
    const { session } = command;
    if (command.type === 'reject-tunnel') this.#decide(command.offerId, 'rejected');
    if (command.type === 'accept-tunnel') this.#decide(command.offerId, 'accepted');
    let result = willingBroker(command);
    if (command.type === 'open-tunnel') {
      const offerId = this.offers.size + 1;
      const address = OFFER.clientIpv6 + BigInt(offerId);
      this.offers.set(offerId, { fate: 'open', from: formatEndpoint(command.source), address });
      const info = offered(command.tunnelType, command.statedAddress, { clientIpv6: address });
      result = { type: 'tunnel-offered', offerId, info };
    }
    if (!result) return;
    const event = { ...result, session };
    this.#later(this.#chance() * this.#options.maxBrokerDelayMs, () => this.#serve(event));
  }

  #decide(offerId: string | number, fate: Fate): void {
    const offer = this.offers.get(Number(offerId));
    if (offer?.fate !== 'open')
      this.faults.push(`offer ${offerId} was ${offer?.fate}, then ${fate}`);
    if (offer) offer.fate = fate;
  }

  #transport(deliver: () => void): void {
    const { loss, duplication, maxDelayMs } = this.#options;
    this.datagrams++;
    if (this.#chance() >= loss) this.#later(this.#chance() * maxDelayMs, deliver);
    if (this.#chance() < duplication) this.#later(this.#chance() * maxDelayMs, deliver);
  }

  #later(delayMs: number, run: () => void): void {
    const happening = { atMs: this.nowMs + delayMs, order: this.#order++, run };
    const place = this.#queue.findIndex(
      ({ atMs, order }) =>
        atMs > happening.atMs || (atMs === happening.atMs && order > happening.order),
    );
    this.#queue.splice(place < 0 ? this.#queue.length : place, 0, happening);
  }

  /** 0 … 1, from the seed (mulberry32). */
  #chance(): number {
    this.#random = (this.#random + 0x6d2b79f5) >>> 0;
    let t = this.#random;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  }
}
