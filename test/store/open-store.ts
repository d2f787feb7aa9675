// How the store's tests name a database, so that other processes can open the same one and the same
// suite can run over another product.

import { openSqliteStore } from '../../src/store/sqlite.ts';
import type { Store } from '../../src/store/store.ts';

/**
 * `location` is "sqlite:" and a file. The database is made when it is missing.
 * `changesKept`: see {@link Store.open}.
 */
export async function openStore(location: string, changesKept?: number): Promise<Store> {
  const [product, place] = location.split(/:(.*)/s);
  if (product !== 'sqlite' || !place) throw new Error(`no such database product: ${location}`);
  return openSqliteStore({ file: place, create: true, patienceMs: 60_000, changesKept });
}
