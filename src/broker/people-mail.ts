// Mails to people: what there is to say, sealed in the store until a mail server has taken it, and who
// takes them there. How it is said, in which language, is the composer's; how mail is sent, the
// transport's.

import type { KeyObject } from 'node:crypto';
import type { MailQueue } from '../store/mail-queue.ts';
import { Loop } from './loop.ts';
import type { Log } from './projection.ts';
import { seal, unseal } from './sealing.ts';

export type Letter =
  /** Confirms a sign-up. */
  | { readonly type: 'verify'; readonly token: string; readonly userName: string }
  /** Somebody signed up with the address of who has an account: to the owner. */
  | { readonly type: 'already-known' }
  | { readonly type: 'reset'; readonly token: string }
  | { readonly type: 'password-changed' }
  /** To the address that is to be the new one. */
  | { readonly type: 'change-email'; readonly token: string }
  /** To the address so far. */
  | { readonly type: 'email-changing'; readonly newEmail: string }
  | { readonly type: 'two-factor'; readonly enabled: boolean }
  | { readonly type: 'invitation'; readonly code: string }
  | { readonly type: 'approved' };

export interface Composed {
  readonly subject: string;
  readonly text: string;
  readonly html: string;
}

/** `language`: undefined for the service's own. */
export type Composer = (letter: Letter, language: string | undefined) => Composed;

export interface Mail extends Composed {
  readonly to: string;
}

/** Fulfilled when the mail server has taken it. */
export type Transport = (mail: Mail) => Promise<void>;

const CONTEXT = 'mail';

export function sealMail(key: KeyObject, mail: Mail): string {
  return seal(key, Buffer.from(JSON.stringify(mail), 'utf8'), CONTEXT);
}

const LOOK_EVERY_MS = 1000;
const AT_ONCE = 20;
/** Then it is somebody else's turn to try it, should this process have ended meanwhile. */
const CLAIM_MS = 300_000;
const FIRST_PAUSE_MS = 15_000;
const MAX_PAUSE_MS = 3_600_000;
/** Links in mails have expired by then. */
const GIVE_UP_AFTER_MS = 2 * 86_400_000;

/** Carries mails from the store to the mail server, and tries again what it does not take. */
export class Postman {
  readonly #queue: MailQueue;
  readonly #key: KeyObject;
  readonly #transport: Transport;
  readonly #log: Log;
  readonly #clock: () => number;
  readonly #loop: Loop;

  constructor(
    queue: MailQueue,
    key: KeyObject,
    transport: Transport,
    log: Log,
    everyMs = LOOK_EVERY_MS,
    clock = Date.now,
  ) {
    this.#queue = queue;
    this.#key = key;
    this.#transport = transport;
    this.#log = log;
    this.#clock = clock;
    this.#loop = new Loop('sending mail', everyMs, () => this.round(), log);
  }

  async stop(): Promise<void> {
    await this.#loop.stop();
  }

  /** Tries what is due, once. Rejects with the last failure, when nothing could be sent at all. */
  async round(): Promise<void> {
    let sent = 0;
    let failure: unknown;
    for (const { id, sealed, createdAtMs, tries } of await this.#queue.due(
      this.#clock(),
      AT_ONCE,
    )) {
      if (!(await this.#queue.claim(id, this.#clock() + CLAIM_MS, this.#clock()))) continue;
      const content = unseal(this.#key, sealed, CONTEXT);
      if (!content) {
        await this.#queue.remove(id, this.#clock());
        this.#log('a mail in the store was sealed with another key and is given up');
        continue;
      }
      try {
        await this.#transport(JSON.parse(content.toString('utf8')) as Mail);
        await this.#queue.remove(id, this.#clock());
        sent++;
      } catch (error) {
        failure = error;
        const nowMs = this.#clock();
        if (isFinal(error) || nowMs - createdAtMs > GIVE_UP_AFTER_MS) {
          await this.#queue.remove(id, nowMs);
          // Not to whom: who writes to whom is nobody's business who reads a log.
          this.#log(`mail ${id} was refused and is given up`, error);
        } else {
          const pauseMs = Math.min(MAX_PAUSE_MS, FIRST_PAUSE_MS * 2 ** Math.min(tries, 20));
          await this.#queue.postpone(id, nowMs + pauseMs, nowMs);
        }
      }
    }
    if (sent === 0 && failure !== undefined && !isFinal(failure)) throw failure;
  }
}

/** RFC 5321 §4.2.1: a 5yz answer to a receiver or a content will not change. */
function isFinal(error: unknown): boolean {
  const { responseCode, code } = error as { responseCode?: number; code?: string };
  return (
    responseCode !== undefined &&
    responseCode >= 550 &&
    responseCode < 560 &&
    (code === 'EENVELOPE' || code === 'EMESSAGE')
  );
}
