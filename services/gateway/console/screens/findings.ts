/** What each service found when it last looked whether everything that must hold in its own data holds. */
import type { ListCheckupsResponse } from "@capstan/proto/capstan/system/v1/system_service.ts";
import { html } from "htm/preact";
import { formatCount, plural } from "../format.ts";
import type { Json } from "../json.ts";
import type { Query } from "../query.ts";
import { Chip } from "../ui/chip.ts";
import { Empty, Loaded } from "../ui/states.ts";
import { Age } from "../ui/time.ts";

type Checkup = NonNullable<Json<ListCheckupsResponse>["checkups"]>[number];
type Violation = NonNullable<Checkup["violations"]>[number];

function Finding({ violation }: { violation: Violation }) {
  const { invariant, severity, finding, meaning, advice, repair, count = 0, hasMore, refs = [] } = violation;
  const isError = severity === "SEVERITY_ERROR";
  return html`<li class="finding">
    <p class="row-gap"><${Chip} tone=${isError ? "bad" : "warn"} text=${isError ? "error" : "warning"} /><b>${finding}</b><span class="quiet small">${hasMore ? "more than " : ""}${plural(count, "time")}</span></p>
    ${meaning && html`<p>${meaning}</p>`}
    ${advice && html`<p><span class="quiet">What to do: </span>${advice}</p>`}
    ${repair && html`<p class="small"><span class="quiet">The doctor can mend it: </span>${repair} <code>npx capstan doctor --fix --only ${invariant}</code></p>`}
    ${refs.length > 0 && html`<p class="small quiet mono">${refs.join(", ")}</p>`}
  </li>`;
}

function Service({ checkup }: { checkup: Checkup }) {
  const { service, time, examined = 0, violations = [], unexamined = [] } = checkup;
  const isWell = violations.length === 0 && unexamined.length === 0;
  return html`<article class="panel" aria-label=${service}>
    <header><h2>${service}</h2>${isWell ? html`<${Chip} tone=${time === undefined ? "plain" : "good"} text=${time === undefined ? "looking" : "all holds"} />` : html`<${Chip} tone=${violations.some(({ severity }) => severity === "SEVERITY_ERROR") ? "bad" : "warn"} text=${plural(violations.length + unexamined.length, "finding")} />`}</header>
    <p class="quiet small">${time === undefined ? "It has not looked yet." : html`${formatCount(examined)} invariants examined, <${Age} time=${time} suffix=" ago" />`}</p>
    ${violations.length > 0 && html`<ul>${violations.map((violation) => html`<${Finding} key=${violation.invariant} violation=${violation} />`)}</ul>`}
    ${unexamined.length > 0 && html`<ul class="lines">${unexamined.map(({ invariant, why }) => html`<li key=${invariant}><code>${invariant}</code><span class="quiet">could not be examined: ${why}</span></li>`)}</ul>`}
  </article>`;
}

export function Findings({ checkups }: { checkups: Query<Json<ListCheckupsResponse>> }) {
  return html`<${Loaded} query=${checkups}>${({ checkups: all = [] }: Json<ListCheckupsResponse>) =>
    all.length === 0
      ? html`<section class="panel flush"><${Empty} icon="system" title="No service answers">Each is asked again by itself.</${Empty}></section>`
      : html`<div class="stack"><p class="quiet">Each service looks at its start and every hour, at its own data only. <code>npx capstan doctor</code> sees what spans them, too.</p>
          ${all.map((checkup) => html`<${Service} key=${checkup.service} checkup=${checkup} />`)}</div>`}</${Loaded}>`;
}
