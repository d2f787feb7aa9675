// Where the time of a CPU profile went: its functions by their own time, the most first.

import { readFileSync } from 'node:fs';
import { basename, dirname } from 'node:path';
import { printTable } from '../src/cli/output.ts';

interface Profile {
  readonly nodes: readonly {
    readonly id: number;
    readonly callFrame: {
      readonly functionName: string;
      readonly url: string;
      readonly lineNumber: number;
    };
  }[];
  readonly samples: readonly number[];
  readonly timeDeltas: readonly number[];
}

const [file = '', rows = '40'] = process.argv.slice(2);
const { nodes, samples, timeDeltas } = JSON.parse(readFileSync(file, 'utf8')) as Profile;
const places = new Map(
  nodes.map(({ id, callFrame: { functionName, url, lineNumber } }) => {
    const place = url === '' ? '' : `${basename(dirname(url))}/${basename(url)}:${lineNumber + 1}`;
    return [id, `${functionName || '(anonymous)'} ${place}`];
  }),
);
const own = new Map<string, number>();
let total = 0;
for (const [index, id] of samples.entries()) {
  const place = places.get(id) ?? '';
  const us = timeDeltas[index] ?? 0;
  own.set(place, (own.get(place) ?? 0) + us);
  total += us;
}
console.log(`${(total / 1e6).toFixed(1)} s`);
printTable(
  ['%', 'function'],
  [...own]
    .sort(([, a], [, b]) => b - a)
    .slice(0, Number(rows))
    .map(([place, us]) => [Number(((us / total) * 100).toFixed(1)), place]),
);
