// Writes src/dataplane/layout.gen.ts from bpf/layout.h: compiles the header for the kernel's target,
// reads the type information (BTF) that the compiler leaves, and turns structs and enums into
// TypeScript. `--check` writes nothing and fails when the file in the tree is not what would come
// out. Needs clang and bpftool. It must not know what any field means.

import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { arch, tmpdir } from 'node:os';
import { join } from 'node:path';

const root = join(import.meta.dirname, '..');
const target = join(root, 'src/dataplane/layout.gen.ts');

const STRUCTS = [
  'tunnel',
  'tunnel_v4v6',
  'tunnel_faults',
  'tunnel_rate',
  'stray',
  'pool',
  'config',
  'client',
  'source',
  'budget',
  'outcome_count',
];
const ENUMS = [
  'limit',
  'encapsulation',
  'endpoint_bits',
  'tunnel_flag',
  'fault',
  'rate_key',
  'pool_kind',
  'signalling_share',
  'outcome',
];

interface BtfType {
  id: number;
  kind: string;
  name: string;
  size?: number;
  type_id?: number;
  nr_elems?: number;
  members?: { name: string; type_id: number; bits_offset: number }[];
  values?: { name: string; val: number }[];
}

export function generateLayout(): string {
  const types = readTypes();
  const find = (kind: string, name: string): BtfType => {
    const type = types.find((candidate) => candidate.kind === kind && candidate.name === name);
    if (!type) throw new Error(`bpf/layout.h has no ${kind.toLowerCase()} ${name}`);
    return type;
  };
  return [
    '// GENERATED from bpf/layout.h by tools/generate-layout.ts: do not edit.',
    '// Structs as the kernel keeps them, read and written at an offset of a DataView.',
    '',
    "const LITTLE = new Uint8Array(new Uint16Array([1]).buffer)[0] === 1; // the host's byte order",
    '',
    ...ENUMS.flatMap((name) => enumText(find('ENUM', name))),
    ...STRUCTS.flatMap((name) => structText(find('STRUCT', name), types)),
  ].join('\n');
}

/** The types of layout.h as the compiler describes them; a pointer to each keeps it from being left out. */
function readTypes(): BtfType[] {
  const directory = mkdtempSync(join(tmpdir(), 'sixway-layout-'));
  try {
    const object = join(directory, 'layout.o');
    const machine = arch() === 'arm64' ? 'aarch64' : arch() === 'x64' ? 'x86_64' : arch();
    const source = [
      '#include "layout.h"',
      ...STRUCTS.map((name) => `struct ${name} *use_${name};`),
      ...ENUMS.map((name) => `enum ${name} use_${name};`),
    ].join('\n');
    execFileSync(
      'clang',
      [
        ...['-x', 'c', '-g', '-O2', '-target', 'bpf', `-I/usr/include/${machine}-linux-gnu`],
        ...[`-I${join(root, 'bpf')}`, '-c', '-', '-o', object],
      ],
      { input: `${source}\n` },
    );
    const text = execFileSync('bpftool', ['btf', 'dump', '-j', 'file', object], {
      encoding: 'utf8',
    });
    return (JSON.parse(text) as { types: BtfType[] }).types;
  } finally {
    rmSync(directory, { recursive: true });
  }
}

function enumText(type: BtfType): string[] {
  const values = type.values ?? [];
  if (type.name === 'fault') return namesText(type, 'FAULT', 'enum fault of bpf/layout.h');
  if (type.name !== 'outcome')
    return [...values.map(({ name, val }) => `export const ${name} = ${val};`), ''];
  return namesText(type, 'OUTCOME', 'in_: from the IPv4 side, out_: to it. bpf/layout.h says more');
}

/** The names of an enum that counts from 0, in its order, and a type of them. */
function namesText(type: BtfType, prefix: string, meaning: string): string[] {
  const names = (type.values ?? []).filter(({ name }) => name !== `${prefix}_COUNT`);
  if (names.some(({ val }, index) => val !== index)) throw new Error(`${type.name}: not 0, 1, 2 …`);
  return [
    `/** By number; ${meaning}. */`,
    `export const ${prefix}_NAMES = [`,
    ...names.map(({ name }) => `  '${name.replace(`${prefix}_`, '').toLowerCase()}',`),
    '] as const;',
    '',
    `export type ${pascal(type.name)}Name = (typeof ${prefix}_NAMES)[number];`,
    '',
  ];
}

