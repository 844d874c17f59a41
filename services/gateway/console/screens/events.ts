/** The facts of the platform as they happen. The newest stand at the top; so many are kept, and those before them are let go. */
import { html } from "htm/preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { type EventFilter, liveFilterOf, mostKept, problemsOf, summaryOf, withNews, wordsOf } from "../eventList.ts";
import { formatCount, formatTime, plural } from "../format.ts";
import { liveState, useLive } from "../live.ts";
import type { LiveEvent } from "../liveEvent.ts";
import { link, query, setQuery } from "../router.ts";
import { Dialog } from "../ui/dialog.ts";
import { SelectField, TextField } from "../ui/form.ts";
import { Icon } from "../ui/icon.ts";
import { Code, Head, Pairs } from "../ui/layout.ts";
import { Empty } from "../ui/states.ts";
import { type Column, Table } from "../ui/table.ts";
import { Clock } from "../ui/time.ts";

const replayed = 100;
const afterMs = 400;
const contexts = [
  ["", "All contexts"],
  ["job", "job"],
  ["provider", "provider"],
  ["execution", "execution"],
  ["orchestrator", "orchestrator"],
] as const;
const commonTypes = [
  ...["job.*", "job.submitted", "job.succeeded", "job.failed", "*.failed", "step.*", "schedule.*", "template.*"],
  ...[
    "provider.*",
    "reservation.*",
    "execution.*",
    "execution.started",
    "worker.*",
    "saga.*",
    "saga.parked",
    "queue.*",
  ],
];

const columns: readonly Column<LiveEvent>[] = [
  {
    title: "Fact",
    width: "minmax(130px, 1fr)",
    render: ({ type }) =>
      html`<span class="fact-name"><i class=${`context ${wordsOf(type).context}`} aria-hidden="true"></i>${wordsOf(type).name}</span>`,
  },
  {
    title: "Context",
    width: "104px",
    from: 820,
    render: ({ type }) => html`<span class="quiet">${wordsOf(type).context}</span>`,
  },
  {
    title: "What it says",
    width: "minmax(100px, 2.4fr)",
    from: 480,
    render: (event) => html`<span title=${summaryOf(event)}>${summaryOf(event)}</span>`,
  },
  {
    title: "Job",
    width: "100px",
    from: 680,
    render: ({ correlationid = "" }) =>
      correlationid === ""
        ? ""
        : html`<a class="mono" href=${link(`jobs/${correlationid}`)} title=${correlationid}>…${correlationid.slice(-8)}</a>`,
  },
  { title: "At", width: "76px", isNumber: true, render: ({ time }) => html`<${Clock} time=${time} />` },
];

const keyOf = ({ id }: LiveEvent) => id;
const hrefOf = ({ id }: LiveEvent) => link("events", { ...Object.fromEntries(query.value), event: id });

function readFilter(): EventFilter {
  const of = (name: string) => query.value.get(name) ?? "";
  return { context: of("context"), type: of("type"), jobId: of("job"), queue: of("queue") };
}

/** What is typed goes into the address a moment after the last key. */
function Filters({ problems }: { problems: ReadonlyMap<string, string> }) {
  const [typed, setTyped] = useState(readFilter);
  const timer = useRef<ReturnType<typeof setTimeout>>(undefined);
  useEffect(() => () => clearTimeout(timer.current), []);
  function change(part: Partial<EventFilter>): void {
    const next = { ...typed, ...part };
    setTyped(next);
    clearTimeout(timer.current);
    const { context, type, jobId, queue } = next;
    timer.current = setTimeout(
      () => setQuery({ context, type: type.trim(), job: jobId.trim(), queue: queue.trim() }),
      afterMs,
    );
  }
  return html`<form class="event-filter" role="search" aria-label="Which events" onSubmit=${(event: Event) => event.preventDefault()}>
    <${SelectField} label="Context" value=${typed.context} options=${contexts} onInput=${(context: string) => change({ context })} />
    <${TextField} label="Type" isCode value=${typed.type} placeholder="job.*" list=${commonTypes} onInput=${(type: string) => change({ type })} error=${problems.get("type")} />
    <${TextField} label="Job" isCode value=${typed.jobId} placeholder="id" onInput=${(jobId: string) => change({ jobId })} error=${problems.get("jobId")} />
    <${TextField} label="Queue" isCode value=${typed.queue} placeholder="any" onInput=${(queue: string) => change({ queue })} error=${problems.get("queue")} />
  </form>`;
}

