// The TSP client, pure: it logs in, asks for a tunnel, accepts it and keeps it alive. How its messages
// travel is in client-links.ts. Opens no socket and no tunnel device, and does not start anew by
// itself: whoever drives it reads from the end's reason whether another version, another port,
// another mechanism or another broker is to be tried.

import type { IpAddress } from '../address.ts';
import { type AnswerKind, type ClientLink, DatagramLink, StreamLink } from './client-links.ts';
import type { Transport } from './create-rules.ts';
import { answerChallenge, readChallenge } from './digest-md5.ts';
import { frame, MAX_MESSAGE_OCTETS, readStatus, unframe } from './framing.ts';
import { KeepaliveTimer } from './keepalive.ts';
import {
  type BrokerAddress,
  type Mechanism,
  REDIRECT_OFFSET,
  STATUS,
  type TunnelInfo,
  type TunnelType,
} from './messages.ts';
import { readCapability, VERSION_PADDING } from './opening.ts';
import {
  equalOctets,
  octetText,
  type PlainLogin,
  readBase64,
  writeBase64,
  writePlain,
} from './sasl.ts';
import { answerServerFirst, writeScramFirst } from './scram.ts';
import { readBrokers, readTunnelInfo, writeAction, writeCreate } from './vocabulary.ts';

/** Newest first; a server that refuses one with 302 is tried with the next, from another port. */
export const VERSIONS = ['2.0.2', '2.0.1', '2.0.0'] as const;
export type Version = (typeof VERSIONS)[number];

/** Empty packets in a row that may ask for one more piece of an answer. */
const MAX_FETCHES = 8;

export interface ClientSettings {
  readonly transport: Transport;
  readonly version: Version;
  /** In order of preference; what the server does not offer is skipped. */
  readonly mechanisms: readonly Mechanism[];
  /** For every mechanism but ANONYMOUS. */
  readonly login?: PlainLogin;
  /** The server as the user wrote it; goes into the digest-uri. */
  readonly serverName: string;
  readonly tunnelType: TunnelType;
  /** Local address of the socket, seen from this side of a NAT. */
  readonly clientAddress: IpAddress;
  /** A wish; the server decides. */
  readonly keepaliveSeconds: number;
  /** Asks for a delegated prefix of this length. */
  readonly prefixLength?: number;
  /** Fresh random text without quotes or commas, for DIGEST-MD5 and SCRAM. */
  readonly cnonce: string;
  /** A random 32-bit number: where the sequences begin, and how the keepalives are spread. */
  readonly jitterSeed: number;
}

export type ClientEvent =
  | { readonly type: 'start' }
  /** A datagram, or octets of the connection. */
  | { readonly type: 'received'; readonly bytes: Uint8Array }
  /** The connection has ended. */
  | { readonly type: 'disconnected' }
  /** IPv6 has come out of the tunnel: the accept has arrived, even if its answer has not. */
  | { readonly type: 'tunnel-traffic' }
  | { readonly type: 'keepalive-answered'; readonly sequence: number }
  | { readonly type: 'tick' }
  /** The tunnel is to be deleted at the server, which gives its addresses back; ends as `stop` does. */
  | { readonly type: 'leave' }
  | { readonly type: 'stop' };

export type ClientCommand =
  | { readonly type: 'send'; readonly bytes: Uint8Array }
  | { readonly type: 'tunnel-up'; readonly tunnel: TunnelInfo }
  /** An ICMP echo request through the tunnel, of the address's family; `sequence` is 16 bits. */
  | {
      readonly type: 'send-keepalive';
      readonly sequence: number;
      readonly address: IpAddress;
    }
  /** The last command of a session. */
  | { readonly type: 'ended'; readonly end: ClientEnd };

export type ClientStage = 'version' | 'authentication' | 'create' | 'accept' | 'delete';

