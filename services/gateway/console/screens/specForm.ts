/** The same job as a form: what most jobs need. What is not here is written in the text, and stays as it is. */
import { html } from "htm/preact";
import { useEffect, useState } from "preact/hooks";
import { joinWords, type Problem, problemAt, splitWords } from "../specText.ts";
import { PairsField, SelectField, TextField, type TextFieldProps } from "../ui/form.ts";
import { Icon } from "../ui/icon.ts";

type Value = Readonly<Record<string, unknown>>;
/** Sets a value of the text; undefined removes it. */
export type Change = (keys: readonly (string | number)[], value: unknown) => void;

const textOf = (value: unknown): string => (value === undefined || value === null ? "" : String(value));
const mapOf = (value: unknown): Value =>
  typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Value) : {};
const listOf = (value: unknown): readonly unknown[] => (Array.isArray(value) ? value : []);
/** A field may be written either way in the text. */
const either = (value: Value, snake: string): unknown =>
  value[snake] ?? value[snake.replaceAll(/_([a-z])/g, (_, letter: string) => letter.toUpperCase())];

/** A text that stands for a value: what is typed stays as it was typed while it means the same. */
function DraftField<T>({
  value,
  parse,
  format,
  onValue,
  ...field
}: Omit<TextFieldProps, "value" | "onInput"> & {
  value: T;
  parse: (text: string) => T;
  format: (value: T) => string;
  onValue: (value: T) => void;
}) {
  const [text, setText] = useState(format(value));
  const [error, setError] = useState<string | undefined>(undefined);
  const wanted = JSON.stringify(value);
  useEffect(() => {
    let isSame = false;
    try {
      isSame = JSON.stringify(parse(text)) === wanted;
    } catch {}
    if (!isSame) {
      setText(format(value));
      setError(undefined);
    }
  }, [wanted]);
  function changed(next: string): void {
    setText(next);
    try {
      const parsed = parse(next);
      setError(undefined);
      onValue(parsed);
    } catch (thrown) {
      setError(thrown instanceof Error ? thrown.message : "is not JSON");
    }
  }
  return html`<${TextField} ...${field} value=${text} onInput=${changed} error=${error ?? field.error} />`;
}

const kinds = [
  ["command", "Command"],
  ["script", "Script"],
  ["image", "Container"],
  ["handler", "Handler of a worker"],
  ["approval", "Approval of a person"],
  ["signal", "Wait for a signal"],
  ["sleep", "Wait for a time"],
  ["sub_job", "Job from a template"],
] as const;
type Kind = (typeof kinds)[number][0];

const firstOf: Readonly<Record<Kind, unknown>> = {
  command: ["echo", "hello"],
  script: { content: "echo hello\n" },
  image: "busybox",
  handler: "my-handler",
  approval: { message: "Go on?" },
  signal: { name: "go" },
  sleep: { duration: "10s" },
  sub_job: { template: { name: "my-template" } },
};

function kindOf(step: Value): Kind {
  const [found] = kinds
    .filter(([kind]) => kind !== "command" && either(step, kind) !== undefined)
    .map(([kind]) => kind);
  return found ?? "command";
}

function toNumber(text: string): number | string | undefined {
  return text.trim() === "" ? undefined : Number.isNaN(Number(text)) ? text : Number(text);
}

const orNothing = (text: string) => (text === "" ? undefined : text);

interface PartProps {
  readonly value: Value;
  readonly at: readonly (string | number)[];
  readonly change: Change;
  readonly errorOf: (field: string) => string | undefined;
}

