// Does in a host what instructions say, word for word: writes their files, runs their commands in one
// shell, checks, undoes. It has an /etc and a /run of its own, so the machine keeps its own, and a small
// stand-in for systemctl, which runs a unit's ExecStart= and nothing more.

import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Host, Lab, Outcome } from './lab.ts';

/** A step as `sixway tunnel config --json` prints it. */
export interface WrittenStep {
  readonly text?: string;
  readonly code?: string;
  readonly language?: string;
  readonly path?: string;
  readonly mode?: string;
  /** The command runs until it is stopped. */
  readonly foreground?: boolean;
}

export interface WrittenInstructions {
  readonly setUp: readonly WrittenStep[];
  readonly check: readonly WrittenStep[];
  readonly undo: readonly WrittenStep[];
}

const SIXWAY = join(import.meta.dirname, '../../bin/sixway');

const SYSTEMCTL = `#!/bin/bash
verb=$1; shift
[ "\${1:-}" = --now ] && shift
unit=/etc/systemd/system/\${1:-}.service
[ -f "$unit" ] || exit 0
case $verb in
enable) eval "exec setsid $(sed -n 's/^ExecStart=//p' "$unit")" >"/run/$1.log" 2>&1 & echo $! >"/run/$1.pid" ;;
disable)
  pid=$(cat "/run/$1.pid"); kill "$pid"
  for _ in $(seq 100); do kill -0 "$pid" 2>/dev/null || break; sleep 0.1; done
  rm "/run/$1.pid" "/run/$1.log" ;;
esac
`;

/** What the host has that instructions could leave behind. */
const STATE = `
state() {
  ip -o link | sed 's/^[0-9]*: //; s/@.*//' | sort
  ip -o -6 address show scope global | awk '{ print $2, $4 }' | sort
  ip -6 route show | sed '/^fe80/d' | sort
  ip fou show 2>/dev/null || true
  find /etc /run -type f | sort
}
`;

export interface AsWritten extends Outcome {
  /** What is there afterwards and was not before, and the reverse: interfaces, addresses, routes, files. */
  readonly left: readonly string[];
  readonly gone: readonly string[];
}

/**
 * Runs set-up, `whileUp` (more lines of shell), check and undo; an error ends it. `files` replaces
 * words in files, for what is never printed. `hosts` are lines of /etc/hosts.
 */
export async function runAsWritten(
  lab: Lab,
  host: Host,
  { setUp, check, undo }: WrittenInstructions,
  options: {
    readonly replace: Readonly<Record<string, string>>;
    readonly hosts: string;
    readonly gateway?: string;
    readonly whileUp?: string;
  },
): Promise<AsWritten> {
  const directory = join(lab.directory, `${host.name}-as-written`);
  const bin = join(directory, 'bin');
  mkdirSync(bin, { recursive: true });
  symlinkSync(SIXWAY, join(bin, 'sixway'));
  writeFileSync(join(bin, 'systemctl'), SYSTEMCTL, { mode: 0o755 });
  // Where a kernel has a module built in and no list of such, the real one fails.
  writeFileSync(join(bin, 'modprobe'), '#!/bin/sh\n/sbin/modprobe "$@" || true\n', { mode: 0o755 });

  let blocks = 0;
  const inShell = (step: WrittenStep): string[] => {
    if (step.code === undefined) return [];
    const block = join(directory, `block-${blocks++}`);
    let content = `${step.code}\n`;
    if (step.path !== undefined)
      for (const [word, value] of Object.entries(options.replace))
        content = content.replaceAll(word, value);
    writeFileSync(block, content);
    if (step.path !== undefined) return [`install -D -m ${step.mode} ${block} ${step.path}`];
    if (step.language !== 'sh') throw new Error(`nothing here runs ${step.language}`);
    if (step.foreground) {
      return [
        `setsid bash ${block} >${block}.out 2>&1 & running=$!`,
        `for _ in $(seq 150); do grep -q 'gateway answers' ${block}.out && break; sleep 0.1; done`,
        `cat ${block}.out; grep -q 'gateway answers' ${block}.out`,
        // All of its group: the shell goes at once, and the client when it has tidied up.
        'kill -- -$running',
        'while kill -0 -- -$running 2>/dev/null; do wait $running || true; sleep 0.1; done',
      ];
    }
    return [`. ${block}`];
  };
  const { gateway } = options;
  const script = join(directory, 'script');
  writeFileSync(
    script,
    [
      `export PATH=${bin}:$PATH`,
      `cp -a /etc ${directory}/etc; mount --bind ${directory}/etc /etc`,
      'mount -t tmpfs none /run',
      `echo '${options.hosts}' >>/etc/hosts`,
      STATE,
      'set -eE; trap \'echo "failed: $BASH_COMMAND" >&2\' ERR',
      `state >${directory}/before`,
      ...setUp.flatMap(inShell),
      'echo done: set up',
      ...(gateway === undefined
        ? []
        : [
            `for _ in $(seq 100); do ping -6 -c 1 -W 1 ${gateway} >/dev/null && break; sleep 0.1; done`,
          ]),
      options.whileUp ?? '',
      ...check.flatMap(inShell),
      'echo done: check',
      ...undo.flatMap(inShell),
      'echo done: undo',
      `state >${directory}/after`,
      `cat ${directory}/before; echo ----; cat ${directory}/after`,
    ].join('\n'),
  );
  const outcome = await host.try('unshare', ['--mount', 'bash', script], 90_000);
  const states = /^done: undo\n(.*)----\n(.*)$/ms.exec(outcome.stdout);
  const before = states?.[1]?.split('\n') ?? [];
  const after = states?.[2]?.split('\n') ?? [];
  return {
    ...outcome,
    stdout: outcome.stdout.slice(0, states?.index),
    left: after.filter((line) => !before.includes(line)),
    gone: before.filter((line) => !after.includes(line)),
  };
}