export type ClientEnd =
  | { readonly reason: 'no-answer'; readonly during: ClientStage; readonly answered: boolean }
  /** 302. Another version needs another source port: servers remember sequences by port. */
  | { readonly reason: 'version-refused'; readonly next: Version | undefined }
  | { readonly reason: 'no-common-mechanism'; readonly offered: readonly string[] }
  | { readonly reason: 'tunnel-type-not-offered'; readonly offered: readonly string[] }
  | {
      readonly reason: 'authentication-refused';
      readonly mechanism: Mechanism | undefined;
      readonly text: string;
    }
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
  #link: ClientLink | undefined;
  #situation: Situation = { name: 'idle' };
  #keepalive: KeepaliveTimer | undefined;

  constructor(settings: ClientSettings) {
    this.#settings = settings;
  }

  /** Never throws. After `ended` nothing has any effect. */
  handle(event: ClientEvent, nowMs: number): ClientCommand[] {
    const situation = this.#situation;
    switch (event.type) {
      case 'start': {
        if (situation.name !== 'idle') return [];
        const { transport, jitterSeed } = this.#settings;
        this.#link = transport === 'udp' ? new DatagramLink(jitterSeed, nowMs) : new StreamLink();
        return this.#go(ask({ name: 'version' }, versionLine(this.#settings)), nowMs);
      }
      case 'received':
        return this.#receive(event.bytes, nowMs);
      case 'disconnected':
        // A tunnel does not hang on its connection (the server's keepalive tells when it is gone).
        return situation.name === 'up' ? [] : this.#giveUp(nowMs);
      case 'tunnel-traffic':
        return situation.name === 'accept' ? this.#go(up(situation), nowMs) : [];
      case 'keepalive-answered':
        this.#keepalive?.answered(event.sequence);
        return [];
      case 'tick':
        return situation.name === 'up' ? this.#ping(situation, nowMs) : this.#expire(nowMs);
      case 'leave':
        return situation.name === 'up' ? this.#leave(nowMs) : [];
      case 'stop':
        return situation.name === 'ended' ? [] : this.#go(end({ reason: 'stopped' }), nowMs);
    }
  }

  deadline(): number | undefined {
    return this.#keepalive?.deadline() ?? this.#link?.deadline();
  }

  #receive(bytes: Uint8Array, nowMs: number): ClientCommand[] {
    const situation = this.#situation;
    if (situation.name === 'idle' || situation.name === 'ended') return [];
    if (situation.name === 'up') return this.#hearAfterwards(bytes, nowMs);
    const answer = this.#link?.receive(bytes, nowMs);
    return answer === undefined ? [] : this.#conclude(situation, answer, nowMs);
  }

  #conclude(situation: Waiting, answer: string, nowMs: number): ClientCommand[] {
    const rule = RULES[situation.name] as Rule<Waiting>;
    const commands = this.#go(rule(situation, answer, this.#settings), nowMs);
    // Over TCP the next answer may have come along.
    const { name } = this.#situation;
    if (this.#settings.transport === 'udp' || name === 'up' || name === 'ended') return commands;
    return [...commands, ...this.#expire(nowMs)];
  }

  /** Over TCP nothing answers an accept, unless the server could not keep its offer. */
  #hearAfterwards(bytes: Uint8Array, nowMs: number): ClientCommand[] {
    if (this.#settings.transport === 'udp') return [];
    const message = unframe(bytes);
    const text = octetText(message.kind === 'complete' ? message.body : bytes);
    const status = readStatus(text);
    if (!status || status.code === STATUS.success) return [];
    return this.#go(refusal(text, 'accept'), nowMs);
  }

  #go(move: Move, nowMs: number): ClientCommand[] {
    const { next } = move;
    this.#situation = next;
    const commands: ClientCommand[] = [];
    if (move.send !== undefined) {
      const bytes = this.#link?.say(move.send, answerKind(next), nowMs);
      if (bytes) commands.push({ type: 'send', bytes });
      if (this.#settings.transport === 'tcp' && isUnansweredOverTcp(next)) {
        const rule = RULES[next.name] as Rule<Waiting>;
        commands.push(...this.#go(rule(next, '', this.#settings), nowMs));
        return commands;
      }
    }
    if (next.name === 'up') {
      const { tunnel } = next;
      this.#rest();
      if (tunnel.keepalive) {
        const { intervalSeconds } = tunnel.keepalive;
        this.#keepalive = new KeepaliveTimer(intervalSeconds, this.#settings.jitterSeed, nowMs);
      }
      commands.push({ type: 'tunnel-up', tunnel });
    }
    if (next.name === 'ended') {
      this.#rest();
      commands.push({ type: 'ended', end: next.end });
    }
    return commands;
  }

  #leave(nowMs: number): ClientCommand[] {
    this.#rest();
    return this.#go(ask({ name: 'leaving' }, frame(writeAction('delete'))), nowMs);
  }

  #rest(): void {
    this.#keepalive = undefined;
    this.#link?.rest();
  }

  #expire(nowMs: number): ClientCommand[] {
    const situation = this.#situation;
    if (situation.name === 'idle' || situation.name === 'up' || situation.name === 'ended') {
      return [];
    }
    const step = this.#link?.expire(nowMs) ?? { type: 'wait' };
    switch (step.type) {
      case 'wait':
        return [];
      case 'repeat':
        return [{ type: 'send', bytes: step.bytes }];
      case 'answer':
        return this.#conclude(situation, step.text, nowMs);
      case 'give-up':
        return this.#giveUp(nowMs);
    }
  }

  #giveUp(nowMs: number): ClientCommand[] {
    const situation = this.#situation;
    if (situation.name === 'idle' || situation.name === 'ended') return [];
    const answered = this.#link?.answered ?? false;
    return this.#go(end({ reason: 'no-answer', during: stageOf(situation), answered }), nowMs);
  }

  #ping({ tunnel }: In<'up'>, nowMs: number): ClientCommand[] {
    const step = this.#keepalive?.expire(nowMs);
    if (!step || !tunnel.keepalive || step.type === 'nothing') return [];
    if (step.type === 'lost') return this.#go(end({ reason: 'keepalive-lost' }), nowMs);
    const { address } = tunnel.keepalive;
    return [{ type: 'send-keepalive', sequence: step.sequence, address }];
  }
}

