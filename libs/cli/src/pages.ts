/** Lists that come in pages, as one. */

/** The largest page the platform gives. */
const largestPage = 1_000;

/** The first `limit` items, asked for in as few pages as it takes. */
export async function firstItems<T>(
  limit: number,
  askPage: (page: { readonly pageSize: number; readonly pageToken: string }) => Promise<{
    readonly items: readonly T[];
    readonly nextPageToken: string;
  }>,
): Promise<readonly T[]> {
  const items: T[] = [];
  let pageToken = "";
  do {
    const page = await askPage({ pageSize: Math.min(largestPage, limit - items.length), pageToken });
    items.push(...page.items);
    pageToken = page.nextPageToken;
  } while (pageToken !== "" && items.length < limit);
  return items;
}
