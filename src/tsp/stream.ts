// Where messages begin and end in TSP over TCP (RFC 5572 §4.4.1.1), for octets in any segmentation.
// Which kind of message comes next only the dialogue knows; it says so. Keeps nothing: whoever reads
// a connection holds what is left over.

import { frameExtent, MAX_HEAD_OCTETS, trimOctets } from './framing.ts';

/**
 * - `line`: before authentication. Ends with CR, LF or both; NULs, blanks and line ends before it
 *   are nobody's (gogoc ends its AUTHENTICATE line with a NUL after the CR LF).
 * - `credentials`: the line of PLAIN, whose NULs mean something.
 * - `command`: Content-length and as many octets.
 */
export type StreamExpectation = 'line' | 'credentials' | 'command';

export type Taken =
  | { readonly kind: 'message'; readonly payload: Uint8Array; readonly rest: Uint8Array }
  /** `begun`: there is something of it already, and not only what may stand between messages. */
  | { readonly kind: 'incomplete'; readonly begun: boolean }
  /** Where the next message begins cannot be known any more. */
  | { readonly kind: 'malformed' };

/** A DIGEST-MD5 response has up to 4096 octets in theory; gogoc has a buffer of 1024 for it. */
export const MAX_LINE_OCTETS = 4096;

export function takeMessage(bytes: Uint8Array, expected: StreamExpectation): Taken {
  return expected === 'command' ? takeCommand(bytes) : takeLine(bytes, expected);
}

function takeLine(bytes: Uint8Array, expected: 'line' | 'credentials'): Taken {
  // jipv6 ends its lines with CR and BS.
  const isBetween = (octet: number) =>
    expected === 'line' ? octet <= BLANK : isLineEnd(octet) || octet === BS;
  const start = indexWhere(bytes, 0, (octet) => !isBetween(octet));
  const end = indexWhere(bytes, start, isLineEnd);
  if (end - start > MAX_LINE_OCTETS) return { kind: 'malformed' };
  if (end === bytes.length) return { kind: 'incomplete', begun: start < end };
  return { kind: 'message', payload: bytes.subarray(start, end), rest: bytes.subarray(end) };
}

function takeCommand(bytes: Uint8Array): Taken {
  const start = indexWhere(bytes, 0, (octet) => octet > BLANK);
  const rest = bytes.subarray(start);
  const extent = frameExtent(rest);
  if (!extent) {
    const headIsWhole = rest.includes(LF) || rest.length >= MAX_HEAD_OCTETS;
    return headIsWhole
      ? { kind: 'malformed' }
      : { kind: 'incomplete', begun: trimOctets(rest).length > 0 };
  }
  if (rest.length < extent.end) return { kind: 'incomplete', begun: true };
  return {
    kind: 'message',
    payload: rest.subarray(0, extent.end),
    rest: rest.subarray(extent.end),
  };
}

const BS = 0x08;
const LF = 0x0a;
const CR = 0x0d;
const BLANK = 0x20;

function isLineEnd(octet: number): boolean {
  return octet === CR || octet === LF;
}

/** The first index from `start` on where it holds; the length where it never does. */
function indexWhere(bytes: Uint8Array, start: number, holds: (octet: number) => boolean): number {
  let index = start;
  while (index < bytes.length && !holds(bytes[index]!)) index++;
  return index;
}
