// How a TSP client's messages travel, pure: over UDP with a sequence and repetitions, over TCP as a
// stream. Either way one message is outstanding at a time, and what comes in is the answer to it or
// is dropped. Knows no dialogue beyond what kind of answer it waits for.

import {
  frameExtent,
  type Header,
  MAX_MESSAGE_OCTETS,
  nextSequence,
  readDatagram,
  readStatus,
  writeDatagram,
} from './framing.ts';
import { REDIRECT_OFFSET } from './messages.ts';
import { RetransmissionTimer } from './retransmission.ts';
import { octetText } from './sasl.ts';

/** Before authentication is over answers are lines; after it they have a Content-length. */
export type AnswerKind = 'line' | 'framed';

export type LinkStep =
  | { readonly type: 'wait' }
  | { readonly type: 'repeat'; readonly bytes: Uint8Array }
  | { readonly type: 'answer'; readonly text: string }
  | { readonly type: 'give-up' };

/** Texts hold one octet in each character. */
export interface ClientLink {
  /** The server has said something. */
  readonly answered: boolean;
  /** The octets to send, none where the transport needs none to ask for more. */
  say(text: string, expected: AnswerKind, nowMs: number): Uint8Array | undefined;
  /** The answer, once it is whole. */
  receive(bytes: Uint8Array, nowMs: number): string | undefined;
  /** What to do at {@link deadline}. */
  expire(nowMs: number): LinkStep;
  /** Nothing is waited for any more. */
  rest(): void;
  deadline(): number | undefined;
}

export class DatagramLink implements ClientLink {
  readonly #timer = new RetransmissionTimer();
  readonly #startMs: number;
  #outstanding: string | undefined;
  #sequence: number;
  #firstSentMs = 0;

  constructor(seed: number, nowMs: number) {
    this.#sequence = firstSequence(seed) - 1;
    this.#startMs = nowMs;
  }

  get answered(): boolean {
    return this.#timer.answered;
  }

  say(text: string, _: AnswerKind, nowMs: number): Uint8Array {
    this.#sequence = nextSequence(this.#sequence);
    this.#outstanding = text;
    this.#firstSentMs = nowMs;
    this.#timer.start(nowMs);
    return this.#packet(text, nowMs);
  }

  receive(bytes: Uint8Array, nowMs: number): string | undefined {
    const datagram = readDatagram(bytes);
    if (!datagram || this.#outstanding === undefined) return undefined;
    if (datagram.header.sequence !== this.#sequence) return undefined;
    this.#outstanding = undefined;
    this.#timer.stop(this.#roundTripMs(datagram.header, nowMs));
    return octetText(datagram.payload);
  }

  expire(nowMs: number): LinkStep {
    if (this.#outstanding === undefined) return { type: 'wait' };
    const type = this.#timer.expire(nowMs);
    return type === 'repeat' ? { type, bytes: this.#packet(this.#outstanding, nowMs) } : { type };
  }

  rest(): void {
    this.#outstanding = undefined;
    this.#timer.stop(undefined);
  }

  deadline(): number | undefined {
    return this.#timer.deadline();
  }

  #packet(text: string, nowMs: number): Uint8Array {
    const header = { sequence: this.#sequence, timestamp: this.#stamp(nowMs) };
    return writeDatagram(header, Buffer.from(text, 'latin1'));
  }

  /** Milliseconds since the start, 32 bits. */
  #stamp(nowMs: number): number {
    return Math.floor(nowMs - this.#startMs) % 2 ** 32;
  }

  /** Undefined when the server did not echo a timestamp of this message. */
  #roundTripMs({ timestamp }: Header, nowMs: number): number | undefined {
    const roundTripMs = this.#stamp(nowMs) - timestamp;
    const longestMs = nowMs - this.#firstSentMs + 1;
    return roundTripMs >= 0 && roundTripMs <= longestMs ? roundTripMs : undefined;
  }
}

/** A server that is slow to decide still gets this long for each answer. */
const STREAM_ANSWER_MS = 20_000;
/** Some servers send a challenge without a line end; so much silence ends it too. */
const STREAM_SILENCE_MS = 500;

export class StreamLink implements ClientLink {
  #received: Uint8Array = new Uint8Array();
  #expected: AnswerKind | undefined;
  #giveUpMs: number | undefined;
  /** When what is here counts as a whole line. */
  #silentMs: number | undefined;
  #answered = false;

  get answered(): boolean {
    return this.#answered;
  }

  say(text: string, expected: AnswerKind, nowMs: number): Uint8Array | undefined {
    this.#expected = expected;
    this.#giveUpMs = nowMs + STREAM_ANSWER_MS;
    return text === '' ? undefined : Buffer.from(text, 'latin1');
  }

  receive(bytes: Uint8Array, nowMs: number): string | undefined {
    this.#answered = true;
    if (this.#received.length + bytes.length > 2 * MAX_MESSAGE_OCTETS) return undefined;
    this.#received = Buffer.concat([this.#received, bytes]);
    this.#silentMs = nowMs + STREAM_SILENCE_MS;
    return this.#take();
  }

  expire(nowMs: number): LinkStep {
    // What came together with the answer before may be the answer to this.
    const text = this.#take();
    if (text !== undefined) return { type: 'answer', text };
    if (this.#isSilent(nowMs)) return { type: 'answer', text: this.#finish(this.#received.length) };
    const late = this.#giveUpMs !== undefined && nowMs >= this.#giveUpMs;
    return { type: late ? 'give-up' : 'wait' };
  }

  rest(): void {
    this.#expected = undefined;
    this.#giveUpMs = undefined;
    this.#silentMs = undefined;
  }

  deadline(): number | undefined {
    if (this.#expected === undefined) return undefined;
    if (this.#silentMs === undefined || !this.#hasLine()) return this.#giveUpMs;
    return Math.min(this.#silentMs, this.#giveUpMs ?? this.#silentMs);
  }

  #isSilent(nowMs: number): boolean {
    return this.#hasLine() && this.#silentMs !== undefined && nowMs >= this.#silentMs;
  }

  #hasLine(): boolean {
    return this.#expected === 'line' && octetText(this.#received).trim() !== '';
  }

  #take(): string | undefined {
    if (this.#expected === undefined || this.#received.length === 0) return undefined;
    const extent = this.#expected === 'framed' ? frameExtent(this.#received) : undefined;
    if (extent) {
      return this.#received.length < extent.end ? undefined : this.#finish(extent.end);
    }
    const text = octetText(this.#received);
    const line = /^[\0\s]*([^\r\n]+)\r?\n/.exec(text);
    if (!line || /^content-length/i.test(line[1]!)) return undefined;
    // A redirect goes on after its status line, to the end of the list.
    if ((readStatus(line[1]!)?.code ?? 0) < REDIRECT_OFFSET) return this.#finish(line[0].length);
    const list = /<\/tunnel\s*>\s*/.exec(text);
    return list ? this.#finish(list.index + list[0].length) : undefined;
  }

  #finish(octets: number): string {
    const text = octetText(this.#received.subarray(0, octets));
    this.#received = this.#received.subarray(octets);
    this.rest();
    return text.trimStart();
  }
}

/**
 * Unpredictable, so that nobody off the path can answer for the server and nothing late from an
 * earlier session is taken for an answer. It ends in F0 because some old servers look for the
 * marker in the last octet.
 */
function firstSequence(seed: number): number {
  return (seed & 0xfffff) * 256 + 0xf0;
}
