// Encrypts the users' secrets at rest (AES-256-GCM) with a key that is kept apart from the database,
// and keeps that key's file. Knows nothing of users or of what is sealed.

import { createCipheriv, createDecipheriv, type KeyObject, randomBytes } from 'node:crypto';
import {
  closeSync,
  fsyncSync,
  linkSync,
  mkdirSync,
  openSync,
  readFileSync,
  rmSync,
  writeSync,
} from 'node:fs';
import { dirname } from 'node:path';

const KEY_OCTETS = 32;
const NONCE_OCTETS = 12;
const TAG_OCTETS = 16;
const FORMAT = 'v1:';

/** The key file holds something else than a key. */
export class BadKeyFile extends Error {
  override readonly name = 'BadKeyFile';
}

/**
 * Reads the 32 octets of `file`; makes the file with random ones, for its owner only, when it is
 * missing. Throws BadKeyFile, or the system's error.
 */
export function loadOrMakeKey(file: string): Uint8Array {
  try {
    return readKey(file);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
  }
  makeKey(file);
  return readKey(file);
}

function readKey(file: string): Uint8Array {
  const key = readFileSync(file);
  if (key.length !== KEY_OCTETS)
    throw new BadKeyFile(`${file} has ${key.length} octets, a key has ${KEY_OCTETS}`);
  return key;
}

/** Complete under its name or not there at all, even when power fails; a first one wins. */
function makeKey(file: string): void {
  mkdirSync(dirname(file), { recursive: true });
  const draft = `${file}.${randomBytes(6).toString('hex')}`;
  const descriptor = openSync(draft, 'wx', 0o600);
  try {
    writeSync(descriptor, randomBytes(KEY_OCTETS));
    fsyncSync(descriptor);
    linkSync(draft, file);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
  } finally {
    closeSync(descriptor);
    rmSync(draft, { force: true });
  }
  const directory = openSync(dirname(file), 'r');
  fsyncSync(directory);
  closeSync(directory);
}

/** `context` is not hidden but bound: what was sealed for one opens for no other. */
export function seal(key: KeyObject, content: Uint8Array, context: string): string {
  const nonce = randomBytes(NONCE_OCTETS);
  const cipher = createCipheriv('aes-256-gcm', key, nonce, { authTagLength: TAG_OCTETS });
  cipher.setAAD(Buffer.from(context, 'utf8'));
  const sealed = [nonce, cipher.update(content), cipher.final(), cipher.getAuthTag()];
  return FORMAT + Buffer.concat(sealed).toString('base64');
}

/** Undefined: sealed with another key or for another context, or damaged. */
export function unseal(key: KeyObject, sealed: string, context: string): Buffer | undefined {
  if (!sealed.startsWith(FORMAT)) return undefined;
  const octets = Buffer.from(sealed.slice(FORMAT.length), 'base64');
  if (octets.length < NONCE_OCTETS + TAG_OCTETS) return undefined;
  const decipher = createDecipheriv('aes-256-gcm', key, octets.subarray(0, NONCE_OCTETS), {
    authTagLength: TAG_OCTETS,
  });
  decipher.setAAD(Buffer.from(context, 'utf8'));
  decipher.setAuthTag(octets.subarray(octets.length - TAG_OCTETS));
  const content = decipher.update(octets.subarray(NONCE_OCTETS, octets.length - TAG_OCTETS));
  try {
    return Buffer.concat([content, decipher.final()]);
  } catch {
    return undefined;
  }
}
