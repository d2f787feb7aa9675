// One TSP client over TCP, pure: octets in any segmentation and results go in, segments and commands
// come out. Messages are taken one after the other, each when the one before has been answered, so a
// client may send everything at once. What is said is decided in reception.ts and server-session.ts.

import type { Endpoint } from '../address.ts';
import { writeStatus } from './framing.ts';
import { type ConcreteTunnelType, STATUS, type StatusCode } from './messages.ts';
import { readOpening } from './opening.ts';
import type { Reception, ReceptionOddity } from './reception.ts';
import type { ScramCredential } from './sasl.ts';
import type { ScramFirst } from './scram.ts';
import {
  type Redirect,
  ServerSession,
  type SessionBeginning,
  type SessionCommand,
  type SessionEvent,
  type SessionId,
  type SessionOddity,
  type SessionResult,
} from './server-session.ts';
import { MAX_LINE_OCTETS, type StreamExpectation, takeMessage } from './stream.ts';

export interface ConnectionFacts {
  readonly id: SessionId;
  readonly source: Endpoint;
  readonly realm: string;
  readonly tunnelTypes: readonly ConcreteTunnelType[];
  readonly redirect?: Redirect;
}

export type ConnectionEvent =
  | { readonly type: 'octets'; readonly bytes: Uint8Array }
  /** The client sends nothing more; it may still read. */
  | { readonly type: 'peer-ended' }
  /** Nobody reads any more. */
  | { readonly type: 'disconnected' }
  | SessionResult
  | SaltResult
  | { readonly type: 'tick' };

/** `found` is undefined for a user who cannot log in by SCRAM; the client is not told. */
export interface SaltResult {
  readonly type: 'salt-looked-up';
  readonly first: ScramFirst;
  readonly found: Pick<ScramCredential, 'salt' | 'iterations'> | undefined | 'failed';
}

export type ConnectionCommand =
  /** One segment: clients take one read for one message. */
  | { readonly type: 'send'; readonly data: string }
  /** What was sent is to arrive; nothing more is read. */
  | { readonly type: 'close' }
  /** → `salt-looked-up`. */
  | {
      readonly type: 'look-up-salt';
      readonly session: SessionId;
      readonly first: ScramFirst;
    }
  | Exclude<SessionCommand, { readonly type: 'answer' | 'count' }>
  | { readonly type: 'count'; readonly what: ConnectionOddity };

export type ConnectionOddity =
  | SessionOddity
  | ReceptionOddity
  | 'unrecognised'
  | 'stale'
  | 'busy'
  | 'salt-unavailable'
  | 'timed-out'
  | 'oversized';

/** Between two messages, and from the first octet of a message to its last. */
export const STEP_LIMIT_MS = 10_000;
/** From the beginning to the end of authentication. */
export const LOGIN_LIMIT_MS = 60_000;
/** gogoc loses a 200 that it reads together with what proves the server. */
export const SEPARATION_MS = 200;
/** A client that goes on while it is not listened to is heard up to here. */
const MAX_WAITING_OCTETS = 4 * MAX_LINE_OCTETS;

export class TspConnection {
  readonly #facts: ConnectionFacts;
  readonly #reception: Reception;
  readonly #startMs: number;
  #session: ServerSession | undefined;
  #waiting: Uint8Array = new Uint8Array();
  /** The last message has not been answered yet. */
  #busy = false;
  #later: { readonly data: string; readonly atMs: number } | undefined;
  /** When the last message was dealt with. */
  #settledMs: number;
  /** When the message that is only half here began. */
  #halfSinceMs: number | undefined;
  #peerEnded = false;
  #closed = false;

  constructor(reception: Reception, facts: ConnectionFacts, nowMs: number) {
    this.#reception = reception;
    this.#facts = facts;
    this.#startMs = nowMs;
    this.#settledMs = nowMs;
  }

