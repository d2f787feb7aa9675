// How many logins a minute the server bears on this machine: the real `sixway serve` and the real
// `sixway bench run` in namespaces. `make bench-signalling` (root); writes bench/results/signalling.json.

import { mkdirSync, writeFileSync } from 'node:fs';
import { cpus } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { withLab } from '../test/lab/lab.ts';
import {
  buildSignallingLab,
  ownProcessors,
  runGenerator,
  startBenchedServer,
} from './signalling-lab.ts';

const RESULTS = join(import.meta.dirname, 'results', 'signalling.json');

const { values: flags } = parseArgs({
  options: {
    seconds: { type: 'string', default: '60' },
    warmup: { type: 'string', default: '5' },
    users: { type: 'string', default: '300000' },
    mechanism: { type: 'string', default: 'DIGEST-MD5' },
    concurrency: { type: 'string' },
    rate: { type: 'string' },
    'prefix-length': { type: 'string' },
    /** Also leave server and namespaces running until the end of this many seconds. */
    'dry-run': { type: 'boolean', default: false },
  },
});

const passedOn = (['concurrency', 'rate', 'prefix-length'] as const).flatMap((name) =>
  flags[name] === undefined ? [] : [`--${name}`, flags[name]],
);

await withLab(async (lab) => {
  const place = await buildSignallingLab(lab);
  const { server: serverCpu, generator } = ownProcessors();
  const anonymous = flags.mechanism === 'ANONYMOUS';
  const users = Number(flags.users);
  const server = await startBenchedServer(place, users, {
    ...(serverCpu !== undefined && { cpu: serverCpu }),
    log: console.log,
  });
  console.log(`The server is process ${server.service.pid} in namespace ${place.server.namespace}`);
  const result = await runGenerator(
    place,
    [
      ...['--mechanism', flags.mechanism, '--server-pid', String(server.service.pid)],
      ...(anonymous ? [] : ['--users', flags.users, '--secret', server.secret]),
      ...['--warmup', flags.warmup, '--duration', flags.seconds],
      ...passedOn,
    ],
    { ...(generator !== undefined && { cpu: generator }) },
  );
  console.log(result);
  const report = {
    ...result,
    machine: { cpu: cpus()[0]?.model, cpus: cpus().length, node: process.version },
    measuredAt: new Date().toISOString(),
  };
  mkdirSync(join(RESULTS, '..'), { recursive: true });
  if (!flags['dry-run']) writeFileSync(RESULTS, `${JSON.stringify(report, null, 2)}\n`);
});
