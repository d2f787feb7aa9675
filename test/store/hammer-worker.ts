// One of several processes that open tunnels on the same database at once.
// Arguments: location, a name of its own, how many tunnels, and "closing" to close every third one
// again. Writes "USER SLOT" for each that it keeps, once the store has answered.

import { writeSync } from 'node:fs';
import { openStore } from './open-store.ts';
import { addUser, NOW, opened, request } from './requests.ts';

const [location, name, count] = process.argv.slice(2) as [string, string, string];
const closing = process.argv[5] === 'closing';
const store = await openStore(location);
const pools = await store.pools();
const linkPools = pools.filter((pool) => pool.purpose === 'link');
const delegationPools = pools.filter((pool) => pool.purpose === 'delegation');
for (let i = 0; i < Number(count); i++) {
  const user = `${name}-${i}`;
  const userId = await addUser(store, user);
  const tunnel = opened(
    await store.openTunnel(request(linkPools, { userId, delegationPools }), NOW),
  );
  if (closing && i % 3 === 0) await store.closeTunnel(tunnel.id, NOW + i);
  else writeSync(1, `${user} ${tunnel.slot}\n`);
}
await store.close();