  /** Never throws. After `close` only what the session lets go of is still commanded. */
  handle(event: ConnectionEvent, nowMs: number): ConnectionCommand[] {
    switch (event.type) {
      case 'octets':
        return this.#closed ? [] : this.#hear(event.bytes, nowMs);
      case 'peer-ended':
        this.#peerEnded = true;
        return this.#advance(nowMs);
      case 'disconnected':
        return this.#close(nowMs).filter(({ type }) => type !== 'close');
      case 'salt-looked-up':
        return this.#challenge(event, nowMs);
      case 'tick':
        return this.#tick(nowMs);
      default:
        return [...this.#tell(event, nowMs), ...this.#advance(nowMs)];
    }
  }

  /** When a `tick` has something to do. */
  deadline(): number | undefined {
    if (this.#closed) return undefined;
    const limit = Math.min(this.#later?.atMs ?? Number.POSITIVE_INFINITY, this.#limitMs());
    return Number.isFinite(limit) ? limit : undefined;
  }

  get authenticated(): boolean {
    return this.#session?.authenticated ?? false;
  }

  #limitMs(): number {
    // The broker always answers; what takes long there is not the client's fault.
    if (this.#busy) return Number.POSITIVE_INFINITY;
    const message =
      this.#halfSinceMs === undefined
        ? Number.POSITIVE_INFINITY
        : this.#halfSinceMs + STEP_LIMIT_MS;
    return this.#session?.authenticated
      ? Math.min(message, this.#session.deadline())
      : Math.min(message, this.#settledMs + STEP_LIMIT_MS, this.#startMs + LOGIN_LIMIT_MS);
  }

  #tick(nowMs: number): ConnectionCommand[] {
    if (this.#closed) return [];
    const commands: ConnectionCommand[] = [];
    if (this.#later && nowMs >= this.#later.atMs) {
      commands.push({ type: 'send', data: this.#later.data });
      this.#later = undefined;
      this.#settledMs = nowMs;
      commands.push(...this.#advance(nowMs));
    }
    if (!this.#closed && nowMs >= this.#limitMs()) {
      commands.push(count('timed-out'), ...this.#close(nowMs));
    }
    return commands;
  }

  #hear(bytes: Uint8Array, nowMs: number): ConnectionCommand[] {
    if (this.#waiting.length + bytes.length > MAX_WAITING_OCTETS) {
      return [count('oversized'), ...this.#close(nowMs)];
    }
    this.#waiting = Buffer.concat([this.#waiting, bytes]);
    return this.#advance(nowMs);
  }

  /** Takes as many messages as can be dealt with at once. */
  #advance(nowMs: number): ConnectionCommand[] {
    const commands: ConnectionCommand[] = [];
    while (!this.#closed && !this.#busy && !this.#later) {
      const expected = this.#expectation();
      const taken = takeMessage(this.#waiting, expected);
      if (taken.kind === 'malformed') {
        commands.push(...this.#refuse(STATUS.invalidRequest, 'malformed-request', nowMs));
        break;
      }
      if (taken.kind === 'incomplete') {
        this.#halfSinceMs = taken.begun ? (this.#halfSinceMs ?? nowMs) : undefined;
        if (this.#peerEnded) commands.push(...this.#close(nowMs));
        break;
      }
      this.#halfSinceMs = undefined;
      this.#settledMs = nowMs;
      this.#waiting = taken.rest;
      commands.push(
        ...(this.#session
          ? this.#tell({ type: 'message', payload: taken.payload }, nowMs)
          : this.#receive(taken.payload, nowMs)),
      );
    }
    return commands;
  }

  #expectation(): StreamExpectation {
    if (!this.#session) return 'line';
    return this.#session.authenticated ? 'command' : 'credentials';
  }

  #receive(line: Uint8Array, nowMs: number): ConnectionCommand[] {
    const { id, source } = this.#facts;
    const roomy = Number.POSITIVE_INFINITY;
    const reply = this.#reception.reply(readOpening(line), source, roomy, nowMs);
    switch (reply.type) {
      case 'say': {
        const said = { type: 'send', data: reply.data } as const;
        return reply.oddity === undefined
          ? [said]
          : [count(reply.oddity), said, ...this.#close(nowMs)];
      }
      case 'go-on':
        return [];
      case 'begin':
        return this.#begin(reply.with, reply.nonce, nowMs);
      case 'look-up-salt':
        this.#busy = true;
        return [{ type: 'look-up-salt', session: id, first: reply.first }];
      case 'busy':
        return this.#refuse(STATUS.busy, 'busy', nowMs);
      case 'stale':
        return this.#refuse(STATUS.authenticationFailed, 'stale', nowMs);
      case 'unrecognised':
        return this.#refuse(STATUS.invalidRequest, 'unrecognised', nowMs);
    }
  }

  #begin(
    beginning: SessionBeginning,
    nonce: string | undefined,
    nowMs: number,
  ): ConnectionCommand[] {
    if (nonce !== undefined) this.#reception.spend(nonce, nowMs);
    this.#session = new ServerSession({ ...this.#facts, transport: 'tcp' }, nowMs);
    return this.#tell({ type: 'begin', with: beginning }, nowMs);
  }

  #challenge({ first, found }: SaltResult, nowMs: number): ConnectionCommand[] {
    if (this.#closed || !this.#busy || this.#session) return [];
    this.#busy = false;
    this.#settledMs = nowMs;
    if (found === 'failed') return this.#refuse(STATUS.serverError, 'salt-unavailable', nowMs);
    const data = this.#reception.serverFirst(first, found, this.#facts.source, nowMs);
    return [{ type: 'send', data }, ...this.#advance(nowMs)];
  }

  #tell(event: SessionEvent, nowMs: number): ConnectionCommand[] {
    const session = this.#session;
    if (!session) return [];
    const commands: ConnectionCommand[] = [];
    let answered = false;
    for (const command of session.handle(event, nowMs)) {
      if (command.type !== 'answer') {
        commands.push(command);
        continue;
      }
      answered = true;
      if (command.data !== '') commands.push({ type: 'send', data: command.data });
      if (command.later !== undefined) {
        this.#later = { data: command.later, atMs: nowMs + SEPARATION_MS };
      }
    }
    if (answered) {
      this.#busy = false;
      this.#settledMs = nowMs;
    } else if (event.type === 'message' || event.type === 'begin') {
      this.#busy = true;
    }
    if (session.closed && !this.#closed) commands.push(...this.#close(nowMs));
    return commands;
  }

  #refuse(status: StatusCode, what: ConnectionOddity, nowMs: number): ConnectionCommand[] {
    const line = writeStatus(status);
    const data = this.authenticated ? `Content-length: ${line.length}\r\n${line}` : line;
    return [count(what), { type: 'send', data }, ...this.#close(nowMs)];
  }

  #close(nowMs: number): ConnectionCommand[] {
    if (this.#closed) return [];
    this.#closed = true;
    this.#waiting = new Uint8Array();
    this.#later = undefined;
    const released = this.#session ? this.#session.handle({ type: 'replaced' }, nowMs) : [];
    return [...released.filter((command) => command.type !== 'answer'), { type: 'close' }];
  }
}

function count(what: ConnectionOddity): ConnectionCommand {
  return { type: 'count', what };
}
