// Holds the house's rules: who may import whom, no cycles, no file above its ceiling, three doors to
// foreign functions.

import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { builtinModules } from 'node:module';
import { dirname, join, relative } from 'node:path';
import { test } from 'node:test';

const root = join(import.meta.dirname, '..');
const source = join(root, 'src');

interface Rule {
  readonly from: string;
  readonly may: readonly string[];
  readonly why: string;
}

// A room is a folder of src/ or a file in it. `node:*` means any built-in module.
const RULES: readonly Rule[] = [
  { from: 'address', may: [], why: 'values know nothing of where they are used' },
  { from: 'queue-map', may: [], why: 'a container, whatever is in it' },
  {
    from: 'tsp',
    may: ['address', 'queue-map', 'saxes', 'node:crypto', 'node:buffer'],
    why: 'the protocol is pure: no sockets, clock, randomness, store',
  },
  { from: 'store', may: ['address', 'kysely', 'node:*'], why: 'all SQL, and nothing but SQL' },
  { from: 'dataplane', may: ['address', 'koffi', 'node:*'], why: 'a cache of what others decide' },
  {
    from: 'broker',
    may: ['address', 'queue-map', 'store', 'dataplane', 'peers', 'node:*'],
    why: 'decides; knows no protocol and no socket',
  },
  { from: 'config', may: ['address', 'smol-toml', 'node:*'], why: 'is read before all else' },
  {
    from: 'parts',
    may: ['address', 'broker', 'config', 'store', 'node:*'],
    why: 'opens what the configuration names; for the joiners',
  },
  { from: 'host', may: ['address', 'node:*'], why: 'facts about the machine only' },
  { from: 'metrics', may: ['prom-client', 'node:*'], why: 'names and numbers, pulled or pushed' },
  {
    from: 'tsp-server',
    may: ['address', 'queue-map', 'tsp', 'broker', 'datagram-batches', 'metrics', 'pino', 'node:*'],
    why: 'joins sockets, sessions and broker; never the store or the kernel',
  },
  {
    from: 'datagram-batches',
    may: ['address', 'koffi', 'node:*'],
    why: 'two system calls; nothing of what they carry',
  },
  {
    from: 'live',
    may: ['address', 'broker', 'dataplane', 'store', 'node:*'],
    why: 'tells what is, to who may not look; can only be read',
  },
  {
    from: 'client',
    may: ['address', 'tsp', 'dataplane', 'host', 'node:*'],
    why: 'speaks TSP and owns a tunnel device; shares nothing with the broker',
  },
  {
    from: 'bench',
    may: ['address', 'tsp', 'koffi', 'node:*'],
    why: 'plays clients from outside; what it measures it must not share',
  },
  {
    from: 'web',
    may: [
      'address',
      'broker',
      'metrics',
      'setup',
      '@fastify/cookie',
      '@fastify/formbody',
      '@fastify/swagger',
      '@fastify/type-provider-typebox',
      'fastify',
      'nodemailer',
      'pino',
      'typebox',
      'uqr',
      'node:*',
    ],
    why: 'pages and API; never the store or the kernel, only what a desk of the broker offers',
  },
  {
    from: 'setup',
    may: ['address'],
    why: 'words and commands made of the facts of one tunnel; pure',
  },
  {
    from: 'doctor',
    may: ['address', 'config', 'host', 'dataplane', 'store', 'node:*'],
    why: 'looks at everything, changes nothing',
  },
];
// These join the parts and nobody imports them (the command line starts `serve` from main).
const JOINERS = ['cli', 'main'];

function filesBelow(folder: string): string[] {
  return readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.ts'))
    .map((name) => join(folder, name));
}

function importsOf(file: string): string[] {
  const text = readFileSync(file, 'utf8');
  return [...text.matchAll(/(?:^|\n)(?:import|export)[^;]*?from\s+'([^']+)'/g)]
    .concat([...text.matchAll(/import\('([^']+)'\)/g)])
    .map((match) => match[1] ?? '');
}

function roomOf(file: string): string {
  const [first = ''] = relative(source, file).split('/');
  return first.replace(/\.ts$/, '');
}

const files = filesBelow(source);

test('every import keeps to the table of rooms', () => {
  for (const file of files) {
    const room = roomOf(file);
    if (JOINERS.includes(room)) continue;
    const rule = RULES.find(({ from }) => from === room);
    assert.ok(rule, `${relative(root, file)}: the room ${room} has no rule`);
    for (const target of importsOf(file)) {
      const to = target.startsWith('.') ? roomOf(join(dirname(file), target)) : target;
      if (to === room) continue;
      const builtin = target.startsWith('node:') && builtinModules.includes(target.slice(5));
      const allowed =
        rule.may.includes(to) ||
        (rule.may.includes('node:*') && (builtin || target.startsWith('node:')));
      assert.ok(allowed, `${relative(root, file)} imports ${target}; ${room}: ${rule.why}`);
    }
  }
});

test('nobody imports the joiners', () => {
  for (const file of files) {
    if (JOINERS.includes(roomOf(file))) continue;
    for (const target of importsOf(file)) {
      const to = target.startsWith('.') ? roomOf(join(dirname(file), target)) : target;
      assert.ok(!JOINERS.includes(to), `${relative(root, file)} imports ${target}`);
    }
  }
});

test('no import leads round in a circle', () => {
  const done = new Set<string>();
  const visit = (file: string, path: readonly string[]) => {
    assert.ok(
      !path.includes(file),
      `circle: ${[...path, file].map((f) => relative(root, f)).join(' -> ')}`,
    );
    if (done.has(file)) return;
    for (const target of importsOf(file)) {
      if (target.startsWith('.')) visit(join(dirname(file), target), [...path, file]);
    }
    done.add(file);
  };
  for (const file of files) visit(file, []);
});

test('no source file is longer than 600 lines', () => {
  const all = [
    ...files,
    ...['test', 'tools', 'bench']
      .map((name) => join(root, name))
      .filter((folder) => existsSync(folder))
      .flatMap(filesBelow),
  ];
  for (const file of all) {
    // Nobody reads what is generated.
    if (file.endsWith('.gen.ts')) continue;
    const lines = readFileSync(file, 'utf8').split('\n').length - 1;
    assert.ok(lines <= 600, `${relative(root, file)} has ${lines} lines`);
  }
});

test('foreign functions are called in three files only', () => {
  // The kernel's maps, the server's batches of datagrams, and the load generator's.
  const doors = ['dataplane/native.ts', 'datagram-batches.ts', 'bench/sockets.ts'];
  for (const file of files) {
    if (doors.includes(relative(source, file))) continue;
    assert.ok(!importsOf(file).includes('koffi'), relative(root, file));
  }
});
