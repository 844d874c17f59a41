/**
 * Rows of which only those on the screen are drawn: 100,000 scroll like 100. Columns that do not fit are left out. The arrow keys (or j
 * and k) go from row to row, Enter opens one, x selects it.
 */
import type { Signal } from "@preact/signals";
import { html } from "htm/preact";
import type { ComponentChildren } from "preact";
import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import { go } from "../router.ts";

export interface Column<Row> {
  readonly title: string;
  /** A track of a CSS grid: `120px`, `minmax(160px, 2fr)`. */
  readonly width: string;
  readonly render: (row: Row) => ComponentChildren;
  readonly isNumber?: boolean;
  /** Left out in a table narrower than this, in pixels. */
  readonly from?: number;
}

interface TableProps<Row> {
  readonly label: string;
  readonly columns: readonly Column<Row>[];
  readonly rows: readonly Row[];
  readonly keyOf: (row: Row) => string;
  /** Where a row leads. What the first column shows is its link. */
  readonly hrefOf?: (row: Row) => string;
  /** The keys of those that are selected; without it none can be. */
  readonly selected?: Signal<ReadonlySet<string>>;
  readonly rowHeight?: number;
  /** Called when the end comes near, as long as there is more. */
  readonly onMore?: (() => void) | undefined;
  /** Shown below the last row. */
  readonly foot?: ComponentChildren;
}

const overscan = 8;

export function Table<Row>(props: TableProps<Row>) {
  const { label, columns, rows, keyOf, hrefOf, selected, rowHeight = 44, onMore, foot } = props;
  const body = useRef<HTMLDivElement>(null);
  const { first, last, width } = useVisibleRows(body, rows.length, rowHeight);
  const wanted = useRef<number | null>(null);
  const shown = columns.filter(({ from = 0 }) => width >= from);
  const tracks = [...(selected === undefined ? [] : ["36px"]), ...shown.map((column) => column.width)].join(" ");

  useEffect(() => {
    if (onMore !== undefined && last + 50 >= rows.length) onMore();
  }, [last, rows.length, onMore]);

  // The row that is to have the focus is drawn only after it was scrolled to.
  useLayoutEffect(() => {
    if (wanted.current === null) return;
    const link = body.current?.querySelector<HTMLElement>(`[data-index="${wanted.current}"] .row-link`);
    if (link !== undefined && link !== null) {
      wanted.current = null;
      link.focus({ preventScroll: true });
    }
  });

  function focusRow(index: number): void {
    const target = Math.min(rows.length - 1, Math.max(0, index));
    const top = (body.current?.getBoundingClientRect().top ?? 0) + target * rowHeight;
    if (top < 120) window.scrollBy(0, top - 120);
    else if (top + rowHeight > window.innerHeight - 16) window.scrollBy(0, top + rowHeight - window.innerHeight + 16);
    wanted.current = target;
    body.current?.querySelector<HTMLElement>(`[data-index="${target}"] .row-link`)?.focus({ preventScroll: true });
  }

  function toggle(key: string): void {
    if (selected === undefined) return;
    const next = new Set(selected.value);
    if (!next.delete(key)) next.add(key);
    selected.value = next;
  }

  function pressed(event: KeyboardEvent): void {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const row = (event.target as Element).closest<HTMLElement>("[data-index]");
    const index = Number(row?.dataset["index"] ?? -1);
    const page = Math.max(1, Math.floor(window.innerHeight / rowHeight) - 4);
    const moves: Readonly<Record<string, number>> = {
      ArrowDown: 1,
      j: 1,
      ArrowUp: -1,
      k: -1,
      PageDown: page,
      PageUp: -page,
    };
    const move = moves[event.key];
    const current = rows[index];
    if (move !== undefined) focusRow(index + move);
    else if (event.key === "Home") focusRow(0);
    else if (event.key === "End") focusRow(rows.length - 1);
    else if (event.key === "x" && current !== undefined) toggle(keyOf(current));
    else return;
    event.preventDefault();
  }

  function clicked(event: MouseEvent, row: Row): void {
    if (hrefOf === undefined || (event.target as Element).closest("a, button, input, label") !== null) return;
    if (getSelection()?.isCollapsed === false) return;
    if (event.metaKey || event.ctrlKey) window.open(hrefOf(row), "_blank", "noopener");
    else go(hrefOf(row));
  }

  const isAll = rows.length > 0 && selected !== undefined && rows.every((row) => selected.value.has(keyOf(row)));
  return html`<div class="table" role="table" aria-label=${label} aria-rowcount=${onMore === undefined ? rows.length + 1 : -1}>
    <div class="row titles" role="row" style=${{ gridTemplateColumns: tracks }}>
      ${
        selected !== undefined &&
        html`<span role="columnheader"><input type="checkbox" aria-label="Select all that are loaded" checked=${isAll}
          onChange=${() => {
            selected.value = new Set(isAll ? [] : rows.map(keyOf));
          }} /></span>`
      }
      ${shown.map(({ title, isNumber }) => html`<span role="columnheader" key=${title} class=${isNumber ? "end" : ""}>${title}</span>`)}
    </div>
    <div class="rows" role="rowgroup" ref=${body} style=${{ blockSize: `${rows.length * rowHeight}px` }} onKeyDown=${pressed}>
      <div class="drawn" role="presentation" style=${{ transform: `translateY(${first * rowHeight}px)` }}>
        ${rows.slice(first, last).map((row, offset) => {
          const [key, index] = [keyOf(row), first + offset];
          return html`<div key=${key} class=${`row${selected?.value.has(key) ? " selected" : ""}${hrefOf === undefined ? "" : " leads"}`} role="row" aria-rowindex=${index + 2} data-index=${index}
            style=${{ gridTemplateColumns: tracks, blockSize: `${rowHeight}px` }} onClick=${(event: MouseEvent) => clicked(event, row)}>
            ${selected !== undefined && html`<span role="cell"><input type="checkbox" aria-label=${`Select ${key}`} checked=${selected.value.has(key)} onChange=${() => toggle(key)} /></span>`}
            ${shown.map(
              (
                { title, render, isNumber },
                column,
              ) => html`<span role="cell" key=${title} class=${isNumber ? "end number" : ""}>
                ${column === 0 && hrefOf !== undefined ? html`<a class="row-link" href=${hrefOf(row)}>${render(row)}</a>` : render(row)}
              </span>`,
            )}
          </div>`;
        })}
      </div>
    </div>
    ${foot}
  </div>`;
}

