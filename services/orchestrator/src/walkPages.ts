/** How a reconciler goes through lists that may be too long for one look. */
import { DomainError } from "@capstan/errors";

/** Something that may not fit. */
export interface Suspect {
  readonly id: string;
}

export interface Comparison<D, S extends Suspect> {
  /** Looks at one page; the token is that of the page before, empty for the first. */
  find(
    deps: D,
    pageToken: string,
  ): Promise<{
    readonly suspects: readonly S[];
    /** Empty after the last page. */
    readonly nextPageToken: string;
  }>;
  /** Called with those that were found twice. */
  repair(deps: D, suspects: readonly S[]): Promise<void>;
}

/**
 * Gives back one look: at the next page, at the first one after the last. A page on which something was found is looked at twice in a row
 * and then left, so that none keeps the others from being looked at. Where a token is refused it begins anew.
 */
export function walkPages<D, S extends Suspect>({ find, repair }: Comparison<D, S>): (deps: D) => Promise<void> {
  let pageToken = "";
  let looks = 0; // at this page
  let seen: ReadonlySet<string> = new Set();
  return async (deps) => {
    const { suspects, nextPageToken } = await find(deps, pageToken).catch((error: unknown) => {
      // By another version of who gave it out.
      if (error instanceof DomainError && error.code === "INVALID_ARGUMENT") pageToken = "";
      throw error;
    });
    const left = suspects.filter(({ id }) => seen.has(id));
    looks += 1;
    const isDone = looks === 2 || suspects.length === 0;
    // The only page comes again at once.
    seen = new Set(isDone && nextPageToken !== pageToken ? [] : suspects.map(({ id }) => id));
    if (isDone) {
      pageToken = nextPageToken;
      looks = 0;
    }
    // Last: what cannot be repaired is left as well.
    if (left.length > 0) await repair(deps, left);
  };
}
