/** What is shown while there is nothing to show yet, nothing at all, or something went wrong. */
import { html } from "htm/preact";
import type { ComponentChildren } from "preact";
import { ApiError } from "../api.ts";
import type { Query } from "../query.ts";
import { Icon, type IconName } from "./icon.ts";

/** Grey lines in place of what comes; shown only after a moment, so that what is quick does not flicker. */
export function Loading({ lines }: { lines: number }) {
  return html`<div class="loading" role="status" aria-label="Loading">
    ${Array.from({ length: lines }, (_, index) => html`<span class=${`line line-${index % 3}`} key=${index}></span>`)}
  </div>`;
}

/** Nothing is there; says what would be, and how it comes. */
export function Empty({
  title,
  children,
  icon = "info",
}: {
  title: string;
  children?: ComponentChildren;
  icon?: IconName;
}) {
  return html`<div class="empty"><${Icon} name=${icon} size=${28} /><h3>${title}</h3><div class="quiet">${children}</div></div>`;
}

/** Something could not be read. */
export function Failure({ error, onRetry }: { error: Error; onRetry?: () => void }) {
  const isPassing = error instanceof ApiError && error.isPassing;
  const requestId = error instanceof ApiError ? error.requestId : "";
  return html`<div class="failure" role="alert">
    <${Icon} name="alert" size=${22} />
    <div>
      <strong>${isPassing ? "This part of the platform does not answer" : "This could not be read"}</strong>
      <p>${error.message}${isPassing ? " It is asked again by itself." : ""}</p>
      ${error instanceof ApiError && error.fields.map(({ field, message }) => html`<p key=${field}><code>${field}</code> ${message}</p>`)}
      ${requestId !== "" && html`<p class="quiet small">request ${requestId}</p>`}
    </div>
    ${onRetry !== undefined && html`<button type="button" class="button" onClick=${onRetry}>Try again</button>`}
  </div>`;
}

/** What has not been read: it comes, or why it does not. */
export function Unread({ query, lines = 5 }: { query: Pick<Query<unknown>, "error" | "reload">; lines?: number }) {
  const { error, reload } = query;
  return error === null ? html`<${Loading} lines=${lines} />` : html`<${Failure} error=${error} onRetry=${reload} />`;
}

/** The one of the three that holds, or what was read. What was read before stays, with a word above it when it cannot be read again. */
export function Loaded<T>({
  query,
  children,
  lines = 5,
}: {
  query: Query<T>;
  children: (data: T) => ComponentChildren;
  lines?: number;
}) {
  const { data, error, reload } = query;
  if (data === undefined) return html`<${Unread} query=${query} lines=${lines} />`;
  return html`${error !== null && html`<${Failure} error=${error} onRetry=${reload} />`}${children(data)}`;
}
