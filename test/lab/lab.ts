// Hosts out of network namespaces, with veth cables between them: what every test, demo and bench
// that needs several machines is built from. Names are random, so several labs run at once; close()
// ends every process it started and removes every namespace, also after a failure.
// Commands enter with nsenter and not with `ip netns exec`, which mounts another /sys and so hides
// the pinned maps.

import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';

const execFileAsync = promisify(execFile);

export interface Outcome {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** A long-running command in a host; its output is collected. */
export class Service {
  readonly #child: ChildProcess;
  #output = '';
  readonly ended: Promise<number>;

  constructor(child: ChildProcess) {
    this.#child = child;
    child.stdout?.on('data', (chunk: Buffer) => {
      this.#output += chunk;
    });
    child.stderr?.on('data', (chunk: Buffer) => {
      this.#output += chunk;
    });
    this.ended = new Promise((resolve) => {
      child.on('exit', (code, signal) => resolve(signal ? 128 : (code ?? 0)));
      child.on('error', () => resolve(127));
    });
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  get output(): string {
    return this.#output;
  }

  get running(): boolean {
    return this.#child.exitCode === null && this.#child.signalCode === null;
  }

  /** Waits until the output matches; fails with the output after `timeoutMs` or when it ends. */
  async says(pattern: RegExp, timeoutMs = 10_000): Promise<RegExpExecArray> {
    const deadline = Date.now() + timeoutMs;
    for (;;) {
      const match = pattern.exec(this.#output);
      if (match) return match;
      if (!this.running || Date.now() > deadline) {
        throw new Error(`expected ${pattern} in the output, found:\n${this.#output}`);
      }
      await sleep(20);
    }
  }

  async stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<number> {
    if (this.running) this.#child.kill(signal);
    return this.ended;
  }
}

export class Host {
  readonly #lab: Lab;
  readonly name: string;
  readonly namespace: string;

  constructor(lab: Lab, name: string, namespace: string) {
    this.#lab = lab;
    this.name = name;
    this.namespace = namespace;
  }

  /** The command line that runs `command` inside this host; throws when the lab is closed. */
  inside(command: string, args: readonly string[]): [string, string[]] {
    if (this.#lab.closed) throw new Error('the lab is closed');
    return ['nsenter', [`--net=/run/netns/${this.namespace}`, command, ...args]];
  }

  /** Runs a command to its end, with `input` to read; never throws for an exit code. */
  async try(
    command: string,
    args: readonly string[],
    timeoutMs = 20_000,
    input = '',
  ): Promise<Outcome> {
    const [file, rest] = this.inside(command, args);
    try {
      const running = execFileAsync(file, rest, { timeout: timeoutMs, maxBuffer: 1 << 26 });
      running.child.stdin?.on('error', () => {}).end(input);
      const { stdout, stderr } = await running;
      return { code: 0, stdout, stderr };
    } catch (error) {
      const failed = error as { code?: number | string; stdout?: string; stderr?: string };
      const code = typeof failed.code === 'number' ? failed.code : 124;
      return { code, stdout: failed.stdout ?? '', stderr: failed.stderr ?? String(error) };
    }
  }

  /** Runs a command to its end and returns what it printed; throws when it fails. */
  async run(command: string, args: readonly string[], timeoutMs = 20_000): Promise<string> {
    const outcome = await this.try(command, args, timeoutMs);
    if (outcome.code !== 0) {
      const line = [command, ...args].join(' ');
      throw new Error(
        `${this.name}: ${line}: exit ${outcome.code}\n${outcome.stdout}${outcome.stderr}`,
      );
    }
    return outcome.stdout;
  }

  /** `ip` with the words of `line`. */
  ip(line: string): Promise<string> {
    return this.run('ip', line.split(' '));
  }

  /** Starts a command that runs until it is stopped or the lab closes. */
  start(
    command: string,
    args: readonly string[],
    environment: Record<string, string> = {},
  ): Service {
    const [file, rest] = this.inside(command, args);
    const child = spawn(file, rest, {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, ...environment },
    });
    const service = new Service(child);
    this.#lab.services.push(service);
    return service;
  }
}

export class Lab {
  /** Random, short enough to be the start of a namespace's or a device's name. */
  readonly id = randomBytes(3).toString('hex');
  readonly directory = mkdtempSync(join(tmpdir(), 'sixway-lab-'));
  readonly services: Service[] = [];
  readonly #hosts: Host[] = [];
  #closed = false;
  readonly #cleanups: (() => Promise<void> | void)[] = [];

  async host(name: string): Promise<Host> {
    const namespace = `sw${this.id}-${name}`;
    const host = new Host(this, name, namespace);
    // Known before it is there, so that a lab that closes meanwhile takes it along.
    this.#hosts.push(host);
    await execFileAsync('ip', ['netns', 'add', namespace]);
    if (this.#closed) {
      await execFileAsync('ip', ['netns', 'del', namespace]).catch(() => {});
      throw new Error('the lab is closed');
    }
    await host.ip('link set lo up');
    // No router advertisements and no duplicate address detection: addresses work at once.
    await host.run('sysctl', [
      '-qw',
      'net.ipv6.conf.all.accept_dad=0',
      'net.ipv6.conf.default.accept_dad=0',
      'net.ipv6.conf.default.accept_ra=0',
      'net.ipv4.conf.default.rp_filter=0',
      'net.ipv4.conf.all.rp_filter=0',
    ]);
    return host;
  }

  /** A cable between two hosts; both ends are up. */
  async cable(a: Host, deviceA: string, b: Host, deviceB: string): Promise<void> {
    // Made in the namespaces themselves, under their final names: nothing appears in the root one.
    await a.ip(`link add name ${deviceA} type veth peer name ${deviceB} netns ${b.namespace}`);
    await a.ip(`link set ${deviceA} up`);
    await b.ip(`link set ${deviceB} up`);
  }

  /** Runs when the lab closes, last registered first, before the namespaces go. */
  onClose(cleanup: () => Promise<void> | void): void {
    this.#cleanups.push(cleanup);
  }

  get closed(): boolean {
    return this.#closed;
  }

  async close(): Promise<void> {
    const failures: unknown[] = [];
    for (const service of this.services) await service.stop('SIGKILL');
    for (const cleanup of this.#cleanups.reverse()) {
      try {
        await cleanup();
      } catch (error) {
        failures.push(error);
      }
    }
    // From here on nothing can be started; what was started by the clean-ups' neighbours ends too.
    this.#closed = true;
    for (const service of this.services) await service.stop('SIGKILL');
    for (const host of this.#hosts) {
      if (!existsSync(`/run/netns/${host.namespace}`)) continue;
      await execFileAsync('ip', ['netns', 'del', host.namespace]).catch((error: unknown) => {
        failures.push(error);
      });
    }
    rmSync(this.directory, { recursive: true, force: true });
    if (failures.length > 0) throw new AggregateError(failures, 'the lab left something behind');
  }
}

/** Builds a lab, runs `body` in it, and takes it down whatever happens. */
export async function withLab(body: (lab: Lab) => Promise<void>): Promise<void> {
  const lab = new Lab();
  try {
    await body(lab);
  } finally {
    await lab.close();
  }
}

export function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** Repeats `probe` until it returns something, or fails with `what` after `timeoutMs`. */
export async function eventually<T>(
  what: string,
  probe: () => Promise<T | undefined | false>,
  timeoutMs = 10_000,
): Promise<T> {
  const deadline = Date.now() + timeoutMs;
  for (;;) {
    const value = await probe();
    if (value !== undefined && value !== false) return value;
    if (Date.now() > deadline) throw new Error(`did not happen in ${timeoutMs} ms: ${what}`);
    await sleep(50);
  }
}