function KindFields({ value, at, change, errorOf }: PartProps) {
  const kind = kindOf(value);
  const script = mapOf(value["script"]);
  const command = html`<${DraftField} label="Command" isCode value=${[...listOf(value["command"]), ...listOf(value["args"])].map(textOf)} parse=${splitWords} format=${joinWords}
    hint=${kind === "image" ? "Empty: what the image runs by itself" : "The program and its arguments; never given to a shell"} error=${errorOf("command") ?? errorOf("args")}
    onValue=${(words: readonly string[]) => {
      change([...at, "args"], undefined);
      change([...at, "command"], words.length === 0 ? undefined : words);
    }} />`;
  switch (kind) {
    case "script":
      return html`<${TextField} label="Script" isCode rows=${6} value=${textOf(script["content"])} onInput=${(text: string) => change([...at, "script", "content"], text)} error=${errorOf("script")}
        hint="Run by sh. A line CAPSTAN_OUTPUT=<json> is the step's result." />`;
    case "image":
      return html`<div class="fields"><${TextField} label="Image" isCode value=${textOf(value["image"])} onInput=${(text: string) => change([...at, "image"], text)} error=${errorOf("image")} />${command}</div>`;
    case "handler":
      return html`<div class="fields"><${TextField} label="Handler" isCode value=${textOf(value["handler"])} onInput=${(text: string) => change([...at, "handler"], text)} error=${errorOf("handler")} />
        <${DraftField} label="Input, as JSON" isCode value=${value["input"]} parse=${(text: string) => (text.trim() === "" ? undefined : JSON.parse(text))}
          format=${(input: unknown) => (input === undefined ? "" : JSON.stringify(input))} onValue=${(input: unknown) => change([...at, "input"], input)} error=${errorOf("input")} /></div>`;
    case "approval":
      return html`<${TextField} label="What people are asked" value=${textOf(mapOf(value["approval"])["message"])} onInput=${(text: string) => change([...at, "approval", "message"], text)} error=${errorOf("approval")} />`;
    case "signal":
      return html`<${TextField} label="Name of the signal" isCode value=${textOf(mapOf(value["signal"])["name"])} onInput=${(text: string) => change([...at, "signal", "name"], text)} error=${errorOf("signal")} />`;
    case "sleep":
      return html`<${TextField} label="How long" isCode value=${textOf(mapOf(value["sleep"])["duration"])} onInput=${(text: string) => change([...at, "sleep", "duration"], orNothing(text))} error=${errorOf("sleep")} hint="In seconds, such as 90s" />`;
    case "sub_job":
      return html`<${TextField} label="Template" isCode value=${textOf(mapOf(mapOf(either(value, "sub_job"))["template"])["name"])} onInput=${(text: string) => change([...at, "sub_job", "template", "name"], text)} error=${errorOf("sub_job")} />`;
    default:
      return command;
  }
}

function StepMore({ value, at, change, errorOf }: PartProps) {
  const retry = mapOf(value["retry"]);
  const resources = mapOf(value["resources"]);
  const set =
    (...keys: string[]) =>
    (given: unknown) =>
      change([...at, ...keys], given);
  return html`<details class="more"><summary>More of this step</summary>
    <div class="stack tight">
      <${PairsField} label="Environment" keyName="name" pairs=${Object.entries(mapOf(value["env"])).map(([name, text]) => [name, textOf(text)])}
        onInput=${(pairs: readonly (readonly [string, string])[]) => set("env")(pairs.length === 0 ? undefined : Object.fromEntries(pairs))} error=${errorOf("env")} />
      <div class="fields">
        <${TextField} label="Attempts" type="number" value=${textOf(either(retry, "max_attempts"))} placeholder="1" onInput=${(text: string) => set("retry", "max_attempts")(toNumber(text))} error=${errorOf("retry")} />
        <${TextField} label="May run for" isCode value=${textOf(either(value, "run_timeout"))} placeholder="no limit, or 60s" onInput=${(text: string) => set("run_timeout")(orNothing(text))} error=${errorOf("run_timeout")} />
        <${TextField} label="CPU, in thousandths" type="number" value=${textOf(either(resources, "cpu_millis"))} onInput=${(text: string) => set("resources", "cpu_millis")(toNumber(text))} error=${errorOf("resources.cpu_millis")} />
        <${TextField} label="Memory, in MiB" type="number" value=${textOf(either(resources, "memory_mib"))} onInput=${(text: string) => set("resources", "memory_mib")(toNumber(text))} error=${errorOf("resources.memory_mib")} />
        <${TextField} label="Only on the provider" isCode value=${textOf(mapOf(value["placement"])["provider"])} onInput=${(text: string) => set("placement", "provider")(orNothing(text))} error=${errorOf("placement")} />
        <${TextField} label="Only when" isCode value=${textOf(value["when"])} placeholder="input.release == true" onInput=${(text: string) => set("when")(orNothing(text))} error=${errorOf("when")} />
        <${TextField} label="Once for each of" isCode value=${textOf(mapOf(either(value, "for_each"))["expression"])} placeholder="input.targets" onInput=${(text: string) => set("for_each", "expression")(orNothing(text))} error=${errorOf("for_each")} />
      </div>
    </div>
  </details>`;
}

