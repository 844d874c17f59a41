/** One queue: what is in it, what it allows, what waits in it and why. */
import { html } from "htm/preact";
import { useState } from "preact/hooks";
import { call, get } from "../api.ts";
import { countText, formatCount, formatLength, humanWord, plural } from "../format.ts";
import { act } from "../jobActions.ts";
import type { QueueView, Saga } from "../json.ts";
import { type List, type ListQuery, useFacts, useList } from "../list.ts";
import { useQuery } from "../query.ts";
import { limitsOf, pauseQueue, rateText, resumeQueue, waitRuleText } from "../queueActions.ts";
import { go, link } from "../router.ts";
import type { ScreenProps } from "../screens.ts";
import { Tile } from "../ui/chart.ts";
import { ask } from "../ui/dialog.ts";
import { Icon } from "../ui/icon.ts";
import { Head, Menu, Pairs, Panel } from "../ui/layout.ts";
import { Empty, Failure, Loaded, Unread } from "../ui/states.ts";
import { type Column, Table } from "../ui/table.ts";
import { Age, Clock } from "../ui/time.ts";
import { QueueForm } from "./queueForm.ts";
import { QueueState } from "./queues.ts";

const freshMs = 3_000;

const columns: readonly Column<Saga>[] = [
  { title: "Job", width: "minmax(110px, 1.3fr)", render: ({ jobId }) => html`<span class="mono">${jobId}</span>` },
  { title: "Step", width: "minmax(70px, 1fr)", from: 420, render: ({ step }) => step },
  { title: "Waits for", width: "minmax(110px, 1fr)", render: ({ reason }) => humanWord(reason) || "its turn" },
  {
    title: "Why",
    width: "minmax(120px, 2fr)",
    from: 720,
    render: ({ message }) => html`<span class="quiet" title=${message}>${message}</span>`,
  },
  { title: "Key", width: "minmax(60px, 0.6fr)", from: 900, render: ({ concurrencyKey }) => concurrencyKey },
  { title: "Since", width: "58px", isNumber: true, render: ({ createTime }) => html`<${Age} time=${createTime} />` },
];

function Waiting({ sagas }: { sagas: ListQuery<Saga> }) {
  return html`<${Panel} class="flush" title="What waits"><${Loaded} query=${sagas}>${({
    items,
    hasMore,
  }: List<Saga>) =>
    items.length === 0
      ? html`<${Empty} icon="check" title="Nothing waits">What is submitted to this queue begins as soon as there is a place.</${Empty}>`
      : html`<${Table} label="What waits" columns=${columns} rows=${items} keyOf=${({ id = "" }: Saga) => id} hrefOf=${({ jobId }: Saga) => link(`jobs/${jobId}`)}
          onMore=${hasMore ? sagas.more : undefined} foot=${html`<p class="foot small">${hasMore ? `The newest ${formatCount(items.length)}; more come as you scroll` : plural(items.length, "attempt")}</p>`} />`}</${Loaded}></${Panel}>`;
}

function Figures({ view }: { view: QueueView }) {
  const { stats = {}, queue } = view;
  const most = queue?.settings?.maxRunning ?? 0;
  const rate = stats.drainPerSecond ?? 0;
  return html`<div class="tiles">
    <${Tile} title="Waiting" value=${countText(stats.waiting ?? 0)} note=${stats.oldestReadyTime && html`oldest <${Age} time=${stats.oldestReadyTime} />`} />
    <${Tile} title="Running" value=${countText(stats.running ?? 0)} note=${most > 0 ? `of at most ${formatCount(most)}` : "as many as there are places"} />
    <${Tile} title="Begins" value=${rate === 0 ? "0" : rate >= 1 ? rate.toFixed(1) : (rate * 60).toFixed(1)} note=${rate >= 1 ? "a second, over the last minute" : "a minute"} />
  </div>`;
}

