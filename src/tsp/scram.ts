// SASL SCRAM-SHA-256 (RFC 5802, RFC 7677) as TSP carries it: four base64 lines, no channel binding.
// Both ends. The server remembers nothing between its two answers: what it must know again is in its
// half of the nonce. How that half is made unforgeable is in nonces.ts.

import { createHmac, hash, pbkdf2Sync } from 'node:crypto';
import { NONCE_LENGTH } from './nonces.ts';
import {
  decodeText,
  equalOctets,
  octetText,
  type PlainLogin,
  type ScramCredential,
  utf8Octets,
} from './sasl.ts';

/** RFC 7677 §4 allows no fewer. Users who do not exist seem to have this many. */
export const SCRAM_ITERATIONS = 4096;
/** A client does not work longer than this for a server that it does not know yet. */
const MOST_ITERATIONS = 500_000;
const MAX_NAME_OCTETS = 255;
const MAX_CNONCE_OCTETS = 128;

/** The client's first message. All texts hold one octet in each character. */
export interface ScramFirst {
  readonly username: string;
  /** Everything before the nonce: `n,,n=alice`. Comes back inside the server's nonce. */
  readonly head: string;
  readonly cnonce: string;
}

/** The client's last message, and what the nonce in it says of the first one. */
export interface ScramFinal {
  readonly first: ScramFirst;
  /** The server's half: what {@link Nonces} issued for {@link scramContext}. */
  readonly nonce: string;
  /** The whole nonce, both halves. */
  readonly fullNonce: string;
  /** 32 octets. */
  readonly proof: Uint8Array;
  readonly withoutProof: string;
}

/**
 * `n,,n=<user>,r=<nonce>`; the flag may be `y` (the client could bind to a channel, TSP has none).
 * Undefined for another identity than the user's own, for mandatory extensions and nonsense.
 */
export function readScramFirst(text: string): ScramFirst | undefined {
  const match = /^([ny],,n=([^,\0]+)),r=([!-+.-~-]+)(?:,(?!m=).*)?$/s.exec(text);
  const username = match && readName(match[2]!);
  if (!username || match[3]!.length > MAX_CNONCE_OCTETS) return undefined;
  // An optional extension would be part of what is signed, and nobody sends one: it is not kept.
  if (text.length > match[1]!.length + 3 + match[3]!.length) return undefined;
  return { username: decodeText(username), head: match[1]!, cnonce: match[3]! };
}

/** What the server's nonce has to bring back: base64url, so neither comma nor dot is in it. */
export function scramContext({ head }: ScramFirst): string {
  return Buffer.from(head, 'latin1').toString('base64url');
}

/** `nonce` is 32 characters without a dot, issued for {@link scramContext} of `first`. */
export function writeServerFirst(
  first: ScramFirst,
  nonce: string,
  { salt, iterations }: Pick<ScramCredential, 'salt' | 'iterations'>,
): string {
  const fullNonce = `${first.cnonce}.${nonce}${scramContext(first)}`;
  return serverFirst(fullNonce, salt, iterations);
}

/** Undefined when this is no last message, or its nonce is none that a server of ours wrote. */
export function readScramFinal(text: string): ScramFinal | undefined {
  const match = /^(c=([A-Za-z0-9+/]+=*),r=([!-+.-~-]+)),p=([A-Za-z0-9+/]+=*)$/.exec(text);
  if (!match) return undefined;
  const [, withoutProof = '', binding = '', fullNonce = '', proofText = ''] = match;
  const dot = fullNonce.lastIndexOf('.');
  const nonce = fullNonce.slice(dot + 1, dot + 1 + NONCE_LENGTH);
  const context = fullNonce.slice(dot + 1 + NONCE_LENGTH);
  const head = Buffer.from(context, 'base64url').toString('latin1');
  const first = readScramFirst(`${head},r=${fullNonce.slice(0, Math.max(0, dot))}`);
  const proof = Buffer.from(proofText, 'base64');
  if (!first || scramContext(first) !== context || proof.length !== 32) return undefined;
  // The header of the first message is repeated, so that nobody changed it on the way (§5.1, c=).
  if (Buffer.from(binding, 'base64').toString('latin1') !== head.slice(0, 3)) return undefined;
  return { first, nonce, fullNonce, proof, withoutProof };
}

/** The `v=…` that proves the server, when the client's proof is right; else undefined. */
export function checkScram(final: ScramFinal, credential: ScramCredential): string | undefined {
  const { salt, iterations, storedKey, serverKey } = credential;
  const message = [
    bareFirst(final.first),
    serverFirst(final.fullNonce, salt, iterations),
    final.withoutProof,
  ].join(',');
  const clientKey = xor(final.proof, hmac(storedKey, message));
  const right = equalOctets(sha256(clientKey), storedKey);
  const signature = hmac(serverKey, message).toString('base64');
  return right ? `v=${signature}` : undefined;
}

/** The client's first message. `cnonce`: fresh, printable, without comma. */
export function writeScramFirst(username: string, cnonce: string): string {
  return `n,,${bareFirst({ head: `n,,n=${writeName(username)}`, cnonce })}`;
}

/**
 * The client's answer to the server's first message, and what the server has to say then. Undefined
 * when the server's message is none, is not for `cnonce`, or asks for unsafe or endless work.
 */
