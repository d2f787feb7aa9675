// The TSP client over UDP, pure: it logs in, asks for a tunnel, accepts it and keeps it alive. One
// message is outstanding at a time; answers are known by its sequence. Opens no socket and no tunnel
// device, and does not start anew by itself: whoever drives it reads from the end's reason whether
// another version, another port or another broker is to be tried.

import type { Ipv4Address, Ipv6Address } from '../address.ts';
import { answerChallenge, readChallenge } from './digest-md5.ts';
import {
  frame,
  type Header,
  MAX_MESSAGE_OCTETS,
  nextSequence,
  readDatagram,
  readStatus,
  unframe,
  writeDatagram,
} from './framing.ts';
import { KeepaliveTimer } from './keepalive.ts';
import {
  type BrokerAddress,
  type Mechanism,
  REDIRECT_OFFSET,
  STATUS,
  type TunnelInfo,
  type TunnelType,
} from './messages.ts';
import { readCapability } from './opening.ts';
import { RetransmissionTimer } from './retransmission.ts';
import {
  equalOctets,
  octetText,
  type PlainLogin,
  readBase64,
  writeBase64,
  writePlain,
} from './sasl.ts';
import { readBrokers, readTunnelInfo, writeAction, writeCreate } from './vocabulary.ts';

/** Newest first; a server that refuses one with 302 is tried with the next, from another port. */
export const VERSIONS = ['2.0.2', '2.0.1', '2.0.0'] as const;
export type Version = (typeof VERSIONS)[number];

/** Empty packets in a row that may ask for one more piece of an answer. */
const MAX_FETCHES = 8;

export interface ClientSettings {
  readonly version: Version;
  /** In order of preference; what the server does not offer is skipped. */
  readonly mechanisms: readonly Mechanism[];
  /** For every mechanism but ANONYMOUS. */
  readonly login?: PlainLogin;
  /** The server as the user wrote it; goes into the digest-uri. */
  readonly serverName: string;
  readonly tunnelType: TunnelType;
  /** Local address of the socket, seen from this side of a NAT. */
  readonly clientIpv4: Ipv4Address;
  /** A wish; the server decides. */
  readonly keepaliveSeconds: number;
  /** Asks for a delegated prefix of this length. */
  readonly prefixLength?: number;
  /** Fresh random text without quotes, for DIGEST-MD5. */
  readonly cnonce: string;
  /** A random 32-bit number: where the sequences begin, and how the keepalives are spread. */
  readonly jitterSeed: number;
}

export type ClientEvent =
  | { readonly type: 'start' }
  | { readonly type: 'datagram'; readonly bytes: Uint8Array }
  /** IPv6 has come out of the tunnel: the accept has arrived, even if its answer has not. */
  | { readonly type: 'tunnel-traffic' }
  | { readonly type: 'keepalive-answered'; readonly sequence: number }
  | { readonly type: 'tick' }
  | { readonly type: 'stop' };

export type ClientCommand =
  | { readonly type: 'send'; readonly bytes: Uint8Array }
  | { readonly type: 'tunnel-up'; readonly tunnel: TunnelInfo }
  /** An ICMPv6 echo request through the tunnel; `sequence` is 16 bits. */
  | {
      readonly type: 'send-keepalive';
      readonly sequence: number;
      readonly address: Ipv6Address;
    }
  /** The last command of a session. */
  | { readonly type: 'ended'; readonly end: ClientEnd };

export type ClientStage = 'version' | 'authentication' | 'create' | 'accept';

export type ClientEnd =
  | { readonly reason: 'no-answer'; readonly during: ClientStage; readonly answered: boolean }
  /** 302. Another version needs another source port: servers remember sequences by port. */
  | { readonly reason: 'version-refused'; readonly next: Version | undefined }
  | { readonly reason: 'no-common-mechanism'; readonly offered: readonly string[] }
  | { readonly reason: 'tunnel-type-not-offered'; readonly offered: readonly string[] }
  | { readonly reason: 'authentication-refused'; readonly text: string }
  /** It does not know the password: not the server that it should be. */
  | { readonly reason: 'server-not-proven' }
  | {
      readonly reason: 'refused';
      readonly during: ClientStage;
      readonly status: number;
      readonly text: string;
    }
  /** `status` is without the 1000 that marks a redirect; 200 is a redirect without an error. */
  | {
      readonly reason: 'redirected';
      readonly status: number;
      readonly brokers: readonly BrokerAddress[];
    }
  | { readonly reason: 'unreadable-answer'; readonly during: ClientStage }
  | { readonly reason: 'keepalive-lost' }
  | { readonly reason: 'stopped' };