function Limits({ view }: { view: QueueView }) {
  const settings = view.queue?.settings ?? {};
  const rules = settings.onWait ?? [];
  return html`<${Panel} title="What it allows">
    <${Pairs} pairs=${[
      ["Weight", formatCount(Math.max(1, settings.weight ?? 1))],
      ["At once", settings.maxRunning ? formatCount(settings.maxRunning) : "any number"],
      ["Begins", rateText(settings.rate) || "any number"],
      [
        "At once per key",
        settings.maxRunningPerKey
          ? limitsOf({
              maxRunningPerKey: settings.maxRunningPerKey,
              ...(settings.keyPolicy === undefined ? {} : { keyPolicy: settings.keyPolicy }),
            }).join("")
          : "any number",
      ],
      ["Begins per key", rateText(settings.ratePerKey) || "any number"],
      ["Pending jobs", settings.maxDepth ? formatCount(settings.maxDepth) : "any number"],
      ["Ageing", settings.ageing && `${formatLength(settings.ageing)} a point`],
      ["Last changed", view.queue?.updateTime && html`<${Clock} time=${view.queue.updateTime} />`],
    ]} />
    ${rules.length > 0 && html`<h3 class="part">What waits too long</h3><ul class="lines">${rules.map((rule, index) => html`<li key=${index}>${waitRuleText(rule)}</li>`)}</ul>`}
  </${Panel}>`;
}

async function forget(name: string, etag: string): Promise<void> {
  const answer = await ask({
    title: `Forget the queue “${name}”?`,
    text: "Its limits are gone, and jobs that name it run with the settings of a new queue: weight 1, no limits. This is refused while something waits in it or runs.",
    verb: "Forget its limits",
    isDestructive: true,
  });
  if (answer === null) return;
  if (await act(() => call("DELETE", `queues/${name}`, { query: { etag } }), `The queue ${name} is forgotten`))
    go(link("queues"));
}

export function Screen({ parameters }: ScreenProps) {
  const name = parameters["name"] ?? "";
  const found = useQuery(
    `queue ${name}`,
    (signal) => get<{ queue?: QueueView }>(`queues/${encodeURIComponent(name)}`, {}, signal),
    {
      everyMs: freshMs,
    },
  );
  const waiting = useList<Saga>(
    "sagas",
    "sagas",
    { filter: `queue = ${JSON.stringify(name)} AND stage = WAITING` },
    { everyMs: freshMs },
  );
  const [isEdited, setEdited] = useState(false);
  function reload(): void {
    found.reload();
    waiting.reload();
  }
  useFacts(["queue.*"], reload);
  const crumb = { text: "Queues", href: link("queues") };
  const view = found.data?.queue;
  if (view === undefined) {
    return html`<${Head} title=${name} crumb=${crumb} /><${Unread} query=${found} lines=${6} />`;
  }
  const { queue = {} } = view;
  const isPaused = queue.isPaused ?? false;
  async function togglePause(): Promise<void> {
    if (await (isPaused ? resumeQueue(name) : pauseQueue(name, view?.stats))) reload();
  }
  const actions = html`<button type="button" class="button" onClick=${() => void togglePause()}><${Icon} name=${isPaused ? "play" : "pause"} size=${15} />${isPaused ? "Resume" : "Pause"}</button>
    <button type="button" class="button primary" onClick=${() => setEdited(true)}><${Icon} name="edit" size=${15} />Set limits</button>
    ${queue.etag && html`<${Menu} label="More"><button type="button" class="danger" onClick=${() => void forget(name, queue.etag ?? "")}><${Icon} name="trash" size=${15} />Forget its limits</button></${Menu}>`}`;
  return html`<${Head} title=${name} crumb=${crumb} actions=${actions}>
      <${QueueState} view=${view} />
      ${isPaused && html`<span>since <${Age} time=${queue.pauseTime} />${queue.pauseMessage && `: ${queue.pauseMessage}`}</span>`}
      ${!queue.createTime && html`<span>Nobody has set it; it works without limits.</span>`}
    </${Head}>
    ${found.error !== null && html`<${Failure} error=${found.error} onRetry=${found.reload} />`}
    <div class="stack"><${Figures} view=${view} /><${Limits} view=${view} /><${Waiting} sagas=${waiting} /></div>
    ${
      isEdited &&
      html`<${QueueForm} queue=${{ ...queue, name }} onClose=${(isChanged: boolean) => {
        setEdited(false);
        if (isChanged) reload();
      }} />`
    }`;
}
