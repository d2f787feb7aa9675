// The part of a TSP dialogue that comes before a session (RFC 5572 §4.4.2): VERSION, CAPABILITY,
// the choice of a mechanism, gogoc's ECHO REQUEST. Each of these lines can be understood and answered
// by itself, so a server needs no memory for clients that have not authenticated. Knows no transport.

import { type DigestResponse, readDigestResponse } from './digest-md5.ts';
import { trimOctets } from './framing.ts';
import type { ConcreteTunnelType, Mechanism } from './messages.ts';
import { octetText, readBase64 } from './sasl.ts';
import { readScramFinal, readScramFirst, type ScramFinal, type ScramFirst } from './scram.ts';

export type Opening =
  | { readonly type: 'version'; readonly supported: boolean }
  /** gogoc measures distances with it; not in the RFC. */
  | { readonly type: 'echo' }
  | { readonly type: 'authenticate'; readonly mechanism: string }
  /** The third step of DIGEST-MD5; the nonce in it makes the first two unnecessary. */
  | { readonly type: 'digest-response'; readonly response: DigestResponse }
  | { readonly type: 'scram-first'; readonly first: ScramFirst }
  /** As with DIGEST-MD5: the nonce in it brings back what is needed of the steps before. */
  | { readonly type: 'scram-final'; readonly response: ScramFinal }
  /** Something that only a session can understand, or nobody. */
  | { readonly type: 'other' };

/**
 * NULs and white space around the line are ignored: gogoc ends its AUTHENTICATE line with a NUL,
 * others with `\r\b`. Every version 2.0.x is supported; they differ in nothing that a server sends.
 */
export function readOpening(payload: Uint8Array): Opening {
  const line = octetText(trimOctets(payload));
  const version = /^VERSION=([0-9.]{1,16})$/.exec(line)?.[1];
  if (version !== undefined) {
    return { type: 'version', supported: /^2\.0(\.[0-9]{1,3})?$/.test(version) };
  }
  if (line === 'ECHO REQUEST') return { type: 'echo' };
  const mechanism = /^AUTHENTICATE[ \t]+([A-Za-z0-9_-]{1,32})$/.exec(line)?.[1];
  if (mechanism !== undefined) return { type: 'authenticate', mechanism: mechanism.toUpperCase() };
  const decoded = readBase64(line);
  if (decoded === undefined) return { type: 'other' };
  const response = readDigestResponse(decoded);
  if (response) return { type: 'digest-response', response };
  const first = readScramFirst(decoded);
  if (first) return { type: 'scram-first', first };
  const final = readScramFinal(decoded);
  return final ? { type: 'scram-final', response: final } : { type: 'other' };
}

/** One line, upper case, ended by CR LF: without it gogoc loses the last token. */
export function writeCapability(
  tunnelTypes: readonly ConcreteTunnelType[],
  mechanisms: readonly Mechanism[],
): string {
  const tokens = [
    ...tunnelTypes.map((type) => `TUNNEL=${type.toUpperCase()}`),
    ...mechanisms.map((mechanism) => `AUTH=${mechanism}`),
  ];
  return `CAPABILITY ${tokens.join(' ')}\r\n`;
}

/**
 * The line that answers VERSION over UDP in at most `mostOctets` if it can. Only SCRAM is left out for
 * that: a client that speaks it makes its VERSION longer ({@link VERSION_PADDING}), those that do not
 * look for it would otherwise make this server send strangers more than twice what they sent.
 */
export function writeShortCapability(
  tunnelTypes: readonly ConcreteTunnelType[],
  mechanisms: readonly Mechanism[],
  mostOctets: number,
): string {
  const whole = writeCapability(tunnelTypes, mechanisms);
  if (whole.length <= mostOctets) return whole;
  return writeCapability(
    tunnelTypes,
    mechanisms.filter((mechanism) => mechanism !== 'SCRAM-SHA-256'),
  );
}

/** Blanks after a VERSION line, so that twice its packet has room for all that can be offered. */
export const VERSION_PADDING = ' '.repeat(20);

/** What a server offers, for the client. Undefined when this is no CAPABILITY line. */
export function readCapability(
  text: string,
): { readonly tunnels: ReadonlySet<string>; readonly mechanisms: ReadonlySet<string> } | undefined {
  const [first, ...tokens] = text.trim().split(/[\s\0]+/);
  if (first?.toUpperCase() !== 'CAPABILITY') return undefined;
  const values = (name: string) =>
    new Set(
      tokens
        .map((token) => token.toUpperCase())
        .filter((token) => token.startsWith(name))
        .map((token) => token.slice(name.length)),
    );
  return { tunnels: values('TUNNEL='), mechanisms: values('AUTH=') };
}
