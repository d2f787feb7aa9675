// Forgets what is too old, a little at a time: nobody who logs in may wait for it. How old is too old
// is the configuration's word. Knows rows and times, not what they say.

import { setImmediate as breathe } from 'node:timers/promises';

/** Something that is kept for a while. */
export interface Kept {
  /** 0: nothing is kept. */
  readonly days: number;
  /** Forgets some of what is older; answers how much, 0: there is no more. */
  readonly forget: (beforeMs: number) => Promise<number>;
}

const DAY_MS = 86_400_000;
/** In one go; what is left waits for the next. */
const BITES = 1000;

/** Rejects with whatever `forget` rejects with. */
export async function forgetSome(kept: readonly Kept[], nowMs: number): Promise<void> {
  for (const { days, forget } of kept) {
    const beforeMs = days === 0 ? Number.MAX_SAFE_INTEGER : nowMs - days * DAY_MS;
    for (let bite = 0; bite < BITES && (await forget(beforeMs)) > 0; bite++) await breathe();
  }
}
