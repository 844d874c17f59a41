/** A schedule, new or to be changed: when it runs, with its next times as one types, and what it runs. */
import type { PreviewScheduleResponse } from "@capstan/proto/capstan/job/v1/schedule_service.ts";
import { html } from "htm/preact";
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { stringify } from "yaml";
import { ApiError, call, get } from "../api.ts";
import type { Json, Schedule } from "../json.ts";
import { useQuery } from "../query.ts";
import { go, link, query } from "../router.ts";
import { type Draft, draftOf, type Kind, planOf, specOf, workField } from "../scheduleDraft.ts";
import type { ScreenProps } from "../screens.ts";
import { fieldInText, fileText, readText, snakeNames, withValue } from "../specText.ts";
import { SelectField, TextField } from "../ui/form.ts";
import { Icon } from "../ui/icon.ts";
import { Head, Panel } from "../ui/layout.ts";
import { Unread } from "../ui/states.ts";
import { say, sayFailure } from "../ui/toast.ts";
import { Runs } from "./schedule.ts";
import { SpecEditor } from "./specEditor.ts";
import { usePublishedTemplates, WorkForm } from "./workForm.ts";

const checkAfterMs = 350;
const kinds = [
  ["cron", "By a cron pattern"],
  ["interval", "Every so often"],
  ["time", "Once"],
] as const;
const units = [
  ["1", "seconds"],
  ["60", "minutes"],
  ["3600", "hours"],
  ["86400", "days"],
] as const;
const overlaps = [
  ["OVERLAP_POLICY_SKIP", "leave the run out"],
  ["OVERLAP_POLICY_ALLOW", "run beside it"],
  ["OVERLAP_POLICY_BUFFER_ONE", "run after it, one waits"],
  ["OVERLAP_POLICY_CANCEL_RUNNING", "cancel it, then run"],
] as const;
const misses = [
  ["MISSED_RUN_POLICY_LAST", "make up for the last"],
  ["MISSED_RUN_POLICY_NONE", "leave them out"],
  ["MISSED_RUN_POLICY_ALL", "make up for all"],
] as const;
const firstText = stringify({ name: "my-job", steps: [{ name: "run", command: ["echo", "hello"] }] });
const ownZone = Intl.DateTimeFormat().resolvedOptions().timeZone;
const zones = Intl.supportedValuesOf("timeZone");

type Errors = ReadonlyMap<string, string>;

/** What the platform says of the draft, asked some time after the last key: its next runs, and what is wrong with it. */
function useCheck(
  draft: Draft,
  body: object | null,
): { preview: Json<PreviewScheduleResponse> | null; errors: Errors } {
  const [preview, setPreview] = useState<Json<PreviewScheduleResponse> | null>(null);
  const [errors, setErrors] = useState<Errors>(new Map());
  const plan = JSON.stringify(planOf(draft));
  const key = JSON.stringify(body);
  useEffect(() => {
    const controller = new AbortController();
    const { signal } = controller;
    const timer = setTimeout(async () => {
      const spec: unknown = JSON.parse(plan);
      await call<Json<PreviewScheduleResponse>>("POST", "schedules:preview", { body: { spec, count: 8 }, signal }).then(
        setPreview,
        () => {
          if (!signal.aborted) setPreview(null);
        },
      );
    }, checkAfterMs);
    return () => {
      clearTimeout(timer);
      controller.abort();
    };
  }, [plan]);
  useEffect(() => {
    if (body === null) return undefined;
    const controller = new AbortController();
    const { signal } = controller;
    const timer = setTimeout(async () => {
      try {
        await call("POST", "schedules", { body: { ...body, validateOnly: true }, signal });
        setErrors(new Map());
      } catch (error) {
        if (signal.aborted || !(error instanceof ApiError) || error.isPassing) return;
        setErrors(new Map(error.fields.map(({ field, message }) => [field, message])));
      }
    }, checkAfterMs);
    return () => {
      clearTimeout(timer);
      controller.abort();
    };
  }, [key]);
  return { preview, errors };
}

