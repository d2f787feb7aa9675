// The generator's own thread: sockets, clients and pace joined into one loop that never goes through
// the event loop. Tells the other thread by the tally how it is going, and by one message how it went.

import { openSync, writeSync } from 'node:fs';
import { parentPort, workerData } from 'node:worker_threads';
import { Clients, type Journal } from './clients.ts';
import { cpuSecondsOf } from './cpu.ts';
import { lineOf } from './journal.ts';
import { ClosedLoop, OpenLoop, type Pace } from './pace.ts';
import { type BenchPlan, Endpoints, type OwnEndpoint } from './plan.ts';
import type { Ended, WorkerMessage } from './result.ts';
import { Sockets } from './sockets.ts';
import { Tally } from './tally.ts';

/** Alarms are this exact, and so is the answer to somebody who asks to stop. */
const LONGEST_WAIT_MS = 16;
/** How long logins that were under way at the end may still take, and in how many tries more. */
const FINISH_MS = 10_000;
const FINISH_TRIES = 10;

class Run {
  readonly #plan: BenchPlan;
  readonly #tally: Tally;
  readonly #sockets: Sockets;
  readonly #clients: Clients;
  #nowMs = performance.now();

  constructor(plan: BenchPlan, tally: Tally) {
    this.#plan = plan;
    this.#tally = tally;
    this.#sockets = new Sockets(plan.ports, plan.server);
    this.#clients = new Clients(
      plan,
      tally,
      (from, bytes) => this.#send(from, bytes),
      this.#nowMs,
      this.#openJournal(),
    );
  }

  /** Each line is with the system before its login counts, whatever becomes of this process. */
  #openJournal(): Journal | undefined {
    if (this.#plan.journal === undefined) return undefined;
    const file = openSync(this.#plan.journal, 'w');
    return (user, { address, socket }, tunnel) => {
      const from = { address, port: this.#sockets.portOf(socket) };
      writeSync(file, lineOf(user, from, tunnel));
    };
  }

  run(): Ended {
    try {
      this.#tryAddresses();
      this.#fill();
      this.#tally.phase = 'warming';
      const pace = this.#paceFrom(this.#nowMs);
      this.#play(pace, { untilMs: this.#nowMs + this.#plan.warmupSeconds * 1000, measured: false });
      return this.#measure(pace);
    } finally {
      this.#sockets.close();
    }
  }

  #paceFrom(nowMs: number): Pace {
    const { pace } = this.#plan;
    return pace.type === 'closed'
      ? new ClosedLoop(pace.concurrency)
      : new OpenLoop(pace.perSecond, nowMs);
  }

  /** An address that is not the machine's own would fail at its turn, in the middle of it all. */
  #tryAddresses(): void {
    const { address, socket } = new Endpoints(this.#plan.from, this.#plan.ports).at(0);
    // Too short to be TSP: servers drop it.
    this.#sockets.send(socket, address, new Uint8Array(1));
    this.#sockets.flush();
  }

  #fill(): void {
    const { hold, pace } = this.#plan;
    this.#tally.phase = 'filling';
    const most = pace.type === 'closed' ? pace.concurrency : 64;
    for (let begun = 0; begun < hold || this.#clients.underWay > 0; ) {
      if (this.#tally.stops > 0) return;
      while (begun < hold && this.#clients.underWay < most) {
        this.#clients.beginResident(begun++, this.#nowMs);
      }
      this.#turn(LONGEST_WAIT_MS);
    }
  }

  #measure(pace: Pace): Ended {
    const { durationSeconds, logins, serverPid } = this.#plan;
    const server = () => (serverPid === undefined ? undefined : cpuSecondsOf(serverPid));
    const [startMs, serverBefore, ownBefore] = [this.#nowMs, server(), process.cpuUsage()];
    this.#tally.phase = 'measuring';
    const untilMs =
      durationSeconds === undefined ? Number.POSITIVE_INFINITY : startMs + durationSeconds * 1000;
    this.#play(pace, { untilMs, logins, measured: true });
    if (logins !== undefined) this.#finish();
    const [serverAfter, own] = [server(), process.cpuUsage(ownBefore)];
    const seconds = (this.#nowMs - startMs) / 1000;
    const completed = this.#tally.get('succeeded');
    this.#finish();
    this.#tally.phase = 'over';
    this.#tally.count('unsent', this.#sockets.unsent);
    return {
      seconds,
      completed,
      generatorCpuSeconds: (own.user + own.system) / 1e6,
      serverCpuSeconds:
        serverBefore === undefined || serverAfter === undefined
          ? undefined
          : serverAfter - serverBefore,
      failures: [...this.#clients.failures],
      unfinished: this.#clients.underWay,
    };
  }

  #play(
    pace: Pace,
    until: { untilMs: number; logins?: number | undefined; measured: boolean },
  ): void {
    const { untilMs, logins = Number.POSITIVE_INFINITY, measured } = until;
    let begun = 0;
    let waiting: number | undefined;
    while (this.#nowMs < untilMs && begun < logins && this.#tally.stops === 0) {
      for (;;) {
        const dueMs = waiting ?? pace.next(this.#nowMs, this.#clients.underWay);
        if (dueMs === undefined || begun >= logins) break;
        if (!this.#clients.beginVisitor(dueMs, measured, this.#nowMs)) {
          if (waiting === undefined) this.#tally.count('crowdedOut');
          waiting = dueMs;
          break;
        }
        waiting = undefined;
        begun++;
      }
      this.#turn(Math.min(LONGEST_WAIT_MS, pace.dueMs() - this.#nowMs, untilMs - this.#nowMs));
    }
  }

  /** Lets what is under way come to its end. */
  #finish(): void {
    this.#tally.phase = 'finishing';
    const retryMs = (this.#plan.retrySeconds ?? 0) * 1000;
    const untilMs = this.#nowMs + FINISH_MS + FINISH_TRIES * retryMs;
    while (this.#clients.underWay > 0 && this.#nowMs < untilMs && this.#tally.stops < 2) {
      this.#turn(LONGEST_WAIT_MS);
    }
  }

  /** Sends what was begun, and handles what has come, waiting for it up to `waitMs`. */
  #turn(waitMs: number): void {
    this.#sockets.flush();
    this.#sockets.receive(Math.max(0, waitMs), this.#receive);
    this.#nowMs = performance.now();
    this.#clients.expire(this.#nowMs);
    this.#sockets.flush();
  }

  readonly #receive = (socket: number, address: number, bytes: Uint8Array): void => {
    this.#tally.count('datagramsReceived');
    const { loss, duplication } = this.#plan;
    if (loss > 0 && Math.random() < loss) return;
    const nowMs = performance.now();
    this.#clients.receive(socket, address, bytes, nowMs);
    if (duplication > 0 && Math.random() < duplication) {
      this.#clients.receive(socket, address, bytes, nowMs);
    }
  };

  #send({ socket, address }: OwnEndpoint, bytes: Uint8Array): void {
    const { loss, duplication } = this.#plan;
    if (loss > 0 && Math.random() < loss) return;
    this.#tally.count('datagramsSent');
    this.#sockets.send(socket, address, bytes);
    if (duplication > 0 && Math.random() < duplication) {
      this.#tally.count('datagramsSent');
      this.#sockets.send(socket, address, bytes);
    }
  }
}

const { plan, memory } = workerData as { plan: BenchPlan; memory: SharedArrayBuffer };
let message: WorkerMessage;
try {
  message = { type: 'ended', ended: new Run(plan, new Tally(memory)).run() };
} catch (error) {
  const { message: text, code } = error as { message: string; code?: string };
  // A journal that cannot be written is the system's error too.
  const expected = code !== undefined && !code.startsWith('ERR_');
  message = {
    type: 'failed',
    text: expected ? text : String((error as Error).stack),
    code,
    expected,
  };
}
parentPort?.postMessage(message);