interface Visible {
  readonly first: number;
  readonly last: number;
  readonly width: number;
}

/** Which rows are on the screen, some more on each side, and how wide the table is. */
function useVisibleRows(body: { current: HTMLDivElement | null }, count: number, rowHeight: number): Visible {
  const [visible, setVisible] = useState<Visible>({ first: 0, last: 40, width: 1_200 });
  useLayoutEffect(() => {
    let frame = 0;
    function measure(): void {
      frame = 0;
      const box = body.current?.getBoundingClientRect();
      if (box === undefined) return;
      // In steps, so that a little scrolling draws nothing anew.
      const first = Math.max(0, Math.floor(-box.top / rowHeight / 4) * 4 - overscan);
      const last = Math.min(count, first + Math.ceil(window.innerHeight / rowHeight) + 2 * overscan + 4);
      const width = Math.round(box.width);
      setVisible((old) =>
        old.first === first && old.last === last && old.width === width ? old : { first, last, width },
      );
    }
    function soon(): void {
      if (frame === 0) frame = requestAnimationFrame(measure);
    }
    measure();
    const observer = new ResizeObserver(soon);
    if (body.current !== null) observer.observe(body.current);
    window.addEventListener("scroll", soon, { passive: true });
    window.addEventListener("resize", soon);
    return () => {
      cancelAnimationFrame(frame);
      observer.disconnect();
      window.removeEventListener("scroll", soon);
      window.removeEventListener("resize", soon);
    };
  }, [count, rowHeight]);
  return { ...visible, first: Math.min(visible.first, count), last: Math.min(visible.last, count) };
}
