// Lists that are read page by page, out of several sources one after the other. A cursor is opaque to
// whoever gets it; what somebody else made up leads to some page, and to no failure.

export interface PageRequest {
  /** `next` of the page before; absent: the first page. */
  readonly after?: string | undefined;
  readonly limit: number;
}

export interface Page<T> {
  /** At most `limit`, perhaps fewer though there is another page. */
  readonly items: readonly T[];
  /** Undefined: this is the last page. */
  readonly next: string | undefined;
}

/** Up to `limit` rows after the key ('': from the start); an undefined item is passed by. */
export type Source<T> = (
  after: string,
  limit: number,
) => Promise<readonly { readonly key: string; readonly item: T | undefined }[]>;

export async function readThrough<T>(
  { after, limit }: PageRequest,
  sources: readonly Source<T>[],
): Promise<Page<T>> {
  const [, first = '0', key = ''] = /^(\d{1,3}):([0-9a-f:./]{0,80})$/.exec(after ?? '') ?? [];
  const items: T[] = [];
  let from = key;
  let left = limit;
  for (let index = Number(first); index < sources.length; index++) {
    const rows = await sources[index]!(from, left);
    for (const { item } of rows) if (item !== undefined) items.push(item);
    left -= rows.length;
    if (left <= 0) return { items, next: `${index}:${rows.at(-1)?.key ?? from}` };
    from = '';
  }
  return { items, next: undefined };
}
