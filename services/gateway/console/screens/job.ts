/** One job: its steps drawn and told as they change, and all that is known of it. */
import { html } from "htm/preact";
import { ApiError, get } from "../api.ts";
import { cli, curl } from "../commands.ts";
import { enumWord, whyOf } from "../format.ts";
import { cancelJobs, pauseJob, resumeJob, retryJobs } from "../jobActions.ts";
import { useJob } from "../jobDetail.ts";
import { hasEnded } from "../jobMoves.ts";
import type { Job, Step } from "../json.ts";
import { useQuery } from "../query.ts";
import { link, query, setQuery } from "../router.ts";
import type { ScreenProps } from "../screens.ts";
import { Chip, StateChip } from "../ui/chip.ts";
import { Icon } from "../ui/icon.ts";
import { Code, Copy, Head, Labels, Menu, Panel, Tabs } from "../ui/layout.ts";
import { Empty, Failure, Loading, Unread } from "../ui/states.ts";
import { Age, Span, Until } from "../ui/time.ts";
import { JobFacts } from "./jobFacts.ts";
import { JobGraph } from "./jobGraph.ts";
import { JobStep } from "./jobStep.ts";
import { JobTimeline } from "./jobTimeline.ts";
import { JobWhy } from "./jobWhy.ts";

function Actions({ job, onDone }: { job: Job; onDone: () => void }) {
  const name = { id: job.id ?? "", name: job.spec?.name ?? "" };
  const isOver = hasEnded(job.state ?? "");
  const isCancelling = enumWord(job.state) === "CANCELLING";
  const isPaused = job.pauseTime !== undefined;
  const done = (action: Promise<boolean>) => void action.then((isDone) => isDone && onDone());
  const isBad = isOver && enumWord(job.state) !== "SUCCEEDED";
  return html`<${Menu} label="Copy as">
      <${Copy} text=${cli("job", "get", name.id)} label="Copy the command of the CLI">CLI</${Copy}>
      <${Copy} text=${curl("GET", `jobs/${name.id}`)} label="Copy the command of curl">curl</${Copy}>
      <${Copy} text=${() => JSON.stringify(job.spec, null, 2)} label="Copy the spec as JSON">Spec as JSON</${Copy}>
    </${Menu}>
    <a class="button" href=${link("new", { from: name.id })}><${Icon} name="edit" size=${15} />Use as new</a>
    ${isBad && (job.steps?.length ?? 0) > 1 && html`<button type="button" class="button" onClick=${() => done(retryJobs([name], { fromFailed: true }))}><${Icon} name="retry" size=${15} />Run what failed</button>`}
    ${isBad && html`<button type="button" class="button primary" onClick=${() => done(retryJobs([name]))}><${Icon} name="retry" size=${15} />Run again</button>`}
    ${
      !isOver &&
      !isCancelling &&
      (isPaused
        ? html`<button type="button" class="button" onClick=${() => done(resumeJob(name))}><${Icon} name="play" size=${15} />Resume</button>`
        : html`<button type="button" class="button" onClick=${() => done(pauseJob(name))}><${Icon} name="pause" size=${15} />Pause</button>`)
    }
    ${!isOver && !isCancelling && html`<button type="button" class="button danger" onClick=${() => done(cancelJobs([name]))}><${Icon} name="stop" size=${15} />Cancel</button>`}`;
}

function Origin({ job }: { job: Job }) {
  const jobLink = (id: string, text: string) => html`<a href=${link(`jobs/${id}`)}>${text}</a>`;
  return html`${job.retryOf && jobLink(job.retryOf, "retry of another")}
    ${job.rerunOf && jobLink(job.rerunOf, "another with new input")}
    ${job.parentJobId && html`<span>step <b>${job.parentStep}</b> of ${jobLink(job.parentJobId, "its parent")}</span>`}
    ${job.template && html`<span>template <a href=${link(`templates/${job.template}`)}>${job.template}</a> ${job.templateVersion}</span>`}
    ${job.scheduleId && html`<a href=${link(`schedules/${job.scheduleId}`)}>by a schedule</a>`}`;
}

function Under({ job }: { job: Job }) {
  const { spec } = job;
  const isPaused = job.pauseTime !== undefined && !hasEnded(job.state ?? "");
  const why = whyOf(job.reason, job.message);
  return html`<${StateChip} state=${job.state} />${isPaused && html`<${Chip} tone="warn" text="paused" />`}
    ${why !== "" && html`<span class="why-short">${why}</span>`}
    <span>submitted <${Age} time=${job.createTime} suffix=" ago" /></span>
    ${job.startTime !== undefined && html`<span>${job.endTime === undefined ? "runs for" : "took"} <${Span} from=${job.startTime} to=${job.endTime} /></span>`}
    ${job.deadlineTime !== undefined && job.endTime === undefined && html`<span>times out <${Until} time=${job.deadlineTime} /></span>`}
    <span>queue <a href=${link(`queues/${spec?.queue || "default"}`)}>${spec?.queue || "default"}</a></span>
    ${(spec?.priority ?? 0) !== 0 && html`<span>priority ${spec?.priority}</span>`}
    <${Origin} job=${job} /><${Labels} labels=${spec?.labels} />
    <span class="id"><code class="small">${job.id}</code><${Copy} text=${job.id ?? ""} label="Copy the id" /></span>`;
}

