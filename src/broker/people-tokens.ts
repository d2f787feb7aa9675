// What people and programs carry to prove something: cookies' tokens, links in mails, invitations, API
// tokens, recovery codes. Random, told once, and kept as a hash only. Knows no person.

import { createHmac, hash, type KeyObject, randomBytes, randomInt } from 'node:crypto';

/** 192 bits in URL-safe characters: nothing to guess, so that a plain hash of it is enough. */
export function makeToken(): string {
  return randomBytes(24).toString('base64url');
}

export function isToken(text: string): boolean {
  return /^[A-Za-z0-9_-]{32}$/.test(text);
}

export function hashToken(token: string): string {
  return hash('sha256', token, 'hex');
}

/** So that a token found in a file or a log is recognised for what it is. */
const API_TOKEN_PREFIX = 'sixway_';

export function makeApiToken(): string {
  return API_TOKEN_PREFIX + makeToken();
}

export function isApiToken(text: string): boolean {
  return text.startsWith(API_TOKEN_PREFIX) && isToken(text.slice(API_TOKEN_PREFIX.length));
}

const RECOVERY_ALPHABET = 'abcdefghijkmnpqrstuvwxyz23456789';
const RECOVERY_CODES = 10;

/** 60 bits each, to be written down: `abcd-efgh-jkmn`. */
export function makeRecoveryCodes(): readonly string[] {
  const group = () =>
    Array.from({ length: 4 }, () => RECOVERY_ALPHABET[randomInt(RECOVERY_ALPHABET.length)]).join(
      '',
    );
  return Array.from({ length: RECOVERY_CODES }, () => `${group()}-${group()}-${group()}`);
}

/** Undefined: it does not look like one. Capitals, spaces and dashes do not matter. */
export function hashRecoveryCode(
  key: KeyObject,
  personId: number,
  code: string,
): string | undefined {
  const plain = code.toLowerCase().replace(/[\s-]/g, '');
  if (!/^[a-z0-9]{12}$/.test(plain)) return undefined;
  // Short enough to be guessed by who has the database, so keyed with what is not in it.
  return createHmac('sha256', key).update(`recovery:${personId}:${plain}`).digest('hex');
}