function When({ draft, set, errors }: { draft: Draft; set: (part: Partial<Draft>) => void; errors: Errors }) {
  const text = (name: keyof Draft, label: string, more: object = {}) =>
    html`<${TextField} label=${label} value=${draft[name]} onInput=${(value: string) => set({ [name]: value })} error=${errors.get(`spec.${name}`)} ...${more} />`;
  const ways = {
    cron: html`${text("cron", "Pattern", { isCode: true, hint: "minute, hour, day of month, month, day of week" })}${text("timeZone", "Time zone", { list: zones, placeholder: "UTC" })}`,
    interval: html`${text("interval", "Every", { type: "number" })}<${SelectField} label="of" value=${draft.unit} options=${units} onInput=${(unit: string) => set({ unit })} />`,
    time: text("time", "At, in your time zone", { type: "datetime-local" }),
  };
  return html`<${Panel} title="When">
    <div class="stack">
      <div class="kinds" role="radiogroup" aria-label="When">${kinds.map(
        ([kind, title]) =>
          html`<label key=${kind} class="check"><input type="radio" name="kind" value=${kind} checked=${draft.kind === kind} onChange=${() => set({ kind: kind as Kind })} /><span>${title}</span></label>`,
      )}</div>
      <div class="fields">${ways[draft.kind]}</div>
      ${errors.has("spec") && html`<p class="bad-text">${errors.get("spec")}</p>`}
      <div class="fields">
        <${SelectField} label="When the last still runs" value=${draft.overlap} options=${overlaps} onInput=${(overlap: string) => set({ overlap })} error=${errors.get("spec.overlap")} />
        <${SelectField} label="Runs that were missed" value=${draft.missed} options=${misses} onInput=${(missed: string) => set({ missed })} error=${errors.get("spec.missed")} />
      </div>
      <details class="more"><summary>More</summary><div class="fields">
        ${text("jitter", "Jitter, seconds", { type: "number", placeholder: "0" })}
        ${text("maxConsecutiveFailures", "Pause after failures in a row", { type: "number", placeholder: "never" })}
        ${text("startTime", "Not before", { type: "datetime-local" })}
        ${text("endTime", "Not at or after", { type: "datetime-local" })}
      </div></details>
    </div>
  </${Panel}>`;
}

function ChooseTemplate({ onChoose }: { onChoose: (name: string) => void }) {
  const names = usePublishedTemplates().map((name) => [name, `Template ${name}`] as const);
  return html`<${SelectField} label="What" value="" options=${[["", "As written below"] as const, ["job", "A job of its own"] as const, ...names]} onInput=${onChoose} />`;
}

