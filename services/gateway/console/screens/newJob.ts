/** A new job, as a form and as YAML side by side. What is typed is checked by the platform itself, and told where it stands. */
import type { ExplainJobResponse } from "@capstan/proto/capstan/orchestrator/v1/queue_service.ts";
import { html } from "htm/preact";
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { stringify } from "yaml";
import { ApiError, call, get, newRequestId, post } from "../api.ts";
import { cli, curl } from "../commands.ts";
import { plural, whyOf } from "../format.ts";
import type { Job, Json } from "../json.ts";
import { useQuery } from "../query.ts";
import { go, link, query } from "../router.ts";
import { samples } from "../specSamples.ts";
import { fieldInText, fileText, type Problem, type ReadText, readText, requestOf, withValue } from "../specText.ts";
import { SelectField } from "../ui/form.ts";
import { Icon } from "../ui/icon.ts";
import { Copy, Head, Menu } from "../ui/layout.ts";
import { Unread } from "../ui/states.ts";
import { say, sayFailure } from "../ui/toast.ts";
import { SpecEditor } from "./specEditor.ts";
import { usePublishedTemplates, WorkForm } from "./workForm.ts";

const checkAfterMs = 350;

/** What the platform says of a job that is not submitted. */
interface Verdict {
  /** The text that it is about. */
  readonly text: string;
  readonly problems: readonly Problem[];
  readonly warnings: readonly string[];
  /** Where it would run, or why it would wait. */
  readonly outlook: string;
}

function problemsOf(error: ApiError, read: ReadText, isTemplate: boolean): readonly Problem[] {
  if (error.fields.length === 0) return [{ field: "", message: error.message, line: 0 }];
  return error.fields.map(({ field, message }) => {
    const inText = fieldInText(field, isTemplate);
    return { field: inText, message, line: read.lineOf(inText) };
  });
}

async function outlookOf(spec: unknown, signal: AbortSignal): Promise<string> {
  const { attempts = [] } = await call<Json<ExplainJobResponse>>("POST", "jobs:explain", { body: { spec }, signal });
  const waits = attempts.find(({ providerName = "" }) => providerName === "");
  if (waits !== undefined) return `${waits.step} would wait: ${whyOf(waits.reason, waits.message)}`;
  const providers = [...new Set(attempts.map(({ providerName }) => providerName))];
  return providers.length === 0 ? "" : `a place is free on ${providers.join(", ")}`;
}

/** Asks the platform some time after the last key. */
function useVerdict(text: string, read: ReadText): Verdict | null {
  const [verdict, setVerdict] = useState<Verdict | null>(null);
  useEffect(() => {
    if (read.value === null) return undefined;
    const { value } = read;
    const controller = new AbortController();
    const { signal } = controller;
    const timer = setTimeout(async () => {
      const request = requestOf(value);
      const isTemplate = "template" in request;
      try {
        const { warnings = [] } = await call<{ warnings?: readonly string[] }>("POST", "jobs", {
          body: { ...request, validateOnly: true },
          signal,
        });
        setVerdict({ text, problems: [], warnings, outlook: "" });
        const outlook = isTemplate ? "" : await outlookOf(request["spec"], signal);
        setVerdict({ text, problems: [], warnings, outlook });
      } catch (error) {
        if (signal.aborted || !(error instanceof ApiError) || error.isPassing) return;
        setVerdict({ text, problems: problemsOf(error, read, isTemplate), warnings: [], outlook: "" });
      }
    }, checkAfterMs);
    return () => {
      clearTimeout(timer);
      controller.abort();
    };
  }, [text]);
  return verdict;
}

function Verdicts({
  problems,
  verdict,
  isCurrent,
}: {
  problems: readonly Problem[];
  verdict: Verdict | null;
  isCurrent: boolean;
}) {
  if (problems.length > 0) {
    return html`<div class="verdict bad" role="status" id="spec-problems"><strong>${plural(problems.length, "problem")}</strong>
      <ul>${problems.map(({ field, message, line }, index) => html`<li key=${index}>${line > 0 && html`<span class="quiet">line ${line} </span>`}${field !== "" && html`<code>${field}</code> `}${message}</li>`)}</ul></div>`;
  }
  if (!isCurrent || verdict === null)
    return html`<div class="verdict" role="status" id="spec-problems"><span class="quiet">Checking…</span></div>`;
  return html`<div class="verdict good" role="status" id="spec-problems"><${Icon} name="check" size=${16} /><span>Good to go${verdict.outlook !== "" && html`<span class="quiet">; ${verdict.outlook}</span>`}${verdict.warnings.map((warning) => html`<br key=${warning} />${warning}`)}</span></div>`;
}

