// The file of a Unix domain socket: whose it is, and that nobody else listens there.

import { chmodSync, chownSync, mkdirSync, readFileSync, rmSync } from 'node:fs';
import { connect, type Server } from 'node:net';
import { dirname } from 'node:path';

/** Its group may connect, besides its owner; nobody else. */
const MODE = 0o660;

/**
 * Makes `server` listen at `path`, in place of a file that a server which is gone has left. `group`: a
 * name or a number; '': the process's own. Rejects with Error.
 */
export async function listenAt(server: Server, path: string, group: string): Promise<void> {
  const gid = group === '' ? undefined : groupNumber(group);
  mkdirSync(dirname(path), { recursive: true, mode: 0o755 });
  if (await isAnswered(path)) throw new Error(`another server listens at ${path}`);
  rmSync(path, { force: true });
  // The file is made while this runs, and nobody may connect before it has its group.
  const before = process.umask(0o777 & ~0o600);
  try {
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(path, () => {
        server.off('error', reject);
        resolve();
      });
      process.umask(before);
    });
  } finally {
    process.umask(before);
  }
  if (gid !== undefined) chownSync(path, process.getuid?.() ?? 0, gid);
  chmodSync(path, MODE);
}

function isAnswered(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path);
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(false));
  });
}

/** Throws Error when there is no such group. */
function groupNumber(group: string): number {
  if (/^\d{1,10}$/.test(group)) return Number(group);
  const line = readFileSync('/etc/group', 'utf8')
    .split('\n')
    .find((each) => each.startsWith(`${group}:`));
  const number = line?.split(':')[2];
  if (number === undefined) throw new Error(`there is no group ${group}`);
  return Number(number);
}
