/** Where the page is served: everything it asks for is below this, so that it works under any path. */

/** Ends in a slash, such as `/` or `/capstan/`. */
export const basePath = new URL(document.baseURI).pathname;

/** The address of an API path such as `jobs/…:cancel`, with query parameters that are not empty. */
export function apiUrl(path: string, query: Readonly<Record<string, string | number | undefined>> = {}): URL {
  const url = new URL(`api/v1/${path}`, document.baseURI);
  for (const [name, value] of Object.entries(query)) {
    if (value !== undefined && value !== "") url.searchParams.set(name, String(value));
  }
  return url;
}
