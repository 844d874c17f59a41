/** Which screen the address names. Links are ordinary ones, so that they can be copied and opened beside each other. */
import { computed, signal } from "@preact/signals";
import { basePath } from "./base.ts";

const address = signal(readAddress());

function readAddress(): { path: string; search: string } {
  const { pathname, search } = location;
  return { path: pathname.startsWith(basePath) ? pathname.slice(basePath.length) : "", search };
}

/** The path below the base, without slashes at its ends: `jobs/0190…`. */
export const path = computed(() => address.value.path.replace(/\/+$/, ""));
/** The parameters behind the question mark. */
export const query = computed(() => new URLSearchParams(address.value.search));

/** The address of a screen, for `href`. */
export function link(to: string, parameters: Readonly<Record<string, string | undefined>> = {}): string {
  const given = Object.entries(parameters).filter((entry): entry is [string, string] => (entry[1] ?? "") !== "");
  const search = new URLSearchParams(given).toString();
  return `${basePath}${to}${search === "" ? "" : `?${search}`}`;
}

/** Goes to an address made by `link`. */
export function go(href: string, { replace = false } = {}): void {
  if (replace) history.replaceState(null, "", href);
  else history.pushState(null, "", href);
  const before = path.value;
  address.value = readAddress();
  if (path.value !== before) {
    window.scrollTo(0, 0);
    document.querySelector<HTMLElement>("main")?.focus({ preventScroll: true });
  }
}

/** Sets parameters of the address in place: what a screen shows is part of it. */
export function setQuery(change: Readonly<Record<string, string | undefined>>): void {
  const parameters = { ...Object.fromEntries(query.value), ...change };
  go(link(address.value.path, parameters), { replace: true });
}

/** The parameters of a pattern such as `jobs/:id`; null if the path is none of it. */
export function match(pattern: string, current: string): Readonly<Record<string, string>> | null {
  const [names, parts] = [pattern.split("/"), current.split("/")];
  if (names.length !== parts.length) return null;
  const parameters: Record<string, string> = {};
  for (const [index, name] of names.entries()) {
    const part = parts[index] ?? "";
    if (name.startsWith(":")) parameters[name.slice(1)] = decodeURIComponent(part);
    else if (name !== part) return null;
  }
  return parameters;
}

/** Follows links within the page without loading it again. */
export function startRouter(): void {
  window.addEventListener("popstate", () => {
    address.value = readAddress();
  });
  document.addEventListener("click", (event) => {
    if (
      event.defaultPrevented ||
      event.button !== 0 ||
      event.metaKey ||
      event.ctrlKey ||
      event.shiftKey ||
      event.altKey
    )
      return;
    const anchor = (event.target as Element).closest?.("a[href]");
    if (!(anchor instanceof HTMLAnchorElement) || anchor.target !== "" || anchor.hasAttribute("download")) return;
    const { origin, pathname, search } = new URL(anchor.href);
    const isOurs =
      origin === location.origin && pathname.startsWith(basePath) && !pathname.startsWith(`${basePath}api/`);
    if (!isOurs) return;
    event.preventDefault();
    go(pathname + search);
  });
}
