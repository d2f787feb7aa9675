// What a database says, read by SQL of its own: the server's own way of reading is part of what is
// tested. A server that was killed has left a WAL; it is looked at in a copy, since whoever opens and
// closes the original would tidy it up before the next server finds it.

import assert from 'node:assert/strict';
import { copyFileSync, existsSync } from 'node:fs';
import { DatabaseSync } from 'node:sqlite';
import { formatIpv6, formatIpv6Prefix, parseIpv6Prefix, prefixAt } from '../../src/address.ts';

export interface StoredPool {
  readonly id: number;
  readonly purpose: 'link' | 'delegation';
  readonly prefix: string;
  readonly positionLength: number;
  readonly firstIndex: number;
}

export interface StoredTunnel {
  readonly user: string;
  readonly slot: number;
  readonly interfaceId: bigint;
  /** The client's address in the link. */
  readonly address: string;
  readonly prefix: string | null;
  /** Of `prefix`. */
  readonly ownerIndex: number | undefined;
  /** `address:port`; null: its client is not there. */
  readonly endpoint: string | null;
}

export interface Stored {
  readonly pools: readonly StoredPool[];
  /** By the user's name. */
  readonly tunnels: ReadonlyMap<string, StoredTunnel>;
}

/** Throws AssertionError when the store is not whole in itself. */
export function readAtRest(file: string, scratch: string): Stored {
  copyFileSync(file, scratch);
  assert.ok(existsSync(`${file}-wal`), 'a server that runs, or was killed, has a WAL');
  copyFileSync(`${file}-wal`, `${scratch}-wal`);
  return readAndClose(new DatabaseSync(scratch));
}

/** Of a database that a server has open and does not write at the moment. */
export function readLive(file: string): Stored {
  return readAndClose(new DatabaseSync(file, { readOnly: true }));
}

function readAndClose(db: DatabaseSync): Stored {
  try {
    checkWhole(db);
    const pools = db
      .prepare(
        `select id, purpose, prefix, position_length as positionLength,
          first_index as firstIndex from pools order by id`,
      )
      .all() as unknown as StoredPool[];
    return { pools, tunnels: readTunnels(db, pools) };
  } finally {
    db.close();
  }
}

function checkWhole(db: DatabaseSync): void {
  const rows = (sql: string) => db.prepare(sql).all();
  assert.deepEqual(
    rows('pragma integrity_check').map((row) => row.integrity_check),
    ['ok'],
  );
  assert.deepEqual(rows('pragma foreign_key_check'), []);
  assert.deepEqual(
    rows(
      'select user_id, family, count(*) from tunnels group by user_id, family having count(*) > 1',
    ),
    [],
    'users with two tunnels',
  );
  // The primary key of leases says as much; this does not rely on it.
  assert.deepEqual(
    rows('select pool_id, position from leases group by pool_id, position having count(*) > 1'),
    [],
    'positions leased twice',
  );
  assert.deepEqual(
    rows('select slot from tunnels group by family, slot having count(*) > 1'),
    [],
    'slots with two tunnels',
  );
  assert.deepEqual(
    rows(
      `select client_address, client_port from attachments
        group by encapsulation, client_address, client_port having count(*) > 1`,
    ),
    [],
    'endpoints with two tunnels',
  );
  assert.deepEqual(
    rows(
      `select id from pools where next_position - (purpose = 'link') <>
        (select count(*) from leases where pool_id = pools.id)`,
    ),
    [],
    'pools that have passed over a position',
  );
}

function readTunnels(
  db: DatabaseSync,
  pools: readonly StoredPool[],
): ReadonlyMap<string, StoredTunnel> {
  const rows = db
    .prepare(
      `select users.name as user, slot, interface_id as interfaceId,
        link.pool_id as linkPool, link.position as link,
        delegation.pool_id as delegationPool, delegation.position as delegation,
        client_address || ':' || client_port as endpoint
      from tunnels join users on users.id = user_id
        left join leases as link on link.tunnel_id = tunnels.id and link.purpose = 'link'
        left join leases as delegation
          on delegation.tunnel_id = tunnels.id and delegation.purpose = 'delegation'
        left join attachments on attachments.tunnel_id = tunnels.id`,
    )
    .all() as unknown as {
    user: string;
    slot: number;
    interfaceId: string;
    linkPool: number | null;
    link: number | null;
    delegationPool: number | null;
    delegation: number | null;
    endpoint: string | null;
  }[];
  const prefixOf = (poolId: number, position: number) => {
    const { prefix, positionLength } = pools.find(({ id }) => id === poolId)!;
    return prefixAt(parseIpv6Prefix(prefix)!, positionLength, position);
  };
  const firstIndexOf = (poolId: number) => pools.find(({ id }) => id === poolId)!.firstIndex;
  const tunnels = new Map<string, StoredTunnel>();
  const held: { readonly first: bigint; readonly last: bigint; readonly by: string }[] = [];
  for (const row of rows) {
    const { user, slot, linkPool, link, delegationPool, delegation, endpoint } = row;
    assert.ok(!tunnels.has(user), `${user} has two tunnels, or two prefixes of a kind`);
    assert.ok(linkPool !== null && link !== null, `the tunnel of ${user} has no link`);
    assert.equal(slot, firstIndexOf(linkPool) + link, `the slot of ${user} is not its link's`);
    const interfaceId = BigInt(`0x${row.interfaceId}`);
    const linkPrefix = prefixOf(linkPool, link);
    const delegated =
      delegationPool === null || delegation === null
        ? undefined
        : prefixOf(delegationPool, delegation);
    for (const prefix of [linkPrefix, delegated]) {
      if (!prefix) continue;
      const size = 1n << BigInt(128 - prefix.length);
      held.push({ first: prefix.address, last: prefix.address + size - 1n, by: user });
    }
    tunnels.set(user, {
      ...{ user, slot, interfaceId, endpoint },
      address: formatIpv6(linkPrefix.address | interfaceId),
      prefix: delegated ? formatIpv6Prefix(delegated) : null,
      ownerIndex: delegated && firstIndexOf(delegationPool!) + delegation!,
    });
  }
  held.sort((a, b) => (a.first < b.first ? -1 : 1));
  for (const [index, { first, by }] of held.entries()) {
    const before = held[index - 1];
    assert.ok(!before || before.last < first, `${before?.by} and ${by} hold the same addresses`);
  }
  return tunnels;
}
