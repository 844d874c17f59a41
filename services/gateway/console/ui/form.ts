/** Controls of forms. Each has a label; what is wrong with a field stands under it and is read out with it. */
import { html } from "htm/preact";
import type { ComponentChildren } from "preact";
import { useId } from "preact/hooks";
import { Icon } from "./icon.ts";

interface FieldProps {
  readonly label: string;
  readonly hint?: string;
  /** What is wrong with it. */
  readonly error?: string | undefined;
}

interface ControlIds {
  readonly id: string;
  readonly "aria-describedby": string | undefined;
  readonly "aria-invalid": "true" | undefined;
}

function Field({ label, hint, error, control }: FieldProps & { control: (ids: ControlIds) => ComponentChildren }) {
  const id = useId();
  const describedBy = error !== undefined ? `${id}-error` : hint !== undefined ? `${id}-hint` : undefined;
  return html`<div class=${`field${error === undefined ? "" : " wrong"}`}>
    <label for=${id}>${label}</label>
    ${control({ id, "aria-describedby": describedBy, "aria-invalid": error === undefined ? undefined : "true" })}
    ${error !== undefined ? html`<p class="error" id=${`${id}-error`}>${error}</p>` : hint !== undefined && html`<p class="hint" id=${`${id}-hint`}>${hint}</p>`}
  </div>`;
}

export interface TextFieldProps extends FieldProps {
  readonly value: string;
  readonly onInput: (value: string) => void;
  readonly type?: "text" | "number" | "datetime-local";
  readonly placeholder?: string;
  readonly rows?: number;
  readonly isCode?: boolean;
  readonly list?: readonly string[];
}

/** One line, or with `rows` several. `list` offers what is often meant. */
export function TextField({
  value,
  onInput,
  type = "text",
  placeholder,
  rows,
  isCode = false,
  list,
  ...field
}: TextFieldProps) {
  const listId = useId();
  const changed = (event: Event) => onInput((event.target as HTMLInputElement).value);
  return html`<${Field} ...${field} control=${(ids: ControlIds) =>
    rows === undefined
      ? html`<input ...${ids} class=${isCode ? "mono" : ""} type=${type} value=${value} placeholder=${placeholder} list=${list === undefined ? undefined : listId} autocomplete="off" spellcheck="false" onInput=${changed} />
          ${list !== undefined && html`<datalist id=${listId}>${list.map((each) => html`<option key=${each} value=${each} />`)}</datalist>`}`
      : html`<textarea ...${ids} class=${isCode ? "mono" : ""} rows=${rows} value=${value} placeholder=${placeholder} spellcheck="false" onInput=${changed} />`} />`;
}

interface SelectFieldProps extends FieldProps {
  readonly value: string;
  readonly onInput: (value: string) => void;
  readonly options: readonly (readonly [value: string, title: string])[];
}

export function SelectField({ value, onInput, options, ...field }: SelectFieldProps) {
  return html`<${Field} ...${field} control=${(
    ids: ControlIds,
  ) => html`<select ...${ids} value=${value} onChange=${(event: Event) => onInput((event.target as HTMLSelectElement).value)}>
    ${options.map(([option, title]) => html`<option key=${option} value=${option} selected=${option === value}>${title}</option>`)}
  </select>`} />`;
}

export function CheckField({
  label,
  isChecked,
  onInput,
  hint,
}: {
  label: string;
  isChecked: boolean;
  onInput: (isChecked: boolean) => void;
  hint?: string;
}) {
  return html`<label class="check"><input type="checkbox" checked=${isChecked} onChange=${(event: Event) => onInput((event.target as HTMLInputElement).checked)} />
    <span>${label}${hint !== undefined && html`<small>${hint}</small>`}</span></label>`;
}

/** Pairs of text such as labels and environment; the order is kept. */
export function PairsField({
  label,
  pairs,
  onInput,
  keyName = "name",
  error,
}: {
  label: string;
  pairs: readonly (readonly [string, string])[];
  onInput: (pairs: readonly (readonly [string, string])[]) => void;
  keyName?: string;
  error?: string | undefined;
}) {
  const change = (at: number, pair: readonly [string, string]) =>
    onInput(pairs.map((old, index) => (index === at ? pair : old)));
  return html`<fieldset class=${`field pairs-field${error === undefined ? "" : " wrong"}`}>
    <legend>${label}</legend>
    ${pairs.map(
      ([key, value], index) => html`<div class="pair" key=${index}>
        <input class="mono" aria-label=${`${label}, ${keyName} ${index + 1}`} placeholder=${keyName} value=${key} autocomplete="off" spellcheck="false" onInput=${(event: Event) => change(index, [(event.target as HTMLInputElement).value, value])} />
        <input class="mono" aria-label=${`${label}, value ${index + 1}`} placeholder="value" value=${value} autocomplete="off" spellcheck="false" onInput=${(event: Event) => change(index, [key, (event.target as HTMLInputElement).value])} />
        <button type="button" class="bare" aria-label=${`Remove ${key || `row ${index + 1}`}`} onClick=${() => onInput(pairs.filter((_, at) => at !== index))}><${Icon} name="close" size=${16} /></button>
      </div>`,
    )}
    <button type="button" class="button small" onClick=${() => onInput([...pairs, ["", ""]])}><${Icon} name="plus" size=${14} />Add</button>
    ${error !== undefined && html`<p class="error">${error}</p>`}
  </fieldset>`;
}
