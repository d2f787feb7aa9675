// Queries that are put together once and then only given their values: putting one together takes
// many times as long as running it. Knows no query of the product.

import type { Compilable, CompiledQuery, DatabaseConnection, QueryResult } from 'kysely';
import type { Reader } from './schema.ts';

/** By the adapter of a database that is one connection: a short way around the query builder. */
const connections = new WeakMap<object, DatabaseConnection>();

export function runPreparedOn(db: Reader, connection: DatabaseConnection): void {
  connections.set(db.getExecutor().adapter, connection);
}

/** What a value is while its query is put together. */
class Blank {
  readonly index: number;

  constructor(index: number) {
    this.index = index;
  }
}

type Value = string | number | bigint | null;

/**
 * `build` runs once for each database, with stand-ins: it may hand its values on to the query, but
 * not look at them. A value that may be null needs a query that is right for both.
 */
export function prepared<Values extends readonly Value[], Row>(
  build: (db: Reader, ...values: Values) => Compilable<Row>,
): (db: Reader, ...values: Values) => Promise<QueryResult<Row>> {
  /** By adapter, which a database shares with its transactions. */
  const compiled = new WeakMap<object, CompiledQuery<Row>>();
  const blanks = Array.from({ length: build.length - 1 }, (_, index) => new Blank(index));
  return (db, ...values) => {
    const { adapter } = db.getExecutor();
    let template = compiled.get(adapter);
    if (!template) {
      template = build(db, ...(blanks as readonly unknown[] as Values)).compile();
      compiled.set(adapter, template);
    }
    const { query, queryId, sql } = template;
    const parameters = template.parameters.map((value) =>
      value instanceof Blank ? values[value.index] : value,
    );
    const complete = { query, queryId, sql, parameters };
    return connections.get(adapter)?.executeQuery(complete) ?? db.executeQuery(complete);
  };
}
