/** Why a job waits, since when, and what would have to change: what the scheduler itself answers. */
import type { AttemptExplanation, ExplainJobResponse } from "@capstan/proto/capstan/orchestrator/v1/queue_service.ts";
import { html } from "htm/preact";
import { get } from "../api.ts";
import { enumWord, formatCount, plural, whyOf } from "../format.ts";
import type { Job, Json, Step } from "../json.ts";
import { useQuery } from "../query.ts";
import { link } from "../router.ts";
import { Chip, StateChip } from "../ui/chip.ts";
import { Panel } from "../ui/layout.ts";
import { Empty, Loaded } from "../ui/states.ts";
import { Age, Until } from "../ui/time.ts";

type Explanation = Json<ExplainJobResponse>;
type Attempt = Json<AttemptExplanation>;

const mostSteps = 20;
const mostRefusals = 6;

/** What would have to happen to a step that waits for no place. */
function remedyOf({ reason }: Step): string {
  switch (enumWord(reason)) {
    case "APPROVAL":
      return "Somebody has to decide.";
    case "AWAITING_SIGNAL":
      return "The signal has to come.";
    case "JOB_PAUSED":
      return "The job has to be resumed.";
    case "SUB_JOB":
      return "Its sub-job has to end.";
    case "WAITING_DEPENDENCY":
    case "MAX_PARALLEL":
      return "The steps before it have to end.";
    default:
      return "";
  }
}

function AttemptWhy({ attempt }: { attempt: Attempt }) {
  const {
    step,
    stage = "",
    since,
    reason,
    message = "",
    remedy = "",
    ahead = -1,
    estimatedBeginTime,
    refusals = [],
  } = attempt;
  return html`<li>
    <div class="row-gap"><b>${step}</b>${(attempt.attempt ?? 0) > 1 && html`<span class="quiet">attempt ${attempt.attempt}</span>`}
      ${stage !== "" && html`<${StateChip} state=${stage} />`}${since !== undefined && html`<span class="quiet">for <${Age} time=${since} /></span>`}</div>
    <p>${whyOf(reason, message) || (attempt.providerName ? `A place is free on ${attempt.providerName}.` : "It goes its normal way.")}</p>
    ${ahead >= 0 && html`<p class="quiet">${ahead === 0 ? "First in line" : `${formatCount(ahead)} before it`}${estimatedBeginTime !== undefined && html`; may begin <${Until} time=${estimatedBeginTime} />`}</p>`}
    ${
      refusals.length > 0 &&
      html`<ul class="refusals">${refusals
        .slice(0, mostRefusals)
        .map(
          ({ providerName, filter, message: text }) =>
            html`<li key=${`${providerName} ${filter}`}><code>${providerName}</code> ${(filter ?? "").toLowerCase()}: ${text}</li>`,
        )}${refusals.length > mostRefusals && html`<li class="quiet">and ${plural(refusals.length - mostRefusals, "more provider")}</li>`}</ul>`
    }
    ${remedy !== "" && html`<p class="remedy"><b>To change:</b> ${remedy}</p>`}
  </li>`;
}

function StepWhy({ step }: { step: Step }) {
  const remedy = remedyOf(step);
  return html`<li>
    <div class="row-gap"><b>${step.name}</b><${StateChip} state=${step.state} /><span class="quiet">for <${Age} time=${step.stateTime} /></span></div>
    <p>${whyOf(step.reason, step.message)}${step.dueTime !== undefined && html` <span class="quiet">goes on by itself <${Until} time=${step.dueTime} /></span>`}</p>
    ${remedy !== "" && html`<p class="remedy"><b>To change:</b> ${remedy}</p>`}
  </li>`;
}

function QueueLine({ queue }: { queue: Explanation["queue"] }) {
  const { name, isPaused } = queue?.queue ?? {};
  if (name === undefined) return null;
  const { waiting = 0, running = 0, drainPerSecond = 0 } = queue?.stats ?? {};
  return html`<p class="quiet">Queue <a href=${link(`queues/${name}`)}>${name}</a>${isPaused && html` <${Chip} tone="warn" text="paused" />`}:
    ${formatCount(waiting)} waiting, ${formatCount(running)} running, ${drainPerSecond.toFixed(1)} begun per second</p>`;
}

export function JobWhy({ job }: { job: Job }) {
  const why = useQuery(`explain ${job.id}`, (signal) => get<Explanation>(`jobs/${job.id}:explain`, {}, signal), {
    everyMs: 3_000,
  });
  const waiting = (job.steps ?? []).filter(({ state }) => /BLOCKED|BACKOFF|SUSPENDED/.test(state ?? ""));
  return html`<${Panel}><${Loaded} query=${why} lines=${3}>${({ attempts = [], queue, hasMore }: Explanation) =>
    attempts.length + waiting.length === 0
      ? html`<${Empty} icon="check" title="Nothing of it waits">It goes its normal way.</${Empty}>`
      : html`<ul class="whys">
          ${attempts.map((attempt) => html`<${AttemptWhy} key=${`${attempt.step} ${attempt.attempt}`} attempt=${attempt} />`)}
          ${hasMore && html`<li class="quiet">and more attempts</li>`}
          ${waiting.slice(0, mostSteps).map((step) => html`<${StepWhy} key=${step.name} step=${step} />`)}
          ${waiting.length > mostSteps && html`<li class="quiet">and ${plural(waiting.length - mostSteps, "more step")}</li>`}
        </ul><${QueueLine} queue=${queue} />`}</${Loaded}></${Panel}>`;
}
