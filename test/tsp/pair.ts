// Drives real clients and a real server against each other in virtual time, over a network that
// loses, doubles, delays and reorders, and with a broker that takes its time and has few addresses.
// One random schedule is one seed. Nothing here waits: the clock jumps to whatever happens next.

import { type Endpoint, formatEndpoint } from '../../src/address.ts';
import {
  type ClientEnd,
  type ClientEvent,
  ClientSession,
  type ClientSettings,
} from '../../src/tsp/client-session.ts';
import type { Mechanism, TunnelInfo } from '../../src/tsp/messages.ts';
import { type Credential, ha1Forms } from '../../src/tsp/sasl.ts';
import { scramCredential } from '../../src/tsp/scram.ts';
import { type ServerCommand, type ServerEvent, TspServer } from '../../src/tsp/server.ts';
import type { SessionResult } from '../../src/tsp/server-session.ts';
import { Leases } from './leases.ts';
import { CLIENT, OFFER, offered, SETTINGS, willingBroker } from './wire.ts';

export interface PairOptions {
  readonly seed: number;
  readonly loss: number;
  readonly duplication: number;
  readonly maxDelayMs: number;
  readonly maxBrokerDelayMs: number;
  /** One client for each. */
  readonly mechanisms: readonly Mechanism[];
  /** Each client is replaced at this time by one on the same port, as after a crash. */
  readonly crashMs?: number;
}

const PASSWORD = 's3cret';
const NAMES = ['alice', 'bob', 'carol'] as const;
/** For strangers that come back on other ports before their old tunnels have idled out. */
const ADDRESSES = 64;

const CREDENTIALS: ReadonlyMap<string, Credential> = new Map(
  NAMES.map((name) => [
    name,
    {
      ha1s: ha1Forms(name, SETTINGS.realm, PASSWORD),
      scram: scramCredential(PASSWORD, Buffer.from(name.padEnd(16, '.'))),
    },
  ]),
);

/** A person with a client, and their next one when that ends. */
export interface Party {
  readonly name: string;
  readonly mechanism: Mechanism;
  endpoint: Endpoint;
  client: ClientSession | undefined;
  /** What the client believes to have. */
  tunnel: TunnelInfo | undefined;
}

interface Happening {
  readonly atMs: number;
  readonly order: number;
  readonly run: () => void;
}

export class Pair {
  readonly leases = new Leases(OFFER.clientIpv6 + 1n, ADDRESSES);
  readonly parties: readonly Party[];
  readonly ends: ClientEnd[] = [];
  /** Rules that were broken on the way. */
  readonly faults: string[] = [];
  nowMs = 1_000_000;
  datagrams = 0;
  readonly server = new TspServer(SETTINGS);
  readonly #options: PairOptions;
  readonly #queue: Happening[] = [];
  #random: number;
  #order = 0;

  constructor(options: PairOptions) {
    this.#options = options;
    this.#random = options.seed;
    this.parties = options.mechanisms.map((mechanism, index) => ({
      name: NAMES[index]!,
      mechanism,
      endpoint: { address: CLIENT.address + index, port: CLIENT.port },
      client: undefined,
      tunnel: undefined,
    }));
  }

  /** Until all are up and everything under way has come to rest; false when that never is. */
  run(): boolean {
    const { crashMs } = this.#options;
    for (const party of this.parties) {
      const { endpoint } = party;
      this.#connect(party, endpoint);
      if (crashMs !== undefined) this.#later(crashMs, () => this.#connect(party, endpoint));
    }
    const giveUpMs = this.nowMs + 3_600_000;
    const restMs = (crashMs ?? 0) + 4 * this.#options.maxDelayMs + 200_000;
    let upSinceMs: number | undefined;
    while (this.nowMs < giveUpMs) {
      if (this.parties.some(({ tunnel }) => !tunnel)) upSinceMs = undefined;
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
      ...this.parties.map(({ client }) => client?.deadline()),
      this.nowMs + 60_000,
    ].filter((at) => at !== undefined);
    this.nowMs = Math.max(this.nowMs, Math.min(...deadlines));
    const next = this.#queue[0];
    if (next && next.atMs <= this.nowMs) {
      this.#queue.shift();
      next.run();
    }
    this.#serve({ type: 'tick' });
    for (const party of this.parties) this.#feed(party, { type: 'tick' });
  }

