// How the tables come about, version by version. Portable SQL only: the same schema serves SQLite and
// PostgreSQL. What differs (how a table numbers its rows) comes in as an argument. Knows no query of
// the product.

import { type ColumnDefinitionBuilder, sql } from 'kysely';
import type { Backend, IdentityColumn } from './backend.ts';
import { addDeskTables } from './desk-migration.ts';
import { StoreError } from './error.ts';
import { addHistory } from './history-migration.ts';
import type { Reader, Writer } from './schema.ts';

/** Brings the schema up to date; StoreError `newer` or `foreign` when the database is not ours. */
export async function migrate(backend: Backend): Promise<void> {
  if ((await currentVersion(backend.reading)) === MIGRATIONS.length) return;
  // Read again under the write lock: two processes may meet on one fresh database.
  await backend.transaction(async (tx) => {
    let version = await currentVersion(tx);
    for (const up of MIGRATIONS.slice(version)) {
      await up(tx, (column) => backend.identity(column), backend);
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

type Migration = (db: Writer, identity: IdentityColumn, backend: Backend) => Promise<void>;

/** Version n is reached by running the first n of these; a published one never changes. */
const MIGRATIONS: readonly Migration[] = [
  createFirstSchema,
  addScram,
  addProxyAndNameServers,
  addLeaseLength,
  addIpv4Tunnels,
  addPolicies,
  addPeople,
  (db, _, backend) => addHistory(db, backend),
  addStaticClients,
  addDeskTables,
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

/**
 * A user may have a tunnel of each family, and clients may have IPv6 addresses. SQLite cannot change
 * the rules of a table, so three are made anew and filled from the old ones, portably.
 */
async function addIpv4Tunnels(db: Writer, identity: IdentityColumn): Promise<void> {
  const { schema } = db;
  await schema
    .createTable('tunnels_5')
    .addColumn('id', 'integer', identity)
    .addColumn('user_id', 'integer', (column) => column.references('users.id'))
    .addColumn('family', 'text', required)
    .addColumn('slot', 'bigint', required)
    .addColumn('interface_id', 'text', required)
    .addColumn('requested_prefix_length', 'integer')
    .addColumn('name_servers', 'text')
    .addColumn('state', 'text', required)
    .addColumn('keepalive_seconds', 'integer', required)
    .addColumn('lifetime_seconds', 'integer', required)
    .addColumn('lease_ms', 'bigint')
    .addColumn('created_at_ms', 'bigint', required)
    .addColumn('last_login_at_ms', 'bigint')
    .addUniqueConstraint('tunnels_user_family', ['user_id', 'family'])
    .addUniqueConstraint('tunnels_family_slot', ['family', 'slot'])
    .execute();
  const kept =
    'id, user_id, slot, interface_id, requested_prefix_length, name_servers, state, ' +
    'keepalive_seconds, lifetime_seconds, lease_ms, created_at_ms, last_login_at_ms';
  await sql`
    insert into tunnels_5 (family, ${sql.raw(kept)}) select 'ipv6', ${sql.raw(kept)} from tunnels
  `.execute(db);

  await schema
    .createTable('leases_5')
    .addColumn('pool_id', 'integer', (column) => column.notNull().references('pools.id'))
    .addColumn('position', 'bigint', required)
    .addColumn('purpose', 'text', required)
    .addColumn('tunnel_id', 'integer', (column) => column.references('tunnels_5.id'))
    .addColumn('expires_at_ms', 'bigint')
    .addColumn('freed_at_ms', 'bigint')
    .addPrimaryKeyConstraint('leases_pool_position', ['pool_id', 'position'])
    .addUniqueConstraint('leases_tunnel_purpose', ['tunnel_id', 'purpose'])
    .execute();
  const leased = sql.raw('pool_id, position, purpose, tunnel_id, expires_at_ms, freed_at_ms');
  await sql`insert into leases_5 (${leased}) select ${leased} from leases`.execute(db);

  await schema
    .createTable('attachments_5')
    .addColumn('tunnel_id', 'integer', (column) =>
      column.primaryKey().notNull().references('tunnels_5.id'),
    )
    .addColumn('encapsulation', 'text', required)
    .addColumn('client_address', 'text', required)
    .addColumn('client_port', 'integer', required)
    .addColumn('attached_at_ms', 'bigint', required)
    .addUniqueConstraint('attachments_client', ['encapsulation', 'client_address', 'client_port'])
    .execute();
  const octet = (above: number) => sql.raw(`((client_address / ${above}) % 256)`);
  await sql`
    insert into attachments_5
      (tunnel_id, encapsulation, client_address, client_port, attached_at_ms)
    select tunnel_id, encapsulation,
      ${octet(2 ** 24)} || '.' || ${octet(2 ** 16)} || '.' || ${octet(2 ** 8)} || '.' || ${octet(1)},
      client_port, attached_at_ms
    from attachments
  `.execute(db);

  for (const table of ['attachments', 'leases', 'tunnels']) {
    await schema.dropTable(table).execute();
    await schema.alterTable(`${table}_5`).renameTo(table).execute();
  }
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
}

async function addPolicies({ schema }: Writer, identity: IdentityColumn): Promise<void> {
  await schema
    .createTable('groups')
    .addColumn('id', 'integer', identity)
    .addColumn('name', 'text', (column) => column.notNull().unique())
    .addColumn('mtu', 'integer')
    .addColumn('in_bits_per_second', 'bigint')
    .addColumn('out_bits_per_second', 'bigint')
    .addColumn('ports', 'text')
    .addColumn('created_at_ms', 'bigint', required)
    .execute();
  await schema
    .alterTable('users')
    .addColumn('group_id', 'integer', (column) => column.references('groups.id'))
    .execute();
  await schema
    .createIndex('users_group')
    .on('users')
    .column('group_id')
    .where(sql<boolean>`group_id is not null`)
    .execute();
  await schema.alterTable('tunnels').addColumn('mtu', 'integer').execute();
  await schema.alterTable('tunnels').addColumn('in_bits_per_second', 'bigint').execute();
  await schema.alterTable('tunnels').addColumn('out_bits_per_second', 'bigint').execute();
  await schema.alterTable('tunnels').addColumn('ports', 'text').execute();
}

/** See people-tables.ts. Who is removed takes along what is theirs; the audit log stays. */
async function addPeople({ schema }: Writer, identity: IdentityColumn): Promise<void> {
  const unique = (column: ColumnDefinitionBuilder) => column.notNull().unique();
  const ofPerson = (column: ColumnDefinitionBuilder) =>
    column.notNull().references('people.id').onDelete('cascade');
  await schema
    .createTable('people')
    .addColumn('id', 'integer', identity)
    .addColumn('user_id', 'integer', (column) =>
      column.unique().references('users.id').onDelete('cascade'),
    )
    .addColumn('email', 'text', unique)
    .addColumn('email_verified_at_ms', 'bigint')
    .addColumn('password_hash', 'text')
    .addColumn('role', 'text', required)
    .addColumn('state', 'text', required)
    .addColumn('language', 'text')
    .addColumn('sealed_totp', 'text')
    .addColumn('totp_enabled_at_ms', 'bigint')
    .addColumn('totp_last_step', 'bigint')
    .addColumn('created_at_ms', 'bigint', required)
    .addColumn('last_sign_in_at_ms', 'bigint')
    .execute();
  await schema
    .createTable('recovery_codes')
    .addColumn('person_id', 'integer', ofPerson)
    .addColumn('code_hash', 'text', required)
    .addPrimaryKeyConstraint('recovery_codes_of_person', ['person_id', 'code_hash'])
    .execute();
  await schema
    .createTable('invitations')
    .addColumn('id', 'integer', identity)
    .addColumn('code_hash', 'text', unique)
    .addColumn('email', 'text')
    .addColumn('role', 'text', required)
    .addColumn('user_id', 'integer', (column) => column.references('users.id').onDelete('cascade'))
    .addColumn('invited_by', 'integer', (column) =>
      column.references('people.id').onDelete('set null'),
    )
    .addColumn('created_at_ms', 'bigint', required)
    .addColumn('expires_at_ms', 'bigint', required)
    .addColumn('used_by', 'integer', (column) =>
      column.references('people.id').onDelete('set null'),
    )
    .addColumn('used_at_ms', 'bigint')
    .execute();
  await schema
    .createTable('sign_ups')
    .addColumn('id', 'integer', identity)
    .addColumn('email', 'text', required)
    .addColumn('user_name', 'text', required)
    .addColumn('password_hash', 'text', required)
    .addColumn('language', 'text')
    .addColumn('invitation_id', 'integer', (column) =>
      column.references('invitations.id').onDelete('cascade'),
    )
    .addColumn('token_hash', 'text', unique)
    .addColumn('created_at_ms', 'bigint', required)
    .addColumn('expires_at_ms', 'bigint', required)
    .execute();
  await schema
    .createTable('web_sessions')
    .addColumn('id', 'integer', identity)
    .addColumn('person_id', 'integer', ofPerson)
    .addColumn('token_hash', 'text', unique)
    .addColumn('stage', 'text', required)
    .addColumn('address', 'text', required)
    .addColumn('user_agent', 'text', required)
    .addColumn('created_at_ms', 'bigint', required)
    .addColumn('last_used_at_ms', 'bigint', required)
    .addColumn('expires_at_ms', 'bigint', required)
    .execute();
  await schema
    .createTable('api_tokens')
    .addColumn('id', 'integer', identity)
    .addColumn('person_id', 'integer', ofPerson)
    .addColumn('name', 'text', required)
    .addColumn('token_hash', 'text', unique)
    .addColumn('scopes', 'text', required)
    .addColumn('created_at_ms', 'bigint', required)
    .addColumn('last_used_at_ms', 'bigint')
    .addColumn('expires_at_ms', 'bigint')
    .execute();
  await schema
    .createTable('email_tokens')
    .addColumn('id', 'integer', identity)
    .addColumn('person_id', 'integer', ofPerson)
    .addColumn('purpose', 'text', required)
    .addColumn('token_hash', 'text', unique)
    .addColumn('new_email', 'text')
    .addColumn('created_at_ms', 'bigint', required)
    .addColumn('expires_at_ms', 'bigint', required)
    .execute();
  await schema
    .createTable('mails')
    .addColumn('id', 'integer', identity)
    .addColumn('sealed', 'text', required)
    .addColumn('created_at_ms', 'bigint', required)
    .addColumn('next_try_at_ms', 'bigint', required)
    .addColumn('tries', 'integer', required)
    .execute();
  await schema
    .createTable('audit_log')
    .addColumn('id', 'integer', identity)
    .addColumn('at_ms', 'bigint', required)
    .addColumn('person_id', 'integer')
    .addColumn('act', 'text', required)
    .addColumn('subject', 'text')
    .addColumn('details', 'text')
    .addColumn('address', 'text')
    .execute();
  for (const [table, ...columns] of [
    ['sign_ups', 'email', 'created_at_ms'],
    ['sign_ups', 'expires_at_ms'],
    // What the removal of a row has to look through, and the lists of the account page.
    ['sign_ups', 'invitation_id'],
    ['invitations', 'user_id'],
    ['invitations', 'invited_by'],
    ['invitations', 'used_by'],
    ['web_sessions', 'person_id'],
    ['web_sessions', 'expires_at_ms'],
    ['api_tokens', 'person_id'],
    ['email_tokens', 'person_id', 'created_at_ms'],
    ['email_tokens', 'expires_at_ms'],
    ['mails', 'next_try_at_ms'],
    ['audit_log', 'at_ms'],
    ['audit_log', 'person_id', 'at_ms'],
    ['audit_log', 'subject', 'at_ms'],
  ] as const)
    await schema
      .createIndex(`${table}_${columns.join('_')}`)
      .on(table)
      .columns([...columns])
      .execute();
}

async function addStaticClients(db: Writer): Promise<void> {
  for (const column of ['static_client', 'own_name_servers'])
    await db.schema.alterTable('tunnels').addColumn(column, 'text').execute();
}

function required(column: ColumnDefinitionBuilder): ColumnDefinitionBuilder {
  return column.notNull();
}
