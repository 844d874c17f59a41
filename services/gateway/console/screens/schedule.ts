/** One schedule: when it comes next, what its last runs have become, and its plan. */
import type { PreviewScheduleResponse } from "@capstan/proto/capstan/job/v1/schedule_service.ts";
import { html } from "htm/preact";
import { get } from "../api.ts";
import { formatCount, formatLength, humanWord, whyOf } from "../format.ts";
import type { Job, Json, Schedule } from "../json.ts";
import { type List, type ListQuery, useFacts, useList } from "../list.ts";
import { useQuery } from "../query.ts";
import { go, link } from "../router.ts";
import {
  deleteSchedule,
  pauseSchedule,
  planText,
  resumeSchedule,
  triggerSchedule,
  workText,
} from "../scheduleActions.ts";
import type { ScreenProps } from "../screens.ts";
import { StateChip } from "../ui/chip.ts";
import { Icon } from "../ui/icon.ts";
import { Head, Menu, Pairs, Panel } from "../ui/layout.ts";
import { Empty, Failure, Loaded, Unread } from "../ui/states.ts";
import { type Column, Table } from "../ui/table.ts";
import { Age, Clock, Span, Until } from "../ui/time.ts";

type Run = NonNullable<Json<PreviewScheduleResponse>["runs"]>[number];

const freshMs = 4_000;
const shownRuns = 8;

/** `2026-03-29T03:00:00+02:00` as `Sun 29 Mar 2026, 03:00:00 +02:00`. */
function localText(local: string): string {
  const [, date = "", clock = "", offset = ""] = /^(\S+)T([\d:]+)(?:\.\d+)?(.*)$/.exec(local) ?? [];
  const day = new Intl.DateTimeFormat("en-GB", {
    weekday: "short",
    day: "2-digit",
    month: "short",
    year: "numeric",
    timeZone: "UTC",
  });
  return date === ""
    ? local
    : `${day.format(new Date(`${date}T00:00:00Z`))}, ${clock} ${offset === "Z" ? "UTC" : offset}`;
}

/** The next times, each with what a change of the clock does to it. */
export function Runs({ runs }: { runs: readonly Run[] }) {
  if (runs.length === 0) return html`<p class="quiet pad">No run comes any more.</p>`;
  return html`<ol class="runs">${runs.map(
    ({ time, fireTime, localTime = "", message = "" }) => html`<li key=${time}>
      <span class="number">${localText(localTime)}</span><span class="quiet small nowrap"><${Until} time=${fireTime} /></span>
      ${message !== "" && html`<span class="clock-change small">${message}</span>`}
    </li>`,
  )}</ol>`;
}

const columns: readonly Column<Job>[] = [
  { title: "Job", width: "minmax(90px, 1.5fr)", render: ({ spec }) => spec?.name },
  { title: "State", width: "116px", render: ({ state }) => html`<${StateChip} state=${state} />` },
  {
    title: "Why",
    width: "minmax(80px, 2fr)",
    from: 560,
    render: ({ reason, message }) => html`<span class="quiet">${whyOf(reason, message)}</span>`,
  },
  {
    title: "Took",
    width: "76px",
    isNumber: true,
    from: 420,
    render: ({ startTime, endTime }) => html`<${Span} from=${startTime} to=${endTime} />`,
  },
  { title: "Age", width: "52px", isNumber: true, render: ({ createTime }) => html`<${Age} time=${createTime} />` },
];

function LastRuns({ jobs, id }: { jobs: ListQuery<Job>; id: string }) {
  const all = html`<a class="small" href=${link("jobs", { filter: `schedule_id = "${id}"` })}>All its jobs</a>`;
  return html`<${Panel} class="flush" title="Last runs" actions=${all}><${Loaded} query=${jobs}>${({
    items,
  }: List<Job>) =>
    items.length === 0
      ? html`<${Empty} icon="clock" title="No run yet">Its jobs show here as they are submitted.</${Empty}>`
      : html`<${Table} label="Last runs" columns=${columns} rows=${items.slice(0, 20)} keyOf=${({ id: jobId = "" }: Job) => jobId} hrefOf=${({ id: jobId }: Job) => link(`jobs/${jobId}`)} />`}</${Loaded}></${Panel}>`;
}

