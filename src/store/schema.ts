// The tables, as types and as the migrations that make them. Portable SQL only: the same schema
// serves SQLite and PostgreSQL. What differs (how a table numbers its rows) comes in as an argument.
//
// IPv4 addresses are integers. IPv6 prefixes are RFC 5952 text, not 16-byte blobs: they are only
// ever compared for equality (positions carry the arithmetic), and an operator can read them in any
// SQL shell. Times are milliseconds since 1970. Booleans are the time since when, or null.

import {
  type ColumnBuilderCallback,
  type ColumnDefinitionBuilder,
  type Generated,
  type Kysely,
  sql,
  type Transaction,
} from 'kysely';
import { StoreError } from './error.ts';

export type PoolPurpose = 'link' | 'delegation';
export type TunnelState = 'enabled' | 'disabled';
export type Encapsulation = 'v6v4' | 'v6udpv4';
export type ChangeKind = 'slot' | 'owner' | 'pool' | 'user';

export interface Tables {
  schema_version: { version: number };
  settings: { name: string; value: string };
  users: {
    id: Generated<number>;
    name: string;
    /** MD5(name ":" realm ":" secret), encrypted by the broker; opaque here. */
    sealed_ha1: string;
    /** SCRAM's salt and keys, likewise; null until the first secret that is set since version 2. */
    sealed_scram: string | null;
    disabled_at_ms: number | null;
    /** Null: a tunnel only to where the user's own packets come from. */
    proxy_trusted_at_ms: number | null;
    created_at_ms: number;
  };
  pools: {
    id: Generated<number>;
    purpose: PoolPurpose;
    prefix: string;
    position_length: number;
    first_index: number;
    /** The lowest position that was never handed out. */
    next_position: number;
    created_at_ms: number;
  };
  tunnels: {
    id: Generated<number>;
    /** Null for an anonymous tunnel. */
    user_id: number | null;
    slot: number;
    /** 16 hexadecimal digits: 64 bits do not fit every database's signed integer. */
    interface_id: string;
    /** What the client asked for last; what it holds is in `leases`. */
    requested_prefix_length: number | null;
    /** What the client asked the prefix's names to be delegated to, as JSON; null: to nobody. */
    name_servers: string | null;
    state: TunnelState;
    keepalive_seconds: number;
    lifetime_seconds: number;
    /** How long the addresses stay the tunnel's when its client is gone; null: for ever. */
    lease_ms: number | null;
    created_at_ms: number;
    last_login_at_ms: number | null;
  };
  /** One row for every position ever handed out; a freed one keeps its row, without a tunnel. */
  leases: {
    pool_id: number;
    position: number;
    purpose: PoolPurpose;
    tunnel_id: number | null;
    expires_at_ms: number | null;
    freed_at_ms: number | null;
  };
  attachments: {
    tunnel_id: number;
    encapsulation: Encapsulation;
    client_address: number;
    client_port: number;
    attached_at_ms: number;
  };
  changes: { id: number; kind: ChangeKind; subject: number; at_ms: number };
  /** One row. The feed's last number lives apart from it, so that pruning cannot wind it back. */
  feed: { last_id: number };
}

export type Reader = Kysely<Tables>;
export type Writer = Transaction<Tables>;

/** How this database numbers the rows of a table; a number is never given twice. */
export type IdentityColumn = ColumnBuilderCallback;

/** Brings the schema up to date; StoreError `newer` or `foreign` when the database is not ours. */
export async function migrate(db: Reader, identity: IdentityColumn): Promise<void> {
  if ((await currentVersion(db)) === MIGRATIONS.length) return;
  // Read again under the write lock: two processes may meet on one fresh database.
  await db.transaction().execute(async (tx) => {
    let version = await currentVersion(tx);
    for (const up of MIGRATIONS.slice(version)) {
      await up(tx, identity);
      version++;
      await tx.updateTable('schema_version').set({ version }).execute();
    }
  });
}

async function currentVersion(db: Reader): Promise<number> {
  const tables = await db.introspection.getTables();
  if (tables.length === 0) return 0;
  if (!tables.some((table) => table.name === 'schema_version'))
    throw new StoreError('foreign', 'the database belongs to another program');
  const { version } = await db
    .selectFrom('schema_version')
    .select('version')
    .executeTakeFirstOrThrow();
  if (version > MIGRATIONS.length)
    throw new StoreError(
      'newer',
      `the database has schema version ${version}, this program knows ${MIGRATIONS.length}: ` +
        'it was written by a newer version of the program',
    );
  return version;
}

type Migration = (db: Writer, identity: IdentityColumn) => Promise<void>;

/** Version n is reached by running the first n of these; a published one never changes. */
const MIGRATIONS: readonly Migration[] = [
  createFirstSchema,
  addScram,
  addProxyAndNameServers,
  addLeaseLength,
];

