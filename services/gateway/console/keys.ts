/** The keys of the page. They do nothing while one types, and nothing that the browser needs is taken from it. */
import { signal } from "@preact/signals";
import { html } from "htm/preact";
import { go, link } from "./router.ts";
import { home, navigation } from "./screens.ts";
import { Dialog } from "./ui/dialog.ts";

export const isHelpShown = signal(false);

const entries = navigation.flatMap((section) => section.entries);
let isAfterG = false;

function isTyping(target: EventTarget | null): boolean {
  return target instanceof HTMLElement && target.closest("input, textarea, select, dialog, [contenteditable]") !== null;
}

function afterG(key: string): void {
  const entry = entries.find((each) => each.key === key);
  if (entry !== undefined) go(link(entry.pattern === home ? "" : entry.pattern));
}

function pressed(event: KeyboardEvent): void {
  if (event.ctrlKey || event.metaKey || event.altKey || isTyping(event.target)) return;
  if (isAfterG) {
    isAfterG = false;
    afterG(event.key);
    event.preventDefault();
    return;
  }
  if (event.key === "g") {
    isAfterG = true;
    setTimeout(() => {
      isAfterG = false;
    }, 1_200);
  } else if (event.key === "?") isHelpShown.value = true;
  else if (event.key === "/") {
    const search = document.querySelector<HTMLInputElement>("main [data-search]");
    if (search === null) return;
    event.preventDefault();
    search.focus();
    search.select();
  }
}

export function startKeys(): void {
  document.addEventListener("keydown", pressed);
}

/** All of them, in a dialog. */
export function KeyHelp() {
  if (!isHelpShown.value) return null;
  const rows: readonly (readonly [string, string])[] = [
    ...entries.map(({ key, title }) => [`g ${key}`, title] as const),
    ["/", "Search or filter"],
    ["j k ↓ ↑", "The next row, the one before"],
    ["Home End", "The first row, the last that is loaded"],
    ["Enter", "Open the row"],
    ["x", "Select the row"],
    ["?", "These keys"],
  ];
  return html`<${Dialog} title="Keys" onClose=${() => {
    isHelpShown.value = false;
  }}>
    <dl class="keys">${rows.map(([keys, text]) => html`<div key=${keys}><dt>${keys.split(" ").map((key) => html`<kbd key=${key}>${key}</kbd>`)}</dt><dd>${text}</dd></div>`)}</dl>
  </${Dialog}>`;
}
