/** Named jobs with parameters. */
import { html } from "htm/preact";
import type { Template } from "../json.ts";
import { footOf, type List, useFacts, useList } from "../list.ts";
import { link, query } from "../router.ts";
import { StateChip } from "../ui/chip.ts";
import { Icon } from "../ui/icon.ts";
import { Head, StateFilter } from "../ui/layout.ts";
import { Empty, Loaded } from "../ui/states.ts";
import { type Column, Table } from "../ui/table.ts";
import { Age } from "../ui/time.ts";

const states = [
  ["", "All"],
  ["PUBLISHED", "Published"],
  ["DRAFT", "Draft"],
  ["DEPRECATED", "Deprecated"],
  ["ARCHIVED", "Archived"],
] as const;

function New({ template }: { template: Template }) {
  if (template.state !== "TEMPLATE_STATE_PUBLISHED") return null;
  return html`<a class="button small" href=${link("new", { template: template.name })} aria-label=${`New job from ${template.name}`}><${Icon} name="plus" size=${14} />New job</a>`;
}

const columns: readonly Column<Template>[] = [
  { title: "Name", width: "minmax(100px, 1.2fr)", render: ({ name }) => name },
  { title: "Version", width: "62px", from: 420, isNumber: true, render: ({ version }) => version },
  { title: "State", width: "112px", render: ({ state }) => html`<${StateChip} state=${state} />` },
  {
    title: "What it is",
    width: "minmax(120px, 2.4fr)",
    from: 620,
    render: ({ spec }) => html`<span class="quiet" title=${spec?.description}>${spec?.description}</span>`,
  },
  {
    title: "Parameters",
    width: "minmax(90px, 1.4fr)",
    from: 860,
    render: ({ spec }) => {
      const names = (spec?.parameters ?? []).map(({ name }) => name).join(", ");
      return html`<span class="quiet" title=${names}>${names || "none"}</span>`;
    },
  },
  {
    title: "Changed",
    width: "66px",
    from: 720,
    isNumber: true,
    render: ({ updateTime }) => html`<${Age} time=${updateTime} />`,
  },
  { title: "", width: "100px", from: 520, render: (template) => html`<${New} template=${template} />` },
];

const keyOf = ({ id }: Template) => id ?? "";
const hrefOf = ({ name }: Template) => link(`templates/${name}`);

export function Screen() {
  const state = query.value.get("state") ?? "";
  const filter = state === "" ? "" : `state = ${state}`;
  const templates = useList<Template>("templates", "templates", { filter }, { everyMs: 10_000 });
  useFacts(["template.*"], templates.reload);
  return html`<${Head} title="Templates">Named jobs with parameters, in versions that never change once they are published.</${Head}>
    <${StateFilter} states=${states} />
    <section class="panel flush"><${Loaded} query=${templates}>${({ items, hasMore }: List<Template>) =>
      items.length === 0
        ? html`<${Empty} icon="template" title=${state === "" ? "No template yet" : "No template in this state"}>
            ${state === "" ? html`<code>npx capstan template create -f examples/report-template.yaml --publish</code> makes one.` : html`<a href=${link("templates")}>Show all</a>`}
          </${Empty}>`
        : html`<${Table} label="Templates" columns=${columns} rows=${items} keyOf=${keyOf} hrefOf=${hrefOf}
            onMore=${hasMore ? templates.more : undefined} foot=${html`<p class="foot small">${footOf({ items, hasMore }, "template")}</p>`} />`}</${Loaded}></section>`;
}
