/** All jobs, filtered in the language of the API, live, with what can be done to many of them. */
import { signal } from "@preact/signals";
import { html } from "htm/preact";
import { useState } from "preact/hooks";
import { ApiError } from "../api.ts";
import { cli, curl } from "../commands.ts";
import { plural, whyOf } from "../format.ts";
import { cancelJobs, retryJobs } from "../jobActions.ts";
import { hasEnded, type JobRow } from "../jobMoves.ts";
import { useJobRows } from "../jobRows.ts";
import { footOf } from "../list.ts";
import { link, query } from "../router.ts";
import { Chip, StateChip } from "../ui/chip.ts";
import { Icon } from "../ui/icon.ts";
import { Copy, Head, Labels, Menu } from "../ui/layout.ts";
import { Empty, Failure, Loading } from "../ui/states.ts";
import { type Column, Table } from "../ui/table.ts";
import { Age, Span } from "../ui/time.ts";
import { JobFilter } from "./jobFilter.ts";

function stateOf({ state, isPaused }: JobRow) {
  return isPaused && !hasEnded(state)
    ? html`<${Chip} tone="warn" text="paused" />`
    : html`<${StateChip} state=${state} />`;
}

function why({ reason, message }: JobRow) {
  const text = whyOf(reason, message);
  return html`<span class="quiet" title=${text}>${text}</span>`;
}

const columns: readonly Column<JobRow>[] = [
  { title: "Name", width: "minmax(110px, 2.2fr)", render: ({ name }) => name },
  { title: "State", width: "118px", render: stateOf },
  { title: "Why", width: "minmax(120px, 2fr)", from: 760, render: why },
  {
    title: "Steps",
    width: "64px",
    from: 620,
    isNumber: true,
    render: ({ steps, endedSteps }) => (steps <= 1 ? "" : `${endedSteps}/${steps}`),
  },
  { title: "Queue", width: "minmax(80px, 1fr)", from: 980, render: ({ queue }) => queue },
  {
    title: "Labels",
    width: "minmax(120px, 2fr)",
    from: 1_200,
    render: ({ labels }) => html`<${Labels} labels=${labels} />`,
  },
  {
    title: "Took",
    width: "84px",
    from: 520,
    isNumber: true,
    render: ({ startTime, endTime }) => html`<${Span} from=${startTime} to=${endTime} />`,
  },
  { title: "Age", width: "52px", isNumber: true, render: ({ createTime }) => html`<${Age} time=${createTime} />` },
];

const keyOf = ({ id }: JobRow) => id;
const hrefOf = ({ id }: JobRow) => link(`jobs/${id}`);

function NoJobs({ filter }: { filter: string }) {
  if (filter !== "") {
    return html`<${Empty} icon="search" title="No job matches">The filter is <code>${filter}</code>. <a href=${link("jobs")}>Show all</a></${Empty}>`;
  }
  return html`<${Empty} icon="jobs" title="No job yet">
    Jobs show here as they are submitted. <a href=${link("new")}>Submit the first</a>, or run <code>npx capstan run -- echo hello</code>.
  </${Empty}>`;
}

function CopyAs({ filter, orderBy }: { filter: string; orderBy: string }) {
  const words = [...(filter === "" ? [] : ["--filter", filter]), ...(orderBy === "" ? [] : ["--order-by", orderBy])];
  return html`<${Menu} label="Copy as">
    <${Copy} text=${cli("job", "list", ...words)} label="Copy the command of the CLI">CLI</${Copy}>
    <${Copy} text=${curl("GET", "jobs", { filter, orderBy })} label="Copy the command of curl">curl</${Copy}>
  </${Menu}>`;
}

export function Screen() {
  const filter = query.value.get("filter") ?? "";
  const orderBy = query.value.get("order") ?? "";
  const [selected] = useState(() => signal<ReadonlySet<string>>(new Set()));
  const jobs = useJobRows(filter, orderBy);
  const { rows, error, isLoading, hasMore, hasNews } = jobs.list.value;
  const isRefused = error instanceof ApiError && error.status === 400;
  const refusal = isRefused
    ? (error.fields.find(({ field }) => field === "filter")?.message ?? error.message)
    : undefined;
  const chosen = rows.filter(({ id }) => selected.value.has(id));
  const selectNone = () => {
    selected.value = new Set();
  };
  async function forChosen(action: (jobs: readonly JobRow[]) => Promise<boolean>): Promise<void> {
    if (await action(chosen)) selectNone();
    jobs.refreshSoon();
  }
  const foot = footOf({ items: rows, hasMore }, "job");
  const table = html`<${Table} label="Jobs" columns=${columns} rows=${rows} keyOf=${keyOf} hrefOf=${hrefOf} selected=${selected}
    onMore=${hasMore ? jobs.more : undefined} foot=${html`<p class="foot small">${foot}</p>`} />`;
  return html`<${Head} title="Jobs" actions=${html`<${CopyAs} filter=${filter} orderBy=${orderBy} />
      <a class="button primary" href=${link("new")}><${Icon} name="plus" size=${16} />New job</a>`} />
    <${JobFilter} filter=${filter} orderBy=${orderBy} refusal=${refusal} />
    ${error !== null && !isRefused && html`<${Failure} error=${error} onRetry=${jobs.refresh} />`}
    ${
      hasNews &&
      html`<button type="button" class="button news" onClick=${() => {
        window.scrollTo(0, 0);
        jobs.refresh();
      }}>There is more at the top</button>`
    }
    ${
      refusal === undefined &&
      (error === null || rows.length > 0) &&
      html`<section class="panel flush" aria-busy=${isLoading}>
        ${isLoading ? html`<${Loading} lines=${9} />` : rows.length === 0 ? html`<${NoJobs} filter=${filter} />` : table}
      </section>`
    }
    ${
      chosen.length > 0 &&
      html`<div class="bulk" role="region" aria-label="What is selected"><b>${plural(chosen.length, "job")} selected</b><span class="grow"></span>
        <button type="button" class="button small" onClick=${() => void forChosen((each) => retryJobs(each))}><${Icon} name="retry" size=${15} />Run again</button>
        <button type="button" class="button small danger" onClick=${() => void forChosen(cancelJobs)}><${Icon} name="stop" size=${15} />Cancel</button>
        <button type="button" class="bare" aria-label="Select nothing" onClick=${selectNone}><${Icon} name="close" size=${16} /></button></div>`
    }`;
}
