/** The parts every screen is made of: its head, panels, tabs, pairs of name and value, text to copy. */
import { html } from "htm/preact";
import type { ComponentChildren } from "preact";
import { useEffect, useState } from "preact/hooks";
import { link, path, query, setQuery } from "../router.ts";
import { Icon } from "./icon.ts";

/** The title of a screen, what stands under it, and what can be done on it. Names the browser's tab too. */
export function Head({
  title,
  children,
  actions,
  crumb,
}: {
  title: string;
  /** A line under the title. */
  children?: ComponentChildren;
  actions?: ComponentChildren;
  crumb?: { readonly text: string; readonly href: string };
}) {
  useEffect(() => {
    document.title = `${title} · Capstan`;
  }, [title]);
  return html`<header class="head">
    <div class="grow">
      ${crumb !== undefined && html`<a class="crumb" href=${crumb.href}>${crumb.text}</a>`}
      <h1>${title}</h1>
      ${children !== undefined && html`<div class="under">${children}</div>`}
    </div>
    ${actions !== undefined && html`<div class="actions">${actions}</div>`}
  </header>`;
}

/** A box with a heading. */
export function Panel({
  title,
  children,
  actions,
  class: className = "",
}: {
  title?: ComponentChildren;
  children: ComponentChildren;
  actions?: ComponentChildren;
  class?: string;
}) {
  return html`<section class=${`panel ${className}`}>
    ${
      (title !== undefined || actions !== undefined) &&
      html`<header>${title !== undefined && html`<h2>${title}</h2>`}<div class="actions">${actions}</div></header>`
    }
    ${children}
  </section>`;
}

/** Names and values; those that are empty are left out. */
export function Pairs({ pairs }: { pairs: readonly (readonly [name: string, value: ComponentChildren])[] }) {
  const given = pairs.filter(([, value]) => value !== undefined && value !== null && value !== "" && value !== false);
  return html`<dl class="pairs">${given.map(([name, value]) => html`<div key=${name}><dt>${name}</dt><dd>${value}</dd></div>`)}</dl>`;
}

/** Parts of a screen, one at a time; which one is in the address, under `tab`. */
export function Tabs({
  tabs,
  label,
}: {
  tabs: readonly { readonly id: string; readonly title: string; readonly count?: number }[];
  label: string;
}) {
  const current = query.value.get("tab") ?? tabs[0]?.id;
  const others = Object.fromEntries(query.value);
  return html`<nav class="tabs" aria-label=${label}>
    ${tabs.map(
      ({
        id,
        title,
        count,
      }) => html`<a key=${id} href=${link(path.value, { ...others, tab: id === tabs[0]?.id ? undefined : id })}
        aria-current=${id === current ? "page" : undefined}>${title}${count !== undefined && html` <span class="count">${count}</span>`}</a>`,
    )}
  </nav>`;
}

/** Which state is wanted; it is in the address, under `state`. */
export function StateFilter({ states }: { states: readonly (readonly [value: string, title: string])[] }) {
  const current = query.value.get("state") ?? "";
  return html`<div class="quick spaced" role="group" aria-label="By state">${states.map(
    ([value, title]) =>
      html`<button type="button" key=${value} class="quick-filter" aria-pressed=${value === current} onClick=${() => setQuery({ state: value })}>${title}</button>`,
  )}</div>`;
}

/** A button that copies a text, and says so. */
export function Copy({
  text,
  label,
  children,
}: {
  text: string | (() => string);
  label: string;
  children?: ComponentChildren;
}) {
  const [isCopied, setCopied] = useState(false);
  async function copy(): Promise<void> {
    await navigator.clipboard.writeText(typeof text === "string" ? text : text());
    setCopied(true);
    setTimeout(() => setCopied(false), 1_500);
  }
  const isBare = children === undefined;
  return html`<button type="button" class=${isBare ? "bare" : "button"} aria-label=${isBare ? label : undefined} title=${label} onClick=${copy}>
    <${Icon} name=${isCopied ? "check" : "copy"} size=${16} />${children}
  </button>`;
}

/** A button that opens a short list of things to do. Closes when one leaves it. */
export function Menu({ label, children }: { label: string; children: ComponentChildren }) {
  function close(event: Event): void {
    const menu = (event.currentTarget as HTMLElement).closest("details");
    const to = event instanceof FocusEvent ? event.relatedTarget : null;
    if (event instanceof FocusEvent && to instanceof Node && menu?.contains(to)) return;
    if (event instanceof KeyboardEvent && event.key !== "Escape") return;
    menu?.removeAttribute("open");
  }
  return html`<details class="menu" onFocusOut=${close} onKeyDown=${close}>
    <summary class="button">${label}<${Icon} name="down" size=${16} /></summary>
    <div class="items" onClick=${close}>${children}</div>
  </details>`;
}

/** Marks in a light tone, such as labels: `team = red`. */
export function Labels({ labels }: { labels: Readonly<Record<string, string>> | undefined }) {
  const entries = Object.entries(labels ?? {});
  if (entries.length === 0) return null;
  return html`<span class="labels">${entries.map(([key, value]) => html`<span class="label" key=${key}><b>${key}</b>${value}</span>`)}</span>`;
}

/** JSON or other text as it is. */
export function Code({ text, label }: { text: string; label: string }) {
  return html`<div class="code"><${Copy} text=${text} label=${`Copy ${label}`} /><pre tabindex="0" aria-label=${label}>${text}</pre></div>`;
}
