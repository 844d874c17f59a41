/** Who listens live: Server-Sent Events and WebSockets, those that are there and those of the last day. */
import type { Session as SessionMessage } from "@capstan/proto/capstan/gateway/v1/session.ts";
import { html } from "htm/preact";
import { formatBytes, formatShort, humanWord, plural } from "../format.ts";
import type { Json } from "../json.ts";
import { type List, useList } from "../list.ts";
import { Chip } from "../ui/chip.ts";
import { Empty, Loaded } from "../ui/states.ts";
import { type Column, Table } from "../ui/table.ts";
import { Age } from "../ui/time.ts";

type Session = Json<SessionMessage>;

const isThere = ({ state }: Session) => state === "SESSION_STATE_ACTIVE";

const columns: readonly Column<Session>[] = [
  {
    title: "Client",
    width: "minmax(100px, 1.6fr)",
    render: ({ client }) => html`<span title=${client}>${client || "unnamed"}</span>`,
  },
  {
    title: "State",
    width: "minmax(86px, 1fr)",
    render: (session) =>
      isThere(session)
        ? html`<${Chip} tone="good" text="there" />`
        : html`<${Chip} tone="quiet" text=${humanWord(session.reason) || "ended"} />`,
  },
  { title: "Kind", width: "92px", from: 480, render: ({ kind }) => (humanWord(kind) === "sse" ? "SSE" : "WebSocket") },
  {
    title: "From",
    width: "minmax(90px, 1fr)",
    from: 760,
    render: ({ address }) => html`<span class="mono">${address}</span>`,
  },
  {
    title: "What",
    width: "minmax(110px, 1.6fr)",
    from: 900,
    render: ({ path }) => html`<span class="quiet mono" title=${path}>${path}</span>`,
  },
  { title: "Follows", width: "62px", from: 1_000, isNumber: true, render: ({ subscriptions }) => subscriptions ?? 0 },
  {
    title: "Sent",
    width: "64px",
    from: 560,
    isNumber: true,
    render: ({ deliveredEvents }) => formatShort(Number(deliveredEvents ?? 0)),
  },
  {
    title: "Left out",
    width: "64px",
    from: 820,
    isNumber: true,
    render: ({ droppedEvents }) => formatShort(Number(droppedEvents ?? 0)),
  },
  {
    title: "Bytes",
    width: "76px",
    from: 1_100,
    isNumber: true,
    render: ({ sentBytes }) => formatBytes(Number(sentBytes ?? 0)),
  },
  { title: "Since", width: "56px", isNumber: true, render: ({ createTime }) => html`<${Age} time=${createTime} />` },
];

export function Sessions() {
  const sessions = useList<Session>("sessions", "sessions", {}, { everyMs: 5_000 });
  return html`<section class="panel flush"><${Loaded} query=${sessions}>${({ items, hasMore }: List<Session>) =>
    items.length === 0
      ? html`<${Empty} icon="link" title="Nobody listens">Pages and programs that follow jobs, events or logs live show here.</${Empty}>`
      : html`<${Table} label="Live clients" columns=${columns} rows=${items} keyOf=${({ id = "" }: Session) => id} onMore=${hasMore ? sessions.more : undefined}
          foot=${html`<p class="foot small">${plural(items.filter(isThere).length, "client")} there; those that have left are kept for a day</p>`} />`}</${Loaded}></section>`;
}
