/** One saga: where it stands, why, and what an operator can do. */
import { html } from "htm/preact";
import { get } from "../api.ts";
import { enumWord, humanWord, whyOf } from "../format.ts";
import type { Saga } from "../json.ts";
import { useFacts } from "../list.ts";
import { useQuery } from "../query.ts";
import { link } from "../router.ts";
import { moveSaga, sagaFacts, sagaVerbs, verbsOf } from "../sagaActions.ts";
import type { ScreenProps } from "../screens.ts";
import { StateChip } from "../ui/chip.ts";
import { Head, Pairs, Panel } from "../ui/layout.ts";
import { Failure, Unread } from "../ui/states.ts";
import { Age, Clock, Until } from "../ui/time.ts";

const stages = [
  ["WAITING", "Waits for its turn and a place"],
  ["RESERVED", "Capacity is held, the execution asked for"],
  ["STARTED", "The execution runs"],
  ["SETTLING", "The end is known; job and provider are told"],
  ["DONE", "Told"],
] as const;
const asides: Readonly<Record<string, string>> = {
  PARKED: "A command was refused for good. It waits for a person.",
  COMPENSATING: "It is being undone: the execution is stopped, the capacity given back.",
  COMPENSATED: "It was undone.",
};

function Path({ stage }: { stage: string }) {
  const at = stages.findIndex(([each]) => each === stage);
  return html`<ol class="stage-path">${stages.map(
    (
      [each, text],
      index,
    ) => html`<li key=${each} class=${index < at || stage === "DONE" ? "past" : index === at ? "now" : ""} aria-current=${index === at ? "step" : undefined}>
      <i aria-hidden="true"></i><b>${humanWord(each)}</b><span class="quiet small">${text}</span></li>`,
  )}</ol>${asides[stage] !== undefined && html`<p class=${stage === "PARKED" ? "bad-text" : "quiet"}>${asides[stage]}</p>`}`;
}

export function Screen({ parameters }: ScreenProps) {
  const id = parameters["id"] ?? "";
  const found = useQuery(
    `saga ${id}`,
    (signal) => get<{ saga?: Saga }>(`sagas/${encodeURIComponent(id)}`, {}, signal),
    { everyMs: 3_000 },
  );
  useFacts(sagaFacts, found.reload);
  const crumb = { text: "Sagas", href: link("sagas") };
  const saga = found.data?.saga;
  if (saga === undefined) {
    return html`<${Head} title="Saga" crumb=${crumb} /><${Unread} query=${found} lines=${6} />`;
  }
  const verbs = verbsOf(saga);
  const why = whyOf(saga.reason, saga.message);
  return html`<${Head} title=${`${saga.step}, attempt ${saga.attempt}`} crumb=${crumb}>
      <${StateChip} state=${saga.stage} /><span>since <${Age} time=${saga.stageTime} /></span>${why !== "" && html`<span>${why}</span>`}
    </${Head}>
    ${found.error !== null && html`<${Failure} error=${found.error} onRetry=${found.reload} />`}
    <div class="stack">
      <${Panel} title="Where it stands"><${Path} stage=${enumWord(saga.stage)} /></${Panel}>
      ${
        verbs.length > 0 &&
        html`<${Panel} title="What you can do"><ul class="lines verbs">${verbs.map(
          (verb) => html`<li key=${verb}>
            <button type="button" class=${verb === "retry" ? "button primary" : "button"} onClick=${async () => (await moveSaga(verb, saga)) && found.reload()}>${sagaVerbs[verb].title}</button>
            <span class="quiet">${sagaVerbs[verb].text}</span></li>`,
        )}</ul></${Panel}>`
      }
      <${Panel} title="What it is"><${Pairs} pairs=${[
        ["Job", html`<a class="mono" href=${link(`jobs/${saga.jobId}`, { step: saga.step })}>${saga.jobId}</a>`],
        ["Step", saga.step],
        ["Attempt", String(saga.attempt ?? 1)],
        [
          "Provider",
          saga.providerName && html`<a href=${link(`providers/${saga.providerName}`)}>${saga.providerName}</a>`,
        ],
        ["Queue", saga.queue && html`<a href=${link(`queues/${saga.queue}`)}>${saga.queue}</a>`],
        ["Concurrency key", saga.concurrencyKey],
        ["Failed tries of its command", saga.failures ? String(saga.failures) : ""],
        ["Looked at again", saga.wakeupTime && html`<${Until} time=${saga.wakeupTime} />`],
        ["Began", html`<${Clock} time=${saga.createTime} />`],
        ["Execution and reservation", html`<span class="mono">${saga.id}</span>`],
      ]} /></${Panel}>
    </div>`;
}
