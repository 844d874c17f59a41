/** A form made from what a template takes. */
import { html } from "htm/preact";
import { enumWord } from "../format.ts";
import type { Template } from "../json.ts";
import { type Problem, problemAt } from "../specText.ts";
import { CheckField, SelectField, TextField } from "../ui/form.ts";
import { Panel } from "../ui/layout.ts";
import type { Change } from "./specForm.ts";

type Parameter = NonNullable<NonNullable<Template["spec"]>["parameters"]>[number];

const textOf = (value: unknown): string =>
  value === undefined || value === null ? "" : typeof value === "string" ? value : JSON.stringify(value);

/** What has to be given, and what it is otherwise. */
function hintOf({ description = "", required, defaultValue, min, max, pattern }: Parameter): string {
  const range = [min === undefined ? "" : `at least ${min}`, max === undefined ? "" : `at most ${max}`]
    .filter((text) => text !== "")
    .join(", ");
  const rest = required ? "needed" : defaultValue === undefined ? "" : `otherwise ${textOf(defaultValue)}`;
  return [description, range, pattern ? `matches ${pattern}` : "", rest].filter((text) => text !== "").join(" · ");
}

/** A value of the parameter's type; what is none stays text, for the platform to say so. */
function parameterValue(type: string, text: string): unknown {
  if (text === "") return undefined;
  if (type === "NUMBER" || type === "INTEGER") return Number.isNaN(Number(text)) ? text : Number(text);
  if (type !== "LIST") return text;
  try {
    return JSON.parse(text);
  } catch {
    return text.split(",").map((part) => part.trim());
  }
}

function ParameterField({
  parameter,
  value,
  change,
  error,
}: {
  parameter: Parameter;
  value: unknown;
  change: Change;
  error: string | undefined;
}) {
  const { name = "", choices = [], defaultValue } = parameter;
  const type = enumWord(parameter.type) || "STRING";
  const at = ["template", "parameters", name];
  const common = { label: name, hint: hintOf(parameter), error };
  if (type === "BOOLEAN") {
    return html`<${CheckField} label=${name} hint=${common.hint} isChecked=${(value ?? defaultValue) === true} onInput=${(isChecked: boolean) => change(at, isChecked)} />`;
  }
  if (type === "CHOICE") {
    const empty = parameter.required || defaultValue !== undefined ? [] : [["", "—"] as const];
    const shown = textOf(value ?? defaultValue);
    const unset = shown === "" && parameter.required ? [["", "Choose"] as const] : [];
    return html`<${SelectField} ...${common} value=${shown} options=${[...unset, ...empty, ...choices.map((choice) => [choice, choice] as const)]} onInput=${(text: string) => change(at, text === "" ? undefined : text)} />`;
  }
  const isNumber = type === "NUMBER" || type === "INTEGER";
  return html`<${TextField} ...${common} isCode=${type !== "STRING"} type=${isNumber ? "number" : "text"} value=${Array.isArray(value) ? JSON.stringify(value) : textOf(value)}
    placeholder=${type === "SECRET" ? "secret:name" : type === "LIST" ? "a, b, c" : textOf(defaultValue)} onInput=${(text: string) => change(at, parameterValue(type, text))} />`;
}

export function TemplateForm({
  template,
  value,
  problems,
  change,
}: {
  template: Template;
  value: Readonly<Record<string, unknown>>;
  problems: readonly Problem[];
  change: Change;
}) {
  const { spec } = template;
  const use = (value["template"] ?? {}) as { parameters?: Readonly<Record<string, unknown>> };
  const job = (value["spec"] ?? {}) as Readonly<Record<string, unknown>>;
  const errorOf = (field: string) => problemAt(problems, field);
  return html`<div class="stack">
    <${Panel} title=${template.name}>${spec?.description && html`<p>${spec.description}</p>`}<p class="quiet small">Version ${template.version}</p></${Panel}>
    ${(spec?.parameters ?? []).length === 0 && html`<p class="quiet">It takes no parameters.</p>`}
    ${(spec?.parameters ?? []).map(
      (
        parameter,
      ) => html`<${ParameterField} key=${parameter.name} parameter=${parameter} value=${use.parameters?.[parameter.name ?? ""]} change=${change}
      error=${errorOf(`template.parameters.${parameter.name}`)} />`,
    )}
    <details class="more"><summary>In place of what the template says</summary><div class="fields">
      <${TextField} label="Name of the job" value=${textOf(job["name"])} placeholder=${template.spec?.job?.name || template.name} onInput=${(text: string) => change(["spec", "name"], text === "" ? undefined : text)} error=${errorOf("spec.name")} />
      <${TextField} label="Queue" isCode value=${textOf(job["queue"])} placeholder="as in the template" onInput=${(text: string) => change(["spec", "queue"], text === "" ? undefined : text)} error=${errorOf("spec.queue")} />
      <${TextField} label="Priority" type="number" value=${textOf(job["priority"])} onInput=${(text: string) => change(["spec", "priority"], text === "" ? undefined : Number(text))} error=${errorOf("spec.priority")} />
    </div></details>
  </div>`;
}