export class ClientSession {
  readonly #settings: ClientSettings;
  readonly #timer = new RetransmissionTimer();
  #startMs: number | undefined;
  #situation: Situation = { name: 'idle' };
  /** The message without an answer, and where its sequence stands. */
  #outstanding: string | undefined;
  #sequence: number;
  #firstSentMs = 0;
  #keepalive: KeepaliveTimer | undefined;

  constructor(settings: ClientSettings) {
    this.#settings = settings;
    this.#sequence = firstSequence(settings.jitterSeed) - 1;
  }

  /** Never throws. After `ended` nothing has any effect. */
  handle(event: ClientEvent, nowMs: number): ClientCommand[] {
    const situation = this.#situation;
    switch (event.type) {
      case 'start':
        if (situation.name !== 'idle') return [];
        this.#startMs = nowMs;
        return this.#go(ask({ name: 'version' }, `VERSION=${this.#settings.version}\r\n`), nowMs);
      case 'datagram':
        return this.#receive(event.bytes, nowMs);
      case 'tunnel-traffic':
        return situation.name === 'accept' ? this.#go(up(situation), nowMs) : [];
      case 'keepalive-answered':
        this.#keepalive?.answered(event.sequence);
        return [];
      case 'tick':
        return situation.name === 'up' ? this.#ping(situation, nowMs) : this.#repeat(nowMs);
      case 'stop':
        return situation.name === 'ended' ? [] : this.#go(end({ reason: 'stopped' }), nowMs);
    }
  }

  deadline(): number | undefined {
    return this.#keepalive?.deadline() ?? this.#timer.deadline();
  }

  #receive(bytes: Uint8Array, nowMs: number): ClientCommand[] {
    const situation = this.#situation;
    const datagram = readDatagram(bytes);
    if (!datagram || this.#outstanding === undefined) return [];
    if (datagram.header.sequence !== this.#sequence) return [];
    if (situation.name === 'idle' || situation.name === 'up' || situation.name === 'ended') {
      return [];
    }
    this.#outstanding = undefined;
    this.#timer.stop(this.#roundTripMs(datagram.header, nowMs));
    const answer = octetText(datagram.payload);
    const rule = RULES[situation.name] as Rule<Waiting>;
    return this.#go(rule(situation, answer, this.#settings), nowMs);
  }

  #go(move: Move, nowMs: number): ClientCommand[] {
    this.#situation = move.next;
    const commands: ClientCommand[] = [];
    if (move.send !== undefined) {
      this.#sequence = nextSequence(this.#sequence);
      this.#outstanding = move.send;
      this.#firstSentMs = nowMs;
      this.#timer.start(nowMs);
      commands.push(this.#transmit(move.send, nowMs));
    }
    if (move.next.name === 'up') {
      const { tunnel } = move.next;
      this.#rest();
      if (tunnel.keepalive) {
        const { intervalSeconds } = tunnel.keepalive;
        this.#keepalive = new KeepaliveTimer(intervalSeconds, this.#settings.jitterSeed, nowMs);
      }
      commands.push({ type: 'tunnel-up', tunnel });
    }
    if (move.next.name === 'ended') {
      this.#rest();
      commands.push({ type: 'ended', end: move.next.end });
    }
    return commands;
  }

  #rest(): void {
    this.#outstanding = undefined;
    this.#keepalive = undefined;
    this.#timer.stop(undefined);
  }

