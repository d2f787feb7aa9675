// The parts of a broker, opened as the configuration says: for the daemon, and for commands beside
// it. What a command changes in the store, the running daemon learns from the change feed.

import { createSecretKey } from 'node:crypto';
import { existsSync } from 'node:fs';
import { hostname } from 'node:os';
import { type Ipv4Address, parseIpv6 } from './address.ts';
import { Accounts } from './broker/accounts.ts';
import { People } from './broker/people.ts';
import type { Composer } from './broker/people-mail.ts';
import { BadKeyFile, loadOrMakeKey } from './broker/sealing.ts';
import { TunnelDesk } from './broker/tunnel-desk.ts';
import type { Config } from './config.ts';
import { openSqliteStore } from './store/sqlite.ts';
import type { Store } from './store/store.ts';

const DAY_MS = 86_400_000;

/** Something that the operator can mend; the message says what. */
export class Unusable extends Error {}

/**
 * Opens the store. It is made when there is neither database nor key: a key without a database means
 * that the database was lost, and an empty one would give its users' prefixes to others.
 */
export async function openStore(config: Config): Promise<Store> {
  const { database, keyFile } = config.store;
  const first = !existsSync(keyFile);
  if (!first && !existsSync(database)) {
    throw new Unusable(
      `${database} is missing although its key ${keyFile} exists: it was lost or moved. Restore ` +
        'it; to begin with an empty one, which gives old prefixes to new users, remove the key',
    );
  }
  const keepsPast = config.history.attachmentsDays > 0;
  return openSqliteStore({ file: database, create: first, keepsPast });
}

/** Opens the store for one piece of work and closes it whatever happens. */
export async function withStore<T>(config: Config, work: (store: Store) => Promise<T>): Promise<T> {
  const store = await openStore(config);
  try {
    return await work(store);
  } finally {
    await store.close();
  }
}

/** The realm is part of every stored secret, so the first name that a store sees stays its realm. */
export function realmOf(config: Config, store: Store): Promise<string> {
  const name = config.server.name === 'auto' ? hostname() : config.server.name;
  return store.settingOrInitial('realm', name);
}

export async function openAccounts(config: Config, store: Store): Promise<Accounts> {
  return (await openSealed(config, store)).accounts;
}

/** `compose`: the words of mails, which are the portal's. */
export async function openPeople(config: Config, store: Store, compose: Composer): Promise<People> {
  const { accounts, key } = await openSealed(config, store);
  const { signUp, domains, sessionIdleHours, sessionDays, serviceName } = config.web;
  return new People({
    store,
    accounts,
    key: createSecretKey(key),
    policy: {
      signUp,
      domains,
      sessionIdleMs: sessionIdleHours * 3_600_000,
      sessionMaxMs: sessionDays * 86_400_000,
      serviceName: serviceName === '' ? accounts.realm : serviceName,
    },
    compose,
  });
}

/** `address`: the server's, where it is known. */
export async function openTunnelDesk(
  config: Config,
  store: Store,
  address: Ipv4Address | undefined,
): Promise<TunnelDesk> {
  const { server, tsp, tunnel } = config;
  const { userLeaseDays, deletedHoldDays, maxPerAddress, keepaliveSeconds, mtu, resolver } = tunnel;
  return new TunnelDesk({
    store,
    accounts: await openAccounts(config, store),
    terms: {
      server: { name: server.name === 'auto' ? '' : server.name, address, port: tsp.port },
      keepaliveSeconds,
      mtu,
      resolver: parseIpv6(resolver) ?? 0n,
      leaseMs: userLeaseDays === 0 ? undefined : userLeaseDays * DAY_MS,
      deletedHoldMs: deletedHoldDays * DAY_MS,
      maxAtAddress: maxPerAddress || undefined,
      v4v6: tsp.v4v6,
    },
  });
}

async function openSealed(
  config: Config,
  store: Store,
): Promise<{ readonly accounts: Accounts; readonly key: Uint8Array }> {
  const realm = await realmOf(config, store);
  const { keyFile, database } = config.store;
  if (!existsSync(keyFile) && (await Accounts.hasSealed(store))) {
    throw new Unusable(`${keyFile} is missing: the secrets in ${database} are sealed with it`);
  }
  let key: Uint8Array;
  try {
    key = loadOrMakeKey(keyFile);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    throw new Unusable(
      error instanceof BadKeyFile ? error.message : `${keyFile} cannot be used: ${code}`,
    );
  }
  const accounts = new Accounts(store, key, realm);
  if (!(await accounts.keyFits())) {
    throw new Unusable(`${keyFile} is not the key that the secrets in ${database} are sealed with`);
  }
  return { accounts, key };
}