type Situation =
  | { readonly name: 'idle' }
  | { readonly name: 'version' }
  | { readonly name: 'anonymous' }
  | { readonly name: 'plain-line'; readonly login: PlainLogin }
  | { readonly name: 'plain-credentials' }
  | { readonly name: 'digest-challenge'; readonly login: PlainLogin }
  | { readonly name: 'scram-line'; readonly login: PlainLogin }
  | { readonly name: 'scram-first'; readonly login: PlainLogin }
  /** `proof`: what the server has to say to show that it knows the secret too. */
  | { readonly name: 'proof'; readonly mechanism: Mechanism; readonly proof: string }
  | { readonly name: 'success'; readonly mechanism: Mechanism; readonly fetches: number }
  | { readonly name: 'create'; readonly received: string; readonly fetches: number }
  | { readonly name: 'accept'; readonly tunnel: TunnelInfo }
  | { readonly name: 'up'; readonly tunnel: TunnelInfo }
  | { readonly name: 'leaving' }
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
  anonymous: afterLogin('ANONYMOUS'),
  'plain-line': ({ login }, answer) =>
    // An answer without text is the signal to go on; a server that has something to say refuses.
    readStatus(answer)
      ? refusal(answer, 'authentication', 'PLAIN')
      : ask({ name: 'plain-credentials' }, writePlain(login)),
  'plain-credentials': afterLogin('PLAIN'),
  'digest-challenge': ({ login }, answer, { cnonce, serverName }) => {
    const decoded = readBase64(answer.trim());
    const challenge = decoded === undefined ? undefined : readChallenge(decoded);
    if (!challenge) return refusal(answer, 'authentication', 'DIGEST-MD5');
    const reply = answerChallenge(challenge, login, cnonce, `tsp/${serverName}`);
    const next = { name: 'proof', mechanism: 'DIGEST-MD5', proof: reply.rspauth } as const;
    return ask(next, writeBase64(reply.response));
  },
  'scram-line': ({ login }, answer, { cnonce }) =>
    readStatus(answer)
      ? refusal(answer, 'authentication', 'SCRAM-SHA-256')
      : ask({ name: 'scram-first', login }, writeBase64(writeScramFirst(login.username, cnonce))),
  'scram-first': ({ login }, answer, { cnonce }) => {
    const challenge = readBase64(answer.trim());
    const mechanism = 'SCRAM-SHA-256';
    if (readStatus(answer) || challenge === undefined) {
      return refusal(answer, 'authentication', mechanism);
    }
    const reply = answerServerFirst(challenge, login, cnonce);
    return reply
      ? ask({ name: 'proof', mechanism, proof: reply.proof }, writeBase64(reply.final))
      : end(unreadable('authentication'));
  },
  proof: ({ mechanism, proof }, answer, settings) => {
    const status = readStatus(answer);
    if (status?.code === STATUS.success) return end({ reason: 'server-not-proven' });
    if (status) return refusal(answer, 'authentication', mechanism);
    // Some servers put the 200 behind it in the same datagram.
    const [, line = '', rest = ''] = /^([A-Za-z0-9+/]+={0,2})\s*(.*)$/s.exec(answer) ?? [];
    const claimed = Buffer.from(readBase64(line) ?? '', 'latin1');
    if (!equalOctets(claimed, Buffer.from(proof, 'latin1'))) {
      return end({ reason: 'server-not-proven' });
    }
    return rest === ''
      ? ask({ name: 'success', mechanism, fetches: 1 }, '')
      : afterLogin(mechanism)(undefined, rest, settings);
  },
  success: ({ mechanism, fetches }, answer, settings) =>
    answer === '' && fetches < MAX_FETCHES
      ? ask({ name: 'success', mechanism, fetches: fetches + 1 }, '')
      : afterLogin(mechanism)(undefined, answer, settings),
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
  leaving: (_, answer) => {
    const message = unframe(Buffer.from(answer, 'latin1'));
    const text = message.kind === 'complete' ? octetText(message.body) : answer;
    return readStatus(text)?.code === STATUS.success
      ? end({ reason: 'stopped' })
      : refusal(text, 'delete');
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
    return ask({ name: FIRST_STEP[mechanism], login }, line);
  }
  return end({ reason: 'no-common-mechanism', offered: [...offer.mechanisms] });
}

