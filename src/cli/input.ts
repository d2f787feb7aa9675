// What the command line asks of people: secrets, from a file, the environment, a pipe or a prompt
// that does not show what is typed. Never from an argument: those are visible to everybody.

import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline/promises';
import { Writable } from 'node:stream';
import { fail } from './output.ts';

/** The first line of `file`, else $SIXWAY_SECRET, else asked for when somebody is there to ask. */
export async function readSecret(question: string, file?: string): Promise<string | undefined> {
  if (file !== undefined) {
    try {
      return firstLine(readFileSync(file === '-' ? 0 : file, 'utf8'));
    } catch (error) {
      fail(`${file} cannot be read: ${(error as NodeJS.ErrnoException).code}`);
    }
  }
  const fromEnvironment = process.env.SIXWAY_SECRET;
  if (fromEnvironment !== undefined) return fromEnvironment;
  return process.stdin.isTTY ? ask(question) : undefined;
}

function firstLine(text: string): string {
  return text.split(/\r?\n/, 1)[0] ?? '';
}

async function ask(question: string): Promise<string> {
  const silent = new Writable({ write: (_chunk, _encoding, done) => done() });
  const lines = createInterface({ input: process.stdin, output: silent, terminal: true });
  process.stderr.write(question);
  try {
    return await lines.question('');
  } finally {
    process.stderr.write('\n');
    lines.close();
  }
}
