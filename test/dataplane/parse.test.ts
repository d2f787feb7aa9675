import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';

test('the parser reads nothing outside a packet, and accepts nothing that is not inside', (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'sixway-parse-'));
  t.after(() => rmSync(directory, { recursive: true }));
  const program = join(directory, 'parse-fuzz');
  const include = `-I${join(import.meta.dirname, '../../bpf')}`;
  const source = join(import.meta.dirname, 'parse-fuzz.c');
  execFileSync('clang', ['-O1', '-Wall', '-Wextra', '-Werror', include, source, '-o', program]);
  const seed = String(Date.now());
  t.diagnostic(`seed ${seed}: ${execFileSync(program, ['3000000', seed], { encoding: 'utf8' })}`);
});