const FIRST_STEP = {
  'SCRAM-SHA-256': 'scram-line',
  'DIGEST-MD5': 'digest-challenge',
  PLAIN: 'plain-line',
} as const;

function afterLogin(mechanism: Mechanism): Rule<unknown> {
  return (_, answer, settings) => {
    if (readStatus(answer)?.code !== STATUS.success) {
      return refusal(answer, 'authentication', mechanism);
    }
    return ask({ name: 'create', received: '', fetches: 0 }, frame(writeCreate(settings)));
  };
}

function judgeOffer(body: string, settings: ClientSettings): Move {
  const status = readStatus(body);
  if (status?.code !== STATUS.success) return refusal(body, 'create');
  const tunnel = readTunnelInfo(Buffer.from(status.rest, 'latin1'));
  if (!tunnel || !isUsable(tunnel, settings)) {
    // Told once, so that the server need not keep the offer; nobody waits for the answer.
    const next = { name: 'ended', end: unreadable('create') } as const;
    return { next, send: frame(writeAction('reject')) };
  }
  return ask({ name: 'accept', tunnel }, frame(writeAction('accept')));
}

/** Whether it was asked for, and can be carried: over TCP there is no socket for a tunnel in UDP. */
function isUsable(
  { tunnelType: given }: TunnelInfo,
  { tunnelType: wanted, transport }: ClientSettings,
): boolean {
  if (transport === 'tcp' && given === 'v6udpv4') return false;
  return wanted === 'v6anyv4' ? given !== 'v4v6' : given === wanted;
}

/** The end that a status line means, or the lack of one. */
function refusal(answer: string, during: ClientStage, mechanism?: Mechanism): Move {
  const status = readStatus(answer);
  if (!status || status.code === STATUS.success) return end(unreadable(during));
  const { code, text, rest } = status;
  if (code >= REDIRECT_OFFSET) {
    const brokers = readBrokers(Buffer.from(rest, 'latin1'));
    if (brokers.length > 0) {
      return end({ reason: 'redirected', status: code - REDIRECT_OFFSET, brokers });
    }
  }
  if (code === STATUS.authenticationFailed) {
    return end({ reason: 'authentication-refused', mechanism, text });
  }
  return end({ reason: 'refused', during, status: code % REDIRECT_OFFSET, text });
}

/** The blanks over UDP buy room for the answer; see {@link VERSION_PADDING}. */
function versionLine({ version, mechanisms, transport }: ClientSettings): string {
  const wantsRoom =
    transport === 'udp' && version === VERSIONS[0] && mechanisms.includes('SCRAM-SHA-256');
  return `VERSION=${version}\r\n${wantsRoom ? VERSION_PADDING : ''}`;
}

function answerKind({ name }: Situation): AnswerKind {
  return name === 'create' || name === 'accept' || name === 'leaving' ? 'framed' : 'line';
}

/** What a server over UDP answers with a header alone it does not answer over TCP. */
function isUnansweredOverTcp(situation: Situation): situation is Waiting {
  const { name } = situation;
  return name === 'plain-line' || name === 'scram-line' || name === 'accept';
}

function stageOf({ name }: Situation): ClientStage {
  if (name === 'version' || name === 'create' || name === 'accept') return name;
  if (name === 'leaving') return 'delete';
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
