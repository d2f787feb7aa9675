// Users: their names, secrets and whether they may log in. A secret is kept as HA1 =
// MD5(name ":" realm ":" secret) (RFC 2831 §3.9) and as SCRAM's keys, sealed for its user; the secret
// itself is told once and forgotten. Knows nothing of tunnels, and not how a login is checked.

import {
  createSecretKey,
  hash,
  type KeyObject,
  randomBytes,
  randomInt,
  timingSafeEqual,
} from 'node:crypto';
import type { AuditEntry } from '../store/audit-log.ts';
import type { SealedSecret, Store, User } from '../store/store.ts';
import { deriveScram, packScram, type ScramCredential, unpackScram } from './scram.ts';
import { seal, unseal } from './sealing.ts';

/** What a login is checked against. */
export interface StoredCredential {
  readonly userId: number;
  /** 16 octets each, one for each form in which clients hash; any of them lets in. */
  readonly ha1s: readonly Uint8Array[];
  /** For SCRAM-SHA-256; absent while the secret is from before it was kept. */
  readonly scram: ScramCredential | undefined;
}

export type AccountRefusal =
  /** A name has 1 to 64 octets of UTF-8, no control characters, colon, comma or double quote. */
  | 'name-invalid'
  | 'name-taken'
  /** A secret has 1 to 255 octets of UTF-8 and no control characters. */
  | 'secret-invalid'
  | 'no-such-user'
  /** The key is not the one that this store's secrets are sealed with. */
  | 'wrong-key';

export type AccountResult<T = unknown> =
  | ({ readonly ok: true } & T)
  | { readonly ok: false; readonly refusal: AccountRefusal };

const HA1_OCTETS = 16;
const MAX_NAME_OCTETS = 64;
const MAX_SECRET_OCTETS = 255;
/** Users written in one transaction. */
const BATCH = 1000;
const KEY_CHECK_SETTING = 'key_check';
const KEY_CHECK_CONTEXT = 'key check';

/** Every method may reject with the store's StoreError. */
export class Accounts {
  readonly realm: string;
  readonly #store: Store;
  readonly #key: KeyObject;
  readonly #clock: () => number;

  /** `key`: 32 octets. `clock`: Unix milliseconds. */
  constructor(store: Store, key: Uint8Array, realm: string, clock: () => number = Date.now) {
    this.realm = realm;
    this.#store = store;
    this.#key = createSecretKey(key);
    this.#clock = clock;
  }

  /** Whether secrets were sealed in this store already: then only one key will do. */
  static async hasSealed(store: Store): Promise<boolean> {
    return (await store.setting(KEY_CHECK_SETTING)) !== undefined;
  }

