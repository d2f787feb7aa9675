// Queries whose rows come as arrays of values, in the order of their columns. A million rows that way
// take half the time that they take as objects. Every backend's connections understand it.

import type { CompiledQuery, QueryResult } from 'kysely';
import type { Reader } from './schema.ts';

/** What a connection is given; it answers with rows that are arrays. */
export interface DenseQuery extends CompiledQuery {
  readonly dense: true;
}

export function isDense(query: CompiledQuery): query is DenseQuery {
  return 'dense' in query && query.dense === true;
}

/** `Row` is what the query selects, as a tuple: nobody checks it. */
export async function readDense<Row extends readonly unknown[]>(
  db: Reader,
  query: { compile(): CompiledQuery },
): Promise<readonly Row[]> {
  const dense: DenseQuery = { ...query.compile(), dense: true };
  const { rows } = (await db.executeQuery(dense)) as QueryResult<Row>;
  return rows;
}
