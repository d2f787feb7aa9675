// Shapes that several routes share, and the words to describe a route with.

import { type Static, type TSchema, Type } from 'typebox';
import type { Scope } from '../../broker/people-account.ts';

export const Time = Type.String({ format: 'date-time' });
export const Nullable = <T extends TSchema>(schema: T) => Type.Union([schema, Type.Null()]);

export const IdParams = Type.Object({
  id: Type.Integer({ minimum: 1, maximum: 999_999_999_999_999 }),
});

export const LanguageQuery = Type.Object({
  language: Type.Optional(Type.Union([Type.Literal('en'), Type.Literal('ar')])),
});

export const PageQuery = Type.Object({
  cursor: Type.Optional(Type.String({ maxLength: 20, pattern: '^\\d{1,15}$' })),
  limit: Type.Optional(Type.Integer({ minimum: 1, maximum: 100 })),
});

export function pageOf<T extends TSchema>(item: T) {
  return Type.Object({ items: Type.Array(item), next: Nullable(Type.String()) });
}

/** The page after the cursor, in the order of ids. */
export function page<T extends { readonly id: number }>(
  all: readonly T[],
  { cursor = '0', limit = 50 }: Static<typeof PageQuery>,
): { items: T[]; next: string | null } {
  const after = all.filter(({ id }) => id > Number(cursor)).toSorted((a, b) => a.id - b.id);
  const items = after.slice(0, limit);
  return { items, next: after.length > limit ? String(items.at(-1)!.id) : null };
}

export function iso(atMs: number): string;
export function iso(atMs: number | undefined): string | null;
export function iso(atMs: number | undefined): string | null {
  return atMs === undefined ? null : new Date(atMs).toISOString();
}

const Problem = Type.Object(
  {
    type: Type.String(),
    title: Type.String(),
    status: Type.Integer(),
    detail: Type.Optional(Type.String()),
    code: Type.Optional(Type.String()),
  },
  { description: 'Why it cannot be done' },
);

export const PROBLEMS = {
  '4xx': { description: 'Refused', content: { 'application/problem+json': { schema: Problem } } },
  '5xx': { description: 'Failed', content: { 'application/problem+json': { schema: Problem } } },
} as const;

/** What every route says of itself. */
export function described(
  tag: 'account' | 'tunnels',
  operationId: string,
  summary: string,
  scope: Scope,
) {
  return { tags: [tag], operationId, summary, description: `Scope: ${scope}` };
}
