// One session as TSP over UDP sees it: which message was last, what it was answered, what waits to
// be fetched. This is where repetitions are told from new messages (RFC 5572 §4.4.1.2 leaves open
// what to do about them). Knows neither the peer's other sessions nor the socket.

import { type Datagram, type Header, nextSequence } from './framing.ts';
import type { ServerSession, SessionCommand } from './server-session.ts';

/**
 * How a datagram relates to a dialogue. The payload counts besides the sequence, because clients that
 * start again on the same port begin with the same sequence.
 */
export type Relation = 'repetition' | 'next' | 'unrelated';

/** An answer with the header of the message it belongs to. */
export interface Answer {
  readonly header: Header;
  readonly data: string;
}

export class Dialogue {
  readonly session: ServerSession;
  readonly #opening: { readonly sequence: number; readonly fingerprint: number };
  #sequence: number;
  #fingerprint: number;
  /** Answer to the last message; undefined while a command is under way. */
  #answer: string | undefined;
  /** The message that a command under way belongs to; the last one, or the one before. */
  #underWay: Header | undefined;
  /** What the client fetches with its next empty packet. */
  #pending: string | undefined;

  /** `opening` is the message that begins the session; its commands go through {@link settle}. */
  constructor(session: ServerSession, opening: Datagram) {
    this.session = session;
    this.#sequence = opening.header.sequence;
    this.#fingerprint = fingerprint(opening.payload);
    this.#opening = { sequence: this.#sequence, fingerprint: this.#fingerprint };
  }

  /** This is the message that began the session, or one that looks exactly like it. */
  beganWith({ header, payload }: Datagram): boolean {
    const { sequence, fingerprint: known } = this.#opening;
    return header.sequence === sequence && fingerprint(payload) === known;
  }

  relation({ header, payload }: Datagram): Relation {
    if (header.sequence === this.#sequence) {
      return fingerprint(payload) === this.#fingerprint ? 'repetition' : 'unrelated';
    }
    const next = !this.session.closed && header.sequence === nextSequence(this.#sequence);
    return next ? 'next' : 'unrelated';
  }

  /** The cached answer under the repetition's own header; undefined while there is none yet. */
  repeat(header: Header): Answer | undefined {
    return this.#answer === undefined ? undefined : { header, data: this.#answer };
  }

  /** Makes `datagram` the last message; returns what was waiting for it, if it fetches. */
  advance({ header, payload }: Datagram): Answer | undefined {
    this.#sequence = header.sequence;
    this.#fingerprint = fingerprint(payload);
    this.#answer = undefined;
    const pending = this.#pending;
    this.#pending = undefined;
    if (pending === undefined || payload.length > 0) return undefined;
    this.#answer = pending;
    return { header, data: pending };
  }

  /**
   * Gives the session's answers their header, and returns them apart from its other commands. With
   * `header`, `commands` are what the message under that header gave rise to; without, they come
   * from the result of a command.
   */
  settle(
    commands: readonly SessionCommand[],
    header?: Header,
  ): { readonly answers: readonly Answer[]; readonly others: readonly OtherCommand[] } {
    const answers: Answer[] = [];
    const others: OtherCommand[] = [];
    for (const command of commands) {
      if (command.type !== 'answer') {
        others.push(command);
        continue;
      }
      const to = header ?? this.#underWay;
      if (to === undefined) continue;
      if (header === undefined) this.#underWay = undefined;
      if (to.sequence === this.#sequence) {
        this.#answer = command.data;
        this.#pending = command.later;
      }
      answers.push({ header: to, data: command.data });
    }
    if (header !== undefined && answers.length === 0) this.#underWay = header;
    return { answers, others };
  }
}

export type OtherCommand = Exclude<SessionCommand, { readonly type: 'answer' }>;

/**
 * 53 bits, of two polynomials modulo 2^32. Not for adversaries, and need not be: a peer that makes two
 * messages look the same has the answer to its first one repeated.
 */
function fingerprint(payload: Uint8Array): number {
  let a = 0x9e3779b9;
  let b = 0x85ebca6b;
  for (const octet of payload) {
    a = Math.imul(a ^ octet, 0x01000193);
    b = Math.imul(b, 0x5bd1e995) + octet;
  }
  return (a >>> 11) * 2 ** 32 + (b >>> 0);
}
