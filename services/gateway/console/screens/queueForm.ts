/** What a queue allows, in a dialog. Whole settings are sent, with the etag that was read, so that nobody undoes what another has done. */
import { html } from "htm/preact";
import { useState } from "preact/hooks";
import { ApiError, call } from "../api.ts";
import { durationMs } from "../format.ts";
import type { Queue, Settings, WaitRule } from "../queueActions.ts";
import { Dialog } from "../ui/dialog.ts";
import { SelectField, TextField } from "../ui/form.ts";
import { Icon } from "../ui/icon.ts";
import { say, sayFailure } from "../ui/toast.ts";

/** The settings as they are typed. */
interface Draft {
  readonly name: string;
  readonly weight: string;
  readonly maxRunning: string;
  readonly maxRunningPerKey: string;
  readonly keyPolicy: string;
  readonly rate: Rate;
  readonly ratePerKey: Rate;
  readonly maxDepth: string;
  readonly ageing: string;
  readonly onWait: readonly WaitRule[];
}

interface Rate {
  readonly count: string;
  readonly period: string;
}

const periods = [
  ["1s", "second"],
  ["60s", "minute"],
  ["3600s", "hour"],
  ["86400s", "day"],
] as const;
const policies = [
  ["KEY_POLICY_WAIT", "it waits"],
  ["KEY_POLICY_DROP_NEWEST", "it is dropped"],
  ["KEY_POLICY_CANCEL_RUNNING", "what runs is cancelled"],
] as const;
const reasons = [
  ["REASON_UNSPECIFIED", "whatever it waits for"],
  ["REASON_QUEUE_PAUSED", "the queue is paused"],
  ["REASON_QUEUE_LIMIT", "the limit of the queue"],
  ["REASON_KEY_LIMIT", "the limit of the key"],
  ["REASON_RATE_LIMIT", "the rate"],
  ["REASON_NO_PROVIDER_MATCHES", "no provider matches"],
  ["REASON_NO_CAPACITY", "no capacity"],
  ["REASON_PROVIDER_UNHEALTHY", "no healthy provider"],
] as const;
const actions = [
  ["WAIT_ACTION_NOTIFY", "tell so in a fact"],
  ["WAIT_ACTION_FAIL", "fail the attempt"],
  ["WAIT_ACTION_MOVE", "ask another kind"],
] as const;

const numberText = (value: number | undefined) => (value === undefined || value === 0 ? "" : String(value));
const seconds = (duration: string | undefined) => {
  const ms = durationMs(duration);
  return Number.isNaN(ms) ? "" : String(ms / 1_000);
};
const rateOf = (rate: Settings["rate"]): Rate => ({ count: numberText(rate?.count), period: rate?.period ?? "60s" });

function draftOf({ name = "", settings = {} }: Queue): Draft {
  return {
    name,
    weight: numberText(settings.weight),
    maxRunning: numberText(settings.maxRunning),
    maxRunningPerKey: numberText(settings.maxRunningPerKey),
    keyPolicy: settings.keyPolicy ?? "KEY_POLICY_WAIT",
    rate: rateOf(settings.rate),
    ratePerKey: rateOf(settings.ratePerKey),
    maxDepth: numberText(settings.maxDepth),
    ageing: seconds(settings.ageing),
    onWait: settings.onWait ?? [],
  };
}

/** What is left empty is no limit. What is no number goes as it was typed, and is refused with its field. */
function settingsOf(draft: Draft): object {
  const whole = (text: string) => (text.trim() === "" ? 0 : Number(text));
  const rate = ({ count, period }: Rate) => (count.trim() === "" ? undefined : { count: Number(count), period });
  return {
    weight: whole(draft.weight),
    maxRunning: whole(draft.maxRunning),
    maxRunningPerKey: whole(draft.maxRunningPerKey),
    keyPolicy: draft.keyPolicy,
    rate: rate(draft.rate),
    ratePerKey: rate(draft.ratePerKey),
    maxDepth: whole(draft.maxDepth),
    ...(draft.ageing.trim() === "" ? {} : { ageing: `${draft.ageing.trim()}s` }),
    onWait: draft.onWait,
  };
}

