// People: who signs in to the portal. One desk for each thing that they come for. A person may be a
// tunnel user too, or be staff, or both. Works without a running broker: what is changed here the
// broker learns from the change feed.

import { Loop } from './loop.ts';
import { AccountDesk } from './people-account.ts';
import { Postman, type Transport } from './people-mail.ts';
import { DAY_MS, EVEN_MS, type PeopleParts } from './people-parts.ts';
import { Passwords } from './people-passwords.ts';
import { SignInDesk } from './people-sign-in.ts';
import { SignUpDesk } from './people-sign-ups.ts';
import { StaffDesk } from './people-staff.ts';
import type { Log } from './projection.ts';

const PRUNE_EVERY_MS = DAY_MS / 24;

export type PeopleOptions = Omit<PeopleParts, 'passwords' | 'clock' | 'evenMs'> &
  Partial<Pick<PeopleParts, 'passwords' | 'clock' | 'evenMs'>>;

/** Every method of the desks may reject with the store's StoreError. */
export class People {
  readonly account: AccountDesk;
  readonly signIns: SignInDesk;
  readonly signUps: SignUpDesk;
  readonly staff: StaffDesk;
  readonly #parts: PeopleParts;

  constructor(options: PeopleOptions) {
    const parts = { passwords: new Passwords(), clock: Date.now, evenMs: EVEN_MS, ...options };
    this.#parts = parts;
    this.account = new AccountDesk(parts);
    this.signIns = new SignInDesk(parts);
    this.signUps = new SignUpDesk(parts);
    this.staff = new StaffDesk(parts);
  }

  /** Sends what is in the store's queue from now on. */
  sendMail(transport: Transport, log: Log, everyMs?: number): Postman {
    const { store, key, clock } = this.#parts;
    return new Postman(store.people.mails, key, transport, log, everyMs, clock);
  }

  /** Removes what has expired, from time to time. */
  tidyUp(log: Log): Loop {
    const { store, clock } = this.#parts;
    return new Loop('tidying up', PRUNE_EVERY_MS, () => store.people.prune(clock()), log);
  }
}
