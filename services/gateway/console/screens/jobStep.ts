/** One step of a job: where it stands, its attempts with their logs, what it gave back, and what a person can decide about it. */
import { html } from "htm/preact";
import { useState } from "preact/hooks";
import { get, newRequestId, post } from "../api.ts";
import { enumWord, humanWord, plural, whyOf } from "../format.ts";
import { act } from "../jobActions.ts";
import { readAttempts } from "../jobDetail.ts";
import type { Execution, Job, Step, StepSpec } from "../json.ts";
import { useQuery } from "../query.ts";
import { link, query, setQuery } from "../router.ts";
import { Chip, StateChip } from "../ui/chip.ts";
import { TextField } from "../ui/form.ts";
import { Code, Pairs, Panel } from "../ui/layout.ts";
import { Failure, Unread } from "../ui/states.ts";
import { Clock, Span, Until } from "../ui/time.ts";
import { JobLog } from "./jobLog.ts";

/** What follows when nobody has decided in time. */
const outcomes: Readonly<Record<string, string>> = { SKIP: "is skipped", SUCCEED: "counts as approved" };

/** Approve or reject, by whom and why. */
function Decision({ job, step, spec }: { job: Job; step: Step; spec: StepSpec }) {
  const [by, setBy] = useState(localStorage.getItem("capstan.name") ?? "");
  const [note, setNote] = useState("");
  async function decide(decision: "APPROVE" | "REJECT"): Promise<void> {
    localStorage.setItem("capstan.name", by);
    const body = { decision: `APPROVAL_DECISION_${decision}`, by, note };
    await act(
      () => post(`jobs/${job.id}/steps/${step.name}:decide`, body),
      decision === "APPROVE" ? "Approved" : "Rejected",
    );
  }
  return html`<div class="decision">
    <p><strong>${spec.approval?.message || "Somebody has to decide."}</strong>
      ${step.dueTime !== undefined && html` <span class="quiet">${outcomes[enumWord(spec.approval?.onTimeout)] ?? "fails"} by itself <${Until} time=${step.dueTime} /></span>`}</p>
    <div class="fields">
      <${TextField} label="Who decides" value=${by} onInput=${setBy} placeholder="Your name" />
      <${TextField} label="Note" value=${note} onInput=${setNote} placeholder="Why; kept with the decision" />
    </div>
    <div class="actions">
      <button type="button" class="button primary" disabled=${by.trim() === ""} onClick=${() => void decide("APPROVE")}>Approve: the job goes on</button>
      <button type="button" class="button danger" disabled=${by.trim() === ""} onClick=${() => void decide("REJECT")}>Reject: the step fails</button>
    </div>
  </div>`;
}

/** Gives a signal that a step waits for. */
function Signal({ job, spec }: { job: Job; spec: StepSpec }) {
  const [payload, setPayload] = useState("");
  const [error, setError] = useState<string | undefined>(undefined);
  const name = spec.signal?.name ?? "";
  async function send(): Promise<void> {
    let value: unknown;
    try {
      value = payload.trim() === "" ? null : JSON.parse(payload);
    } catch (thrown) {
      setError(thrown instanceof Error ? thrown.message : "is not JSON");
      return;
    }
    setError(undefined);
    await act(
      () => post(`jobs/${job.id}:signal`, { name, payload: value, requestId: newRequestId() }),
      `Signal ${name} sent`,
    );
  }
  return html`<div class="decision">
    <p><strong>Waits for the signal <code>${name}</code>.</strong></p>
    <${TextField} label="What it carries, as JSON" value=${payload} onInput=${setPayload} isCode error=${error} placeholder='{"ok": true}' />
    <div class="actions"><button type="button" class="button primary" onClick=${() => void send()}>Send the signal</button></div>
  </div>`;
}

function AttemptFacts({ execution, step }: { execution: Execution | undefined; step: Step }) {
  const { progress, exitCode = step.exitCode } = execution ?? {};
  return html`<${Pairs} pairs=${[
    ["Provider", execution?.providerName ?? step.providerName ?? ""],
    ["Began", html`<${Clock} time=${execution?.startTime ?? step.startTime} />`],
    ["Took", html`<${Span} from=${execution?.startTime ?? step.startTime} to=${execution?.endTime ?? step.endTime} />`],
    ["Exit code", exitCode === undefined ? "" : String(exitCode)],
    ["Signal", execution?.signal ?? ""],
    ["Goes on", step.dueTime === undefined ? "" : html`<${Until} time=${step.dueTime} />`],
    [
      "Progress",
      progress === undefined
        ? ""
        : `${progress.fraction === undefined ? "" : `${Math.round(progress.fraction * 100)} % `}${progress.message ?? ""}`,
    ],
    ["Runs as", execution?.externalRef ? html`<span class="mono small">${execution.externalRef}</span>` : ""],
    ["Sub-job", step.childJobId ? html`<a href=${link(`jobs/${step.childJobId}`)}>${step.childJobId}</a>` : ""],
  ]} />`;
}

