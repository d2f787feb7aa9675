// How far a long piece of work is: a bar that is redrawn on a terminal, nothing where there is none
// to look at it. Always on stderr, so that stdout is the result alone.

const WIDTH = 24;
const EVERY_MS = 100;

/** One line that is drawn again and again. */
export class StatusLine {
  readonly shown = process.stderr.isTTY === true;
  #drawn = false;

  draw(text: string): void {
    if (!this.shown) return;
    const columns = process.stderr.columns || 80;
    process.stderr.write(`\r\x1b[K${text.slice(0, columns - 1)}`);
    this.#drawn = true;
  }

  /** Leaves an empty line to go on from. */
  clear(): void {
    if (this.#drawn) process.stderr.write('\r\x1b[K');
    this.#drawn = false;
  }
}

export function bar(share: number): string {
  const full = Math.round(Math.min(1, Math.max(0, share)) * WIDTH);
  return `[${'#'.repeat(full)}${'.'.repeat(WIDTH - full)}]`;
}

/** Of something that is counted. */
export class Progress {
  readonly #line = new StatusLine();
  readonly #total: number | undefined;
  readonly #what: string;
  readonly #startMs = performance.now();
  #nextMs = 0;

  /** `total`: undefined where nobody knows. */
  constructor(total: number | undefined, what: string) {
    this.#total = total;
    this.#what = what;
  }

  show(done: number): void {
    const nowMs = performance.now();
    if (nowMs < this.#nextMs) return;
    this.#nextMs = nowMs + EVERY_MS;
    const seconds = (nowMs - this.#startMs) / 1000;
    const rate = `${Math.round(done / seconds)} a second`;
    if (this.#total === undefined) this.#line.draw(`${done} ${this.#what}, ${rate}`);
    else {
      const left = Math.ceil(((this.#total - done) * seconds) / done);
      this.#line.draw(
        `${bar(done / this.#total)} ${done} of ${this.#total} ${this.#what}, ${rate}, ${left} s left`,
      );
    }
  }

  end(): void {
    this.#line.clear();
  }
}
