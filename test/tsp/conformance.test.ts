// Holds docs/tsp.md: each rule of its tables names at least one test, and every test named exists.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { HEADER_OCTETS } from '../../src/tsp/framing.ts';
import type { Mechanism } from '../../src/tsp/messages.ts';
import { VERSION_PADDING } from '../../src/tsp/opening.ts';
import { writeBase64 } from '../../src/tsp/sasl.ts';
import { writeScramFirst } from '../../src/tsp/scram.ts';
import { Wire } from './wire.ts';

const root = join(import.meta.dirname, '../..');
const page = readFileSync(join(root, 'docs/tsp.md'), 'utf8');
const conformance = page.slice(page.indexOf('## Conformance'));

interface Reference {
  readonly rule: string;
  readonly file: string;
  readonly name: string;
}

/** The rows of the conformance tables, and what each names. */
const rows = conformance
  .split('\n')
  .filter((line) => /^\| (?!Rule |---)/.test(line))
  .map((line) => {
    const [, rule = '', source = '', held = ''] = line.split(' | ').length === 3 ? cells(line) : [];
    return { line, rule, source, held };
  });

const references: readonly Reference[] = rows.flatMap(({ rule, held }) =>
  [...held.matchAll(/`(test\/[^`]+\.ts)`: "([^"]+)"/g)].map(([, file = '', name = '']) => ({
    rule,
    file,
    name,
  })),
);

function cells(line: string): string[] {
  return ['', ...line.replace(/^\| | \|$/g, '').split(' | ')];
}

/** The titles of a test file; a part that is filled in at run time stands for any text. */
function titlesOf(file: string): readonly RegExp[] {
  const text = readFileSync(join(root, file), 'utf8');
  return [...text.matchAll(/\btest\(\s*(['`])((?:(?!\1).)+)\1/gs)].map(([, , title = '']) => {
    const parts = title.split(/\$\{[^}]*\}/);
    const escaped = parts.map((part) => part.replace(/[.*+?^${}()|[\]\\]/g, '\\$&'));
    return new RegExp(`^${escaped.join('.+')}$`);
  });
}

test('every rule has a source and a test', () => {
  assert.ok(rows.length > 80, `${rows.length} rules`);
  for (const { line, rule, source } of rows) {
    assert.ok(rule !== '' && source !== '', line);
    assert.ok(
      references.some((reference) => reference.rule === rule),
      line,
    );
  }
});

test('every test that is named exists', () => {
  const files = new Map<string, readonly RegExp[]>();
  for (const { file, name } of references) {
    const titles = files.get(file) ?? titlesOf(file);
    files.set(file, titles);
    assert.ok(titles.length > 0, file);
    assert.ok(
      titles.some((title) => title.test(name)),
      `${file} has no test "${name}"`,
    );
  }
});

test('what strangers are sent is as long as the page says', () => {
  const redirect = {
    phase: 'version',
    brokers: [
      { type: 'ipv4', text: '198.51.100.7' },
      { type: 'dn', text: 'tb2.example.net' },
    ],
  } as const;
  const mechanisms = ['SCRAM-SHA-256', 'DIGEST-MD5'] as const;
  const wire = new Wire({ mechanisms });
  const away = new Wire({ mechanisms, redirect });
  const greeting = 'VERSION=2.0.2\r\n';
  const cnonce = 'c'.repeat(32);
  const measured = (
    [
      [wire, greeting],
      [wire, greeting + VERSION_PADDING],
      [wire, 'ECHO REQUEST'],
      [wire, 'AUTHENTICATE DIGEST-MD5\r\n'],
      [wire, writeBase64(writeScramFirst('alice', cnonce))],
      [away, greeting],
    ] as const
  ).map(([server, text]) => {
    const answer = server.say(1, text)[0] ?? '';
    const [request, reply] = [text, answer].map((each) => 20 + 8 + HEADER_OCTETS + each.length);
    return [request!, reply!, (reply! / request!).toFixed(1)].join(' | ');
  });
  const table = page
    .slice(page.indexOf('| message |'))
    .split('\n')
    .slice(2, 2 + measured.length);
  const told = table.map((line) => {
    const [, , octets, , answer, ratio] = line.split('|').map((cell) => cell.trim());
    return [octets, answer, ratio].join(' | ');
  });
  assert.deepEqual(told, measured);

  // PLAIN besides fits, ANONYMOUS does not.
  const length = (more: Mechanism) =>
    (new Wire({ mechanisms: ['DIGEST-MD5', more] }).say(1, greeting)[0] ?? '').length + 36;
  assert.deepEqual(
    [length('PLAIN') / 51, length('ANONYMOUS') / 51].map((ratio) => ratio.toFixed(1)),
    ['2.0', '2.1'],
  );
});