  /**
   * Whether the key is the one of this store. The first key ever checked becomes that one: a lost
   * key file is then noticed, and not replaced by a new key that opens nothing.
   */
  async keyFits(): Promise<boolean> {
    const standing =
      (await this.#store.setting(KEY_CHECK_SETTING)) ??
      (await this.#store.settingOrInitial(
        KEY_CHECK_SETTING,
        seal(this.#key, randomBytes(HA1_OCTETS), KEY_CHECK_CONTEXT),
      ));
    return unseal(this.#key, standing, KEY_CHECK_CONTEXT) !== undefined;
  }

  /** Answers the secret, also when it was made here because none was given. */
  async add(
    name: string,
    secret: string = makeSecret(),
  ): Promise<AccountResult<{ user: User; secret: string }>> {
    if (!isUserName(name)) return refuse('name-invalid');
    if (!isSecret(secret)) return refuse('secret-invalid');
    if (!(await this.keyFits())) return refuse('wrong-key');
    const user = await this.#store.addUser(name, this.#seal(name, secret), this.#clock());
    return user === 'name-taken' ? refuse('name-taken') : { ok: true, user, secret };
  }

  /** As {@link add}. The user's tunnel stays as it is; the next login needs the secret. */
  async setSecret(
    name: string,
    secret: string = makeSecret(),
  ): Promise<AccountResult<{ secret: string }>> {
    if (!isSecret(secret)) return refuse('secret-invalid');
    if (!(await this.keyFits())) return refuse('wrong-key');
    const sealed = this.#seal(name, secret);
    const done = await this.#with(name, (id) =>
      this.#store.setUserSecret(id, sealed, this.#clock()),
    );
    return done.ok ? { ok: true, secret } : done;
  }

  /**
   * Many users with one secret; those who exist get it too. In transactions of a thousand, with
   * `progress` after each, since somebody else may want to write in between.
   */
  async putMany(
    names: { readonly count: number; readonly at: (index: number) => string },
    secret: string,
    groupId: number | undefined,
    progress: (done: number) => void,
  ): Promise<AccountResult> {
    if (!isUserName(names.at(0)) || !isUserName(names.at(names.count - 1))) {
      return refuse('name-invalid');
    }
    if (!isSecret(secret)) return refuse('secret-invalid');
    if (!(await this.keyFits())) return refuse('wrong-key');
    // Slow on purpose, and the same for all of them as long as salt and secret are.
    const scram = packScram(deriveScram(secret));
    for (let first = 0; first < names.count; first += BATCH) {
      const users = Array.from({ length: Math.min(BATCH, names.count - first) }, (_, i) => {
        const name = names.at(first + i);
        return { name, ...this.#seal(name, secret, scram) };
      });
      await this.#store.putUsers(users, groupId, this.#clock());
      progress(first + users.length);
    }
    return { ok: true };
  }

  /** Removes the users named by `prefix` and digits, as {@link remove} does; answers how many. */
  async removeNumbered(prefix: string, progress: (done: number) => void): Promise<number> {
    let removed = 0;
    for (let after = ''; ; ) {
      const batch = await this.#store.removeNumberedUsers(prefix, after, BATCH, this.#clock());
      if (batch.last === undefined) return removed;
      after = batch.last;
      removed += batch.removed;
      progress(removed);
    }
  }

  /** Ends the user's traffic too; link and prefix stay the user's. */
  async disable(name: string): Promise<AccountResult> {
    return this.#with(name, (id) =>
      this.#store.setUserDisabled(id, true, this.#clock(), auditOf('user-disable', id)),
    );
  }

  /** The user has to log in again. */
  async enable(name: string): Promise<AccountResult> {
    return this.#with(name, (id) =>
      this.#store.setUserDisabled(id, false, this.#clock(), auditOf('user-enable', id)),
    );
  }

  /**
   * Whether the user may ask for tunnels to addresses that their packets do not come from (RFC 5572,
   * proxy): whoever may can aim traffic at anybody. What is up stays up.
   */
  async setProxyTrust(name: string, trusted: boolean): Promise<AccountResult> {
    return this.#with(name, (id) =>
      this.#store.setProxyTrust(id, trusted, this.#clock(), auditOf('user-trust', id)),
    );
  }

  /** Link and prefix go back to their pools. */
  async remove(name: string): Promise<AccountResult> {
    return this.#with(name, (id) =>
      this.#store.removeUser(id, this.#clock(), auditOf('user-remove', id)),
    );
  }

  /** The next `limit` users after the name, in the order of their names; '' for the first. */
  async list(afterName: string, limit: number): Promise<readonly User[]> {
    return this.#store.usersAfter(afterName, limit);
  }

  /** Undefined: unknown, disabled, or sealed with another key; nobody outside can tell which. */
  async credential(name: string): Promise<StoredCredential | undefined> {
    const user = isUserName(name) ? await this.#store.user(name) : undefined;
    if (!user || user.disabledAtMs !== undefined) return undefined;
    const ha1s = unseal(this.#key, user.sealedHa1, this.#ha1Context(name));
    if (!ha1s || ha1s.length === 0 || ha1s.length % HA1_OCTETS !== 0) return undefined;
    const scram = () => this.#unsealScram(user);
    return {
      userId: user.id,
      ha1s: Array.from({ length: ha1s.length / HA1_OCTETS }, (_, i) =>
        ha1s.subarray(i * HA1_OCTETS, (i + 1) * HA1_OCTETS),
      ),
      // Most logins have no use for it.
      get scram() {
        return scram();
      },
    };
  }

  /** For a user that is made together with something else, with a secret that nobody knows. */
  sealMadeSecret(name: string): SealedSecret {
    return this.#seal(name, makeSecret());
  }

  /** A secret to be told once, and what is kept of it; nothing is written. */
  makeSecret(name: string): { readonly secret: string; readonly sealed: SealedSecret } {
    const secret = makeSecret();
    return { secret, sealed: this.#seal(name, secret) };
  }

  /** The user whose secret it is; undefined as for {@link credential}. Whoever asks counts failures. */
  async userIdBySecret(name: string, secret: string): Promise<number | undefined> {
    const known = await this.credential(name);
    const given = ha1s(name, this.realm, secret);
    return known?.ha1s.some((ha1) => given.some((one) => timingSafeEqual(ha1, one)))
      ? known.userId
      : undefined;
  }

  #unsealScram({ name, sealedScram }: User & SealedSecret): ScramCredential | undefined {
    if (sealedScram === undefined) return undefined;
    const packed = unseal(this.#key, sealedScram, scramContext(name));
    return packed && unpackScram(packed);
  }

  #seal(name: string, secret: string, scram = packScram(deriveScram(secret))): SealedSecret {
    const ha1 = Buffer.concat(ha1s(name, this.realm, secret));
    return {
      sealedHa1: seal(this.#key, ha1, this.#ha1Context(name)),
      sealedScram: seal(this.#key, scram, scramContext(name)),
    };
  }

  /** Binds to the name, which is unique, so that nobody's secret works for another one. */
  #ha1Context(name: string): string {
    return `ha1:${this.realm}:${name}`;
  }

  async #with(name: string, act: (userId: number) => Promise<boolean>): Promise<AccountResult> {
    const user = await this.#store.user(name);
    return user && (await act(user.id)) ? { ok: true } : refuse('no-such-user');
  }
}

