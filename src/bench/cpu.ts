// CPU time that a process of this machine has used, with its threads, its ended ones included, and its
// child processes. What the kernel does for it in interrupts is accounted to nobody and is not in here.

import { readdirSync, readFileSync } from 'node:fs';

/** What Linux counts in, on every architecture that we run on. */
const TICKS_PER_SECOND = 100;

/** Seconds of user and system time; undefined: there is no such process. */
export function cpuSecondsOf(pid: number): number | undefined {
  const own = statOf(pid);
  if (!own) return undefined;
  let ticks = own.ticks;
  const family = new Set([pid]);
  // A child has a higher number than its parent unless the numbers wrapped around.
  const all = readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .sort((a, b) => a - b);
  for (const each of all) {
    const stat = statOf(each);
    if (!stat || !family.has(stat.parent) || family.has(each)) continue;
    family.add(each);
    ticks += stat.ticks;
  }
  return ticks / TICKS_PER_SECOND;
}

/** proc_pid_stat(5); the command's name may hold blanks and parentheses. */
function statOf(pid: number): { readonly parent: number; readonly ticks: number } | undefined {
  let text: string;
  try {
    text = readFileSync(`/proc/${pid}/stat`, 'latin1');
  } catch {
    return undefined;
  }
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
  return { parent: Number(fields[1]), ticks: Number(fields[11]) + Number(fields[12]) };
}
