/** How the platform does: what lives, what came and ended, what waits longest and why, how full the providers are, why jobs failed. */
import type { GetJobStatsResponse } from "@capstan/proto/capstan/job/v1/job_service.ts";
import type { ExplainJobResponse } from "@capstan/proto/capstan/orchestrator/v1/queue_service.ts";
import type { ListProvidersResponse } from "@capstan/proto/capstan/provider/v1/provider_service.ts";
import { html } from "htm/preact";
import { get } from "../api.ts";
import { enumWord, formatAge, formatCount, formatShort, humanWord, plural, timeOf, whyOf } from "../format.ts";
import type { Job, Json } from "../json.ts";
import { Capacities } from "../providerActions.ts";
import { useQuery } from "../query.ts";
import { link, query, setQuery } from "../router.ts";
import { Bars, type Series, Tile } from "../ui/chart.ts";
import { StateChip } from "../ui/chip.ts";
import { Icon } from "../ui/icon.ts";
import { Head, Panel } from "../ui/layout.ts";
import { Empty, Loaded } from "../ui/states.ts";
import { Age, Clock } from "../ui/time.ts";

type Stats = Json<GetJobStatsResponse>;
type Counts = NonNullable<Stats["live"]>;
type Failures = NonNullable<Stats["failures"]>;

const spans = [
  ["900s", "15 min"],
  ["3600s", "1 hour"],
  ["86400s", "1 day"],
  ["604800s", "7 days"],
] as const;
const defaultSpan = "3600s";
const mostOldest = 5;

const series: readonly (Series & { readonly key: keyof Counts })[] = [
  { key: "succeeded", name: "succeeded", tone: "good" },
  { key: "failed", name: "failed", tone: "bad" },
  { key: "timedOut", name: "timed out", tone: "warn" },
  { key: "running", name: "running", tone: "info" },
  { key: "cancelled", name: "cancelled", tone: "quiet" },
  { key: "pending", name: "waiting", tone: "plain" },
];

function sumOf(stats: Stats, key: keyof Counts): number {
  return (stats.buckets ?? []).reduce((sum, { accepted }) => sum + (accepted?.[key] ?? 0), 0);
}

/** Over the last parts of the span. */
const recentBuckets = 5;

function ratePerMinute(stats: Stats, of: (bucket: NonNullable<Stats["buckets"]>[number]) => number): number {
  const recent = (stats.buckets ?? []).slice(-recentBuckets);
  const minutes = (timeOf(stats.readTime) - timeOf(recent[0]?.beginTime)) / 60_000;
  return minutes > 0 ? recent.reduce((sum, bucket) => sum + of(bucket), 0) / minutes : 0;
}

function total(counts: Counts | undefined): number {
  return Object.values(counts ?? {}).reduce((sum, count) => sum + (count ?? 0), 0);
}

function rateText(rate: number): string {
  return rate >= 100 ? formatShort(rate) : rate >= 10 || rate === 0 ? rate.toFixed(0) : rate.toFixed(1);
}

function Tiles({ stats }: { stats: Stats }) {
  const failed = sumOf(stats, "failed") + sumOf(stats, "timedOut");
  const ended = failed + sumOf(stats, "succeeded");
  const share =
    ended === 0
      ? "none has ended"
      : `${((100 * failed) / ended).toFixed(failed > 0 && failed < ended / 100 ? 2 : 0)} % of those that ended`;
  const waiting = stats.live?.pending ?? 0;
  const recent = stats.buckets?.at(-recentBuckets)?.beginTime;
  const lately = `a minute, over the last ${formatAge(timeOf(stats.readTime) - timeOf(recent) + 500)}`;
  return html`<div class="tiles">
    <${Tile} title="Running" value=${formatCount(stats.live?.running ?? 0)} note=${stats.live?.cancelling ? `${formatCount(stats.live.cancelling)} being cancelled` : "have begun"} href=${link("jobs", { filter: "state = RUNNING" })} />
    <${Tile} title="Waiting" value=${formatCount(waiting)} note=${waiting === 0 ? "nothing waits" : "have not begun"} href=${link("jobs", { filter: "state = PENDING" })} />
    <${Tile} title="Submitted" value=${rateText(ratePerMinute(stats, ({ accepted }) => total(accepted)))} note=${lately} />
    <${Tile} title="Ended" value=${rateText(ratePerMinute(stats, ({ ended: count = 0 }) => count))} note=${lately} />
    <${Tile} title="Failed" value=${formatCount(failed)} note=${share} tone=${failed > 0 ? "bad" : ""} href=${link("jobs", { filter: "(state = FAILED OR state = TIMED_OUT)" })} />
  </div>`;
}

function History({ stats, span }: { stats: Stats; span: string }) {
  const buckets = (stats.buckets ?? []).map(({ beginTime = "", accepted }) => ({
    time: beginTime,
    counts: series.map(({ key }) => accepted?.[key] ?? 0),
  }));
  const isPartial = timeOf(stats.beginTime) > timeOf(buckets[0]?.time) + 1_000;
  const picker = html`<div class="quick" role="group" aria-label="How far back">${spans.map(
    ([value, title]) =>
      html`<button key=${value} type="button" class="quick-filter" aria-pressed=${value === span} onClick=${() => setQuery({ span: value === defaultSpan ? "" : value })}>${title}</button>`,
  )}</div>`;
  return html`<${Panel} title="Jobs by when they were submitted" actions=${picker}>
    <${Bars} label="Jobs by when they were submitted, and their state now" series=${series} buckets=${buckets} />
    ${isPartial && html`<p class="small quiet">There are more than these: counted from <${Clock} time=${stats.beginTime} /> on.</p>`}
  </${Panel}>`;
}