/** What is edited, and what can be begun with. */
function Editor({ first }: { first: string }) {
  const [text, setText] = useState(first);
  const latest = useRef(text);
  latest.current = text;
  const [isBusy, setBusy] = useState(false);
  const read = useMemo(() => readText(text), [text]);
  const verdict = useVerdict(text, read);
  const isCurrent = verdict?.text === text;
  const problems = read.problems.length > 0 ? read.problems : (verdict?.problems ?? []);
  const edit = (next: string) => {
    latest.current = next;
    setText(next);
  };
  // Several changes of one press follow each other before anything is drawn.
  const change = (keys: readonly (string | number)[], value: unknown) => edit(withValue(latest.current, keys, value));

  async function submit(): Promise<void> {
    if (read.value === null || isBusy) return;
    setBusy(true);
    try {
      const { job } = await post<{ job?: Job }>("jobs", { ...requestOf(read.value), requestId: newRequestId() });
      say(`“${job?.spec?.name}” is submitted`);
      go(link(`jobs/${job?.id}`));
    } catch (error) {
      sayFailure(error);
      setBusy(false);
    }
  }
  return html`<form class="new-job" onSubmit=${(event: Event) => {
    event.preventDefault();
    void submit();
  }} onKeyDown=${(event: KeyboardEvent) => event.key === "Enter" && (event.ctrlKey || event.metaKey) && void submit()}>
    <${Begin} onBegin=${edit} />
    <section class="panel" aria-label="The job as a form"><${WorkForm} read=${read} problems=${problems} change=${change} /></section>
    <section class="panel flush beside" aria-label="The job as text">
      <${SpecEditor} text=${text} problems=${problems} onInput=${edit} />
      <${Verdicts} problems=${problems} verdict=${verdict} isCurrent=${isCurrent} />
      <div class="submit-bar">
        <${Menu} label="Copy as">
          <${Copy} text=${() => `${cli("job", "submit", "-f", "-")} <<'END'\n${text}END`} label="Copy the command of the CLI">CLI</${Copy}>
          <${Copy} text=${() => curl("POST", "jobs", {}, requestOf(read.value ?? {}))} label="Copy the command of curl">curl</${Copy}>
        </${Menu}>
        <span class="grow"></span>
        <button type="submit" class="button primary" disabled=${isBusy || problems.length > 0 || read.value === null} title="Ctrl Enter">Submit the job</button>
      </div>
    </section>
  </form>`;
}

/** A sample or a template to begin with; what was written is replaced. */
function Begin({ onBegin }: { onBegin: (text: string) => void }) {
  const [chosen, setChosen] = useState("");
  const templates = usePublishedTemplates();
  const options = [
    ["", "Begin with …"] as const,
    ...samples.map(({ name }) => [`sample ${name}`, name] as const),
    ...templates.map((name) => [`template ${name}`, `Template ${name}`] as const),
  ];
  function begin(value: string): void {
    setChosen(value);
    const [kind, ...rest] = value.split(" ");
    const name = rest.join(" ");
    const sample = samples.find((each) => each.name === name);
    if (kind === "template") onBegin(templateText(name, 0));
    else if (sample !== undefined) onBegin(sample.text);
  }
  return html`<div class="begin"><${SelectField} label="Begin with" value=${chosen} options=${options} onInput=${begin} /></div>`;
}

function templateText(name: string, version: number): string {
  return stringify({ template: { name, ...(version > 0 ? { version } : {}), parameters: {} } });
}

function FromJob({ id }: { id: string }) {
  const job = useQuery(`job ${id}`, (signal) => get<{ job?: Job }>(`jobs/${id}`, {}, signal));
  if (job.data === undefined) return html`<${Unread} query=${job} />`;
  return html`<${Editor} first=${fileText(job.data.job?.spec)} />`;
}

export function Screen() {
  const from = query.value.get("from") ?? "";
  const template = query.value.get("template") ?? "";
  const version = Number(query.value.get("version") ?? 0);
  const body =
    from !== ""
      ? html`<${FromJob} key=${from} id=${from} />`
      : html`<${Editor} key=${template} first=${template === "" ? samples[0].text : templateText(template, version)} />`;
  return html`<${Head} title="New job" crumb=${{ text: "Jobs", href: link("jobs") }}>The form and the text are the same job; change either.</${Head}>${body}`;
}
