/** Jobs by the clock: what comes next, what came last, and what can be done with each. */
import { html } from "htm/preact";
import { formatCount } from "../format.ts";
import type { Schedule } from "../json.ts";
import { footOf, type List, useFacts, useList } from "../list.ts";
import { link, query } from "../router.ts";
import { pauseSchedule, planText, resumeSchedule, triggerSchedule, workText } from "../scheduleActions.ts";
import { StateChip } from "../ui/chip.ts";
import { Icon } from "../ui/icon.ts";
import { Head, StateFilter } from "../ui/layout.ts";
import { Empty, Loaded } from "../ui/states.ts";
import { type Column, Table } from "../ui/table.ts";
import { Age, Clock, Until } from "../ui/time.ts";

const freshMs = 5_000;
const states = [
  ["", "All"],
  ["ACTIVE", "Active"],
  ["PAUSED", "Paused"],
  ["ENDED", "Ended"],
] as const;

function NextTime({ schedule }: { schedule: Schedule }) {
  const { nextFireTime, bufferedTime } = schedule;
  if (bufferedTime !== undefined)
    return html`<span title="A run waits for the one before to end">waits for the last</span>`;
  if (nextFireTime === undefined) return html`<span class="quiet">none</span>`;
  return html`<span class="number"><${Until} time=${nextFireTime} /></span>`;
}

function Buttons({ schedule, onDone }: { schedule: Schedule; onDone: () => void }) {
  const { name = "", state } = schedule;
  const isPaused = state === "SCHEDULE_STATE_PAUSED";
  async function press(act: (schedule: Schedule) => Promise<boolean>): Promise<void> {
    if (await act(schedule)) onDone();
  }
  return html`<span class="row-buttons">
    <button type="button" class="bare" title="Run it now" aria-label=${`Run ${name} now`} onClick=${() => void press(triggerSchedule)}><${Icon} name="play" size=${16} /></button>
    ${
      state !== "SCHEDULE_STATE_ENDED" &&
      html`<button type="button" class="bare" title=${isPaused ? "Resume" : "Pause"} aria-label=${`${isPaused ? "Resume" : "Pause"} ${name}`} onClick=${() => void press(isPaused ? resumeSchedule : pauseSchedule)}>
        <${Icon} name=${isPaused ? "retry" : "pause"} size=${16} /></button>`
    }</span>`;
}

const columnsOf = (onDone: () => void): readonly Column<Schedule>[] => [
  { title: "Name", width: "minmax(100px, 1.4fr)", render: ({ name }) => name },
  { title: "State", width: "98px", from: 440, render: ({ state }) => html`<${StateChip} state=${state} />` },
  {
    title: "When",
    width: "minmax(110px, 1.5fr)",
    from: 680,
    render: ({ spec }) => html`<span title=${planText(spec)}>${planText(spec)}</span>`,
  },
  {
    title: "What",
    width: "minmax(90px, 1.2fr)",
    from: 1_000,
    render: ({ spec }) => html`<span class="quiet">${workText(spec)}</span>`,
  },
  { title: "Next", width: "minmax(64px, 0.8fr)", render: (schedule) => html`<${NextTime} schedule=${schedule} />` },
  {
    title: "At",
    width: "minmax(80px, 1.1fr)",
    from: 1_160,
    render: ({ nextFireTime }) => html`<span class="quiet"><${Clock} time=${nextFireTime} /></span>`,
  },
  {
    title: "Last run",
    width: "minmax(74px, 0.7fr)",
    from: 540,
    render: ({ lastTime, lastJobId }) =>
      lastJobId
        ? html`<a href=${link(`jobs/${lastJobId}`)}><${Age} time=${lastTime} suffix=" ago" /></a>`
        : html`<span class="quiet">never</span>`,
  },
  { title: "Runs", width: "56px", isNumber: true, from: 860, render: ({ fired }) => formatCount(Number(fired ?? 0)) },
  { title: "", width: "68px", render: (schedule) => html`<${Buttons} schedule=${schedule} onDone=${onDone} />` },
];

const keyOf = ({ id }: Schedule) => id ?? "";
const hrefOf = ({ name }: Schedule) => link(`schedules/${name}`);

export function Screen() {
  const state = query.value.get("state") ?? "";
  const filter = state === "" ? "" : `state = ${state}`;
  const schedules = useList<Schedule>("schedules", "schedules", { filter }, { everyMs: freshMs });
  useFacts(["schedule.*"], schedules.reload);
  return html`<${Head} title="Schedules" actions=${html`<a class="button primary" href=${link("schedules/new")}><${Icon} name="plus" size=${16} />New schedule</a>`}>
      Jobs that are submitted by the clock.
    </${Head}>
    <${StateFilter} states=${states} />
    <section class="panel flush"><${Loaded} query=${schedules}>${({ items, hasMore }: List<Schedule>) =>
      items.length === 0
        ? html`<${Empty} icon="schedule" title=${state === "" ? "No schedule yet" : "No schedule in this state"}>
            ${state === "" ? html`<a href=${link("schedules/new")}>Make the first</a>, or run <code>npx capstan schedule create</code>.` : html`<a href=${link("schedules")}>Show all</a>`}
          </${Empty}>`
        : html`<${Table} label="Schedules" columns=${columnsOf(schedules.reload)} rows=${items} keyOf=${keyOf} hrefOf=${hrefOf}
            onMore=${hasMore ? schedules.more : undefined} foot=${html`<p class="foot small">${footOf({ items, hasMore }, "schedule")}</p>`} />`}</${Loaded}></section>`;
}