  #repeat(nowMs: number): ClientCommand[] {
    if (this.#outstanding === undefined) return [];
    const { answered } = this.#timer;
    switch (this.#timer.expire(nowMs)) {
      case 'wait':
        return [];
      case 'repeat':
        return [this.#transmit(this.#outstanding, nowMs)];
      case 'give-up':
        return this.#go(
          end({ reason: 'no-answer', during: stageOf(this.#situation), answered }),
          nowMs,
        );
    }
  }

  #ping({ tunnel }: In<'up'>, nowMs: number): ClientCommand[] {
    const step = this.#keepalive?.expire(nowMs);
    if (!step || !tunnel.keepalive || step.type === 'nothing') return [];
    if (step.type === 'lost') return this.#go(end({ reason: 'keepalive-lost' }), nowMs);
    const { address } = tunnel.keepalive;
    return [{ type: 'send-keepalive', sequence: step.sequence, address }];
  }

  #transmit(text: string, nowMs: number): ClientCommand {
    const header = { sequence: this.#sequence, timestamp: this.#stamp(nowMs) };
    return { type: 'send', bytes: writeDatagram(header, Buffer.from(text, 'latin1')) };
  }

  /** Milliseconds since the start, 32 bits. */
  #stamp(nowMs: number): number {
    return Math.floor(nowMs - (this.#startMs ?? nowMs)) % 2 ** 32;
  }

  /** Undefined when the server did not echo a timestamp of this message. */
  #roundTripMs({ timestamp }: Header, nowMs: number): number | undefined {
    const roundTripMs = this.#stamp(nowMs) - timestamp;
    const longestMs = nowMs - this.#firstSentMs + 1;
    return roundTripMs >= 0 && roundTripMs <= longestMs ? roundTripMs : undefined;
  }
}

type Situation =
  | { readonly name: 'idle' }
  | { readonly name: 'version' }
  | { readonly name: 'anonymous' }
  | { readonly name: 'plain-line'; readonly login: PlainLogin }
  | { readonly name: 'plain-credentials' }
  | { readonly name: 'digest-challenge'; readonly login: PlainLogin }
  | { readonly name: 'digest-response'; readonly rspauth: string }
  | { readonly name: 'digest-success'; readonly fetches: number }
  | { readonly name: 'create'; readonly received: string; readonly fetches: number }
  | { readonly name: 'accept'; readonly tunnel: TunnelInfo }
  | { readonly name: 'up'; readonly tunnel: TunnelInfo }
  | { readonly name: 'ended'; readonly end: ClientEnd };

type In<S extends Situation['name']> = Extract<Situation, { readonly name: S }>;
type WaitingName = Exclude<Situation['name'], 'idle' | 'up' | 'ended'>;
type Waiting = In<WaitingName>;

/** Where to go, and the text to send on the way, one octet a character. */
interface Move {
  readonly next: Situation;
  readonly send?: string;
}

type Rule<S> = (at: S, answer: string, settings: ClientSettings) => Move;

// What each answer leads to. What holds everywhere: a status of 1000 or more with a list of brokers
// is a redirect; any other status that is not a success ends the session.
const RULES: { readonly [S in WaitingName]: Rule<In<S>> } = {
  version: (_, answer, settings) => {
    const offer = readCapability(answer);
    if (offer) return authenticate(offer, settings);
    const status = readStatus(answer);
    if (status?.code === STATUS.versionNotSupported) {
      const next = VERSIONS[VERSIONS.indexOf(settings.version) + 1];
      return end({ reason: 'version-refused', next });
    }
    return refusal(answer, 'version');
  },
  anonymous: afterLogin,
  'plain-line': ({ login }, answer) =>
    // An answer without text is the signal to go on; a server that has something to say refuses.
    readStatus(answer)
      ? refusal(answer, 'authentication')
      : ask({ name: 'plain-credentials' }, writePlain(login)),
  'plain-credentials': afterLogin,
  'digest-challenge': ({ login }, answer, { cnonce, serverName }) => {
    const decoded = readBase64(answer.trim());
    const challenge = decoded === undefined ? undefined : readChallenge(decoded);
    if (!challenge) return refusal(answer, 'authentication');
    const reply = answerChallenge(challenge, login, cnonce, `tsp/${serverName}`);
    return ask({ name: 'digest-response', rspauth: reply.rspauth }, writeBase64(reply.response));
  },
  'digest-response': ({ rspauth }, answer, settings) => {
    const status = readStatus(answer);
    if (status?.code === STATUS.success) return end({ reason: 'server-not-proven' });
    if (status) return refusal(answer, 'authentication');
    // Some servers put the 200 behind it in the same datagram.
    const [, proof = '', rest = ''] = /^([A-Za-z0-9+/]+={0,2})\s*(.*)$/s.exec(answer) ?? [];
    const claimed = Buffer.from(readBase64(proof) ?? '', 'latin1');
    if (!equalOctets(claimed, Buffer.from(rspauth, 'latin1'))) {
      return end({ reason: 'server-not-proven' });
    }
    return rest === ''
      ? ask({ name: 'digest-success', fetches: 1 }, '')
      : afterLogin(undefined, rest, settings);
  },
  'digest-success': ({ fetches }, answer, settings) =>
    answer === '' && fetches < MAX_FETCHES
      ? ask({ name: 'digest-success', fetches: fetches + 1 }, '')
      : afterLogin(undefined, answer, settings),
  create: ({ received, fetches }, answer, settings) => {
    const text = received + answer;
    const message = unframe(Buffer.from(text, 'latin1'));
    switch (message.kind) {
      case 'malformed':
        // Some servers leave out Content-length when they refuse.
        return refusal(text, 'create');
      case 'incomplete':
        return fetches < MAX_FETCHES && text.length <= MAX_MESSAGE_OCTETS
          ? ask({ name: 'create', received: text, fetches: fetches + 1 }, '')
          : end({ reason: 'unreadable-answer', during: 'create' });
      case 'complete':
        return judgeOffer(octetText(message.body), settings);
    }
  },
  accept: (at, answer) => {
    // Real servers answer with a header alone, with a framed 200, or with a bare one.
    const message = unframe(Buffer.from(answer, 'latin1'));
    const text = message.kind === 'complete' ? octetText(message.body) : answer;
    const status = readStatus(text);
    return status && status.code !== STATUS.success ? refusal(text, 'accept') : up(at);
  },
};

function authenticate(
  offer: NonNullable<ReturnType<typeof readCapability>>,
  { mechanisms, login, tunnelType }: ClientSettings,
): Move {
  const fitting: readonly TunnelType[] =
    tunnelType === 'v6anyv4' ? ['v6v4', 'v6udpv4'] : [tunnelType];
  if (!fitting.some((type) => offer.tunnels.has(type.toUpperCase()))) {
    return end({ reason: 'tunnel-type-not-offered', offered: [...offer.tunnels] });
  }
  for (const mechanism of mechanisms) {
    if (!offer.mechanisms.has(mechanism)) continue;
    const line = `AUTHENTICATE ${mechanism}\r\n`;
    if (mechanism === 'ANONYMOUS') return ask({ name: 'anonymous' }, line);
    if (!login) continue;
    return ask(
      mechanism === 'PLAIN' ? { name: 'plain-line', login } : { name: 'digest-challenge', login },
      line,
    );
  }
  return end({ reason: 'no-common-mechanism', offered: [...offer.mechanisms] });
}

function afterLogin(_: unknown, answer: string, settings: ClientSettings): Move {
  if (readStatus(answer)?.code !== STATUS.success) return refusal(answer, 'authentication');
  return ask({ name: 'create', received: '', fetches: 0 }, frame(writeCreate(settings)));
}

function judgeOffer(body: string, { tunnelType }: ClientSettings): Move {
  const status = readStatus(body);
  if (status?.code !== STATUS.success) return refusal(body, 'create');
  const tunnel = readTunnelInfo(Buffer.from(status.rest, 'latin1'));
  if (!tunnel || (tunnelType !== 'v6anyv4' && tunnel.tunnelType !== tunnelType)) {
    // Told once, so that the server need not keep the offer; nobody waits for the answer.
    const next = { name: 'ended', end: unreadable('create') } as const;
    return { next, send: frame(writeAction('reject')) };
  }
  return ask({ name: 'accept', tunnel }, frame(writeAction('accept')));
}

/** The end that a status line means, or the lack of one. */
function refusal(answer: string, during: ClientStage): Move {
  const status = readStatus(answer);
  if (!status || status.code === STATUS.success) return end(unreadable(during));
  const { code, text, rest } = status;
  if (code >= REDIRECT_OFFSET) {
    const brokers = readBrokers(Buffer.from(rest, 'latin1'));
    if (brokers.length > 0) {
      return end({ reason: 'redirected', status: code - REDIRECT_OFFSET, brokers });
    }
  }
  if (code === STATUS.authenticationFailed) return end({ reason: 'authentication-refused', text });
  return end({ reason: 'refused', during, status: code % REDIRECT_OFFSET, text });
}

/**
 * Unpredictable, so that nobody off the path can answer for the server and nothing late from an
 * earlier session is taken for an answer. It ends in F0 because some old servers look for the
 * marker in the last octet.
 */
function firstSequence(seed: number): number {
  return (seed & 0xfffff) * 256 + 0xf0;
}

function stageOf({ name }: Situation): ClientStage {
  if (name === 'version' || name === 'create' || name === 'accept') return name;
  return 'authentication';
}

function ask(next: Waiting, send: string): Move {
  return { next, send };
}

function up({ tunnel }: In<'accept'>): Move {
  return { next: { name: 'up', tunnel } };
}

function end(how: ClientEnd): Move {
  return { next: { name: 'ended', end: how } };
}

function unreadable(during: ClientStage): ClientEnd {
  return { reason: 'unreadable-answer', during };
}