function Form({ schedule }: { schedule: Schedule | null }) {
  const [draft, setDraft] = useState(() =>
    draftOf(schedule?.name ?? query.value.get("name") ?? "", schedule?.spec ?? {}, ownZone),
  );
  const [text, setText] = useState(() => textOf(schedule));
  const latest = useRef(text);
  const [isBusy, setBusy] = useState(false);
  const read = useMemo(() => readText(text), [text]);
  const spec = read.value === null ? null : specOf(draft, read.value, schedule?.spec);
  const { preview, errors } = useCheck(draft, spec === null ? null : { name: draft.name.trim() || "unnamed", spec });
  const isTemplate = read.value !== null && "template" in read.value;
  const refused = [...errors].flatMap(([field, message]) => {
    const at = workField(field, isTemplate);
    if (at === null) return [];
    const inText = fieldInText(at, isTemplate);
    return [{ field: inText, message, line: read.lineOf(inText) }];
  });
  const problems = read.problems.length > 0 ? read.problems : refused;
  const set = (part: Partial<Draft>) => setDraft((old) => ({ ...old, ...part }));
  const edit = (next: string) => {
    latest.current = next;
    setText(next);
  };
  async function save(event: Event): Promise<void> {
    event.preventDefault();
    if (spec === null || isBusy) return;
    setBusy(true);
    const name = draft.name.trim();
    try {
      if (schedule === null) await call("POST", "schedules", { body: { name, spec } });
      else await call("PUT", `schedules/${encodeURIComponent(name)}`, { body: { spec, etag: schedule.etag } });
      say(schedule === null ? `The schedule ${name} is made` : `The schedule ${name} is changed`);
      go(link(`schedules/${name}`));
    } catch (error) {
      sayFailure(error);
      setBusy(false);
    }
  }
  return html`<form class="schedule-form" onSubmit=${save}>
    <div class="stack">
      <${Panel}><div class="fields">
        ${schedule === null && html`<${TextField} label="Name" isCode value=${draft.name} placeholder="nightly-report" onInput=${(name: string) => set({ name })} error=${draft.name === "" ? undefined : errors.get("name")} />`}
        <${TextField} label="Description" value=${draft.description} placeholder="For people" onInput=${(description: string) => set({ description })} error=${errors.get("spec.description")} />
        <${ChooseTemplate} onChoose=${(name: string) => name !== "" && edit(name === "job" ? firstText : stringify({ template: { name, parameters: {} } }))} />
      </div></${Panel}>
      <${When} draft=${draft} set=${set} errors=${errors} />
      <section class="panel" aria-label="What it runs, as a form"><${WorkForm} read=${read} problems=${problems} change=${(keys: readonly (string | number)[], value: unknown) => edit(withValue(latest.current, keys, value))} /></section>
    </div>
    <div class="stack">
      <${Panel} class="flush" title="Next runs">${preview === null ? html`<p class="quiet pad">They show when the plan can be read.</p>` : html`<${Runs} runs=${preview.runs ?? []} />`}</${Panel}>
      <section class="panel flush" aria-label="What it runs, as text">
        <${SpecEditor} text=${text} problems=${problems} onInput=${edit} />
        <div class=${`verdict ${problems.length > 0 ? "bad" : ""}`} role="status" id="spec-problems">${
          problems.length === 0
            ? html`<span class="quiet">What each run is: a job, or a template with its parameters.</span>`
            : html`<ul>${problems.map(({ field, message, line }, index) => html`<li key=${index}>${line > 0 && html`<span class="quiet">line ${line} </span>`}<code>${field}</code> ${message}</li>`)}</ul>`
        }</div>
        <div class="submit-bar"><a class="button" href=${link(schedule === null ? "schedules" : `schedules/${schedule.name}`)}>Leave it</a><span class="grow"></span>
          <button type="submit" class="button primary" disabled=${isBusy || errors.size > 0 || read.value === null || draft.name.trim() === ""}><${Icon} name="check" size=${15} />${schedule === null ? "Make the schedule" : "Change the schedule"}</button></div>
      </section>
    </div>
  </form>`;
}

function textOf(schedule: Schedule | null): string {
  const template = query.value.get("template") ?? "";
  if (schedule === null)
    return template === "" ? firstText : stringify({ template: { name: template, parameters: {} } });
  const { template: use, job } = schedule.spec ?? {};
  if (use === undefined) return fileText(job);
  const { name, version, parameters = {} } = use;
  const over = job === undefined ? {} : { spec: snakeNames(job) };
  return stringify({ template: { name, ...(version ? { version } : {}), parameters }, ...over }, { lineWidth: 0 });
}

export function Screen({ parameters }: ScreenProps) {
  const name = parameters["name"] ?? "";
  const found = useQuery(name === "" ? "" : `schedule ${name}`, (signal) =>
    get<{ schedule?: Schedule }>(`schedules/${encodeURIComponent(name)}`, {}, signal),
  );
  if (name === "") {
    return html`<${Head} title="New schedule" crumb=${{ text: "Schedules", href: link("schedules") }}>When, and what; the next times show as you type.</${Head}><${Form} schedule=${null} />`;
  }
  const crumb = { text: name, href: link(`schedules/${name}`) };
  const schedule = found.data?.schedule;
  return html`<${Head} title=${`Change ${name}`} crumb=${crumb}>Its next run is the next one after now by the new plan.</${Head}>
    ${schedule !== undefined ? html`<${Form} schedule=${schedule} />` : html`<${Unread} query=${found} lines=${6} />`}`;
}
