// Keeps benches from measuring each other: who has the name may run, the others wait. The kernel takes the
// name back when its process ends, however it ends.

import { createServer } from 'node:net';
import { sleep } from '../test/lab/lab.ts';

const NAME = '\0sixway-bench';

/** Resolves when no other bench runs on this machine; none begins before this process ends. */
export async function waitForOthers(): Promise<void> {
  for (let told = false; !(await take()); told = true) {
    if (!told) console.log('waiting for another bench on this machine to end');
    await sleep(1000);
  }
}

function take(): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'EADDRINUSE') resolve(false);
      else reject(error);
    });
    server.listen(NAME, () => {
      server.unref();
      resolve(true);
    });
  });
}
