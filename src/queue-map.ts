// A map that knows its oldest entry. The language's own keeps the order of insertion too, but walks over
// the place of everything that was deleted before it comes to the first entry that is left: as a queue
// of a hundred thousand it takes longer for a look at its head than for a login.

interface Entry<K, V> {
  readonly key: K;
  readonly value: V;
  before: Entry<K, V> | undefined;
  after: Entry<K, V> | undefined;
}

export class QueueMap<K, V> {
  readonly #entries = new Map<K, Entry<K, V>>();
  #first: Entry<K, V> | undefined;
  #last: Entry<K, V> | undefined;

  get size(): number {
    return this.#entries.size;
  }

  get(key: K): V | undefined {
    return this.#entries.get(key)?.value;
  }

  /** Puts it behind all others, also when it was there before. */
  put(key: K, value: V): void {
    this.delete(key);
    const entry = { key, value, before: this.#last, after: undefined };
    if (this.#last) this.#last.after = entry;
    else this.#first = entry;
    this.#last = entry;
    this.#entries.set(key, entry);
  }

  delete(key: K): void {
    const entry = this.#entries.get(key);
    if (!entry) return;
    this.#entries.delete(key);
    if (entry.before) entry.before.after = entry.after;
    else this.#first = entry.after;
    if (entry.after) entry.after.before = entry.before;
    else this.#last = entry.before;
  }

  get oldest(): V | undefined {
    return this.#first?.value;
  }

  deleteOldest(): void {
    if (this.#first) this.delete(this.#first.key);
  }

  /** From the oldest on. The one at hand may be deleted meanwhile, or moved to the end; others not. */
  *values(): Generator<V, void> {
    for (let entry = this.#first; entry; ) {
      const { after } = entry;
      yield entry.value;
      entry = after;
    }
  }
}
