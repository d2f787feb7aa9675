// What the bench measures: the rows of its table, and how a user picks among them.

import { parseArgs } from 'node:util';
import type { Segments } from './tcp.ts';
import { type Encapsulation, PATHS, type Path } from './topology.ts';

export const WORKS = ['decap', 'encap', 'tcp-up', 'tcp-down', 'rtt'] as const;
export type Work = (typeof WORKS)[number];

/** Everything but the path: what paths are compared in. */
export interface Subject {
  readonly work: Work;
  readonly encapsulation: Encapsulation;
  readonly tunnels: number;
  readonly segments?: Segments;
}

export interface Plan {
  readonly paths: readonly Path[];
  readonly subjects: readonly Subject[];
  readonly rounds: number;
  readonly seconds: number;
  readonly output: string;
}

export const USAGE = `make bench-dataplane ARGS='…'
  --work ${WORKS.join('|')}      once or several times; without: all, and so for the next ones
  --path ${PATHS.join('|')}
  --encapsulation v6udpv4|v6v4
  --tunnels N                 of small packets: how many tunnels they belong to
  --segments wire|super       of TCP: what the hosts send
  --rounds N                  each round measures every path once
  --seconds S                 of each measurement
  --output FILE               where the results go as JSON`;

/** Throws with what is wrong about the arguments. */
export function planFrom(args: string[]): Plan {
  const { values } = parseArgs({
    args,
    options: {
      work: { type: 'string', multiple: true },
      path: { type: 'string', multiple: true },
      encapsulation: { type: 'string', multiple: true },
      tunnels: { type: 'string', multiple: true },
      segments: { type: 'string', multiple: true },
      rounds: { type: 'string', default: '5' },
      seconds: { type: 'string', default: '1' },
      output: { type: 'string', default: 'bench/results/dataplane.json' },
    },
  });
  const works = chosen('work', values.work, WORKS);
  // A ratio needs what it is a ratio to.
  const paths = PATHS.filter(
    (path) => path === 'plain' || chosen('path', values.path, PATHS).includes(path),
  );
  const encapsulations = chosen('encapsulation', values.encapsulation, ['v6udpv4', 'v6v4']);
  const tunnels = (values.tunnels ?? ['1', '50000', '1000000']).map((text) =>
    number('tunnels', text, 1_000_000),
  );
  const segments = chosen('segments', values.segments, ['wire', 'super']);
  const subjects: Subject[] = [];
  for (const encapsulation of encapsulations)
    for (const work of works) {
      if (work === 'decap' || work === 'encap')
        for (const count of tunnels) subjects.push({ work, encapsulation, tunnels: count });
      else if (encapsulation === 'v6v4' && encapsulations.length > 1) continue;
      else if (work === 'rtt') subjects.push({ work, encapsulation, tunnels: 1 });
      else
        for (const kind of segments)
          subjects.push({ work, encapsulation, tunnels: 1, segments: kind });
    }
  return {
    ...{ paths, subjects, output: values.output },
    rounds: number('rounds', values.rounds, 100),
    seconds: number('seconds', values.seconds, 60),
  };
}

function chosen<T extends string>(
  option: string,
  values: string[] | undefined,
  possible: readonly T[],
): T[] {
  const wrong = values?.find((value) => !possible.some((one) => one === value));
  if (wrong !== undefined) throw new Error(`--${option} is one of ${possible.join(', ')}`);
  return possible.filter((one) => values === undefined || values.includes(one));
}

function number(option: string, text: string, largest: number): number {
  const value = Number(text);
  if (!(value > 0 && value <= largest)) throw new Error(`--${option} is at most ${largest}`);
  return value;
}
