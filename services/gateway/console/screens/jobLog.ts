/** The log of one attempt: follows the end while it is written, finds words in it, and can be kept as a file. */
import { html } from "htm/preact";
import type { ComponentChildren } from "preact";
import { useEffect, useLayoutEffect, useMemo, useRef, useState } from "preact/hooks";
import { formatBytes, formatCount, plural } from "../format.ts";
import { findLines, type LogLine } from "../logLines.ts";
import { type LogState, readLog } from "../logReader.ts";
import { Icon } from "../ui/icon.ts";

const lineHeight = 20;
const overscan = 20;

function marked(text: string, wanted: string): ComponentChildren {
  if (wanted === "") return text;
  const at = text.toLowerCase().indexOf(wanted.toLowerCase());
  if (at < 0) return text;
  const end = at + wanted.length;
  return html`${text.slice(0, at)}<mark>${text.slice(at, end)}</mark>${marked(text.slice(end), wanted)}`;
}

function save(lines: readonly LogLine[], name: string): void {
  const url = URL.createObjectURL(new Blob([lines.map(({ text }) => `${text}\n`).join("")], { type: "text/plain" }));
  const anchor = document.createElement("a");
  anchor.href = url;
  anchor.download = name;
  anchor.click();
  URL.revokeObjectURL(url);
}

function noteOf({ summary, forgotten, refusal, lines }: LogState, isLive: boolean): string {
  const notes = [plural(lines.length + forgotten, "line")];
  if (forgotten > 0) notes.push(`the first ${formatCount(forgotten)} are not shown`);
  if (summary === null) notes.push(refusal || (isLive ? "being written" : "cut off, comes back by itself"));
  else {
    const stored = Number(summary.stdoutBytes ?? 0) + Number(summary.stderrBytes ?? 0);
    notes.push(formatBytes(stored));
    if (Number(summary.droppedBytes ?? 0) > 0)
      notes.push(`${formatBytes(Number(summary.droppedBytes))} over its cap were not stored`);
    if (summary.hasGap) notes.push("a part is missing, a runner was lost");
    if (summary.isSealed) notes.push("sealed");
  }
  return notes.join(" · ");
}

/** Only the lines on the screen are drawn; none is wrapped, so that each is as high as any other. */
function Lines({
  state,
  search,
  at,
  isFollowing,
  onFollow,
}: {
  state: LogState;
  search: string;
  at: number | undefined;
  isFollowing: boolean;
  onFollow: (isFollowing: boolean) => void;
}) {
  const { lines, forgotten } = state;
  const box = useRef<HTMLDivElement>(null);
  const [top, setTop] = useState(0);
  const height = box.current?.clientHeight ?? 400;
  const first = Math.max(0, Math.floor(top / lineHeight) - overscan);
  const last = Math.min(lines.length, Math.ceil((top + height) / lineHeight) + overscan);
  useLayoutEffect(() => {
    if (isFollowing && box.current !== null) box.current.scrollTop = box.current.scrollHeight;
  }, [isFollowing, lines.length]);
  useLayoutEffect(() => {
    if (at !== undefined && box.current !== null) box.current.scrollTop = Math.max(0, at * lineHeight - height / 2);
  }, [at]);
  function scrolled(): void {
    const element = box.current;
    if (element === null) return;
    setTop(element.scrollTop);
    const isAtEnd = element.scrollHeight - element.scrollTop - element.clientHeight < lineHeight * 2;
    if (isAtEnd !== isFollowing && state.summary === null) onFollow(isAtEnd);
  }
  const digits = String(forgotten + lines.length).length;
  return html`<div class="log" ref=${box} tabindex="0" role="log" aria-label="Output" aria-live="off" onScroll=${scrolled}>
    <div class="log-lines" style=${{ blockSize: `${lines.length * lineHeight}px` }}>
      <div style=${{ transform: `translateY(${first * lineHeight}px)` }}>
        ${lines.slice(first, last).map(({ text, isError }, offset) => {
          const index = first + offset;
          const number = String(forgotten + index + 1).padStart(digits);
          return html`<div key=${index} class=${`log-line${isError ? " error" : ""}${index === at ? " at" : ""}`}><span class="log-number" aria-hidden="true">${number}</span>${marked(text, search)}</div>`;
        })}
      </div>
    </div>
  </div>`;
}

/** `name` is what a file of it is called. */
export function JobLog({ executionId, name }: { executionId: string; name: string }) {
  const log = useMemo(() => readLog(executionId), [executionId]);
  useEffect(() => log.stop, [log]);
  const [search, setSearch] = useState("");
  const [hit, setHit] = useState(0);
  const [isFollowing, setFollowing] = useState(true);
  const state = log.state.value;
  const hits = useMemo(() => findLines(state.lines, search), [state.lines, search]);
  const at = hits[((hit % hits.length) + hits.length) % hits.length];
  function pressed(event: KeyboardEvent): void {
    if (event.key === "Enter") setHit(hit + (event.shiftKey ? -1 : 1));
    else if (event.key === "Escape") setSearch("");
    else return;
    event.preventDefault();
  }
  const isEmpty = state.lines.length === 0;
  return html`<div class="log-box">
    <div class="log-bar">
      <div class="search small"><${Icon} name="search" size=${15} />
        <input type="text" aria-label="Find in the output" placeholder="Find" value=${search} spellcheck=${false} onKeyDown=${pressed}
          onInput=${(event: Event) => {
            setSearch((event.target as HTMLInputElement).value);
            setHit(0);
          }} /></div>
      ${search !== "" && html`<span class="small quiet" role="status">${hits.length === 0 ? "not found" : `${(((hit % hits.length) + hits.length) % hits.length) + 1} of ${formatCount(hits.length)}`}</span>`}
      <span class="grow"></span>
      ${state.summary === null && html`<label class="check small"><input type="checkbox" checked=${isFollowing} onChange=${() => setFollowing(!isFollowing)} /><span>Follow</span></label>`}
      <button type="button" class="button small" disabled=${isEmpty} onClick=${() => save(state.lines, `${name}.log`)}><${Icon} name="download" size=${15} />Download</button>
    </div>
    ${
      isEmpty
        ? html`<p class="log nothing">${state.summary === null ? "Nothing was written yet." : "Nothing was written."}</p>`
        : html`<${Lines} state=${state} search=${search} at=${at} isFollowing=${isFollowing && search === ""} onFollow=${setFollowing} />`
    }
    <p class="small quiet log-note">${noteOf(state, log.isLive.value)}</p>
  </div>`;
}
