/** One provider: how full it is, what it has done, what runs on it now. */
import type { GetProviderStatsResponse } from "@capstan/proto/capstan/provider/v1/provider_service.ts";
import { html } from "htm/preact";
import { get } from "../api.ts";
import { formatCount, humanWord } from "../format.ts";
import type { Execution, Json, Provider, Worker } from "../json.ts";
import { footOf, type List, type ListQuery, useFacts, useList } from "../list.ts";
import { Capacities, ProviderActions } from "../providerActions.ts";
import { useQuery } from "../query.ts";
import { link } from "../router.ts";
import type { ScreenProps } from "../screens.ts";
import { StateChip } from "../ui/chip.ts";
import { Head, Labels, Pairs, Panel } from "../ui/layout.ts";
import { Empty, Failure, Loaded, Unread } from "../ui/states.ts";
import { type Column, Table } from "../ui/table.ts";
import { Age, Clock, Span } from "../ui/time.ts";
import { Workers } from "./workers.ts";

const freshMs = 3_000;
const live = "(state = ASSIGNED OR state = STARTING OR state = RUNNING OR state = STOPPING)";

const columns: readonly Column<Execution>[] = [
  { title: "Step", width: "minmax(90px, 1.4fr)", render: ({ step }) => step },
  { title: "State", width: "108px", render: ({ state }) => html`<${StateChip} state=${state} />` },
  { title: "Attempt", width: "70px", isNumber: true, from: 560, render: ({ attempt }) => attempt },
  {
    title: "Why",
    width: "minmax(100px, 2fr)",
    from: 760,
    render: ({ message }) => html`<span class="quiet">${message}</span>`,
  },
  {
    title: "Job",
    width: "minmax(120px, 1.6fr)",
    from: 620,
    render: ({ jobId }) => html`<span class="mono quiet">${jobId}</span>`,
  },
  {
    title: "For",
    width: "84px",
    isNumber: true,
    render: ({ createTime, endTime }) => html`<${Span} from=${createTime} to=${endTime} />`,
  },
];

function Running({ executions }: { executions: ListQuery<Execution> }) {
  return html`<${Panel} class="flush" title="Running now"><${Loaded} query=${executions}>${({
    items,
    hasMore,
  }: List<Execution>) =>
    items.length === 0
      ? html`<${Empty} icon="check" title="Nothing runs here now">What is placed here shows at once.</${Empty}>`
      : html`<${Table} label="Running now" columns=${columns} rows=${items} keyOf=${({ id = "" }: Execution) => id}
          hrefOf=${({ jobId, step }: Execution) => link(`jobs/${jobId}`, { step })} onMore=${hasMore ? executions.more : undefined}
          foot=${html`<p class="foot small">${footOf({ items, hasMore }, "execution")}</p>`} />`}</${Loaded}></${Panel}>`;
}

export function Screen({ parameters }: ScreenProps) {
  const name = parameters["name"] ?? "";
  const path = `providers/${encodeURIComponent(name)}`;
  const found = useQuery(`provider ${name}`, (signal) => get<{ provider?: Provider }>(path, {}, signal), {
    everyMs: freshMs,
  });
  const stats = useQuery(
    `stats ${name}`,
    (signal) => get<Json<GetProviderStatsResponse>>(`${path}/stats`, {}, signal),
    {
      everyMs: freshMs,
    },
  );
  const executions = useList<Execution>(
    "executions",
    "executions",
    { filter: `provider_name = ${JSON.stringify(name)} AND ${live}` },
    { everyMs: freshMs },
  );
  const workers = useList<Worker>(
    "workers",
    "workers",
    { filter: `pool = ${JSON.stringify(name)}` },
    { everyMs: freshMs },
  );
  function reload(): void {
    found.reload();
    executions.reload();
    workers.reload();
  }
  useFacts(["provider.*", "worker.*"], reload);
  const crumb = { text: "Providers and workers", href: link("providers") };
  const provider = found.data?.provider;
  if (provider === undefined) {
    return html`<${Head} title=${name} crumb=${crumb} /><${Unread} query=${found} lines=${6} />`;
  }
  const isPool = provider.kind === "PROVIDER_KIND_WORKER";
  const done = stats.data;
  return html`<${Head} title=${name} crumb=${crumb} actions=${html`<${ProviderActions} provider=${provider} onDone=${reload} />`}>
      <${StateChip} state=${provider.state} /><${StateChip} state=${provider.health} />
      <span>${provider.healthMessage}</span>
    </${Head}>
    ${found.error !== null && html`<${Failure} error=${found.error} onRetry=${found.reload} />`}
    <div class="stack">
      <div class="grid even">
        <${Panel} title="Capacity"><${Capacities} provider=${provider} /></${Panel}>
        <${Panel} title="What it is"><${Pairs} pairs=${[
          ["Kind", isPool ? "worker pool" : humanWord(provider.kind)],
          ["Endpoint", provider.endpoint && html`<code>${provider.endpoint}</code>`],
          ["This health since", provider.healthTime && html`<${Age} time=${provider.healthTime} />`],
          ["Known since", html`<${Clock} time=${provider.createTime} />`],
          ["Placed here ever", done && formatCount(Number(done.total ?? 0))],
          ["Held, not yet begun", done && formatCount(done.held ?? 0)],
          ["Expired before they began", done && formatCount(Number(done.expired ?? 0))],
          ["Labels", Object.keys(provider.labels ?? {}).length > 0 && html`<${Labels} labels=${provider.labels} />`],
        ]} /></${Panel}>
      </div>
      <${Running} executions=${executions} />
      ${isPool && html`<${Workers} workers=${workers} />`}
    </div>`;
}