/** By nobody who was signed in: the command line. */
function auditOf(act: string, userId: number): AuditEntry {
  return { act, subject: `user:${userId}` };
}

/** The realm is no part of SCRAM. */
function scramContext(name: string): string {
  return `scram:${name}`;
}

/** 1 to 64 octets of UTF-8 without control characters, colon, comma or double quote. */
export function isUserName(name: string): boolean {
  return (
    // Separators of HA1's input and of DIGEST-MD5's directives, and what no line should hold.
    // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is refused
    name.isWellFormed() && !/[\0-\x1f\x7f-\x9f:",]/.test(name) && fits(name, MAX_NAME_OCTETS)
  );
}

function isSecret(secret: string): boolean {
  return (
    // biome-ignore lint/suspicious/noControlCharactersInRegex: PLAIN could not carry them
    secret.isWellFormed() && !/[\0-\x1f\x7f]/.test(secret) && fits(secret, MAX_SECRET_OCTETS)
  );
}

function fits(text: string, maxOctets: number): boolean {
  return text !== '' && Buffer.byteLength(text) <= maxOctets;
}

/** 100 bits, in characters that nobody mixes up when reading them aloud. */
export function makeSecret(): string {
  const alphabet = 'abcdefghijkmnpqrstuvwxyz23456789';
  return Array.from({ length: 20 }, () => alphabet[randomInt(alphabet.length)]).join('');
}

/**
 * RFC 2831 §2.1.2.1 wants ISO 8859-1 where it can write the text, else UTF-8; many clients hash
 * UTF-8 always. One form when both are the same.
 */
function ha1s(name: string, realm: string, secret: string): readonly Buffer[] {
  const inLatin1IfPossible = (text: string) =>
    Buffer.from(text, /^[\0-\xff]*$/.test(text) ? 'latin1' : 'utf8');
  const forms = [inLatin1IfPossible, (text: string) => Buffer.from(text, 'utf8')].map((encode) => {
    const parts = [encode(name), Buffer.from(`:${realm}:`, 'utf8'), encode(secret)];
    return hash('md5', Buffer.concat(parts), 'buffer');
  });
  return forms[0]!.equals(forms[1]!) ? forms.slice(0, 1) : forms;
}

function refuse(refusal: AccountRefusal): { ok: false; refusal: AccountRefusal } {
  return { ok: false, refusal };
}
