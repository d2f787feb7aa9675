// A database of an earlier schema version, opened by this one: everything in it must still be true.

import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { formatIpv6, formatIpv6Prefix } from '../../src/address.ts';
import { Accounts } from '../../src/broker/accounts.ts';
import { openSqliteStore } from '../../src/store/sqlite.ts';
import type { Store } from '../../src/store/store.ts';
import { at, NOW, opened, request } from './requests.ts';

describe('a database of schema version 1', () => {
  let directory: string;
  let file: string;
  let store: Store;
  let accounts: Accounts;

  beforeEach(async () => {
    directory = mkdtempSync(join(tmpdir(), 'sixway-migration-'));
    file = join(directory, 'sixway.db');
    const db = new DatabaseSync(file);
    db.exec(readFileSync(join(import.meta.dirname, 'version-1.sql'), 'utf8'));
    db.close();
    store = await openSqliteStore({ file, create: false });
    accounts = new Accounts(store, new Uint8Array(32).fill(1), 'broker.example');
  });

  afterEach(async () => {
    await store.close();
    rmSync(directory, { recursive: true });
  });

  it('keeps every tunnel, its addresses and where its client is', async () => {
    const tunnels = await store.tunnelsAfter(0, 100);
    assert.deepEqual(
      tunnels.map((tunnel) => [
        tunnel.id,
        tunnel.user?.name,
        tunnel.slot,
        formatIpv6(tunnel.link.address | tunnel.interfaceId),
        tunnel.delegation && formatIpv6Prefix(tunnel.delegation),
        tunnel.expiresAtMs,
        tunnel.attachment,
      ]),
      [
        [
          2,
          'ada',
          2,
          '2001:db8:0:2::2',
          '2001:db8:8000::/56',
          undefined,
          { encapsulation: 'v6udpv4', client: at('192.0.2.1', 40_000), attachedAtMs: NOW },
        ],
        [
          3,
          'bob',
          3,
          '2001:db8:0:3::2',
          undefined,
          undefined,
          { encapsulation: 'v6v4', client: at('255.0.2.1'), attachedAtMs: NOW },
        ],
        [4, undefined, 4, '2001:db8:0:4:fedc:ba98:7654:3210', undefined, NOW + 5000, undefined],
      ],
    );
    assert.equal((await store.tunnel({ encapsulation: 'v6v4', client: at('255.0.2.1') }))?.id, 3);
    assert.deepEqual(
      (await store.poolUsage()).map(({ leased }) => leased),
      [3, 1],
    );
  });

  it('goes on handing out what is free, and nothing that is not', async () => {
    const pools = (await store.pools()).filter(({ purpose }) => purpose === 'link');
    const fresh = opened(
      await store.openTunnel(request(pools, { client: at('192.0.2.8', 8) }), NOW),
    );
    assert.deepEqual([fresh.id, fresh.slot], [5, 5]);
    assert.equal(await store.latestChangeId(), 13);
  });

  it('lets users log in as before, by SCRAM only after another secret was set', async () => {
    const before = await accounts.credential('ada');
    assert.equal(before?.ha1s.length, 1);
    assert.equal(before?.scram, undefined);
    await accounts.setSecret('ada', 'open sesame');
    const after = await accounts.credential('ada');
    assert.deepEqual(after?.ha1s, before?.ha1s);
    assert.equal(after?.scram?.iterations, 4096);
  });

  it('is opened by two processes at once', async () => {
    const other = await openSqliteStore({ file, create: false });
    assert.deepEqual(await other.tunnelsAfter(0, 100), await store.tunnelsAfter(0, 100));
    await other.close();
  });
});