/** The step that the address names; else the one that is most worth a look. */
function chosenStep(steps: readonly Step[]): Step | undefined {
  const named = query.value.get("step");
  const by = (pattern: RegExp) => steps.find(({ state }) => pattern.test(state ?? ""));
  return (
    steps.find(({ name }) => name === named) ??
    by(/_FAILED|TIMED_OUT/) ??
    by(/SUSPENDED/) ??
    by(/RUNNING/) ??
    by(/BACKOFF|READY/) ??
    steps.at(-1)
  );
}

function Steps({ job }: { job: Job }) {
  const { spec, steps = [] } = job;
  const named = query.value.get("step") ?? "";
  // An item of for_each is a step whose name begins with that of its parent.
  const parent = steps.find(({ name = "" }) => named.startsWith(`${name}.`));
  const step = chosenStep(steps);
  const specOf = (name: string | undefined) => spec?.steps?.find((each) => (each.name || "main") === name) ?? {};
  const isGraph = steps.length > 1;
  const shown = parent === undefined ? step : undefined;
  return html`<div class="stack">
    ${isGraph && spec !== undefined && html`<section class="panel flush"><${JobGraph} spec=${spec} steps=${steps} selected=${parent?.name ?? step?.name ?? ""} onSelect=${(name: string) => setQuery({ step: name, attempt: undefined })} /></section>`}
    ${parent !== undefined && html`<${ItemStep} job=${job} name=${named} parent=${parent.name ?? ""} />`}
    ${shown !== undefined && html`<${JobStep} key=${shown.name} job=${job} step=${shown} spec=${specOf(shown.name)} />`}
  </div>`;
}

function ItemStep({ job, name, parent }: { job: Job; name: string; parent: string }) {
  const specOf = job.spec?.steps?.find((each) => each.name === parent) ?? {};
  const item = useQuery(`item ${job.id} ${name} ${job.sequence}`, async (signal) => {
    const index = Number(name.slice(parent.length + 1));
    const pageSize = Math.min(1_000, index + 1);
    let pageToken = "";
    for (;;) {
      const page: { steps?: readonly Step[]; nextPageToken?: string } = await get(
        `jobs/${job.id}/steps`,
        { parentStep: parent, pageSize, pageToken },
        signal,
      );
      const found = page.steps?.find((step) => step.name === name);
      pageToken = page.nextPageToken ?? "";
      if (found !== undefined) return found;
      if (pageToken === "") throw new Error(`there is no item ${name}`);
    }
  });
  if (item.data === undefined) return html`<${Unread} query=${item} />`;
  return html`<${JobStep} key=${name} job=${job} step=${item.data} spec=${specOf} />`;
}

function InputAndResult({ job }: { job: Job }) {
  const { input } = job.spec ?? {};
  return html`<div class="grid">
    <${Panel} title="Input">${input === undefined || input === null ? html`<p class="quiet">The job was given none.</p>` : html`<${Code} text=${JSON.stringify(input, null, 2)} label="the input" />`}</${Panel}>
    <${Panel} title="Result">${job.result === undefined || job.result === null ? html`<p class="quiet">${hasEnded(job.state ?? "") ? "It gave nothing back." : "It has not ended yet."}</p>` : html`<${Code} text=${JSON.stringify(job.result, null, 2)} label="the result" />`}</${Panel}>
  </div>`;
}

export function Screen({ parameters }: ScreenProps) {
  const { job, facts, error, reload } = useJob(parameters["id"] ?? "");
  const crumb = { text: "Jobs", href: link("jobs") };
  if (job === undefined) {
    if (error === null) return html`<${Loading} lines=${8} />`;
    if (error instanceof ApiError && error.status === 404) {
      return html`<${Empty} icon="search" title="There is no such job">It was never submitted here, or retention has removed it. <a href=${link("jobs")}>All jobs</a></${Empty}>`;
    }
    return html`<${Head} title="Job" crumb=${crumb} /><${Failure} error=${error} onRetry=${reload} />`;
  }
  const isOver = hasEnded(job.state ?? "");
  const tabs = [
    { id: "steps", title: "Steps", ...((job.steps?.length ?? 0) > 1 ? { count: job.steps?.length ?? 0 } : {}) },
    { id: "timeline", title: "Timeline" },
    { id: "input", title: "Input and result" },
    { id: "facts", title: "Events", count: facts.length },
    { id: "spec", title: "Spec" },
    ...(isOver ? [] : [{ id: "why", title: "Why it waits" }]),
  ];
  const wanted = query.value.get("tab") ?? "steps";
  const tab = tabs.some(({ id }) => id === wanted) ? wanted : "steps";
  return html`<${Head} title=${job.spec?.name ?? "Job"} crumb=${crumb} actions=${html`<${Actions} job=${job} onDone=${reload} />`}><${Under} job=${job} /></${Head}>
    ${error !== null && html`<${Failure} error=${error} onRetry=${reload} />`}
    <${Tabs} tabs=${tabs} label="Parts of the job" />
    ${tab === "steps" && html`<${Steps} job=${job} />`}
    ${tab === "timeline" && html`<${JobTimeline} job=${job} facts=${facts} />`}
    ${tab === "input" && html`<${InputAndResult} job=${job} />`}
    ${tab === "facts" && html`<${JobFacts} facts=${facts} />`}
    ${tab === "spec" && html`<${Panel}><${Code} text=${JSON.stringify(job.spec, null, 2)} label="the spec" /></${Panel}>`}
    ${tab === "why" && html`<${JobWhy} job=${job} />`}`;
}