function WaitRules({
  rules,
  onInput,
  errorOf,
}: {
  rules: readonly WaitRule[];
  onInput: (rules: readonly WaitRule[]) => void;
  errorOf: (field: string) => string | undefined;
}) {
  const change = (at: number, part: Partial<WaitRule>) =>
    onInput(rules.map((rule, index) => (index === at ? { ...rule, ...part } : rule)));
  return html`<fieldset class="field"><legend>What waits too long</legend>
    ${rules.map((rule, index) => {
      const at = `settings.onWait[${index}]`;
      return html`<div class="wait-rule" key=${index}>
        <${TextField} label="After seconds" type="number" value=${seconds(rule.after)} onInput=${(text: string) => change(index, { after: `${text}s` })} error=${errorOf(`${at}.after`)} />
        <${SelectField} label="Because of" value=${rule.reason ?? "REASON_UNSPECIFIED"} options=${reasons} onInput=${(reason: string) => change(index, { reason } as Partial<WaitRule>)} error=${errorOf(`${at}.reason`)} />
        <${SelectField} label="Do" value=${rule.action ?? "WAIT_ACTION_NOTIFY"} options=${actions} onInput=${(action: string) => change(index, { action } as Partial<WaitRule>)} error=${errorOf(`${at}.action`)} />
        ${rule.action === "WAIT_ACTION_MOVE" && html`<${TextField} label="Kind" value=${rule.providerKind ?? ""} placeholder="DOCKER" onInput=${(providerKind: string) => change(index, { providerKind })} error=${errorOf(`${at}.providerKind`)} />`}
        <button type="button" class="bare" aria-label=${`Remove rule ${index + 1}`} onClick=${() => onInput(rules.filter((_, each) => each !== index))}><${Icon} name="trash" size=${16} /></button>
      </div>`;
    })}
    <button type="button" class="button small add" onClick=${() => onInput([...rules, { after: "600s", reason: "REASON_UNSPECIFIED", action: "WAIT_ACTION_NOTIFY" } as WaitRule])}><${Icon} name="plus" size=${14} />Add a rule</button>
    ${errorOf("settings.onWait") && html`<p class="error">${errorOf("settings.onWait")}</p>`}
  </fieldset>`;
}

/** A queue that has no name yet is a new one. */
export function QueueForm({ queue, onClose }: { queue: Queue; onClose: (isChanged: boolean) => void }) {
  const [draft, setDraft] = useState(() => draftOf(queue));
  const [refusal, setRefusal] = useState<ApiError | null>(null);
  const [isBusy, setBusy] = useState(false);
  const isNew = queue.name === undefined;
  const errorOf = (field: string) => refusal?.fields.find((bad) => bad.field === field)?.message;
  const set = (part: Partial<Draft>) => setDraft((old) => ({ ...old, ...part }));
  const number = (
    name: "weight" | "maxRunning" | "maxRunningPerKey" | "maxDepth" | "ageing",
    label: string,
    hint: string,
  ) =>
    html`<${TextField} label=${label} type="number" hint=${hint} value=${draft[name]} onInput=${(text: string) => set({ [name]: text })} error=${errorOf(`settings.${name}`)} />`;
  const rate = (name: "rate" | "ratePerKey", label: string) => html`<div class="rate">
    <${TextField} label=${label} type="number" placeholder="any number" value=${draft[name].count} onInput=${(count: string) => set({ [name]: { ...draft[name], count } })}
      error=${errorOf(`settings.${name}.count`) ?? errorOf(`settings.${name}`) ?? errorOf(`settings.${name}.period`)} />
    <${SelectField} label="in each" value=${draft[name].period} options=${periodsWith(draft[name].period)} onInput=${(period: string) => set({ [name]: { ...draft[name], period } })} /></div>`;

  async function save(event: Event): Promise<void> {
    event.preventDefault();
    if (isBusy) return;
    setBusy(true);
    try {
      const body = { settings: settingsOf(draft), etag: queue.etag ?? "" };
      await call("PUT", `queues/${encodeURIComponent(draft.name.trim())}`, { body });
      say(`The queue ${draft.name} is set`);
      onClose(true);
    } catch (error) {
      setBusy(false);
      if (!(error instanceof ApiError)) throw error;
      setRefusal(error);
      if (error.fields.length === 0) sayFailure(error);
    }
  }
  return html`<${Dialog} isWide title=${isNew ? "New queue" : `Limits of “${queue.name}”`} onClose=${() => onClose(false)}>
    <form class="queue-form" onSubmit=${save}>
      ${isNew && html`<${TextField} label="Name" isCode value=${draft.name} placeholder="mail" onInput=${(name: string) => set({ name })} error=${errorOf("queue") ?? errorOf("name")} />`}
      <div class="fields">
        ${number("weight", "Weight", "Its turns beside other queues: 1 to 1,000")}
        ${number("maxRunning", "At once", "Empty: any number")}
        ${number("maxDepth", "Pending jobs", "More are refused. Empty: any number")}
        ${rate("rate", "Begins")}
      </div>
      <div class="fields">
        ${number("maxRunningPerKey", "At once per key", "Of jobs with the same concurrency key")}
        <${SelectField} label="When a key runs as many" value=${draft.keyPolicy} options=${policies} onInput=${(keyPolicy: string) => set({ keyPolicy })} error=${errorOf("settings.keyPolicy")} />
        ${rate("ratePerKey", "Begins per key")}
        ${number("ageing", "Ageing, seconds", "So long a wait outweighs one point of priority")}
      </div>
      <${WaitRules} rules=${draft.onWait} onInput=${(onWait: readonly WaitRule[]) => set({ onWait })} errorOf=${errorOf} />
      <div class="actions">
        <button type="button" class="button" onClick=${() => onClose(false)}>Keep as it is</button>
        <button type="submit" class="button primary" disabled=${isBusy}>${isNew ? "Make the queue" : "Set the limits"}</button>
      </div>
    </form>
  </${Dialog}>`;
}

function periodsWith(period: string): readonly (readonly [string, string])[] {
  return periods.some(([value]) => value === period) ? periods : [...periods, [period, period]];
}