function Detail({ event }: { event: LiveEvent }) {
  const { context, name } = wordsOf(event.type);
  const { correlationid = "" } = event;
  return html`<${Dialog} isWide title=${name} onClose=${() => setQuery({ event: "" })}>
    <div class="text">
      <${Pairs} pairs=${[
        ["Context", context],
        ["At", formatTime(event.time)],
        ["Number of its aggregate", event.sequence === undefined ? "" : String(event.sequence)],
        ["Job", correlationid && html`<a class="mono" href=${link(`jobs/${correlationid}`)}>${correlationid}</a>`],
        ["Of", html`<span class="mono">${event.subject}</span>`],
      ]} />
      <${Code} text=${JSON.stringify(event, null, 2)} label="the event" />
    </div>
  </${Dialog}>`;
}

function Nothing({ isFiltered }: { isFiltered: boolean }) {
  if (liveState.value !== "on") {
    return html`<${Empty} icon="event" title=${liveState.value === "lost" ? "The live connection is lost" : "Connecting"}>Events show here as soon as it is there; it is tried again by itself.</${Empty}>`;
  }
  return html`<${Empty} icon="event" title="Nothing has happened yet">${isFiltered ? "No fact matches so far. Those that do show here at once." : html`Facts show here as they happen. <a href=${link("new")}>Submit a job</a> to see some.`}</${Empty}>`;
}

export function Screen() {
  const filter = readFilter();
  const problems = problemsOf(filter);
  const key = JSON.stringify(liveFilterOf(filter));
  const [kept, setKept] = useState<{ key: string; events: readonly LiveEvent[]; dropped: number }>({
    key,
    events: [],
    dropped: 0,
  });
  const [held, setHeld] = useState<readonly LiveEvent[] | null>(null);
  const isPaused = held !== null;
  const mine = kept.key === key ? kept : { key, events: [], dropped: 0 };
  useLive(
    problems.size > 0 ? null : { topic: "events", filter: liveFilterOf(filter), replay: replayed },
    (events) => {
      if (isPaused) setHeld((before) => withNews(before ?? [], events));
      else
        setKept((before) => ({
          ...(before.key === key ? before : { key, dropped: 0 }),
          key,
          events: withNews(before.key === key ? before.events : [], events),
        }));
    },
    (count) => setKept((before) => ({ ...before, dropped: before.dropped + count })),
  );
  useEffect(() => setHeld((before) => (before === null ? null : [])), [key]);
  function goOn(): void {
    if (held !== null) setKept({ ...mine, events: withNews(mine.events, held.toReversed()) });
    setHeld(null);
  }
  const shown = query.value.get("event") ?? "";
  const open = mine.events.find(({ id }) => id === shown);
  const news = held?.filter(({ id }) => !mine.events.some((event) => event.id === id)).length ?? 0;
  const foot = `${plural(mine.events.length, "event")}${mine.events.length >= mostKept ? `; those before are let go, at most ${formatCount(mostKept)} are kept` : ""}`;
  const actions = html`<button type="button" class=${`button${isPaused ? " primary" : ""}`} aria-pressed=${isPaused} onClick=${() => (isPaused ? goOn() : setHeld([]))}>
      <${Icon} name=${isPaused ? "play" : "pause"} size=${15} />${isPaused ? `Go on${news > 0 ? `, ${formatCount(news)} new` : ""}` : "Pause"}</button>
    <button type="button" class="button" onClick=${() => {
      setKept({ key, events: [], dropped: 0 });
      if (isPaused) setHeld([]);
    }}><${Icon} name="trash" size=${15} />Clear</button>`;
  return html`<${Head} title="Events" actions=${actions}>Every fact, as it happens.${isPaused && html` <span>Paused; what comes meanwhile is kept.</span>`}</${Head}>
    <${Filters} problems=${problems} />
    ${mine.dropped > 0 && html`<p class="notice" role="status"><${Icon} name="info" size=${16} />${plural(mine.dropped, "event")} came faster than this page could take and ${mine.dropped === 1 ? "was" : "were"} left out.</p>`}
    <section class="panel flush">${
      mine.events.length === 0
        ? html`<${Nothing} isFiltered=${key !== "{}"} />`
        : html`<${Table} label="Events" columns=${columns} rows=${mine.events} keyOf=${keyOf} hrefOf=${hrefOf} rowHeight=${38} foot=${html`<p class="foot small">${foot}</p>`} />`
    }</section>
    ${open !== undefined && html`<${Detail} event=${open} />`}`;
}