function Plan({ schedule }: { schedule: Schedule }) {
  const { spec = {} } = schedule;
  const template = spec.template;
  return html`<${Panel} title="Its plan"><${Pairs} pairs=${[
    ["When", html`<code>${planText(spec)}</code>`],
    ["What", template ? html`<a href=${link(`templates/${template.name}`)}>${workText(spec)}</a>` : workText(spec)],
    ["When the last still runs", humanWord(spec.overlap)],
    ["Missed runs", humanWord(spec.missed)],
    ["Jitter", spec.jitter && `up to ${formatLength(spec.jitter)}`],
    ["From", spec.startTime && html`<${Clock} time=${spec.startTime} />`],
    ["Until", spec.endTime && html`<${Clock} time=${spec.endTime} />`],
    ["Pauses after", spec.maxConsecutiveFailures ? `${spec.maxConsecutiveFailures} failures in a row` : ""],
    ["Failures in a row", schedule.consecutiveFailures ? String(schedule.consecutiveFailures) : ""],
    ["Runs submitted", formatCount(Number(schedule.fired ?? 0))],
    ["Runs missed", formatCount(Number(schedule.missed ?? 0))],
    ["Runs left out", formatCount(Number(schedule.skipped ?? 0))],
  ]} /></${Panel}>`;
}

export function Screen({ parameters }: ScreenProps) {
  const name = parameters["name"] ?? "";
  const path = `schedules/${encodeURIComponent(name)}`;
  const found = useQuery(`schedule ${name}`, (signal) => get<{ schedule?: Schedule }>(path, {}, signal), {
    everyMs: freshMs,
  });
  const schedule = found.data?.schedule;
  const id = schedule?.id ?? "";
  const preview = useQuery(id === "" ? "" : `preview ${id} ${schedule?.etag} ${schedule?.nextTime}`, (signal) =>
    get<Json<PreviewScheduleResponse>>(`${path}:preview`, { count: shownRuns }, signal),
  );
  const jobs = useList<Job>(
    "jobs",
    "jobs",
    { filter: `schedule_id = "${id || "00000000-0000-0000-0000-000000000000"}"` },
    { everyMs: freshMs },
  );
  function reload(): void {
    found.reload();
    jobs.reload();
  }
  useFacts(["schedule.*"], reload);
  const crumb = { text: "Schedules", href: link("schedules") };
  if (schedule === undefined) {
    return html`<${Head} title=${name} crumb=${crumb} /><${Unread} query=${found} lines=${6} />`;
  }
  const isPaused = schedule.state === "SCHEDULE_STATE_PAUSED";
  const isEnded = schedule.state === "SCHEDULE_STATE_ENDED";
  const press = async (act: (schedule: Schedule) => Promise<boolean>) => {
    if (await act(schedule)) reload();
  };
  const actions = html`<button type="button" class="button primary" onClick=${() => void press(triggerSchedule)}><${Icon} name="play" size=${15} />Run now</button>
    ${!isEnded && html`<button type="button" class="button" onClick=${() => void press(isPaused ? resumeSchedule : pauseSchedule)}><${Icon} name=${isPaused ? "retry" : "pause"} size=${15} />${isPaused ? "Resume" : "Pause"}</button>`}
    <a class="button" href=${link(`schedules/${name}/edit`)}><${Icon} name="edit" size=${15} />Edit</a>
    <${Menu} label="More"><button type="button" class="danger" onClick=${async () => (await deleteSchedule(schedule)) && go(link("schedules"))}><${Icon} name="trash" size=${15} />Delete</button></${Menu}>`;
  const why = whyOf(schedule.reason, schedule.message);
  return html`<${Head} title=${name} crumb=${crumb} actions=${actions}>
      <${StateChip} state=${schedule.state} />
      ${why !== "" ? html`<span>${why}, since <${Age} time=${schedule.stateTime} /></span>` : html`<span>${planText(schedule.spec)}</span>`}
    </${Head}>
    ${found.error !== null && html`<${Failure} error=${found.error} onRetry=${found.reload} />`}
    ${schedule.spec?.description && html`<p class="lead">${schedule.spec.description}</p>`}
    <div class="stack">
      <div class="grid even"><${Plan} schedule=${schedule} />
        <${Panel} class="flush" title=${isPaused ? "What would come next" : "Next runs"}><${Loaded} query=${preview}>${({ runs = [] }: Json<PreviewScheduleResponse>) => html`<${Runs} runs=${runs} />`}</${Loaded}></${Panel}>
      </div>
      <${LastRuns} jobs=${jobs} id=${id} />
    </div>`;
}
