// Passwords of people: argon2id (RFC 9106), a few at a time so that a flood of sign-ins can take neither
// all processors nor all memory, and the rules for choosing one. Knows no person.

import { type Argon2Parameters, argon2, randomBytes, timingSafeEqual } from 'node:crypto';
import { promisify } from 'node:util';

const derive = promisify(argon2);

/** OWASP's first choice: 46 MiB, one pass. About 55 ms of one core. */
const MEMORY_KIB = 47_104;
const PASSES = 1;
const SALT_OCTETS = 16;
const HASH_OCTETS = 32;
/** Leaves a processor for everything else on a machine with more than two. */
const AT_ONCE = 2;
/** More than two seconds of waiting is worse than being told to try again. */
const MAX_WAITING = 32;

const MIN_CHARACTERS = 12;
const MAX_OCTETS = 256;

/** Too many are being checked: try again in a moment. */
export class PasswordsBusy extends Error {
  override readonly name = 'PasswordsBusy';
}

export type PasswordRefusal =
  /** Fewer than {@link MIN_CHARACTERS} characters. */
  | 'password-short'
  /** More than {@link MAX_OCTETS} octets of UTF-8. */
  | 'password-long'
  /** Made of who they are, or of one character. */
  | 'password-obvious';

export const PASSWORD_CHARACTERS = MIN_CHARACTERS;

export function judgePassword(
  password: string,
  known: readonly string[],
): PasswordRefusal | undefined {
  if ([...password].length < MIN_CHARACTERS) return 'password-short';
  if (Buffer.byteLength(password) > MAX_OCTETS) return 'password-long';
  const plain = password.toLowerCase();
  const obvious = [...known, ...OBVIOUS].some(
    (word) => word.length > 3 && plain.replaceAll(word.toLowerCase(), '').length < 5,
  );
  return obvious || new Set(plain).size < 4 ? 'password-obvious' : undefined;
}

const OBVIOUS = ['password', '1234567890', 'qwertyuiop', 'letmein', 'iloveyou', 'abcdefghij'];

/** Rejects with {@link PasswordsBusy}. */
export class Passwords {
  readonly #memoryKib: number;
  readonly #waiting: (() => void)[] = [];
  #running = 0;
  #decoy: Promise<string> | undefined;

  /** `memoryKib`: less only where time is short and nothing at stake. */
  constructor(memoryKib = MEMORY_KIB) {
    this.#memoryKib = memoryKib;
  }

  /** In PHC's format: the parameters are kept with each, so that they can be raised later. */
  async hash(password: string): Promise<string> {
    const nonce = randomBytes(SALT_OCTETS);
    const parameters = { memory: this.#memoryKib, passes: PASSES, parallelism: 1 };
    const hash = await this.#derive(password, nonce, HASH_OCTETS, parameters);
    return `$argon2id$v=19$m=${this.#memoryKib},t=${PASSES},p=1$${base64(nonce)}$${base64(hash)}`;
  }

  /** Takes the same time when there is no hash to compare with. */
  async matches(password: string, phc: string | undefined): Promise<boolean> {
    this.#decoy ??= this.hash(base64(randomBytes(SALT_OCTETS)));
    const parsed = parse(phc ?? (await this.#decoy));
    if (!parsed) throw new Error('a password hash in the store is not in a known format');
    const { nonce, hash, parameters } = parsed;
    const derived = await this.#derive(password, nonce, hash.length, parameters);
    return timingSafeEqual(derived, hash) && phc !== undefined;
  }

  /** Whether it was hashed with other parameters than today's. */
  isOutdated(phc: string): boolean {
    const { parameters } = parse(phc) ?? {};
    return parameters?.memory !== this.#memoryKib || parameters.passes !== PASSES;
  }

  async #derive(
    password: string,
    nonce: Buffer,
    tagLength: number,
    parameters: Pick<Argon2Parameters, 'memory' | 'passes' | 'parallelism'>,
  ): Promise<Buffer> {
    // The same text may be typed composed or not, depending on the system.
    const message = Buffer.from(password.normalize('NFC'), 'utf8');
    await this.#takeTurn();
    try {
      return await derive('argon2id', { ...parameters, message, nonce, tagLength });
    } finally {
      this.#running--;
      this.#waiting.shift()?.();
    }
  }

  async #takeTurn(): Promise<void> {
    if (this.#running >= AT_ONCE) {
      if (this.#waiting.length >= MAX_WAITING) throw new PasswordsBusy('too many at once');
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    }
    this.#running++;
  }
}

function base64(octets: Buffer): string {
  return octets.toString('base64').replace(/=+$/, '');
}

function parse(phc: string) {
  const [, memory, passes, parallelism, nonce, hash] =
    /^\$argon2id\$v=19\$m=(\d+),t=(\d+),p=(\d+)\$([^$]+)\$([^$]+)$/.exec(phc) ?? [];
  if (nonce === undefined || hash === undefined) return undefined;
  return {
    nonce: Buffer.from(nonce, 'base64'),
    hash: Buffer.from(hash, 'base64'),
    parameters: {
      memory: Number(memory),
      passes: Number(passes),
      parallelism: Number(parallelism),
    },
  };
}
