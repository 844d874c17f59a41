/** The path of each attempt across the platform: where it stands, those that are parked and what to do with them, dead letters. */
import type { GetSagaStatsResponse } from "@capstan/proto/capstan/orchestrator/v1/saga_service.ts";
import { html } from "htm/preact";
import { get } from "../api.ts";
import { countText, enumWord, formatCount, humanWord, plural, whyOf } from "../format.ts";
import type { DeadLetter, Json, Saga } from "../json.ts";
import { type List, type ListQuery, useFacts, useList } from "../list.ts";
import { useQuery } from "../query.ts";
import { link, query, setQuery } from "../router.ts";
import { sagaFacts } from "../sagaActions.ts";
import { StateChip } from "../ui/chip.ts";
import { Head, Tabs } from "../ui/layout.ts";
import { Empty, Loaded } from "../ui/states.ts";
import { type Column, Table } from "../ui/table.ts";
import { Age } from "../ui/time.ts";
import { DeadLetters } from "./deadLetters.ts";

type Counts = NonNullable<Json<GetSagaStatsResponse>["live"]>;

const freshMs = 5_000;
const path = ["WAITING", "RESERVED", "STARTED", "SETTLING", "DONE"] as const;
const liveStages = ["WAITING", "RESERVED", "STARTED", "SETTLING", "COMPENSATING", "PARKED"] as const;
const anyOf = (stages: readonly string[]) => `(${stages.map((stage) => `stage = ${stage}`).join(" OR ")})`;

/** How far it has come: a mark for each stage of the path. */
function StageTrack({ stage }: { stage: string | undefined }) {
  const word = enumWord(stage);
  const at = path.indexOf(word as (typeof path)[number]);
  const tone = word === "PARKED" ? "bad" : word.startsWith("COMPENSAT") ? "warn" : word === "DONE" ? "good" : "info";
  return html`<span class=${`track ${tone}`} aria-hidden="true">${path.map((each, index) => html`<i key=${each} class=${at < 0 || index <= at ? "past" : ""}></i>`)}</span>`;
}

const columns: readonly Column<Saga>[] = [
  {
    title: "Step",
    width: "minmax(84px, 1.2fr)",
    render: ({ step, attempt = 1 }) =>
      html`${step}${attempt > 1 && html` <span class="quiet">attempt ${attempt}</span>`}`,
  },
  { title: "Stage", width: "126px", render: ({ stage }) => html`<${StateChip} state=${stage} />` },
  { title: "Path", width: "84px", from: 760, render: ({ stage }) => html`<${StageTrack} stage=${stage} />` },
  {
    title: "Why",
    width: "minmax(110px, 2.4fr)",
    from: 560,
    render: ({ reason, message }) => {
      const text = whyOf(reason, message);
      return html`<span class="quiet" title=${text}>${text}</span>`;
    },
  },
  {
    title: "Job",
    width: "96px",
    from: 660,
    render: ({ jobId = "" }) =>
      html`<a class="mono" href=${link(`jobs/${jobId}`)} title=${jobId}>…${jobId.slice(-8)}</a>`,
  },
  { title: "Provider", width: "minmax(70px, 0.8fr)", from: 980, render: ({ providerName }) => providerName },
  { title: "Queue", width: "minmax(70px, 0.8fr)", from: 1_100, render: ({ queue }) => queue },
  { title: "Tries", width: "48px", from: 860, isNumber: true, render: ({ failures }) => (failures ? failures : "") },
  { title: "Since", width: "52px", isNumber: true, render: ({ stageTime }) => html`<${Age} time=${stageTime} />` },
];

const keyOf = ({ id }: Saga) => id ?? "";
const hrefOf = ({ id }: Saga) => link(`sagas/${id}`);

/** `counts` is undefined until they are known. */
function Stages({ stage, counts }: { stage: string; counts: Counts | undefined }) {
  return html`<div class="stages" role="group" aria-label="By stage">${liveStages.map((each) => {
    const count = counts?.[each.toLowerCase() as Lowercase<typeof each>] ?? 0;
    return html`<button type="button" key=${each} class=${`stage ${each === "PARKED" && count > 0 ? "bad" : ""}`} aria-pressed=${stage === each} onClick=${() => setQuery({ stage: stage === each ? "" : each })}>
      <span>${humanWord(each)}</span><b class="number">${counts === undefined ? "–" : countText(count)}</b></button>`;
  })}</div>`;
}

function NoSagas({ stage, isAll }: { stage: string; isAll: boolean }) {
  if (stage === "PARKED")
    return html`<${Empty} icon="check" title="Nothing is parked">A saga is parked when a command of it is refused for good. Then a person retries it, skips its step, undoes it or forces its end.</${Empty}>`;
  if (stage !== "")
    return html`<${Empty} icon="saga" title=${`None is ${humanWord(stage)}`}>The others are in the stages beside.</${Empty}>`;
  return html`<${Empty} icon="saga" title=${isAll ? "No saga yet" : "No saga is under way"}>There is one for each attempt of a step, from its turn in the queue to its settlement. <a href=${link("new")}>Submit a job</a> to see one.</${Empty}>`;
}

function SagaTable({ sagas, stage, isAll }: { sagas: ListQuery<Saga>; stage: string; isAll: boolean }) {
  return html`<section class="panel flush"><${Loaded} query=${sagas}>${({ items, hasMore }: List<Saga>) =>
    items.length === 0
      ? html`<${NoSagas} stage=${stage} isAll=${isAll} />`
      : html`<${Table} label="Sagas" columns=${columns} rows=${items} keyOf=${keyOf} hrefOf=${hrefOf} onMore=${hasMore ? sagas.more : undefined}
          foot=${html`<p class="foot small">${hasMore ? `The newest ${formatCount(items.length)}; more come as you scroll` : plural(items.length, "saga")}</p>`} />`}</${Loaded}></section>`;
}

export function Screen() {
  const tab = query.value.get("tab") ?? "live";
  const stage = query.value.get("stage") ?? "";
  const isAll = tab === "all";
  const filter = stage !== "" ? `stage = ${stage}` : isAll ? "" : anyOf(liveStages);
  const sagas = useList<Saga>("sagas", "sagas", { filter }, { everyMs: freshMs });
  const letters = useList<DeadLetter>("deadLetters", "deadLetters", {}, { everyMs: 15_000 });
  const stats = useQuery("sagas:stats", (signal) => get<Json<GetSagaStatsResponse>>("sagas:stats", {}, signal), {
    everyMs: freshMs,
  });
  const counts = stats.data?.live;
  useFacts(sagaFacts, () => {
    sagas.reload();
    stats.reload();
  });
  const parked = counts?.parked ?? 0;
  const tabs = [
    { id: "live", title: "Under way" },
    { id: "all", title: "All" },
    {
      id: "letters",
      title: "Dead letters",
      ...(letters.data === undefined ? {} : { count: letters.data.items.length }),
    },
  ];
  return html`<${Head} title="Sagas">
      <span>The path of each attempt: placed, started, settled.</span>
      ${parked > 0 && html`<span class="bad-text">${plural(parked, "saga")} parked: ${parked === 1 ? "it needs" : "they need"} a person</span>`}
    </${Head}>
    <${Tabs} label="Sagas" tabs=${tabs} />
    ${
      tab === "letters"
        ? html`<${DeadLetters} letters=${letters} />`
        : html`${!isAll && html`<${Stages} stage=${stage} counts=${counts} />`}<${SagaTable} sagas=${sagas} stage=${stage} isAll=${isAll} />`
    }`;
}
