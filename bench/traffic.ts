// What one sample of the traffic history costs: TUNNELS tunnels of which every one has moved something,
// on real maps and a real store, with a transaction like a login's beside it every five milliseconds. Run as
// root: `node bench/traffic.ts 50000`. Prints milliseconds.

import { closeSync, mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { DatabaseSync } from 'node:sqlite';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseIpv6Prefix } from '../src/address.ts';
import { TrafficSampler } from '../src/broker/traffic.ts';
import { Dataplane } from '../src/dataplane/dataplane.ts';
import { TUNNEL_OFFSET, TUNNEL_SIZE } from '../src/dataplane/layout.gen.ts';
import { mapMemory, openPinned } from '../src/dataplane/native.ts';
import { openSqliteStore } from '../src/store/sqlite.ts';
import type { Store } from '../src/store/store.ts';

const EVERY_MS = 300_000;
const SAMPLES = 4;

const tunnels = Number(process.argv[2] ?? 50_000);
const slots = 2 ** Math.ceil(Math.log2(tunnels + 1));
const directory = mkdtempSync(join(tmpdir(), 'sixway-traffic-bench-'));
const pinDirectory = join('/sys/fs/bpf', basename(directory));
const file = join(directory, 'sixway.db');
let store: Store | undefined;
try {
  store = await openSqliteStore({ file, create: true });
  await store.addPool(
    { purpose: 'link', prefix: parseIpv6Prefix('2001:db8::/40')!, positionLength: 64 },
    2 ** 24,
    Date.now(),
  );
  fill();
  const capacity = { tunnels: slots, owners: 4096, v4v6: 1024 };
  const dataplane = Dataplane.open({ pinDirectory, capacity });
  const fd = openPinned(join(pinDirectory, 'tunnels'))!;
  const { buffer, unmap } = mapMemory(fd, slots * TUNNEL_SIZE);
  const view = new DataView(buffer);
  let nowMs = Date.now();
  const state = () => ({ sessions: 0, logins: 0, loginFailures: 0 });
  const clock = () => nowMs;
  const sampler = new TrafficSampler({ store, dataplane, everyMs: EVERY_MS, state, clock });
  await sampler.sample();
  for (let round = 0; round < SAMPLES; round++) {
    nowMs += EVERY_MS;
    // The last one finds that nothing has moved.
    if (round < SAMPLES - 1) for (let slot = 1; slot <= tunnels; slot++) move(view, slot);
    const delay = monitorEventLoopDelay({ resolution: 1 });
    const cpu = process.cpuUsage();
    const beganMs = performance.now();
    let done = false;
    const sampled = sampler.sample().finally(() => {
      done = true;
    });
    delay.enable();
    const waits: number[] = [];
    while (!done) {
      const askedMs = performance.now();
      await store.setUserDisabled(1, false, nowMs);
      waits.push(performance.now() - askedMs);
      await sleep(5);
    }
    await sampled;
    delay.disable();
    const tookMs = performance.now() - beganMs;
    const { user, system } = process.cpuUsage(cpu);
    waits.sort((a, b) => a - b);
    const at = (share: number) => waits[Math.floor((waits.length - 1) * share)] ?? 0;
    console.log(
      `sample ${round}: ${tookMs.toFixed(0)} ms, ${((user + system) / 1000).toFixed(0)} ms of CPU; ` +
        `event loop late by ${(delay.percentile(50) / 1e6).toFixed(1)} ms (median), ` +
        `${(delay.max / 1e6).toFixed(1)} ms (most); a transaction beside it took ` +
        `${at(0.5).toFixed(1)} ms (median), ${at(0.99).toFixed(1)} ms (99 %), ${at(1).toFixed(1)} ms (most)`,
    );
  }
  unmap();
  closeSync(fd);
  dataplane.close();
  await store.close();
  store = undefined;
  console.log(`database: ${Math.round(statSync(file).size / 2 ** 20)} MiB`);
} finally {
  await store?.close();
  Dataplane.uninstall(pinDirectory, 'no-such-device');
  rmSync(directory, { recursive: true });
}

function move(view: DataView, slot: number): void {
  for (const [offset, by] of [
    [TUNNEL_OFFSET.inPackets, 100n],
    [TUNNEL_OFFSET.inBytes, 90_000n],
    [TUNNEL_OFFSET.outPackets, 200n],
    [TUNNEL_OFFSET.outBytes, 250_000n],
  ] as const) {
    const at = slot * TUNNEL_SIZE + offset;
    view.setBigUint64(at, view.getBigUint64(at, true) + by, true);
  }
}

function fill(): void {
  const db = new DatabaseSync(file);
  const numbers = `with recursive numbers (n) as
    (select 1 union all select n + 1 from numbers where n < ${tunnels})`;
  const nowMs = Date.now();
  db.exec(`
    begin;
    insert into users (id, name, sealed_ha1, created_at_ms) ${numbers}
      select n, 'user' || n, hex(randomblob(60)), ${nowMs} from numbers;
    insert into tunnels (id, user_id, family, slot, interface_id, state, keepalive_seconds,
        lifetime_seconds, created_at_ms) ${numbers}
      select n, n, 'ipv6', n, '0000000000000002', 'enabled', 30, 604800, ${nowMs} from numbers;
    insert into leases (pool_id, position, purpose, tunnel_id) ${numbers}
      select 1, n, 'link', n from numbers;
    commit;
    pragma wal_checkpoint(truncate);
  `);
  db.close();
}
