/** Filters that a person wants again, kept in the browser, beside those that everybody wants. */
import { signal } from "@preact/signals";

export interface SavedFilter {
  readonly name: string;
  readonly filter: string;
}

const key = "capstan.filters";
const most = 30;

/** What most people look for first. */
export const commonFilters: readonly SavedFilter[] = [
  { name: "Waiting", filter: "state = PENDING" },
  { name: "Running", filter: "state = RUNNING" },
  { name: "Failed", filter: "(state = FAILED OR state = TIMED_OUT)" },
  { name: "Succeeded", filter: "state = SUCCEEDED" },
  { name: "Waits for a person", filter: "waits_for = APPROVAL" },
];

function read(): readonly SavedFilter[] {
  try {
    const saved: unknown = JSON.parse(localStorage.getItem(key) ?? "[]");
    return Array.isArray(saved)
      ? saved.filter((each) => typeof each?.name === "string" && typeof each?.filter === "string")
      : [];
  } catch {
    return [];
  }
}

export const savedFilters = signal(read());

function write(filters: readonly SavedFilter[]): void {
  savedFilters.value = filters.slice(-most);
  localStorage.setItem(key, JSON.stringify(savedFilters.value));
}

export function saveFilter(saved: SavedFilter): void {
  write([...savedFilters.value.filter(({ name }) => name !== saved.name), saved]);
}

export function forgetFilter(name: string): void {
  write(savedFilters.value.filter((saved) => saved.name !== name));
}