/** The items of `for_each`, each a step of its own. */
function Items({ job, step }: { job: Job; step: Step }) {
  const items = useQuery(
    `items ${job.id} ${step.name} ${step.items?.succeeded} ${step.items?.failed} ${step.items?.running}`,
    (signal) =>
      get<{ steps?: readonly Step[]; nextPageToken?: string }>(
        `jobs/${job.id}/steps`,
        { parentStep: step.name, pageSize: 200 },
        signal,
      ),
  );
  if (items.data === undefined) return html`<${Unread} query=${items} lines=${3} />`;
  const { steps = [], nextPageToken = "" } = items.data;
  return html`<div class="items-grid" role="list" aria-label="Items">
    ${steps.map(
      ({
        name = "",
        state,
        attempt = 1,
      }) => html`<a key=${name} role="listitem" class="item" href=${link(`jobs/${job.id}`, { step: name })}>
        <span class="cut">${name}</span><${StateChip} state=${state} />${attempt > 1 && html`<small class="quiet">×${attempt}</small>`}</a>`,
    )}
    ${nextPageToken !== "" && html`<span class="quiet small">and ${plural((step.items?.total ?? 0) - steps.length, "more item")}</span>`}
  </div>`;
}

export function JobStep({ job, step, spec }: { job: Job; step: Step; spec: StepSpec }) {
  const name = step.name ?? "";
  const attempts = useQuery(
    step.executionId || (step.attempt ?? 1) > 1 ? `attempts ${job.id} ${name} ${step.executionId} ${step.state}` : "",
    (signal) => readAttempts(job.id ?? "", name, signal),
  );
  const wanted = Number(query.value.get("attempt") ?? 0);
  const executions = attempts.data ?? [];
  const execution = executions.find(({ attempt }) => attempt === wanted) ?? executions.at(-1);
  const why = whyOf(step.reason, step.message);
  const isSuspended = enumWord(step.state) === "SUSPENDED";
  return html`<${Panel} title=${html`${name} <${StateChip} state=${step.state} />`} class="step" actions=${
    executions.length > 1 &&
    html`<div class="quick" role="group" aria-label="Attempts">${executions.map(
      ({
        attempt = 1,
        state,
        id,
      }) => html`<button type="button" key=${id} class="quick-filter" aria-pressed=${id === execution?.id} onClick=${() => setQuery({ attempt: String(attempt) })}>
        Attempt ${attempt}${humanWord(state) !== "" && html`<span class="hidden">, ${humanWord(state)}</span>`}</button>`,
    )}</div>`
  }>
    ${why !== "" && html`<p class="why">${why}</p>`}
    ${isSuspended && step.reason === "REASON_APPROVAL" && html`<${Decision} job=${job} step=${step} spec=${spec} />`}
    ${isSuspended && step.reason === "REASON_AWAITING_SIGNAL" && html`<${Signal} job=${job} spec=${spec} />`}
    <${AttemptFacts} execution=${execution} step=${step} />
    ${executions.length > 1 && execution !== undefined && html`<p class="small quiet">Attempt ${execution.attempt}: <${StateChip} state=${execution.state} /> ${execution.message}</p>`}
    ${step.items !== undefined && html`<${Items} job=${job} step=${step} />`}
    ${execution?.id !== undefined && html`<${JobLog} key=${execution.id} executionId=${execution.id} name=${`${job.spec?.name ?? "job"}-${name}-${execution.attempt ?? 1}`} />`}
    ${step.result !== undefined && step.result !== null && html`<div class="stack tight"><h3>Result</h3><${Code} text=${JSON.stringify(step.result, null, 2)} label="the result" /></div>`}
    ${attempts.error !== null && html`<${Failure} error=${attempts.error} onRetry=${attempts.reload} />`}
    ${executions.length === 0 && attempts.data === undefined && step.items === undefined && !isSuspended && html`<p class="quiet small">${enumWord(step.state) === "SKIPPED" ? "It never ran." : html`<${Chip} tone="plain" text="no attempt yet" />`}</p>`}
  </${Panel}>`;
}
