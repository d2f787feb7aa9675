// What the staff's desks add to the schema, as types; the migration (desk-migration.ts) makes it.

import type { Generated } from 'kysely';

export type AnnouncementKind = 'notice' | 'trouble';

export interface DeskTables {
  announcements: {
    id: Generated<number>;
    kind: AnnouncementKind;
    /** JSON: a text for each language that it was written in, by the language's tag. */
    texts: string;
    from_ms: number;
    /** Null: until it is removed. */
    until_ms: number | null;
    created_at_ms: number;
  };
}
