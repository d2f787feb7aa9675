// The tables of history-tables.ts, made: one step of the schema, in a file of its own.

import { type CreateTableBuilder, sql } from 'kysely';
import type { Backend, IdentityColumn } from './backend.ts';
import type { Writer } from './schema.ts';

const COUNTS = ['in_packets', 'in_bytes', 'out_packets', 'out_bytes', 'drops'] as const;
const TOTALS = ['logins', 'login_failures', 'attached', 'down', 'disabled', 'sessions'] as const;

export async function addHistory({ schema }: Writer, backend: Backend): Promise<void> {
  const identity: IdentityColumn = (column) => backend.identity(column);
  const keptByKey = (table: CreateTableBuilder<string>) => backend.keptByKey(table);
  // Null: the lease is as old as its tunnel, which is so for every link.
  await schema.alterTable('leases').addColumn('leased_at_ms', 'bigint').execute();

  const ofTunnel = <T extends string>(table: CreateTableBuilder<T>) =>
    table
      .addColumn('id', 'integer', identity)
      .addColumn('tunnel_id', 'integer', (column) => column.notNull())
      .addColumn('user_id', 'integer')
      .addColumn('user_name', 'text')
      .addColumn('from_ms', 'bigint', (column) => column.notNull())
      .addColumn('until_ms', 'bigint', (column) => column.notNull());
  await ofTunnel(schema.createTable('past_attachments'))
    .addColumn('encapsulation', 'text', (column) => column.notNull())
    .addColumn('client_address', 'text', (column) => column.notNull())
    .addColumn('client_port', 'integer', (column) => column.notNull())
    .execute();
  await ofTunnel(schema.createTable('past_leases'))
    .addColumn('purpose', 'text', (column) => column.notNull())
    .addColumn('network', 'text', (column) => column.notNull())
    .addColumn('length', 'integer', (column) => column.notNull())
    .execute();
  // All that decides is in the index: of an address that thousands share, few rows are looked at.
  await schema
    .createIndex('past_attachments_client')
    .on('past_attachments')
    .columns(['client_address', 'until_ms', 'client_port', 'from_ms'])
    .execute();
  await schema
    .createIndex('past_leases_network')
    .on('past_leases')
    .columns(['network', 'until_ms'])
    .execute();
  for (const table of ['past_attachments', 'past_leases'] as const) {
    await schema
      .createIndex(`${table}_tunnel`)
      .on(table)
      .columns(['tunnel_id', 'until_ms'])
      .execute();
    await schema
      .createIndex(`${table}_user`)
      .on(table)
      .columns(['user_id', 'until_ms'])
      .where(sql<boolean>`user_id is not null`)
      .execute();
  }

  const counts = <T extends string>(
    table: CreateTableBuilder<T>,
    columns: readonly string[] = COUNTS,
  ): CreateTableBuilder<string> =>
    columns.reduce<CreateTableBuilder<string>>(
      (made, column) => made.addColumn(column, 'bigint', (each) => each.notNull()),
      table,
    );
  for (const span of ['5_minutes', 'hours', 'days']) {
    // In the order of time: what is written is at the end, and what goes is at the beginning.
    await keptByKey(
      counts(
        schema
          .createTable(`traffic_${span}`)
          .addColumn('at_ms', 'bigint', (column) => column.notNull())
          .addColumn('tunnel_id', 'integer', (column) => column.notNull())
          .addPrimaryKeyConstraint(`traffic_${span}_key`, ['at_ms', 'tunnel_id']),
      ),
    ).execute();
    await keptByKey(
      counts(
        schema
          .createTable(`totals_${span}`)
          .addColumn('at_ms', 'bigint', (column) => column.primaryKey().notNull()),
        [...COUNTS, ...TOTALS],
      ),
    ).execute();
  }
  await keptByKey(
    counts(
      schema
        .createTable('traffic_seen')
        .addColumn('family', 'text', (column) => column.notNull())
        .addColumn('slot', 'bigint', (column) => column.notNull())
        .addColumn('tunnel_id', 'integer', (column) => column.notNull())
        .addPrimaryKeyConstraint('traffic_seen_key', ['family', 'slot']),
    ),
  ).execute();
  await keptByKey(
    schema
      .createTable('pool_fill')
      .addColumn('at_ms', 'bigint', (column) => column.notNull())
      .addColumn('pool_id', 'integer', (column) => column.notNull())
      .addColumn('leased', 'bigint', (column) => column.notNull())
      .addPrimaryKeyConstraint('pool_fill_key', ['at_ms', 'pool_id']),
  ).execute();
}
