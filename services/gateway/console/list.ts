/** Lists that are read in pages and kept fresh, and what makes a screen read anew as soon as a fact tells of a change. */
import { useEffect, useRef, useState } from "preact/hooks";
import { get } from "./api.ts";
import { plural } from "./format.ts";
import { useLive } from "./live.ts";
import { type Query, type QueryOptions, useQuery } from "./query.ts";

export interface List<Item> {
  readonly items: readonly Item[];
  readonly hasMore: boolean;
}

export type ListQuery<Item> = Query<List<Item>> & { more(): void };

const firstCount = 200;
const mostPerPage = 1_000;

type Page = Readonly<Record<string, unknown>> & { readonly nextPageToken?: string };

/** What a List RPC answers under `field`. More comes when asked for; what is loaded is read anew as a whole. */
export function useList<Item>(
  path: string,
  field: string,
  parameters: Readonly<Record<string, string>> = {},
  options: QueryOptions = {},
): ListQuery<Item> {
  const key = `${path} ${JSON.stringify(parameters)}`;
  const [wanted, setWanted] = useState({ key, count: firstCount });
  const count = wanted.key === key ? wanted.count : firstCount;
  const counted = useRef(count);
  counted.current = count;
  const list = useQuery<List<Item>>(
    key,
    async (signal) => {
      const items: Item[] = [];
      let pageToken = "";
      do {
        const pageSize = Math.min(mostPerPage, counted.current - items.length);
        const page = await get<Page>(path, { ...parameters, pageSize, pageToken }, signal);
        items.push(...((page[field] ?? []) as readonly Item[]));
        pageToken = page.nextPageToken ?? "";
      } while (pageToken !== "" && items.length < counted.current);
      return { items, hasMore: pageToken !== "" };
    },
    options,
  );
  const loaded = list.data?.items.length ?? 0;
  useEffect(() => {
    if (count > firstCount) list.reload();
  }, [count]);
  return {
    ...list,
    more: () => {
      if (loaded >= count) setWanted({ key, count: count + Math.max(firstCount, loaded) });
    },
  };
}

/** What stands below a table: how many are loaded, and whether that is all. */
export function footOf({ items, hasMore }: List<unknown>, noun: string): string {
  return hasMore ? `${plural(items.length, noun)} loaded; more come as you scroll` : plural(items.length, noun);
}

const leastMs = 800;

/**
 * Calls `reload` soon after facts of these types, such as `provider.*`, at most about once a second. For facts that are few: those of each
 * job would keep the page busy for nothing, since what they change is asked for every few seconds anyway.
 */
export function useFacts(types: readonly string[], reload: () => void): void {
  const current = useRef(reload);
  current.current = reload;
  const timer = useRef<ReturnType<typeof setTimeout>>(undefined);
  useEffect(() => () => clearTimeout(timer.current), []);
  function soon(): void {
    timer.current ??= setTimeout(() => {
      timer.current = undefined;
      if (!document.hidden) current.current();
    }, leastMs);
  }
  useLive({ topic: "events", filter: { types } }, soon, soon);
}
