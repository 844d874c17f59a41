/** Questions that have to be answered before anything else; the browser's own dialog, which keeps the focus and closes with Escape. */
import { signal } from "@preact/signals";
import { html } from "htm/preact";
import type { ComponentChildren } from "preact";
import { useEffect, useRef } from "preact/hooks";
import { Icon } from "./icon.ts";

interface DialogProps {
  readonly title: string;
  readonly children: ComponentChildren;
  readonly onClose: () => void;
  readonly isWide?: boolean;
}

/** Open as long as it is there. Give it a form whose buttons stand in a `div` of class `actions`. */
export function Dialog({ title, children, onClose, isWide = false }: DialogProps) {
  const element = useRef<HTMLDialogElement>(null);
  useEffect(() => {
    element.current?.showModal();
  }, []);
  return html`<dialog ref=${element} class=${isWide ? "wide" : ""} aria-labelledby="dialog-title" onClose=${onClose}
    onClick=${(event: MouseEvent) => event.target === element.current && onClose()}>
    <header><h2 id="dialog-title">${title}</h2>
      <button type="button" class="bare" aria-label="Close" onClick=${onClose}><${Icon} name="close" /></button></header>
    ${children}
  </dialog>`;
}

/** What is asked. */
interface Question {
  readonly title: string;
  /** What will happen, and whether it can be taken back. */
  readonly text: ComponentChildren;
  /** On the button: "Cancel 3 jobs". */
  readonly verb: string;
  readonly isDestructive?: boolean;
  /** Asks for a text beside, which is the answer. */
  readonly reason?: { readonly label: string; readonly hint: string };
}

interface Asked extends Question {
  readonly answer: (reason: string | null) => void;
}

/** Asks why. */
export const whyAsked = { label: "Why", hint: "For those who look at it later" } as const;

const asked = signal<Asked | null>(null);

/** The reason that was given, empty if none; null if the person thought better of it. */
export function ask(question: Question): Promise<string | null> {
  asked.value?.answer(null);
  return new Promise((resolve) => {
    asked.value = {
      ...question,
      answer: (reason) => {
        asked.value = null;
        resolve(reason);
      },
    };
  });
}

/** Where questions are asked; once a page. */
export function Questions() {
  const question = asked.value;
  if (question === null) return null;
  const { title, text, verb, isDestructive = false, reason, answer } = question;
  function submit(event: SubmitEvent): void {
    event.preventDefault();
    answer(String(new FormData(event.target as HTMLFormElement).get("reason") ?? ""));
  }
  return html`<${Dialog} title=${title} onClose=${() => answer(null)}>
    <form onSubmit=${submit}>
      <div class="text">${text}</div>
      ${reason !== undefined && html`<label class="field"><span>${reason.label}</span><input name="reason" maxlength="256" placeholder=${reason.hint} autocomplete="off" /></label>`}
      <div class="actions">
        <button type="button" class="button" onClick=${() => answer(null)}>Keep as it is</button>
        <button type="submit" class=${isDestructive ? "button danger" : "button primary"} autofocus>${verb}</button>
      </div>
    </form>
  </${Dialog}>`;
}