export function answerServerFirst(
  text: string,
  login: PlainLogin,
  cnonce: string,
): { readonly final: string; readonly proof: string } | undefined {
  const match = /^r=([!-+.-~-]+),s=([A-Za-z0-9+/]+=*),i=([1-9][0-9]{0,8})(?:,.*)?$/s.exec(text);
  if (!match) return undefined;
  const [, fullNonce = '', saltText = '', count = ''] = match;
  const iterations = Number(count);
  if (!fullNonce.startsWith(cnonce) || fullNonce.length === cnonce.length) return undefined;
  if (iterations < SCRAM_ITERATIONS || iterations > MOST_ITERATIONS) return undefined;
  const keys = clientKeys(login.password, saltText, iterations);
  const withoutProof = `c=${Buffer.from('n,,').toString('base64')},r=${fullNonce}`;
  const bare = writeScramFirst(login.username, cnonce).slice(3);
  const message = `${bare},${text},${withoutProof}`;
  const proof = xor(keys.clientKey, hmac(keys.storedKey, message)).toString('base64');
  return {
    final: `${withoutProof},p=${proof}`,
    proof: `v=${hmac(keys.serverKey, message).toString('base64')}`,
  };
}

let derived: { from: string; keys: ReturnType<typeof scramKeys> } | undefined;

/** The last ones are kept, as RFC 5802 §3 suggests: a client comes back to the same salt. */
function clientKeys(password: string, saltText: string, iterations: number) {
  const from = `${iterations} ${saltText} ${password}`;
  if (derived?.from !== from) {
    const salt = Buffer.from(saltText, 'base64');
    derived = { from, keys: scramKeys(password, salt, iterations) };
  }
  return derived.keys;
}

/** What a server keeps of a password. */
export function scramCredential(
  password: string,
  salt: Uint8Array,
  iterations = SCRAM_ITERATIONS,
): ScramCredential {
  const { storedKey, serverKey } = scramKeys(password, salt, iterations);
  return { salt, iterations, storedKey, serverKey };
}

/** Salt and count of a user who does not exist: the same at every attempt, and another for each. */
export function inventedSalt(
  key: Uint8Array,
  username: string,
): Pick<ScramCredential, 'salt' | 'iterations'> {
  const salt = createHmac('sha256', key).update('scram salt ').update(username).digest();
  return { salt: salt.subarray(0, SALT_OCTETS), iterations: SCRAM_ITERATIONS };
}

const SALT_OCTETS = 16;

function scramKeys(password: string, salt: Uint8Array, iterations: number) {
  const salted = pbkdf2Sync(prepared(password), salt, iterations, 32, 'sha256');
  const clientKey = hmac(salted, 'Client Key');
  const storedKey = sha256(clientKey);
  return { clientKey, storedKey, serverKey: hmac(salted, 'Server Key') };
}

/** RFC 4013 §2.1: blanks of every kind become one kind, marks that cannot be seen become nothing. */
const OTHER_BLANKS = /[\u00a0\u1680\u2000-\u200b\u202f\u205f\u3000]/g;
const UNSEEN =
  /\u00ad|\u034f|\u1806|\u180b|\u180c|\u180d|\u200c|\u200d|\u2060|[\ufe00-\ufe0f]|\ufeff/g;
/** RFC 4013 §2.3, by Unicode's categories. */
const FORBIDDEN =
  /[\p{Cc}\p{Cf}\p{Co}\p{Cs}\p{Zl}\p{Zp}\p{Noncharacter_Code_Point}\u2ff0-\u2ffb\ufffc\ufffd]/u;

/**
 * SASLprep as far as it makes one password of what different keyboards send. A password that it
 * forbids is taken as it is: it was set somewhere, and the store did the same.
 */
function prepared(password: string): string {
  const text = password.replace(OTHER_BLANKS, ' ').replace(UNSEEN, '').normalize('NFKC');
  return text === '' || FORBIDDEN.test(text) ? password : text;
}

function serverFirst(fullNonce: string, salt: Uint8Array, iterations: number): string {
  return `r=${fullNonce},s=${Buffer.from(salt).toString('base64')},i=${iterations}`;
}

function bareFirst({ head, cnonce }: Pick<ScramFirst, 'head' | 'cnonce'>): string {
  return `${head.slice(3)},r=${cnonce}`;
}

function writeName(username: string): string {
  return utf8Octets(username).replaceAll('=', '=3D').replaceAll(',', '=2C');
}

/** Undefined when `=` stands for anything but the two characters that must be escaped (§5.1). */
function readName(escaped: string): string | undefined {
  if (/=(?!2C|3D)/.test(escaped)) return undefined;
  const name = escaped.replaceAll('=2C', ',').replaceAll('=3D', '=');
  return name.length <= MAX_NAME_OCTETS ? name : undefined;
}

function xor(a: Uint8Array, b: Uint8Array): Buffer {
  return Buffer.from(a.map((octet, index) => octet ^ (b[index] ?? 0)));
}

function hmac(key: Uint8Array, octets: string): Buffer {
  return createHmac('sha256', key).update(Buffer.from(octets, 'latin1')).digest();
}

function sha256(octets: Uint8Array): Buffer {
  return hash('sha256', Buffer.from(octetText(octets), 'latin1'), 'buffer');
}