function structText(type: BtfType, types: BtfType[]): string[] {
  const fields = (type.members ?? [])
    .filter(({ name }) => !name.startsWith('reserved'))
    .map((member) => {
      if (member.bits_offset % 8 !== 0)
        throw new Error(`${type.name}.${member.name} is a bit field`);
      const declared = types.find(({ id }) => id === member.type_id);
      const array = declared?.kind === 'ARRAY' ? declared : undefined;
      const size = sizeOfInteger(array?.type_id ?? member.type_id, types);
      const count = array?.nr_elems;
      return { name: camel(member.name), offset: member.bits_offset / 8, size, count };
    });
  const name = pascal(type.name);
  const constant = type.name.toUpperCase();
  return [
    `export const ${constant}_SIZE = ${type.size};`,
    '',
    `export const ${constant}_OFFSET = {`,
    ...fields.map((field) => `  ${field.name}: ${field.offset},`),
    '} as const;',
    '',
    `export interface ${name}Layout {`,
    ...fields.map((field) => `  ${field.name}: ${typeText(field)};`),
    '}',
    '',
    `export function read${name}(view: DataView, at: number): ${name}Layout {`,
    '  return {',
    ...fields.map((field) => `    ${field.name}: ${readText(field)},`),
    '  };',
    '}',
    '',
    '/** Leaves reserved octets as they are. */',
    `export function write${name}(view: DataView, at: number, value: ${name}Layout): void {`,
    ...fields.map((field) => `  ${writeText(field)}`),
    '}',
    '',
  ];
}

interface Field {
  name: string;
  offset: number;
  /** Octets of one element. */
  size: number;
  /** Of an array. */
  count: number | undefined;
}

function typeText({ size, count }: Field): string {
  const element = size === 8 ? 'bigint' : 'number';
  return count === undefined ? element : `readonly ${element}[]`;
}

function readText(field: Field): string {
  const read = `view.get${accessor(field)}(${place(field)})`;
  return field.count === undefined
    ? read
    : `Array.from({ length: ${field.count} }, (_, index) => ${read})`;
}

function writeText(field: Field): string {
  const value = field.count === undefined ? `value.${field.name}` : 'element';
  const write = `view.set${accessor(field)}(${place(field).replace(/(, LITTLE)?$/, `, ${value}$1`)})`;
  return field.count === undefined
    ? `${write};`
    : `for (const [index, element] of value.${field.name}.entries()) ${write};`;
}

function accessor(field: Field): string {
  return field.size === 8 ? 'BigUint64' : `Uint${field.size * 8}`;
}

function place(field: Field): string {
  const index = field.count === undefined ? '' : ` + index * ${field.size}`;
  return `at + ${field.offset}${index}${field.size === 1 ? '' : ', LITTLE'}`;
}

function sizeOfInteger(typeId: number, types: BtfType[]): number {
  let type = types.find(({ id }) => id === typeId);
  while (type?.kind === 'TYPEDEF') {
    const next = type.type_id;
    type = types.find(({ id }) => id === next);
  }
  if (type?.kind !== 'INT' || type.size === undefined)
    throw new Error(`layout.h: only integers are understood, not ${type?.kind}`);
  return type.size;
}

function camel(name: string): string {
  return name.replace(/_([a-z0-9])/g, (_, letter: string) => letter.toUpperCase());
}

function pascal(name: string): string {
  return camel(`_${name}`);
}

if (import.meta.main) {
  const text = generateLayout();
  if (!process.argv.includes('--check')) {
    writeFileSync(target, text);
  } else if (readFileSync(target, 'utf8') !== text) {
    console.error('src/dataplane/layout.gen.ts is not what bpf/layout.h says.');
    process.exitCode = 1;
  }
}
