// The tables of desk-tables.ts, made, and the indices that lists of users, tunnels and the audit log run
// along: one step of the schema.

import { sql } from 'kysely';
import type { IdentityColumn } from './backend.ts';
import type { Writer } from './schema.ts';

export async function addDeskTables({ schema }: Writer, identity: IdentityColumn): Promise<void> {
  await schema
    .createTable('announcements')
    .addColumn('id', 'integer', identity)
    .addColumn('kind', 'text', (column) => column.notNull())
    .addColumn('texts', 'text', (column) => column.notNull())
    .addColumn('from_ms', 'bigint', (column) => column.notNull())
    .addColumn('until_ms', 'bigint')
    .addColumn('created_at_ms', 'bigint', (column) => column.notNull())
    .execute();
  // Few among many: who waits, who works here, what is closed.
  await schema
    .createIndex('people_waiting')
    .on('people')
    .column('user_id')
    .where(sql<boolean>`state = 'waiting-approval'`)
    .execute();
  await schema
    .createIndex('people_staff')
    .on('people')
    .column('id')
    .where(sql<boolean>`role <> 'user'`)
    .execute();
  await schema
    .createIndex('people_without_user')
    .on('people')
    .column('id')
    .where(sql<boolean>`user_id is null`)
    .execute();
  await schema
    .createIndex('users_disabled')
    .on('users')
    .column('id')
    .where(sql<boolean>`disabled_at_ms is not null`)
    .execute();
  await schema
    .createIndex('tunnels_disabled')
    .on('tunnels')
    .column('id')
    .where(sql<boolean>`state = 'disabled'`)
    .execute();
  await schema
    .createIndex('tunnels_anonymous')
    .on('tunnels')
    .column('id')
    .where(sql<boolean>`user_id is null`)
    .execute();
  await schema.createIndex('audit_log_act').on('audit_log').columns(['act', 'id']).execute();
}
