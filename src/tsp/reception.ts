// What a server says before there is a session, over either transport: greeting, choice of a
// mechanism, challenges, and where else to go. Nothing of it needs memory; the nonces bring back
// what has to be known again. Who is let in when the house is full is not decided here.

import type { Endpoint } from '../address.ts';
import { announcedTypes } from './create-rules.ts';
import { writeChallenge } from './digest-md5.ts';
import { writeStatus } from './framing.ts';
import { type ConcreteTunnelType, type Mechanism, STATUS } from './messages.ts';
import { Nonces, type NonceVerdict } from './nonces.ts';
import { type Opening, writeShortCapability } from './opening.ts';
import { type ScramCredential, utf8Octets, writeBase64 } from './sasl.ts';
import { inventedSalt, type ScramFirst, scramContext, writeServerFirst } from './scram.ts';
import { type Redirect, type SessionBeginning, sendAway } from './server-session.ts';

export interface ReceptionSettings {
  /** Part of every stored DIGEST-MD5 secret; printable ASCII without comma, quote, backslash. */
  readonly realm: string;
  /** In the order in which they are announced. */
  readonly mechanisms: readonly Mechanism[];
  readonly tunnelTypes: readonly ConcreteTunnelType[];
  /** At least 16 secret octets. */
  readonly nonceKey: Uint8Array;
  /**
   * At least 16 secret octets, the same at each start: from it come the salts of users who do not
   * exist, and a salt that changes would tell them from those who do.
   */
  readonly decoyKey: Uint8Array;
  readonly redirect?: Redirect;
  /** Whether new clients are told to come back later; absent: never. */
  readonly isOverloaded?: (nowMs: number) => boolean;
}

export type Reply =
  /** `oddity`: the client is sent away with it. */
  | { readonly type: 'say'; readonly data: string; readonly oddity?: ReceptionOddity }
  /** Nothing over TCP, a header alone over UDP: the client has to go on. */
  | { readonly type: 'go-on' }
  /** `nonce` is to be spent when the session does begin. Without one the address is unproven. */
  | { readonly type: 'begin'; readonly with: SessionBeginning; readonly nonce?: string }
  /** What is found goes to {@link Reception.serverFirst}. */
  | { readonly type: 'look-up-salt'; readonly first: ScramFirst }
  /** A nonce comes back that has served. */
  | { readonly type: 'stale' }
  | { readonly type: 'busy' }
  | { readonly type: 'unrecognised' };

export type ReceptionOddity =
  | 'version-refused'
  | 'mechanism-refused'
  | 'nonce-refused'
  | 'redirected';

/** gogoc gives up after 66 s, so an older nonce belongs to nobody who still waits. */
const NONCE_LIFETIME_MS = 120_000;

export class Reception {
  readonly #settings: ReceptionSettings;
  readonly #nonces: Nonces;