async function createFirstSchema(db: Writer, identity: IdentityColumn): Promise<void> {
  const { schema } = db;
  await schema.createTable('schema_version').addColumn('version', 'integer', required).execute();
  await db.insertInto('schema_version').values({ version: 0 }).execute();

  await schema
    .createTable('settings')
    .addColumn('name', 'text', (column) => column.primaryKey().notNull())
    .addColumn('value', 'text', required)
    .execute();

  await schema
    .createTable('users')
    .addColumn('id', 'integer', identity)
    .addColumn('name', 'text', (column) => column.notNull().unique())
    .addColumn('sealed_ha1', 'text', required)
    .addColumn('disabled_at_ms', 'bigint')
    .addColumn('created_at_ms', 'bigint', required)
    .execute();

  await schema
    .createTable('pools')
    .addColumn('id', 'integer', identity)
    .addColumn('purpose', 'text', required)
    .addColumn('prefix', 'text', (column) => column.notNull().unique())
    .addColumn('position_length', 'integer', required)
    .addColumn('first_index', 'bigint', required)
    .addColumn('next_position', 'bigint', required)
    .addColumn('created_at_ms', 'bigint', required)
    .addUniqueConstraint('pools_index', ['purpose', 'first_index'])
    .execute();

  await schema
    .createTable('tunnels')
    .addColumn('id', 'integer', identity)
    .addColumn('user_id', 'integer', (column) => column.unique().references('users.id'))
    .addColumn('slot', 'bigint', (column) => column.notNull().unique())
    .addColumn('interface_id', 'text', required)
    .addColumn('requested_prefix_length', 'integer')
    .addColumn('state', 'text', required)
    .addColumn('keepalive_seconds', 'integer', required)
    .addColumn('lifetime_seconds', 'integer', required)
    .addColumn('created_at_ms', 'bigint', required)
    .addColumn('last_login_at_ms', 'bigint')
    .execute();

  // The primary key is what keeps one prefix from being given to two tunnels, whatever the number
  // of servers; the other rule keeps a tunnel at one link and one delegation.
  await schema
    .createTable('leases')
    .addColumn('pool_id', 'integer', (column) => column.notNull().references('pools.id'))
    .addColumn('position', 'bigint', required)
    .addColumn('purpose', 'text', required)
    .addColumn('tunnel_id', 'integer', (column) => column.references('tunnels.id'))
    .addColumn('expires_at_ms', 'bigint')
    .addColumn('freed_at_ms', 'bigint')
    .addPrimaryKeyConstraint('leases_position', ['pool_id', 'position'])
    .addUniqueConstraint('leases_tunnel', ['tunnel_id', 'purpose'])
    .execute();
  await schema
    .createIndex('leases_free')
    .on('leases')
    .columns(['pool_id', 'freed_at_ms', 'position'])
    .where(sql<boolean>`tunnel_id is null`)
    .execute();
  await schema
    .createIndex('leases_expiry')
    .on('leases')
    .column('expires_at_ms')
    .where(sql<boolean>`expires_at_ms is not null`)
    .execute();

  await schema
    .createTable('attachments')
    .addColumn('tunnel_id', 'integer', (column) =>
      column.primaryKey().notNull().references('tunnels.id'),
    )
    .addColumn('encapsulation', 'text', required)
    .addColumn('client_address', 'bigint', required)
    .addColumn('client_port', 'integer', required)
    .addColumn('attached_at_ms', 'bigint', required)
    .addUniqueConstraint('attachments_endpoint', ['encapsulation', 'client_address', 'client_port'])
    .execute();

  await schema
    .createTable('changes')
    .addColumn('id', 'bigint', (column) => column.primaryKey().notNull())
    .addColumn('kind', 'text', required)
    .addColumn('subject', 'bigint', required)
    .addColumn('at_ms', 'bigint', required)
    .execute();
  await schema.createTable('feed').addColumn('last_id', 'bigint', required).execute();
  await db.insertInto('feed').values({ last_id: 0 }).execute();
}

async function addScram({ schema }: Writer): Promise<void> {
  await schema.alterTable('users').addColumn('sealed_scram', 'text').execute();
}

async function addProxyAndNameServers({ schema }: Writer): Promise<void> {
  await schema.alterTable('users').addColumn('proxy_trusted_at_ms', 'bigint').execute();
  await schema.alterTable('tunnels').addColumn('name_servers', 'text').execute();
}

async function addLeaseLength({ schema }: Writer): Promise<void> {
  await schema.alterTable('tunnels').addColumn('lease_ms', 'bigint').execute();
}

function required(column: ColumnDefinitionBuilder): ColumnDefinitionBuilder {
  return column.notNull();
}
