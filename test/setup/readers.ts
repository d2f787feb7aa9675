// Strict readers of what instructions are written in, as far as instructions use it; whatever else they
// find is an error.

import { spawnSync } from 'node:child_process';

/** Sections by name, in order, since some appear twice. */
export function parseIni(text: string): Record<string, Record<string, string>[]> {
  const sections: Record<string, Record<string, string>[]> = {};
  let current: Record<string, string> | undefined;
  for (const line of text.split('\n')) {
    const header = /^\[([A-Za-z0-9]+)\]$/.exec(line)?.[1];
    const [, name, value] = /^([A-Za-z0-9]+)=(\S.*)$/.exec(line) ?? [];
    if (line === '') continue;
    if (header !== undefined) {
      current = {};
      sections[header] = [...(sections[header] ?? []), current];
    } else if (name !== undefined && value !== undefined && current) {
      if (name in current) throw new Error(`${name} twice in a section`);
      current[name] = value;
    } else {
      throw new Error(`not a line of an INI file: ${line}`);
    }
  }
  return sections;
}

type Yaml = string | Yaml[] | { [key: string]: Yaml };

interface Line {
  readonly indent: number;
  readonly text: string;
}

/** Block mappings, block sequences and scalars; a plain scalar may hold no colon. */
export function parseYaml(text: string): Yaml {
  const lines = text.split('\n').map((line): Line => {
    if (line.trim() === '' || /\t|\s$/.test(line)) throw new Error(`not plain YAML: '${line}'`);
    return { indent: line.search(/\S/), text: line.trim() };
  });
  const [value, rest] = readBlock(lines);
  if (rest.length > 0) throw new Error(`indented oddly: ${rest[0]?.text}`);
  return value;
}

function readBlock(lines: readonly Line[]): [Yaml, readonly Line[]] {
  const indent = lines[0]?.indent ?? 0;
  const sequence: Yaml[] = [];
  const mapping: { [key: string]: Yaml } = {};
  let rest = lines;
  while (rest[0]?.indent === indent) {
    const [{ text }, ...after] = rest as [Line, ...Line[]];
    if (text.startsWith('- ')) {
      // What stands behind the dash begins a block of its own, two columns further in.
      const inner = text.slice(2);
      const nested = isEntry(inner) ? [{ indent: indent + 2, text: inner }, ...after] : undefined;
      const [value, left] = nested ? readBlock(nested) : [scalar(inner), after];
      sequence.push(value);
      rest = left;
    } else {
      const [, key = '', inline = ''] = /^([a-z0-9]+):(?: (.+))?$/.exec(text) ?? [];
      if (key === '' || key in mapping) throw new Error(`not an entry: ${text}`);
      if (inline === '') [mapping[key], rest] = readBlock(after);
      else [mapping[key], rest] = [scalar(inline), after];
    }
  }
  if (sequence.length > 0 && Object.keys(mapping).length > 0) throw new Error('a mixed block');
  return [sequence.length > 0 ? sequence : mapping, rest];
}

function isEntry(text: string): boolean {
  return /^[a-z0-9]+:( |$)/.test(text);
}

function scalar(text: string): string {
  const quoted = /^"([^"\\]*)"$/.exec(text)?.[1];
  if (quoted !== undefined) return quoted;
  if (!/^[A-Za-z0-9./-]+$/.test(text)) throw new Error(`needs quotes: ${text}`);
  return text;
}

/** What bash makes of a simple command. */
export function shellWords(command: string): string[] {
  const { stdout, status } = spawnSync('bash', ['-c', `printf '%s\\0' ${command}`], {
    encoding: 'utf8',
  });
  if (status !== 0) throw new Error(`bash does not read ${command}`);
  return stdout.split('\0').slice(0, -1);
}

/** The words of an ExecStart= line (systemd.service(5)), without variables. */
export function systemdWords(line: string): string[] {
  const words = [...line.matchAll(/"((?:[^"\\]|\\.)*)"|([^\s"'\\]+)/g)].map(
    ([, quoted, plain]) => quoted?.replace(/\\(.)/g, '$1') ?? plain ?? '',
  );
  return words.map((word) => {
    if (/(?<!\$)(\$\$)*\$(?!\$)/.test(word) || /(?<!%)(%%)*%(?!%)/.test(word))
      throw new Error(`a specifier or variable in ${word}`);
    return word.replaceAll('$$', '$').replaceAll('%%', '%');
  });
}
