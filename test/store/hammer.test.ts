// Several processes on one database: the database, not the processes, keeps the prefixes apart.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { it } from 'node:test';
import { formatIpv6Prefix } from '../../src/address.ts';
import { openStore } from './open-store.ts';
import { addDelegations, addLinks } from './requests.ts';

const PROCESSES = 4;
const TUNNELS_EACH = 750;

it('gives no prefix twice and loses none when four processes allocate at once', async (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'sixway-hammer-'));
  t.after(() => rmSync(directory, { recursive: true }));
  const location = `sqlite:${join(directory, 'sixway.db')}`;
  const store = await openStore(location);
  t.after(() => store.close());
  await addLinks(store);
  await addDelegations(store);

  const outputs = await Promise.all(
    Array.from({ length: PROCESSES }, async (_, i) => {
      const worker = spawn(
        process.execPath,
        [
          join(import.meta.dirname, 'hammer-worker.ts'),
          location,
          `worker${i}`,
          String(TUNNELS_EACH),
          'closing',
        ],
        { stdio: ['ignore', 'pipe', 'inherit'] },
      );
      const [output, code] = await Promise.all([
        text(worker.stdout),
        new Promise((resolve) => worker.on('exit', resolve)),
      ]);
      assert.equal(code, 0);
      return output;
    }),
  );

  const kept = outputs.flatMap((output) => output.trimEnd().split('\n'));
  const tunnels = await store.tunnelsAfter(0, 1_000_000);
  assert.equal(kept.length, (PROCESSES * TUNNELS_EACH * 2) / 3);
  assert.deepEqual(
    tunnels.map((tunnel) => `${tunnel.user?.name} ${tunnel.slot}`).sort(),
    kept.toSorted(),
  );
  const distinct = (of: (tunnel: (typeof tunnels)[number]) => unknown) =>
    assert.equal(new Set(tunnels.map(of)).size, tunnels.length);
  distinct((tunnel) => tunnel.slot);
  distinct((tunnel) => formatIpv6Prefix(tunnel.link));
  distinct((tunnel) => formatIpv6Prefix(tunnel.delegation!));
  const usage = await store.poolUsage();
  assert.deepEqual(
    usage.map((pool) => pool.leased),
    [tunnels.length, tunnels.length],
  );
});
