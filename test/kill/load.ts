// A load of logins by `sixway bench run`, which writes down each that was answered, and can be held
// still while something is looked at.

import { closeSync, fstatSync, openSync, readFileSync, readSync } from 'node:fs';
import { parseIpv4Prefix } from '../../src/address.ts';
import type { JournalLine } from '../../src/bench/journal.ts';
import { Endpoints, userName } from '../../src/bench/plan.ts';
import { BROKER_IPV4 } from '../lab/internet.ts';
import { type Host, type Service, sleep } from '../lab/lab.ts';

export interface LoadPlan {
  readonly sixway: string;
  readonly logins: number;
  /** Of the users' names. */
  readonly namePrefix: string;
  readonly secret: string;
  /** Where they speak from, each from an address of its own. */
  readonly from: string;
  readonly journal: string;
}

const PORTS = 4;
const NEWLINE = 0x0a;

export class Load {
  readonly service: Service;
  readonly #plan: LoadPlan;
  readonly #file: number;
  readonly #chunk = Buffer.alloc(1 << 20);
  #readOctets = 0;
  #lines = 0;

  /** `host` owns the addresses. */
  constructor(host: Host, plan: LoadPlan) {
    const { sixway, logins, namePrefix, secret, from, journal } = plan;
    this.#plan = plan;
    this.#file = openSync(journal, 'w+');
    this.service = host.start(sixway, [
      ...['bench', 'run', BROKER_IPV4, '--mechanism', 'DIGEST-MD5', '--prefix-length', '56'],
      ...['--users', String(logins), '--logins', String(logins), '--concurrency', '512'],
      ...['--prefix-name', namePrefix, '--secret', secret, '--retry', '2'],
      ...['--from', from, '--ports', String(PORTS), '--journal', journal],
    ]);
  }

  /** How many logins were answered so far. */
  get answered(): number {
    const { size } = fstatSync(this.#file);
    while (this.#readOctets < size) {
      const count = readSync(this.#file, this.#chunk, 0, this.#chunk.length, this.#readOctets);
      for (const octet of this.#chunk.subarray(0, count)) if (octet === NEWLINE) this.#lines++;
      this.#readOctets += count;
    }
    return this.#lines;
  }

  async hasAnswered(count: number): Promise<void> {
    while (this.answered < count) {
      if (!this.service.running) throw new Error(`the load ended early:\n${this.service.output}`);
      await sleep(1);
    }
  }

  /** Everything that has come in is written down; nothing happens until {@link goOn}. */
  async hold(): Promise<void> {
    for (let before = -1; before !== this.answered; ) {
      before = this.answered;
      await sleep(50);
    }
    process.kill(this.service.pid, 'SIGSTOP');
  }

  goOn(): void {
    process.kill(this.service.pid, 'SIGCONT');
  }

  journal(): JournalLine[] {
    // The last line may be half a line while it runs.
    const lines = readFileSync(this.#plan.journal, 'utf8').split('\n').slice(0, -1);
    return lines.map((line) => JSON.parse(line) as JournalLine);
  }

  close(): void {
    closeSync(this.#file);
  }

  /** Every user's name, with the address that the user speaks from in this load. */
  people(): ReadonlyMap<string, number> {
    const { logins, namePrefix, from } = this.#plan;
    const endpoints = new Endpoints(parseIpv4Prefix(from)!, PORTS);
    return new Map(
      Array.from({ length: logins }, (_, index) => [
        userName(namePrefix, index),
        endpoints.at(index).address,
      ]),
    );
  }
}