  #connect(party: Party, endpoint: Endpoint): void {
    const settings: ClientSettings = {
      transport: 'udp',
      version: '2.0.2',
      mechanisms: [party.mechanism],
      login: { username: party.name, password: PASSWORD },
      serverName: 'tb.example',
      tunnelType: 'v6anyv4',
      clientAddress: 0x0a000001,
      keepaliveSeconds: 30,
      cnonce: `c${this.#chance()}`,
      jitterSeed: this.#chance() * 2 ** 32,
    };
    party.client = new ClientSession(settings);
    party.endpoint = endpoint;
    party.tunnel = undefined;
    this.#feed(party, { type: 'start' });
  }

  #feed(party: Party, event: ClientEvent): void {
    const { client } = party;
    if (!client) return;
    for (const command of client.handle(event, this.nowMs)) {
      switch (command.type) {
        case 'send': {
          const { bytes } = command;
          const from = party.endpoint;
          this.#transport(() => this.#serve({ type: 'datagram', from, bytes }));
          break;
        }
        case 'tunnel-up':
          party.tunnel = command.tunnel;
          break;
        case 'send-keepalive': {
          const { sequence } = command;
          this.#later(10, () => this.#feed(party, { type: 'keepalive-answered', sequence }));
          break;
        }
        case 'ended': {
          this.ends.push(command.end);
          party.client = undefined;
          // Half of the time on the same port, as operating systems do.
          const { address, port } = party.endpoint;
          const endpoint = { address, port: this.#chance() < 0.5 ? port : port + 1 };
          this.#later(1000, () => party.client ?? this.#connect(party, endpoint));
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
          const party = this.parties.find(({ endpoint }) => formatEndpoint(endpoint) === to);
          if (party) this.#feed(party, { type: 'received', bytes });
        });
      } else {
        this.#broker(command);
      }
    }
  }

  #broker(command: ServerCommand): void {
    const event = this.#verdict(command);
    if (!event) return;
    this.#later(this.#chance() * this.#options.maxBrokerDelayMs, () => this.#serve(event));
  }

  /** What is decided at once, and told when the broker gets to it. */
  #verdict(command: ServerCommand): ServerEvent | undefined {
    if (command.type === 'look-up-salt') {
      const { first, ticket } = command;
      const found = CREDENTIALS.get(first.username)?.scram;
      return { type: 'salt-looked-up', first, ticket, found };
    }
    if (!('session' in command)) return undefined;
    const result = this.#resultOf(command);
    return result && { ...result, session: command.session };
  }

  #resultOf(command: ServerCommand): SessionResult | undefined {
    switch (command.type) {
      case 'look-up-credential': {
        const credential = CREDENTIALS.get(command.username);
        return credential
          ? { type: 'credential-found', userId: command.username, credential }
          : { type: 'credential-missing' };
      }
      case 'open-tunnel': {
        const opened = this.leases.open(command.user, command.endpoint);
        if (!opened) return { type: 'refused', status: 301 };
        const { offerId, address } = opened;
        const { tunnelType, statedAddress } = command;
        const info = offered(tunnelType, statedAddress, { clientIpv6: address });
        return { type: 'tunnel-offered', offerId, info };
      }
      case 'accept-tunnel':
        this.leases.accept(Number(command.offerId));
        return willingBroker(command);
      case 'reject-tunnel':
        this.leases.reject(Number(command.offerId));
        return undefined;
      default:
        return willingBroker(command);
    }
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
