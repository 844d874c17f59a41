/** The filter of the list of jobs: the API's own language, what is often wanted, and what a person has kept. It lives in the address. */
import { html } from "htm/preact";
import { useEffect, useState } from "preact/hooks";
import { go, link, setQuery } from "../router.ts";
import { commonFilters, forgetFilter, type SavedFilter, savedFilters, saveFilter } from "../savedFilters.ts";
import { ask } from "../ui/dialog.ts";
import { Icon } from "../ui/icon.ts";

const uuid = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i;
const help =
  "A name, an id, or comparisons joined by AND, OR and NOT over state, name, labels.<key>, create_time, source, template, schedule_id, retry_of, waits_for";

const orders = [
  ["", "Newest first"],
  ["create_time", "Oldest first"],
  ["name", "Name"],
  ["name desc", "Name, backwards"],
] as const;

/** What was typed as a filter: a bare text is a name. */
function asFilter(text: string): string {
  const trimmed = text.trim();
  return trimmed === "" || /[=<>:()]/.test(trimmed) ? trimmed : `name = ${JSON.stringify(trimmed)}`;
}

async function keep(filter: string): Promise<void> {
  const name = await ask({
    title: "Keep this filter",
    text: html`<code>${filter}</code><span class="quiet">It is kept in this browser.</span>`,
    verb: "Keep it",
    reason: { label: "Name", hint: "What you call it" },
  });
  if (name !== null) saveFilter({ name: name.trim() || filter.slice(0, 40), filter });
}

function QuickFilters({ filter }: { filter: string }) {
  const isKnown = [...commonFilters, ...savedFilters.value].some((saved) => saved.filter === filter);
  const quick = ({ name, filter: given }: SavedFilter) => html`<button
    type="button"
    class="quick-filter"
    title=${given || undefined}
    aria-pressed=${filter === given}
    onClick=${() => setQuery({ filter: given })}
  >${name}</button>`;
  return html`<div class="quick" role="group" aria-label="Saved filters">
    ${[{ name: "All", filter: "" }, ...commonFilters].map((saved) => html`<span key=${saved.name}>${quick(saved)}</span>`)}
    ${savedFilters.value.map(
      (saved) => html`<span key=${`saved ${saved.name}`} class="quick-item">${quick(saved)}
        <button type="button" class="bare tiny" aria-label=${`Forget the filter ${saved.name}`} onClick=${() => forgetFilter(saved.name)}>
          <${Icon} name="close" size=${13} />
        </button></span>`,
    )}
    ${
      filter !== "" &&
      !isKnown &&
      html`<button type="button" class="quick-filter keep" onClick=${() => void keep(filter)}><${Icon} name="star" size=${14} />Keep</button>`
    }
  </div>`;
}

/** `refusal` is what the platform says of the filter. */
export function JobFilter({
  filter,
  orderBy,
  refusal,
}: {
  filter: string;
  orderBy: string;
  refusal: string | undefined;
}) {
  const [text, setText] = useState(filter);
  useEffect(() => setText(filter), [filter]);
  function apply(event: Event): void {
    event.preventDefault();
    if (uuid.test(text.trim())) go(link(`jobs/${text.trim()}`));
    else setQuery({ filter: asFilter(text) });
  }
  return html`<form class="filter-bar" role="search" onSubmit=${apply}>
    <div class="filter-line">
      <div class="search">
        <${Icon} name="search" />
        <input data-search type="text" class="mono" aria-label="Filter" aria-describedby="filter-help"
          aria-invalid=${refusal === undefined ? undefined : "true"} placeholder=${'state = FAILED AND labels.team = "red"'}
          value=${text} autocomplete="off" spellcheck=${false} onInput=${(event: Event) => setText((event.target as HTMLInputElement).value)} />
        ${
          text !== "" &&
          html`<button type="button" class="bare" aria-label="Clear the filter" onClick=${() => {
            setText("");
            setQuery({ filter: "" });
          }}><${Icon} name="close" size=${16} /></button>`
        }
      </div>
      <select aria-label="Order" value=${orderBy} onChange=${(event: Event) => setQuery({ order: (event.target as HTMLSelectElement).value })}>
        ${orders.map(([value, title]) => html`<option key=${value} value=${value} selected=${value === orderBy}>${title}</option>`)}
      </select>
    </div>
    <p id="filter-help" class=${refusal === undefined ? "hidden" : "error"}>${refusal ?? help}</p>
    <${QuickFilters} filter=${filter} />
  </form>`;
}