function StepForm({
  index,
  value,
  others,
  change,
  errorOf,
  onRemove,
}: Omit<PartProps, "at"> & { index: number; others: readonly string[]; onRemove: (() => void) | null }) {
  const at = ["steps", index];
  const part = { value, at, change, errorOf: (field: string) => errorOf(`steps[${index}].${field}`) };
  const dependsOn = listOf(either(value, "depends_on")).map(textOf);
  const name = textOf(value["name"]);
  return html`<fieldset class="step-form">
    <legend>${name || (others.length === 0 ? "What to run" : `Step ${index + 1}`)}</legend>
    ${onRemove !== null && html`<button type="button" class="bare remove" aria-label=${`Remove the step ${name || index + 1}`} onClick=${onRemove}><${Icon} name="trash" size=${16} /></button>`}
    <div class="fields">
      <${TextField} label="Name" isCode value=${name} placeholder="main" onInput=${(text: string) => change([...at, "name"], orNothing(text))} error=${part.errorOf("name")} />
      <${SelectField} label="Does" value=${kindOf(value)} options=${kinds} onInput=${(kind: Kind) => {
        for (const [each] of kinds)
          if (each !== kind && (each !== "command" || kind !== "image")) change([...at, each], undefined);
        change([...at, kind], firstOf[kind]);
      }} />
    </div>
    <${KindFields} ...${part} />
    ${
      others.length > 0 &&
      html`<div class="field" role="group" aria-label=${`What ${name || "the step"} waits for`}><span>After</span><div class="quick">${others.map(
        (other) => {
          const isOn = dependsOn.includes(other);
          return html`<button key=${other} type="button" class="quick-filter" aria-pressed=${isOn} onClick=${() => {
            const next = isOn ? dependsOn.filter((each) => each !== other) : [...dependsOn, other];
            change([...at, "depends_on"], next.length === 0 ? undefined : next);
          }}>${other}</button>`;
        },
      )}</div>${part.errorOf("depends_on") !== undefined && html`<p class="error">${part.errorOf("depends_on")}</p>`}</div>`
    }
    <${StepMore} ...${part} />
  </fieldset>`;
}

export function SpecForm({ value, problems, change }: { value: Value; problems: readonly Problem[]; change: Change }) {
  const errorOf = (field: string) => problemAt(problems, field);
  const steps = listOf(value["steps"]).map(mapOf);
  const names = steps.map((step) => textOf(step["name"]));
  return html`<div class="stack">
    <div class="fields">
      <${TextField} label="Name" value=${textOf(value["name"])} onInput=${(text: string) => change(["name"], text)} error=${errorOf("name")} />
      <${TextField} label="Queue" isCode value=${textOf(value["queue"])} placeholder="default" onInput=${(text: string) => change(["queue"], orNothing(text))} error=${errorOf("queue")} />
      <${TextField} label="Priority" type="number" value=${textOf(value["priority"])} placeholder="0" onInput=${(text: string) => change(["priority"], toNumber(text))} error=${errorOf("priority")} />
      <${TextField} label="All of it may take" isCode value=${textOf(value["timeout"])} placeholder="no limit, or 600s" onInput=${(text: string) => change(["timeout"], orNothing(text))} error=${errorOf("timeout")} />
    </div>
    <${PairsField} label="Labels" keyName="key" pairs=${Object.entries(mapOf(value["labels"])).map(([key, text]) => [key, textOf(text)])}
      onInput=${(pairs: readonly (readonly [string, string])[]) => change(["labels"], pairs.length === 0 ? undefined : Object.fromEntries(pairs))} error=${errorOf("labels")} />
    ${steps.map(
      (
        step,
        index,
      ) => html`<${StepForm} key=${index} index=${index} value=${step} others=${names.filter((other, at) => at !== index && other !== "")} change=${change} errorOf=${errorOf}
      onRemove=${steps.length < 2 ? null : () => change(["steps", index], undefined)} />`,
    )}
    <div><button type="button" class="button" onClick=${() => change(["steps", steps.length], { name: `step-${steps.length + 1}`, command: ["echo", "hello"] })}><${Icon} name="plus" size=${15} />Add a step</button></div>
  </div>`;
}
