/** Times that go on by themselves; the full time is told when one points at them. */
import { html } from "htm/preact";
import { formatAge, formatClock, formatSpan, formatTime, timeOf } from "../format.ts";
import { now } from "../query.ts";

/** How long ago, `5m ago`; nothing if there is no time. */
export function Age({ time, suffix = "" }: { time: string | undefined; suffix?: string }) {
  const at = timeOf(time);
  if (Number.isNaN(at)) return null;
  return html`<time datetime=${time} title=${formatTime(time)}>${formatAge(now.value - at)}${suffix}</time>`;
}

/** How long until then, `in 5m`; `due` when it has passed. */
export function Until({ time }: { time: string | undefined }) {
  const at = timeOf(time);
  if (Number.isNaN(at)) return null;
  const left = at - now.value;
  return html`<time datetime=${time} title=${formatTime(time)}>${left <= 0 ? "due" : `in ${formatAge(left)}`}</time>`;
}

/** The clock time, with the date when one points at it. */
export function Clock({ time }: { time: string | undefined }) {
  const at = timeOf(time);
  if (Number.isNaN(at)) return null;
  const isToday = new Date(at).toDateString() === new Date(now.value).toDateString();
  return html`<time datetime=${time} title=${formatTime(time)}>${isToday ? formatClock(time) : formatTime(time)}</time>`;
}

/** From one time to another, or until now. */
export function Span({ from, to }: { from: string | undefined; to?: string | undefined }) {
  const begin = timeOf(from);
  if (Number.isNaN(begin)) return null;
  const end = timeOf(to);
  const isOver = !Number.isNaN(end);
  const length = (isOver ? end : Math.max(begin, now.value)) - begin;
  return html`<span class="number" title=${`${formatTime(from)}${isOver ? ` to ${formatTime(to)}` : ""}`}>${isOver ? formatSpan(length) : formatSpan(Math.floor(length / 1_000) * 1_000 || length)}</span>`;
}
