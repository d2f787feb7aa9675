// What the SASL mechanisms of TSP share: the secrets they are checked against, base64 lines, the
// charset rule, and PLAIN (RFC 4616, as TSP clients speak it). DIGEST-MD5 and SCRAM have their own files.
// Knows neither accounts nor lockout: it answers only whether a secret fits.

import { hash, timingSafeEqual } from 'node:crypto';

/** What the store knows of a person's secret; each mechanism takes what it needs. */
export interface Credential {
  /** Missing for a secret that was set before SCRAM was offered: only SCRAM fails then. */
  readonly scram?: ScramCredential | undefined;
  /**
   * MD5(user ":" realm ":" password), 16 raw octets each, one for every form in which clients hash
   * (see {@link ha1Forms}). Any of them lets in.
   */
  readonly ha1s: readonly Uint8Array[];
}

/** What RFC 5802 §3 lets a server keep, for SHA-256. */
export interface ScramCredential {
  readonly salt: Uint8Array;
  readonly iterations: number;
  /** H(ClientKey), 32 octets. */
  readonly storedKey: Uint8Array;
  /** 32 octets. */
  readonly serverKey: Uint8Array;
}

export interface PlainLogin {
  readonly username: string;
  readonly password: string;
}

const MAX_FIELD_OCTETS = 255;

const UTF8 = new TextDecoder('utf-8', { fatal: true });

/**
 * The octets that DIGEST-MD5 clients feed into HA1. RFC 2831 §2.1.2.1 wants ISO 8859-1 where that
 * can write the text, else UTF-8; many clients hash UTF-8 always. One form when both are the same.
 */
export function ha1Forms(
  username: string,
  realm: string,
  password: string,
): readonly [Uint8Array, ...Uint8Array[]] {
  const asRfc = md5(`${inDigestCharset(username)}:${realm}:${inDigestCharset(password)}`);
  const asUtf8 = md5(`${utf8Octets(username)}:${realm}:${utf8Octets(password)}`);
  return asRfc.equals(asUtf8) ? [asRfc] : [asRfc, asUtf8];
}

/** Compares every pair, whatever the first ones say, so that time tells nothing. */
export function checkPlain(login: PlainLogin, realm: string, credential: Credential): boolean {
  let fits = false;
  for (const form of ha1Forms(login.username, realm, login.password)) {
    for (const ha1 of credential.ha1s) fits = equalOctets(form, ha1) || fits;
  }
  return fits;
}

/**
 * PLAIN's `[authzid] NUL user NUL password`, raw as gogoc sends it or in base64, ended by CR LF or
 * by nothing. NULs in front are dropped: some belong to the line before. Undefined when a part is
 * missing or too long, or when somebody else's identity is asked for.
 */
export function readPlain(payload: Uint8Array): PlainLogin | undefined {
  let text = octetText(payload);
  if (!text.startsWith('\0')) {
    const decoded = readBase64(text);
    if (decoded?.includes('\0')) text = decoded;
  }
  const parts = trimNuls(text.replace(/[\r\n].*$/s, '')).split('\0');
  const [authzid, username, password] = parts.length === 3 ? parts : [undefined, ...parts];
  if (parts.length > 3 || !username || !password) return undefined;
  if (authzid !== undefined && authzid !== username) return undefined;
  if (username.length > MAX_FIELD_OCTETS || password.length > MAX_FIELD_OCTETS) return undefined;
  return { username: decodeText(username), password: decodeText(password) };
}

/** As gogoc writes it: raw octets, empty authzid. */
export function writePlain(login: PlainLogin): string {
  return `\0${utf8Octets(login.username)}\0${utf8Octets(login.password)}\r\n`;
}

/** Equality in constant time; false when the lengths differ. */
export function equalOctets(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && timingSafeEqual(a, b);
}

// Texts below hold one octet in each character (0 … 255), so that what is hashed is what was sent.

/** One line of base64 as octets; line end and NULs after it are ignored. */
export function readBase64(line: string): string | undefined {
  const match = /^([A-Za-z0-9+/]{2,}={0,2})[\0\s]*$/.exec(line);
  return match ? Buffer.from(match[1]!, 'base64').toString('latin1') : undefined;
}

/** With CR LF. */
export function writeBase64(octets: string): string {
  return `${Buffer.from(octets, 'latin1').toString('base64')}\r\n`;
}

function trimNuls(text: string): string {
  let start = 0;
  let end = text.length;
  while (start < end && text[start] === '\0') start++;
  while (end > start && text[end - 1] === '\0') end--;
  return text.slice(start, end);
}

export function octetText(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('latin1');
}

export function md5(octets: string): Buffer {
  return hash('md5', Buffer.from(octets, 'latin1'), 'buffer');
}

/** A name or password from the wire: UTF-8 if it can be, else ISO 8859-1. */
export function decodeText(octets: string): string {
  // A copy of its own: it may be kept for long, and a part of a text keeps the whole text.
  if (/^[\0-\x7f]*$/.test(octets)) return Buffer.from(octets, 'latin1').toString('latin1');
  try {
    return UTF8.decode(Buffer.from(octets, 'latin1'));
  } catch {
    return octets;
  }
}

export function utf8Octets(text: string): string {
  return Buffer.from(text, 'utf8').toString('latin1');
}

export function inDigestCharset(text: string): string {
  return /^[\0-\xff]*$/.test(text) ? text : utf8Octets(text);
}
