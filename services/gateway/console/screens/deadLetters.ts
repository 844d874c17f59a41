/** Facts that could not be handled: why, and handling them again. */
import { signal } from "@preact/signals";
import { html } from "htm/preact";
import { useState } from "preact/hooks";
import { post } from "../api.ts";
import { formatCount, plural } from "../format.ts";
import { act } from "../jobActions.ts";
import type { DeadLetter } from "../json.ts";
import type { List, ListQuery } from "../list.ts";
import { ask } from "../ui/dialog.ts";
import { Icon } from "../ui/icon.ts";
import { Empty, Loaded } from "../ui/states.ts";
import { type Column, Table } from "../ui/table.ts";
import { Age } from "../ui/time.ts";
import { say, sayFailure } from "../ui/toast.ts";

/** In one call; each is handled by itself, and a call has to end in time. */
const atOnce = 200;

const columns: readonly Column<DeadLetter>[] = [
  {
    title: "Fact",
    width: "minmax(120px, 1.6fr)",
    render: ({ subject = "" }) =>
      html`<span class="mono" title=${subject}>${subject.split(".").slice(3, 6).join(".")}</span>`,
  },
  {
    title: "Why it could not be handled",
    width: "minmax(120px, 3fr)",
    render: ({ error }) => html`<span title=${error}>${error}</span>`,
  },
  { title: "Stream", width: "minmax(90px, 1fr)", from: 860, render: ({ stream }) => stream },
  {
    title: "Number",
    width: "80px",
    from: 760,
    isNumber: true,
    render: ({ streamSequence }) => formatCount(Number(streamSequence ?? 0)),
  },
  { title: "Age", width: "52px", isNumber: true, render: ({ createTime }) => html`<${Age} time=${createTime} />` },
];

const keyOf = ({ id }: DeadLetter) => id ?? "";

async function replay(ids: readonly string[]): Promise<void> {
  const answer = await ask({
    title: `Replay ${plural(ids.length, "dead letter")}?`,
    text: "Each is handled again as if it had just come; what was done already is not done twice. Those that succeed leave this list, others stay with their new error.",
    verb: "Replay",
  });
  if (answer === null) return;
  let resolved = 0;
  for (let at = 0; at < ids.length; at += atOnce) {
    const deadLetterIds = ids.slice(at, at + atOnce);
    const isDone = await act(async () => {
      const { resolvedIds = [] } = await post<{ resolvedIds?: readonly string[] }>("deadLetters:replay", {
        deadLetterIds,
      });
      resolved += resolvedIds.length;
    }, null);
    if (!isDone) return;
  }
  const left = ids.length - resolved;
  if (left === 0) say(`${plural(resolved, "dead letter")} handled`);
  else sayFailure(new Error(`${formatCount(resolved)} handled, ${formatCount(left)} failed again`));
}

export function DeadLetters({ letters }: { letters: ListQuery<DeadLetter> }) {
  const [selected] = useState(() => signal<ReadonlySet<string>>(new Set()));
  async function replayAndReload(ids: readonly string[]): Promise<void> {
    await replay(ids);
    selected.value = new Set();
    letters.reload();
  }
  return html`<${Loaded} query=${letters}>${({ items, hasMore }: List<DeadLetter>) => {
    if (items.length === 0) {
      return html`<section class="panel flush"><${Empty} icon="check" title="No dead letter">Every fact could be handled. One that cannot is set aside here, with why, and can be handled again.</${Empty}></section>`;
    }
    const chosen = items.map(keyOf).filter((id) => selected.value.has(id));
    const ids = chosen.length > 0 ? chosen : items.map(keyOf);
    return html`<div class="bar-above"><button type="button" class="button" onClick=${() => void replayAndReload(ids)}><${Icon} name="retry" size=${15} />Replay ${chosen.length > 0 ? plural(chosen.length, "letter") : "all that are shown"}</button></div>
      <section class="panel flush"><${Table} label="Dead letters" columns=${columns} rows=${items} keyOf=${keyOf} selected=${selected} onMore=${hasMore ? letters.more : undefined}
        foot=${html`<p class="foot small">${plural(items.length, "dead letter")}, oldest first</p>`} /></section>`;
  }}</${Loaded}>`;
}
