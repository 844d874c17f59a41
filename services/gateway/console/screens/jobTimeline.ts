/** When each step waited, ran, and waited again: one bar per step, from the first fact to the last. */
import type { ListSagaEventsResponse } from "@capstan/proto/capstan/orchestrator/v1/saga_service.ts";
import { html } from "htm/preact";
import { get } from "../api.ts";
import { formatSpan, whyOf } from "../format.ts";
import { hasEnded } from "../jobMoves.ts";
import { extentOf, type Row, type Segment, timelineOf } from "../jobTimeline.ts";
import type { Fact, Job, Json } from "../json.ts";
import { now, useQuery } from "../query.ts";
import { link } from "../router.ts";
import { Chip, toneOf } from "../ui/chip.ts";
import { Empty } from "../ui/states.ts";

const mostRows = 300;

/** RUNNING is told in the colour of what came of it. */
function toneOfSegment({ state, end }: Segment, row: Row, isLast: boolean): string {
  if (state === "RUNNING")
    return isLast && end !== null && row.outcome !== "" ? toneOf(row.outcome) : end === null ? "info" : "warn";
  return state === "BACKOFF" || state === "SUSPENDED" ? "waits-long" : "waits";
}

function wordsOf({ state, reason, message, attempt, begin, end }: Segment, at: number): string {
  const why = whyOf(reason, message);
  const word = state.toLowerCase();
  return `${word}${attempt > 1 ? `, attempt ${attempt}` : ""} for ${formatSpan((end ?? at) - begin)}${why === "" ? "" : ` (${why})`}`;
}

export function JobTimeline({ job, facts }: { job: Job; facts: readonly Fact[] }) {
  const isOver = hasEnded(job.state ?? "");
  const waits = useQuery(
    `waits ${job.id}`,
    (signal) => get<Json<ListSagaEventsResponse>>(`jobs/${job.id}/sagaEvents`, { pageSize: 1_000 }, signal),
    isOver ? {} : { everyMs: 3_000 },
  );
  const rows = timelineOf(facts, waits.data?.events);
  const [begin, end] = extentOf(facts, isOver, now.value);
  const share = (time: number) => `${(100 * (time - begin)) / (end - begin)}%`;
  const ticks = [0, 0.25, 0.5, 0.75, 1];
  if (rows.length === 0)
    return html`<${Empty} icon="clock" title="Nothing has happened yet">Each step gets a bar here as soon as it moves.</${Empty}>`;
  return html`<div class="panel timeline">
    <div class="legend small quiet">
      <span class="key"><i class="swatch waits"></i>waits for a place</span><span class="key"><i class="swatch waits-long"></i>backs off or waits for somebody</span>
      <span class="key"><i class="swatch info"></i>runs</span><span class="key"><i class="swatch good"></i>ran well</span><span class="key"><i class="swatch warn"></i>is tried again</span><span class="key"><i class="swatch bad"></i>failed</span>
    </div>
    <div class="ticks" aria-hidden="true"><span></span><div>${ticks.map((tick) => html`<span key=${tick} style=${{ insetInlineStart: `${tick * 100}%` }}>${formatSpan(tick * (end - begin))}</span>`)}</div></div>
    <ul>
      ${rows.slice(0, mostRows).map(
        (row) => html`<li key=${row.step}>
          <a class="cut" href=${link(`jobs/${job.id}`, { step: row.step })} title=${row.step}>${row.step}</a>
          <div class="lane">
            ${row.segments.map((segment, index) => {
              const words = wordsOf(segment, now.value);
              const until = segment.end ?? end;
              return html`<i key=${index} class=${`segment ${toneOfSegment(segment, row, index === row.segments.length - 1)}`} title=${words}
                style=${{ insetInlineStart: share(segment.begin), inlineSize: `max(2px, ${(100 * (until - segment.begin)) / (end - begin)}%)` }}><span class="hidden">${words}</span></i>`;
            })}
          </div>
          <span class="outcome">${row.outcome !== "" && html`<${Chip} tone=${toneOf(row.outcome)} text=${row.outcome.toLowerCase().replaceAll("_", " ")} />`}</span>
        </li>`,
      )}
    </ul>
    ${rows.length > mostRows && html`<p class="small quiet">and ${rows.length - mostRows} more steps and items</p>`}
  </div>`;
}