function FailureGroups({ failures }: { failures: Failures }) {
  if (failures.length === 0)
    return html`<${Empty} icon="check" title="Nothing failed">Failures show here, grouped by their reason.</${Empty}>`;
  const most = Math.max(...failures.map(({ count = 0 }) => count));
  return html`<ul class="groups">${failures.map(
    ({ state, reason, count = 0, lastJobId, lastJobName, lastMessage, lastTime }) => {
      const filter = `state = ${enumWord(state)} AND reason = ${enumWord(reason) || "UNSPECIFIED"}`;
      return html`<li key=${filter}>
      <a class="group-count number" href=${link("jobs", { filter })} aria-label=${`${plural(count, "job")} with ${humanWord(reason)}`}>${formatCount(count)}</a>
      <div class="grow"><div class="row-gap"><b>${humanWord(reason) || humanWord(state)}</b>${humanWord(state) !== "failed" && html`<${StateChip} state=${state} />`}</div>
        <p class="small quiet cut">${lastMessage && html`${lastMessage} · `}last <a href=${link(`jobs/${lastJobId}`)}>${lastJobName}</a>, <${Age} time=${lastTime} suffix=" ago" /></p>
        <i class="share" style=${{ inlineSize: `${(100 * count) / most}%` }}></i></div>
    </li>`;
    },
  )}</ul>`;
}

interface Waiting {
  readonly job: Job;
  readonly why: string;
  readonly remedy: string;
}

async function readOldest(signal: AbortSignal): Promise<readonly Waiting[]> {
  const { jobs = [] } = await get<{ jobs?: readonly Job[] }>(
    "jobs",
    { filter: "state = PENDING", orderBy: "create_time", pageSize: mostOldest },
    signal,
  );
  return Promise.all(
    jobs.map(async (job) => {
      const { attempts: [first] = [] } = await get<Json<ExplainJobResponse>>(
        `jobs/${job.id}:explain`,
        {},
        signal,
      ).catch((): Json<ExplainJobResponse> => ({}));
      const [step] = job.steps ?? [];
      const { reason = step?.reason, message = step?.message ?? "", remedy = "" } = first ?? {};
      return { job, why: whyOf(reason, message), remedy };
    }),
  );
}

function Oldest({ waiting }: { waiting: readonly Waiting[] }) {
  if (waiting.length === 0)
    return html`<${Empty} icon="check" title="Nothing waits">Every job that was submitted has begun.</${Empty}>`;
  return html`<ul class="groups">${waiting.map(
    ({
      job,
      why,
      remedy,
    }) => html`<li key=${job.id}><span class="group-count number"><${Age} time=${job.createTime} /></span>
      <div class="grow"><a href=${link(`jobs/${job.id}`, { tab: "why" })}><b>${job.spec?.name}</b></a><span class="quiet small"> in ${job.spec?.queue || "default"}</span>
        <p class="small">${why}</p>${remedy !== "" && html`<p class="small quiet">${remedy}</p>`}</div></li>`,
  )}</ul>`;
}

function Providers({ providers }: { providers: NonNullable<Json<ListProvidersResponse>["providers"]> }) {
  if (providers.length === 0)
    return html`<${Empty} icon="provider" title="No provider">Nothing can run before one is registered: <code>npx capstan provider register</code>.</${Empty}>`;
  return html`<ul class="groups">${providers.map((provider) => {
    const { id, name, state, health, healthMessage } = provider;
    return html`<li key=${id}><div class="grow stack tight">
      <div class="row-gap"><a href=${link(`providers/${name}`)}><b>${name}</b></a><${StateChip} state=${health} />${humanWord(state) !== "active" && html`<${StateChip} state=${state} />`}</div>
      <${Capacities} provider=${provider} />
      ${humanWord(health) !== "healthy" && healthMessage && html`<p class="small quiet">${healthMessage}</p>`}
    </div></li>`;
  })}</ul>`;
}

export function Screen() {
  const span = spans.find(([value]) => value === query.value.get("span"))?.[0] ?? defaultSpan;
  const stats = useQuery(`stats ${span}`, (signal) => get<Stats>("jobs:stats", { span, buckets: 60 }, signal), {
    everyMs: 4_000,
  });
  const oldest = useQuery("oldest", readOldest, { everyMs: 5_000 });
  const providers = useQuery(
    "providers",
    (signal) => get<Json<ListProvidersResponse>>("providers", { pageSize: 50 }, signal),
    { everyMs: 5_000 },
  );
  return html`<${Head} title="Overview" actions=${html`<a class="button primary" href=${link("new")}><${Icon} name="plus" size=${16} />New job</a>`} />
    <div class="stack">
      <${Loaded} query=${stats} lines=${7}>${(data: Stats) => html`<${Tiles} stats=${data} /><${History} stats=${data} span=${span} />`}</${Loaded}>
      <div class="grid">
        <${Panel} title="What waits longest"><${Loaded} query=${oldest} lines=${4}>${(waiting: readonly Waiting[]) => html`<${Oldest} waiting=${waiting} />`}</${Loaded}></${Panel}>
        <${Panel} title="Providers"><${Loaded} query=${providers} lines=${4}>${(data: Json<ListProvidersResponse>) => html`<${Providers} providers=${data.providers ?? []} />`}</${Loaded}></${Panel}>
        <${Panel} title="Why jobs failed"><${Loaded} query=${stats} lines=${4}>${(data: Stats) => html`<${FailureGroups} failures=${data.failures ?? []} />`}</${Loaded}></${Panel}>
      </div>
    </div>`;
}
