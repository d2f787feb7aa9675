// What is kept of a secret for logins with SCRAM-SHA-256 (RFC 5802, RFC 7677): derived when a secret
// is set, since the derivation is slow on purpose; a login is checked without it. Knows nothing of
// users or of the messages of a login.

import { createHmac, hash, pbkdf2Sync, randomBytes } from 'node:crypto';

/** RFC 5802 §3: whoever has `storedKey` can check a login but not log in. */
export interface ScramCredential {
  readonly salt: Uint8Array;
  readonly iterations: number;
  /** 32 octets: H(HMAC(SaltedPassword, "Client Key")). */
  readonly storedKey: Uint8Array;
  /** 32 octets: HMAC(SaltedPassword, "Server Key"). */
  readonly serverKey: Uint8Array;
}

const SALT_OCTETS = 16;
const KEY_OCTETS = 32;
/** RFC 7677 §4's minimum: clients are small routers, and the secrets made here are random. */
const ITERATIONS = 4096;

export function deriveScram(
  secret: string,
  salt: Uint8Array = randomBytes(SALT_OCTETS),
  iterations: number = ITERATIONS,
): ScramCredential {
  const salted = pbkdf2Sync(saslPrep(secret), salt, iterations, KEY_OCTETS, 'sha256');
  const key = (label: string) => createHmac('sha256', salted).update(label).digest();
  return {
    salt,
    iterations,
    storedKey: hash('sha256', key('Client Key'), 'buffer'),
    serverKey: key('Server Key'),
  };
}

/** iterations (32 bits, big-endian), storedKey, serverKey, salt. */
export function packScram({ salt, iterations, storedKey, serverKey }: ScramCredential): Uint8Array {
  const head = Buffer.alloc(4);
  head.writeUInt32BE(iterations);
  return Buffer.concat([head, storedKey, serverKey, salt]);
}

/** Undefined: not what {@link packScram} makes. */
export function unpackScram(packed: Buffer): ScramCredential | undefined {
  if (packed.length !== 4 + 2 * KEY_OCTETS + SALT_OCTETS) return undefined;
  return {
    iterations: packed.readUInt32BE(),
    storedKey: packed.subarray(4, 4 + KEY_OCTETS),
    serverKey: packed.subarray(4 + KEY_OCTETS, 4 + 2 * KEY_OCTETS),
    salt: packed.subarray(4 + 2 * KEY_OCTETS),
  };
}

/** RFC 4013 §2.1 (RFC 3454 tables C.1.2 and B.1): other blanks are a blank, some marks nothing. */
const BLANKS = /[\u00a0\u1680\u2000-\u200b\u202f\u205f\u3000]/g;
// biome-ignore lint/suspicious/noMisleadingCharacterClass: single marks are what is taken out
const NOTHING = /[\u00ad\u034f\u1806\u180b-\u180d\u200c\u200d\u2060\ufe00-\ufe0f\ufeff]/g;
/** RFC 4013 §2.3: controls, formats, private use, line ends, not characters, descriptions of them. */
const PROHIBITED =
  /[\p{Cc}\p{Cf}\p{Co}\p{Cs}\p{Zl}\p{Zp}\p{Noncharacter_Code_Point}\u2ff0-\u2ffb\ufffc\ufffd]/u;

/**
 * SASLprep (RFC 4013) as far as it unites what people type: the same secret from another keyboard
 * gives the same octets. The checks of direction and of characters younger than Unicode 3.2 are left
 * out, and a secret with prohibited characters is taken as it is, since clients that do not prepare
 * at all send it so.
 */
function saslPrep(secret: string): string {
  const prepared = secret.replace(BLANKS, ' ').replace(NOTHING, '').normalize('NFKC');
  return prepared === '' || PROHIBITED.test(prepared) ? secret : prepared;
}
