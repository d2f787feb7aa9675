// The frames around TSP text: the 8-octet header of TSP over UDP (RFC 5572 §4.4.1.2), Content-length
// framing of commands and answers (§4.4.3), and status lines. Lenient with what comes in, exact with
// what goes out. Knows nothing of XML or of sessions.

import { REDIRECT_OFFSET, STATUS_TEXT, type StatusCode, type StatusLine } from './messages.ts';

export const HEADER_OCTETS = 8;
/** Longest message, after the header, that is looked at. */
export const MAX_MESSAGE_OCTETS = 4096;
/** Longest answer, after the header, so that it always fits one datagram. */
export const MAX_ANSWER_OCTETS = 1200;
export const SEQUENCE_MODULUS = 2 ** 28;

const MARKER = 0xf;

/** Both fields are the client's; the server returns them unchanged. */
export interface Header {
  /** 0 … 2^28-1; grows by one with each packet that is not a repetition. */
  readonly sequence: number;
  /** 0 … 2^32-1, opaque to the server. */
  readonly timestamp: number;
}

export interface Datagram {
  readonly header: Header;
  /** TSP text, possibly empty. */
  readonly payload: Uint8Array;
}

/** Undefined when the marker nibble is not F or the header is cut short: not TSP. */
export function readDatagram(bytes: Uint8Array): Datagram | undefined {
  if (bytes.length < HEADER_OCTETS || bytes[0]! >>> 4 !== MARKER) return undefined;
  const view = new DataView(bytes.buffer, bytes.byteOffset, HEADER_OCTETS);
  const header = { sequence: view.getUint32(0) % SEQUENCE_MODULUS, timestamp: view.getUint32(4) };
  return { header, payload: bytes.subarray(HEADER_OCTETS) };
}

/** Network byte order; `sequence` and `timestamp` are taken modulo their widths. */
export function writeDatagram(header: Header, payload: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(HEADER_OCTETS + payload.length);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, MARKER * SEQUENCE_MODULUS + (header.sequence % SEQUENCE_MODULUS));
  view.setUint32(4, header.timestamp);
  bytes.set(payload, HEADER_OCTETS);
  return bytes;
}

export function nextSequence(sequence: number): number {
  return (sequence + 1) % SEQUENCE_MODULUS;
}

/** Puts `Content-length` before a text; the length counts octets, the last CR LF included. */
export function frame(text: string): string {
  return `Content-length: ${Buffer.byteLength(text)}\r\n${text}`;
}

export type Unframed =
  | {
      readonly kind: 'complete';
      readonly body: Uint8Array;
      /** What follows the message, without NULs and white space at its ends. */
      readonly rest: Uint8Array;
    }
  /** `missing` octets of the body are still to come. */
  | { readonly kind: 'incomplete'; readonly missing: number }
  | { readonly kind: 'malformed' };

/**
 * Takes one message with Content-length off the front of `bytes`. The header's name is read in any
 * case, with or without blanks, ended by CR LF or LF. Lengths of 0 or over
 * {@link MAX_MESSAGE_OCTETS} are malformed.
 */
export function unframe(bytes: Uint8Array): Unframed {
  const extent = frameExtent(bytes);
  if (!extent) return { kind: 'malformed' };
  const { start, end } = extent;
  if (bytes.length < end) return { kind: 'incomplete', missing: end - bytes.length };
  return {
    kind: 'complete',
    body: bytes.subarray(start, end),
    rest: trimOctets(bytes.subarray(end)),
  };
}

/** Where the body of the first message begins and ends; undefined when its head is malformed. */
export function frameExtent(
  bytes: Uint8Array,
): { readonly start: number; readonly end: number } | undefined {
  const head = Buffer.from(bytes.subarray(0, MAX_HEAD_OCTETS)).toString('latin1');
  const match = /^[\0\r\n\t ]*content-length[ \t]*:[ \t]*([0-9]{1,9})[ \t]*\r?\n/i.exec(head);
  const length = Number(match?.[1] ?? 0);
  if (!match || length === 0 || length > MAX_MESSAGE_OCTETS) return undefined;
  return { start: match[0].length, end: match[0].length + length };
}

/** The Content-length line, and what may be in front of it. */
export const MAX_HEAD_OCTETS = 64;

/** `200 Success` CR LF; with `redirects` the code says that a list of brokers follows. */
export function writeStatus(code: StatusCode, redirects = false): string {
  return `${code + (redirects ? REDIRECT_OFFSET : 0)} ${STATUS_TEXT[code]}\r\n`;
}

/** Takes a status line off the front of `text`; undefined when there is none. */
export function readStatus(text: string): (StatusLine & { readonly rest: string }) | undefined {
  const match = /^([1-9][0-9]{2,3})(?:[ \t]+([^\r\n\0]{0,200}))?[ \t]*(?:\r\n?|\n|\0|$)/.exec(text);
  if (!match) return undefined;
  return {
    code: Number(match[1]),
    text: (match[2] ?? '').trim(),
    rest: text.slice(match[0].length),
  };
}

/** Without the NULs, white space and other control characters at both ends. */
export function trimOctets(bytes: Uint8Array): Uint8Array {
  let start = 0;
  let end = bytes.length;
  while (start < end && bytes[start]! <= 0x20) start++;
  while (end > start && bytes[end - 1]! <= 0x20) end--;
  return bytes.subarray(start, end);
}
