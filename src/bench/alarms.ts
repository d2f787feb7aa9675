// Wakes many clients at their deadlines: a wheel of slots, so that setting an alarm costs the same for
// ten clients and for a hundred thousand. An alarm that is moved further away is left where it is and
// looked at again when it rings: most deadlines are moved before they come. Knows no clock.

/** `alarmMs`: when it is looked at next; only {@link Alarms} writes it. */
export interface Sleeper {
  alarmMs: number;
  /** Undefined: never. */
  deadlineMs(): number | undefined;
}

const SLOT_MS = 16;
const SLOTS = 4096;

export class Alarms<S extends Sleeper> {
  readonly #slots: S[][] = Array.from({ length: SLOTS }, () => []);
  #doneTick: number;

  constructor(nowMs: number) {
    this.#doneTick = tickOf(nowMs);
  }

  /** To be called whenever the sleeper's deadline has changed. */
  set(sleeper: S): void {
    const deadlineMs = sleeper.deadlineMs();
    if (deadlineMs === undefined || sleeper.alarmMs <= deadlineMs) return;
    sleeper.alarmMs = deadlineMs;
    this.#place(sleeper);
  }

  /** Calls `ring` for each whose deadline has come; up to 16 ms late. */
  ring(nowMs: number, ring: (sleeper: S) => void): void {
    const tick = tickOf(nowMs);
    while (this.#doneTick < tick) {
      const at = ++this.#doneTick % SLOTS;
      const slot = this.#slots[at]!;
      if (slot.length === 0) continue;
      this.#slots[at] = [];
      for (const sleeper of slot) this.#look(sleeper, nowMs, ring);
    }
  }

  #look(sleeper: S, nowMs: number, ring: (sleeper: S) => void): void {
    // Placed again elsewhere, or for another turn of the wheel.
    if (tickOf(sleeper.alarmMs) > this.#doneTick) {
      if ((tickOf(sleeper.alarmMs) + 1) % SLOTS === this.#doneTick % SLOTS) this.#place(sleeper);
      return;
    }
    sleeper.alarmMs = Number.POSITIVE_INFINITY;
    const deadlineMs = sleeper.deadlineMs();
    if (deadlineMs === undefined) return;
    if (deadlineMs <= nowMs) ring(sleeper);
    this.set(sleeper);
  }

  #place(sleeper: S): void {
    const tick = Math.max(this.#doneTick, tickOf(sleeper.alarmMs)) + 1;
    this.#slots[tick % SLOTS]!.push(sleeper);
  }
}

function tickOf(ms: number): number {
  return Math.floor(ms / SLOT_MS);
}
