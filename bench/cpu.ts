// What the bench reads of the kernel about processes, threads and devices: CPU time, counters; and which
// CPU does what. CPU 0 is the hosts', CPU 1 the broker's.

import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';

export const HOSTS_CPU = 0;
export const BROKER_CPU = 1;

/** Threads of the kernel that receive for a device: their name begins with its. */
export function threadsOf(device: string): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .filter((pid) => {
      try {
        return readFileSync(`/proc/${pid}/comm`, 'utf8').startsWith(`napi/${device}-`);
      } catch {
        return false;
      }
    })
    .map(Number);
}

/** `nice` below 0 keeps what else the machine may be doing out of the way. */
export function place(pids: readonly number[], cpu: number, nice: number): void {
  for (const pid of pids) {
    execFileSync('taskset', ['-pc', String(cpu), String(pid)]);
    execFileSync('renice', ['-n', String(nice), '-p', String(pid)]);
  }
}

/** Before every ordinary process and thread. */
export function placeFirst(pid: number, cpu: number): void {
  execFileSync('taskset', ['-pc', String(cpu), String(pid)]);
  execFileSync('chrt', ['--fifo', '-p', '1', String(pid)]);
}

/** That they have run, all together. */
export function cpuTimeNs(pids: readonly number[]): number {
  return pids
    .map((pid) => Number(readFileSync(`/proc/${pid}/schedstat`, 'utf8').split(' ')[0]))
    .reduce((sum, ns) => sum + ns, 0);
}

export interface DeviceCounters {
  readonly received: number;
  readonly sent: number;
  /** Was to be sent, and was not. */
  readonly sendDropped: number;
}

/** Of a device in the network namespace of a process. */
export function deviceCounters(pid: number, device: string): DeviceCounters {
  const lines = readFileSync(`/proc/${pid}/net/dev`, 'utf8').split('\n');
  const line = lines.find((text) => text.trim().startsWith(`${device}:`));
  if (!line) throw new Error(`There is no device ${device}`);
  const fields = line
    .slice(line.indexOf(':') + 1)
    .trim()
    .split(/\s+/)
    .map(Number);
  const [received = 0, sent = 0, sendDropped = 0] = [fields[1], fields[9], fields[11]];
  return { received, sent, sendDropped };
}
