/** The workers that are connected, of all pools or of one. */
import { html } from "htm/preact";
import { plural } from "../format.ts";
import type { Worker } from "../json.ts";
import type { List, ListQuery } from "../list.ts";
import { link } from "../router.ts";
import { StateChip } from "../ui/chip.ts";
import { Labels } from "../ui/layout.ts";
import { Empty, Loaded } from "../ui/states.ts";
import { type Column, Table } from "../ui/table.ts";
import { Age } from "../ui/time.ts";

const columns: readonly Column<Worker>[] = [
  { title: "Pool", width: "minmax(90px, 1fr)", render: ({ pool }) => pool },
  { title: "State", width: "112px", render: ({ state }) => html`<${StateChip} state=${state} />` },
  { title: "Slots", width: "52px", isNumber: true, render: ({ slots }) => slots },
  {
    title: "Handlers",
    width: "minmax(120px, 2fr)",
    from: 520,
    render: ({ handlers = [] }) => html`<span title=${handlers.join(", ")}>${handlers.join(", ")}</span>`,
  },
  {
    title: "Labels",
    width: "minmax(110px, 1.5fr)",
    from: 820,
    render: ({ labels }) => html`<${Labels} labels=${labels} />`,
  },
  { title: "Version", width: "160px", from: 960, render: ({ sdk }) => html`<span class="mono">${sdk}</span>` },
  {
    title: "Where",
    width: "minmax(90px, 1fr)",
    from: 680,
    render: ({ host }) => html`<span title=${host}>${host}</span>`,
  },
  {
    title: "Connected",
    width: "78px",
    from: 400,
    isNumber: true,
    render: ({ createTime }) => html`<${Age} time=${createTime} />`,
  },
];

const keyOf = ({ id }: Worker) => id ?? "";
const hrefOf = ({ pool }: Worker) => link(`providers/${pool}`);

export function Workers({ workers }: { workers: ListQuery<Worker> }) {
  return html`<section class="panel flush"><${Loaded} query=${workers}>${({ items, hasMore }: List<Worker>) =>
    items.length === 0
      ? html`<${Empty} icon="provider" title="No worker is connected">
          A worker is a process of yours that runs handlers. <code>connect().worker({ pool, handlers })</code> of the SDK makes one.
        </${Empty}>`
      : html`<${Table} label="Workers" columns=${columns} rows=${items} keyOf=${keyOf} hrefOf=${hrefOf} onMore=${hasMore ? workers.more : undefined}
          foot=${html`<p class="foot small">${plural(items.length, "worker")}, ${plural(
            items.reduce((sum, { slots = 0 }) => sum + slots, 0),
            "slot",
          )}</p>`} />`}</${Loaded}></section>`;
}
