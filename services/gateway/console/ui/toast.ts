/** Short notes of what has become of something a person asked for. They go away by themselves; bad ones stay until they are read. */
import { signal } from "@preact/signals";
import { html } from "htm/preact";
import { ApiError, messageOf } from "../api.ts";
import { Icon } from "./icon.ts";

interface Toast {
  readonly id: number;
  readonly kind: "good" | "bad";
  readonly text: string;
  readonly href?: string;
}

const toasts = signal<readonly Toast[]>([]);
const shownMs = 6_000;
const most = 4;
let nextId = 0;

function drop(id: number): void {
  toasts.value = toasts.value.filter((toast) => toast.id !== id);
}

/** Says that something was done; with an address it leads there. */
export function say(text: string, href?: string): void {
  add("good", text, href);
}

/** Says what went wrong. */
export function sayFailure(error: unknown): void {
  const fields = error instanceof ApiError ? error.fields.map(({ field, message }) => `${field}: ${message}`) : [];
  add("bad", [messageOf(error), ...fields.slice(0, 3)].join(" · "));
}

function add(kind: Toast["kind"], text: string, href?: string): void {
  nextId += 1;
  const toast: Toast = { id: nextId, kind, text, ...(href === undefined ? {} : { href }) };
  toasts.value = [...toasts.value, toast].slice(-most);
  setTimeout(() => drop(toast.id), kind === "good" ? shownMs : shownMs * 4);
}

/** Where they are shown; once a page. */
export function Toasts() {
  return html`<div class="toasts" role="status" aria-live="polite">
    ${toasts.value.map(
      ({ id, kind, text, href }) => html`<div class=${`toast ${kind}`} key=${id}>
        <${Icon} name=${kind === "good" ? "check" : "alert"} />
        <span>${href === undefined ? text : html`<a href=${href} onClick=${() => drop(id)}>${text}</a>`}</span>
        <button type="button" class="bare" aria-label="Close this note" onClick=${() => drop(id)}><${Icon} name="close" size=${16} /></button>
      </div>`,
    )}
  </div>`;
}