  /**
   * At most `nonceCapacity` nonces are remembered. Throws a RangeError when the settings cannot be
   * told to clients or are not safe.
   */
  constructor(settings: ReceptionSettings, nonceCapacity: number) {
    if (!/^[!#-+.-[\]-~-]{1,100}$/.test(settings.realm)) {
      throw new RangeError(`a realm clients can read is needed, not ${settings.realm}`);
    }
    const { nonceKey, decoyKey } = settings;
    if (Math.min(nonceKey.length, decoyKey.length) < 16) throw new RangeError('a key is too short');
    if (settings.redirect?.brokers.length === 0) throw new RangeError('a redirect to nowhere');
    this.#settings = settings;
    this.#nonces = new Nonces(nonceKey, NONCE_LIFETIME_MS, nonceCapacity);
  }

  /** `greetingOctets`: how long the answer to VERSION should be at most. */
  reply(opening: Opening, source: Endpoint, greetingOctets: number, nowMs: number): Reply {
    switch (opening.type) {
      case 'version':
        return this.#greet(opening.supported, source, greetingOctets, nowMs);
      case 'echo':
        return { type: 'say', data: writeStatus(STATUS.success) };
      case 'authenticate':
        return this.#authenticate(opening.mechanism, source, nowMs);
      case 'digest-response': {
        const { response } = opening;
        const verdict = this.#nonces.check(response.nonce, source, nowMs);
        return this.#admit({ mechanism: 'DIGEST-MD5', response }, response.nonce, verdict);
      }
      case 'scram-first':
        return this.#offers('SCRAM-SHA-256')
          ? { type: 'look-up-salt', first: opening.first }
          : turnAway('mechanism-refused');
      case 'scram-final': {
        const { response } = opening;
        const context = scramContext(response.first);
        const verdict = this.#nonces.check(response.nonce, source, nowMs, context);
        return this.#admit({ mechanism: 'SCRAM-SHA-256', response }, response.nonce, verdict);
      }
      case 'other':
        return { type: 'unrecognised' };
    }
  }

  /** The server's first message of SCRAM; `found` is undefined for a user who cannot log in by it. */
  serverFirst(
    first: ScramFirst,
    found: Pick<ScramCredential, 'salt' | 'iterations'> | undefined,
    source: Endpoint,
    nowMs: number,
  ): string {
    const invented = inventedSalt(this.#settings.decoyKey, utf8Octets(first.username));
    const nonce = this.#nonces.issue(source, nowMs, scramContext(first));
    return writeBase64(writeServerFirst(first, nonce, found ?? invented));
  }

  /** From here on the nonce is used up. */
  spend(nonce: string, nowMs: number): void {
    this.#nonces.spend(nonce, nowMs);
  }

  #greet(supported: boolean, source: Endpoint, mostOctets: number, nowMs: number): Reply {
    const { tunnelTypes, mechanisms, redirect, isOverloaded } = this.#settings;
    if (!supported) {
      const data = writeStatus(STATUS.versionNotSupported);
      return { type: 'say', data, oddity: 'version-refused' };
    }
    if (redirect?.phase === 'version') return sentAway(redirect);
    if (isOverloaded?.(nowMs)) return { type: 'busy' };
    const types = announcedTypes(tunnelTypes, source);
    return { type: 'say', data: writeShortCapability(types, mechanisms, mostOctets) };
  }

  #authenticate(name: string, source: Endpoint, nowMs: number): Reply {
    const { mechanisms, redirect, realm } = this.#settings;
    const mechanism = mechanisms.find((offered) => offered === name);
    if (mechanism === undefined) return turnAway('mechanism-refused');
    // PLAIN's client is sent away after its next line: it has no room for text here.
    if (mechanism === 'PLAIN') return { type: 'begin', with: { mechanism } };
    if (redirect?.phase === 'authentication') return sentAway(redirect);
    switch (mechanism) {
      case 'ANONYMOUS':
        return { type: 'begin', with: { mechanism } };
      case 'DIGEST-MD5': {
        const challenge = writeChallenge(realm, this.#nonces.issue(source, nowMs));
        return { type: 'say', data: writeBase64(challenge) };
      }
      case 'SCRAM-SHA-256':
        return { type: 'go-on' };
    }
  }

  #admit(
    beginning: Exclude<SessionBeginning, { readonly mechanism: 'ANONYMOUS' | 'PLAIN' }>,
    nonce: string,
    verdict: NonceVerdict,
  ): Reply {
    if (!this.#offers(beginning.mechanism)) return turnAway('nonce-refused');
    switch (verdict) {
      case 'used':
        return { type: 'stale' };
      case 'full':
        return { type: 'busy' };
      case 'foreign':
        return turnAway('nonce-refused');
      case 'fresh':
        return { type: 'begin', with: beginning, nonce };
    }
  }

  #offers(mechanism: Mechanism): boolean {
    return this.#settings.mechanisms.includes(mechanism);
  }
}

function turnAway(oddity: ReceptionOddity): Reply {
  return { type: 'say', data: writeStatus(STATUS.authenticationFailed), oddity };
}

function sentAway(redirect: Redirect): Reply {
  return { type: 'say', data: sendAway(redirect), oddity: 'redirected' };
}
