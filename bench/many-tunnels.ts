// What the benches share that look at many tunnels: rows by raw SQL, a few statements instead of
// millions; what the kernel has for the maps; and the file of results, of which each writes its part.

import { closeSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { DatabaseSync } from 'node:sqlite';
import { openPinned } from '../src/dataplane/native.ts';
import { MAP_NAMES } from '../src/dataplane/pinned-maps.ts';

const RESULTS = join(import.meta.dirname, 'results', 'load.json');

/**
 * A tunnel for each of the users 1 … `count`, with a link of pool 1 and a prefix of pool 2; `attached`
 * of them, spread evenly, have a client. What was written before is in the file afterwards, too.
 */
export function insertTunnels(
  db: DatabaseSync,
  count: number,
  attached: number,
  nowMs: number,
): void {
  const numbers = `with recursive numbers (n) as
    (select 1 union all select n + 1 from numbers where n < ${count})`;
  db.exec(`
    pragma synchronous = off;
    begin;
    insert into tunnels (id, user_id, family, slot, interface_id, state, keepalive_seconds,
        lifetime_seconds, created_at_ms) ${numbers}
      select n, n, 'ipv6', n, '0000000000000002', 'enabled', 30, 604800, ${nowMs} from numbers;
    insert into leases (pool_id, position, purpose, tunnel_id) ${numbers}
      select 1, n, 'link', n from numbers;
    insert into leases (pool_id, position, purpose, tunnel_id) ${numbers}
      select 2, n - 1, 'delegation', n from numbers;
    insert into attachments (tunnel_id, encapsulation, client_address, client_port,
        attached_at_ms) ${numbers}
      select n, 'v6udpv4', (100 + n / 16777216) || '.' || (n / 65536 % 256) || '.' ||
        (n / 256 % 256) || '.' || (n % 256), 1024 + n % 60000, ${nowMs} from numbers
      where n * ${attached} / ${count} > (n - 1) * ${attached} / ${count};
    update pools set next_position = ${count} + (purpose = 'link');
    commit;
    pragma wal_checkpoint(truncate);
  `);
}

/** What the kernel accounts for each map, values and what it needs beside them. */
export function mapOctetsIn(pinDirectory: string): Record<string, number> {
  return Object.fromEntries(
    MAP_NAMES.map((name) => [name, memoryOf(join(pinDirectory, name))] as const),
  );
}

function memoryOf(path: string): number {
  const fd = openPinned(path)!;
  const [, octets] = /^memlock:\s+(\d+)$/m.exec(readFileSync(`/proc/self/fdinfo/${fd}`, 'utf8'))!;
  closeSync(fd);
  return Number(octets);
}

/** What is not measured this time stays as it was. */
export function keepResults(measured: Readonly<Record<string, unknown>>): void {
  const before = existsSync(RESULTS) ? JSON.parse(readFileSync(RESULTS, 'utf8')) : {};
  mkdirSync(join(RESULTS, '..'), { recursive: true });
  writeFileSync(RESULTS, `${JSON.stringify({ ...before, ...measured }, null, 2)}\n`);
}
