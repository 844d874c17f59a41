/** Where jobs wait for their turn: how much is in each queue, what it allows, what share of the turns it has. */
import { html } from "htm/preact";
import { useState } from "preact/hooks";
import { countText, plural } from "../format.ts";
import type { QueueView } from "../json.ts";
import { type List, useFacts, useList } from "../list.ts";
import { limitsOf, pauseQueue, resumeQueue, shareOf } from "../queueActions.ts";
import { link } from "../router.ts";
import { Meter } from "../ui/chart.ts";
import { Chip } from "../ui/chip.ts";
import { Icon } from "../ui/icon.ts";
import { Head } from "../ui/layout.ts";
import { Empty, Loaded } from "../ui/states.ts";
import { type Column, Table } from "../ui/table.ts";
import { Age } from "../ui/time.ts";
import { QueueForm } from "./queueForm.ts";

const freshMs = 3_000;

export function QueueState({ view }: { view: QueueView }) {
  const { queue, stats } = view;
  if (queue?.isPaused) return html`<${Chip} tone="warn" text="paused" />`;
  if ((stats?.waiting ?? 0) > 0) return html`<${Chip} tone="info" text="working" isMoving />`;
  return (stats?.running ?? 0) > 0
    ? html`<${Chip} tone="good" text="keeping up" />`
    : html`<${Chip} tone="plain" text="empty" />`;
}

function Running({ view }: { view: QueueView }) {
  const { queue, stats } = view;
  const [running, most] = [stats?.running ?? 0, queue?.settings?.maxRunning ?? 0];
  if (most === 0) return html`<span class="number">${countText(running)}</span>`;
  return html`<${Meter} label=${`Running in ${queue?.name}`} used=${running} of=${most} />`;
}

function Share({ share, name }: { share: number; name: string }) {
  const percent = Math.round(share * 100);
  return html`<span class="share" role="img" aria-label=${`Share of ${name}: ${percent} percent`}><i style=${{ inlineSize: `${Math.max(2, percent)}%` }}></i><b class="number">${percent}%</b></span>`;
}

function Pause({ view, onDone }: { view: QueueView; onDone: () => void }) {
  const name = view.queue?.name ?? "";
  const isPaused = view.queue?.isPaused ?? false;
  async function press(): Promise<void> {
    if (await (isPaused ? resumeQueue(name) : pauseQueue(name, view.stats))) onDone();
  }
  return html`<button type="button" class="button small" aria-label=${`${isPaused ? "Resume" : "Pause"} the queue ${name}`} onClick=${() => void press()}>
    <${Icon} name=${isPaused ? "play" : "pause"} size=${14} />${isPaused ? "Resume" : "Pause"}</button>`;
}

function columnsOf(all: readonly QueueView[], onDone: () => void): readonly Column<QueueView>[] {
  return [
    { title: "Name", width: "minmax(90px, 1.2fr)", render: ({ queue }) => queue?.name },
    { title: "State", width: "112px", from: 460, render: (view) => html`<${QueueState} view=${view} />` },
    { title: "Waiting", width: "70px", isNumber: true, render: ({ stats }) => countText(stats?.waiting ?? 0) },
    {
      title: "Oldest",
      width: "58px",
      isNumber: true,
      from: 420,
      render: ({ stats }) => html`<${Age} time=${stats?.oldestReadyTime} />`,
    },
    { title: "Running", width: "minmax(64px, 1.1fr)", from: 560, render: (view) => html`<${Running} view=${view} />` },
    {
      title: "Share",
      width: "minmax(90px, 0.9fr)",
      from: 900,
      render: (view) => html`<${Share} share=${shareOf(view, all)} name=${view.queue?.name ?? ""} />`,
    },
    {
      title: "Limits",
      width: "minmax(120px, 2.2fr)",
      from: 760,
      render: ({ queue }) => {
        const text = limitsOf(queue?.settings).join(" · ");
        return html`<span class="quiet" title=${text}>${text === "" ? "none" : text}</span>`;
      },
    },
    { title: "", width: "96px", render: (view) => html`<${Pause} view=${view} onDone=${onDone} />` },
  ];
}

const keyOf = ({ queue }: QueueView) => queue?.name ?? "";
const hrefOf = ({ queue }: QueueView) => link(`queues/${queue?.name}`);

export function Screen() {
  const queues = useList<QueueView>("queues", "queues", {}, { everyMs: freshMs });
  const [isNew, setNew] = useState(false);
  useFacts(["queue.*"], queues.reload);
  const items = queues.data?.items ?? [];
  const waiting = items.reduce((sum, { stats }) => sum + (stats?.waiting ?? 0), 0);
  const paused = items.filter(({ queue }) => queue?.isPaused).length;
  return html`<${Head} title="Queues" actions=${html`<button type="button" class="button primary" onClick=${() => setNew(true)}><${Icon} name="plus" size=${16} />New queue</button>`}>
      <span>Where jobs wait for their turn.</span>
      ${queues.data !== undefined && html`<span>${waiting === 0 ? "Nothing waits" : `${plural(waiting, "attempt")} wait${waiting === 1 ? "s" : ""}`}${paused > 0 && `, ${plural(paused, "queue")} paused`}</span>`}
    </${Head}>
    <section class="panel flush"><${Loaded} query=${queues}>${({ items: rows, hasMore }: List<QueueView>) =>
      rows.length === 0
        ? html`<${Empty} icon="queue" title="No queue">A job names its queue; limits are set here or with <code>npx capstan queue set</code>.</${Empty}>`
        : html`<${Table} label="Queues" columns=${columnsOf(rows, queues.reload)} rows=${rows} keyOf=${keyOf} hrefOf=${hrefOf} rowHeight=${50}
            onMore=${hasMore ? queues.more : undefined} foot=${html`<p class="foot small">${plural(rows.length, "queue")}. Others that jobs name work without limits.</p>`} />`}</${Loaded}></section>
    ${
      isNew &&
      html`<${QueueForm} queue=${{}} onClose=${(isChanged: boolean) => {
        setNew(false);
        if (isChanged) queues.reload();
      }} />`
    }`;
}
