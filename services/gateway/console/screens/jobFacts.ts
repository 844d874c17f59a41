/** The facts of a job as they are on NATS, one after the other. */
import { html } from "htm/preact";
import { useState } from "preact/hooks";
import { formatSpan, humanWord, plural, timeOf } from "../format.ts";
import { maxFacts } from "../jobDetail.ts";
import type { Fact } from "../json.ts";
import { Chip, toneOf } from "../ui/chip.ts";
import { Code } from "../ui/layout.ts";
import { Empty } from "../ui/states.ts";
import { Clock } from "../ui/time.ts";

const mostShown = 500;

interface StepChange {
  readonly name?: string;
  readonly state?: string;
  readonly attempt?: number;
}

/** `capstan.job.v1.job.started` is `job started`. */
function factName(type: string | undefined): string {
  return (type ?? "").split(".").slice(-2).join(" ").replaceAll("_", " ");
}

function summaryOf(fact: Fact): string {
  const {
    steps = [],
    reason,
    message,
  } = (fact.data ?? {}) as { steps?: readonly StepChange[]; reason?: string; message?: string };
  const [first] = steps;
  const moved =
    steps.length === 0
      ? ""
      : steps.length > 3
        ? plural(steps.length, "step")
        : steps
            .map(
              ({ name, state, attempt = 1 }) =>
                `${name} ${humanWord(state)}${attempt > 1 ? ` (attempt ${attempt})` : ""}`,
            )
            .join(", ");
  return [moved, humanWord(reason), message ?? (first as { message?: string } | undefined)?.message ?? ""]
    .filter((text) => text !== "")
    .join(" · ");
}

function FactRow({ fact, begin }: { fact: Fact; begin: number }) {
  const [isOpen, setOpen] = useState(false);
  const word = (fact.type ?? "").split(".").at(-1)?.toUpperCase() ?? "";
  return html`<li class="fact">
    <details onToggle=${(event: Event) => setOpen((event.currentTarget as HTMLDetailsElement).open)}>
      <summary>
        <span class="number quiet">${fact.sequence}</span>
        <span class="number"><${Clock} time=${fact.time} /></span>
        <span class="number quiet after">+${formatSpan(timeOf(fact.time) - begin)}</span>
        <span><${Chip} tone=${toneOf(word)} text=${factName(fact.type)} /></span>
        <span class="cut quiet">${summaryOf(fact)}</span>
      </summary>
      ${isOpen && html`<${Code} text=${JSON.stringify(fact, null, 2)} label="the fact" />`}
    </details>
  </li>`;
}

export function JobFacts({ facts }: { facts: readonly Fact[] }) {
  if (facts.length === 0)
    return html`<${Empty} icon="event" title="No facts yet">The first comes when the job is accepted.</${Empty}>`;
  const begin = timeOf(facts[0]?.time);
  const shown = facts.slice(-mostShown);
  return html`<section class="panel flush facts">
    ${facts.length > shown.length && html`<p class="foot small quiet">The last ${shown.length} of ${facts.length === maxFacts ? "more than " : ""}${plural(facts.length, "fact")}</p>`}
    <ol>${shown.map((fact) => html`<${FactRow} key=${fact.id ?? fact.sequence} fact=${fact} begin=${begin} />`)}</ol>
  </section>`;
}
