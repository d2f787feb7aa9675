// What the web part is given: everything it knows of the world is behind these. It holds no store and
// no data plane; what a page wants to show or do, a desk of the broker's offers.

import type { Logger } from 'pino';
import type { Desk } from '../broker/desk.ts';
import type { People } from '../broker/people.ts';
import type { TunnelDesk } from '../broker/tunnel-desk.ts';
import type { Visitors } from '../broker/visitors.ts';
import type { LanguageTag } from './i18n/languages.ts';
import type { LiveSource } from './live-source.ts';

export interface Portal {
  readonly people: People;
  /** For staff. */
  readonly desk: Desk;
  readonly tunnels: TunnelDesk;
  /** What the kernel counts at present, by way of the daemon. */
  readonly live: LiveSource;
  readonly visitors: Visitors;
  readonly service: {
    readonly name: string;
    /** An e-mail or web address; empty: none. */
    readonly contact: string;
    /** As people type it, without a slash at the end. */
    readonly url: string;
    readonly language: LanguageTag;
  };
  /** Whether the broker answers; asked at most every few seconds. */
  readonly isUp: () => Promise<boolean>;
  readonly log: Logger;
}
