// Whatever happens to tunnels, in whatever order: whoever asks later for any moment is told what was so
// then. A list of what was true after each act is what the store's answers are held against.

import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import fc from 'fast-check';
import { formatEndpoint, formatPrefix, type IpPrefix } from '../../src/address.ts';
import { openSqliteStore } from '../../src/store/sqlite.ts';
import type { Store } from '../../src/store/store.ts';
import { addDelegations, addLinks, addUser, at, NOW, request } from './requests.ts';

const USERS = ['ada', 'bob', 'eve'];
const PLACES = [at('192.0.2.1', 1), at('192.0.2.1', 2), at('198.51.100.1', 1)];

type Act =
  | {
      readonly act: 'login';
      readonly user: number;
      readonly place: number;
      readonly prefix: boolean;
    }
  | { readonly act: 'leave' | 'close' | 'disable' | 'remove'; readonly user: number };

const user = fc.nat(USERS.length - 1);
const login = fc.record({
  act: fc.constant('login' as const),
  user,
  place: fc.nat(PLACES.length - 1),
  prefix: fc.boolean(),
});
const other = fc.record({
  act: fc.constantFrom('leave' as const, 'close' as const, 'disable' as const, 'remove' as const),
  user,
});
const acts: fc.Arbitrary<Act[]> = fc.array(fc.oneof({ weight: 3, arbitrary: login }, other), {
  minLength: 1,
  maxLength: 25,
});

/** What is so at a moment, as lines. */
type Snapshot = readonly string[];

test('the past is what the present was', async () => {
  await fc.assert(
    fc.asyncProperty(acts, async (script) => {
      const directory = mkdtempSync(join(tmpdir(), 'sixway-past-'));
      const store = await openSqliteStore({ file: join(directory, 'sixway.db'), create: true });
      try {
        // Few positions, so that they go from hand to hand.
        const links = await addLinks(store, '2001:db8::/62');
        const delegations = await addDelegations(store, '2001:db8:8000::/55', 56);
        const players = new Map<number, number>();
        const snapshots: Snapshot[] = [];
        for (const [index, step] of script.entries()) {
          await play(step, NOW + index * 10);
          snapshots.push(await present(store));
        }
        for (const [index, snapshot] of snapshots.entries())
          for (const moment of [NOW + index * 10, NOW + index * 10 + 9])
            assert.deepEqual(await told(store, moment), snapshot, `after act ${index}`);
        assert.deepEqual(await told(store, NOW - 1), []);

        async function play(step: Act, nowMs: number): Promise<void> {
          const name = USERS[step.user]!;
          const userId = players.get(step.user) ?? (await addUser(store, name));
          players.set(step.user, userId);
          const own = await store.tunnel({ userId });
          if (step.act === 'login') {
            const client = PLACES[step.place]!;
            const delegationPools = step.prefix ? [delegations] : [];
            const asked = request([links], { userId, client, delegationPools });
            const opened = await store.openTunnel(asked, nowMs);
            if (!opened.ok) return;
            await store.attachTunnel(
              {
                tunnelId: opened.tunnel.id,
                userId,
                encapsulation: 'v6udpv4',
                client,
                proxy: false,
                displaces: 'any',
                maxAtAddress: undefined,
                expiresAtMs: undefined,
              },
              nowMs,
            );
            return;
          }
          if (step.act === 'remove') {
            await store.removeUser(userId, nowMs);
            players.delete(step.user);
          } else if (step.act === 'disable') {
            await store.setUserDisabled(userId, true, nowMs);
            await store.setUserDisabled(userId, false, nowMs);
          } else if (own && step.act === 'leave') await store.takeDownTunnel(own.id, nowMs);
          else if (own) await store.closeTunnel(own.id, nowMs);
        }
      } finally {
        await store.close();
        rmSync(directory, { recursive: true });
      }
    }),
    { numRuns: 40 },
  );
});

async function present(store: Store): Promise<Snapshot> {
  const lines: string[] = [];
  for (const tunnel of await store.tunnelsAfter(0, 100)) {
    const { user: whose, link, delegation, attachment } = tunnel;
    for (const prefix of [link, delegation])
      if (prefix) lines.push(`${whose?.name} ${tunnel.id} has ${formatPrefix(prefix)}`);
    if (attachment)
      lines.push(`${whose?.name} ${tunnel.id} at ${formatEndpoint(attachment.client)}`);
  }
  return lines.sort();
}

async function told(store: Store, atMs: number): Promise<Snapshot> {
  const span = { fromMs: atMs, untilMs: atMs };
  const page = { limit: 1000 };
  const lines = new Set<string>();
  const all: IpPrefix = { address: 0x2001_0db8n << 96n, length: 32 };
  const { items } = await store.history.holders(all, span, page);
  for (const { user: whose, tunnelId, prefix } of items) {
    lines.add(`${whose?.name} ${tunnelId} has ${formatPrefix(prefix)}`);
    // Asked for one address of it, the answer is the same.
    const one = { address: (prefix.address as bigint) | 0xabcdn, length: 128 };
    const found = await store.history.holders(one, span, page);
    assert.deepEqual(
      found.items.map((each) => [each.tunnelId, formatPrefix(each.prefix)]),
      [[tunnelId, formatPrefix(prefix)]],
    );
  }
  for (const { address, port } of PLACES) {
    const found = await store.history.clientsAt(address, port, span, page);
    assert.ok(found.items.length <= 1, 'two clients at one endpoint');
    for (const { user: whose, tunnelId } of found.items)
      lines.add(`${whose?.name} ${tunnelId} at ${formatEndpoint({ address, port })}`);
  }
  return [...lines].sort();
}
