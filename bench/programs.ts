// Compiles what the bench is made of besides TypeScript. The C programs stand for what others would use,
// so they are compiled as others would.

import { execFileSync } from 'node:child_process';
import { join } from 'node:path';

const HERE = import.meta.dirname;

/** Paths. */
export interface Programs {
  readonly generator: string;
  readonly tunForwarder: string;
  readonly tcpStream: string;
  readonly echo: string;
}

export function compilePrograms(directory: string): Programs {
  const warnings = ['-O2', '-Wall', '-Wextra', '-Werror'];
  const machine = execFileSync('uname', ['-m'], { encoding: 'utf8' }).trim();
  const generator = join(directory, 'generator.bpf.o');
  execFileSync('clang', [
    ...[...warnings, '-g', '-target', 'bpf', '-mcpu=v3', `-I/usr/include/${machine}-linux-gnu`],
    ...['-c', join(HERE, 'generator.bpf.c'), '-o', generator],
  ]);
  const compile = (name: string): string => {
    execFileSync('clang', [...warnings, join(HERE, `${name}.c`), '-o', join(directory, name)]);
    return join(directory, name);
  };
  return {
    generator,
    tunForwarder: compile('tun-forwarder'),
    tcpStream: compile('tcp-stream'),
    echo: compile('echo'),
  };
}
