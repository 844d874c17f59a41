/** How the platform is: each part and dependency, each service's loops, what the doctor found, what runs here, who is connected. */
import type { GetHealthResponse, GetInfoResponse } from "@capstan/proto/capstan/gateway/v1/platform_service.ts";
import type { ListCheckupsResponse, ListReadinessResponse } from "@capstan/proto/capstan/system/v1/system_service.ts";
import { html } from "htm/preact";
import { get } from "../api.ts";
import { formatBytes, formatCount, formatSpan, humanWord, plural } from "../format.ts";
import type { Json } from "../json.ts";
import { type Query, useQuery } from "../query.ts";
import { query } from "../router.ts";
import { Chip, type Tone } from "../ui/chip.ts";
import { Head, Pairs, Panel, Tabs } from "../ui/layout.ts";
import { Empty, Loaded } from "../ui/states.ts";
import { Age, Clock } from "../ui/time.ts";
import { Findings } from "./findings.ts";
import { Sessions } from "./sessions.ts";

type Health = Json<GetHealthResponse>;
type Service = NonNullable<Json<ListReadinessResponse>["services"]>[number];

const freshMs = 5_000;
const tones: Readonly<Record<string, Tone>> = {
  HEALTH_STATE_HEALTHY: "good",
  HEALTH_STATE_DEGRADED: "warn",
  HEALTH_STATE_DOWN: "bad",
};
const whole: Readonly<Record<string, string>> = {
  HEALTH_STATE_HEALTHY: "All parts of the platform work",
  HEALTH_STATE_DEGRADED: "A part of the platform does not work",
  HEALTH_STATE_DOWN: "No part of the platform works",
};

function Parts({ health }: { health: Query<Health> }) {
  return html`<${Panel} class="flush" title="Parts"><${Loaded} query=${health}>${({ parts = [] }: Health) =>
    html`<ul class="parts">${parts.map(
      ({ name, state, reason, durationMs }) => html`<li key=${name}>
      <b>${name}</b><${Chip} tone=${tones[state ?? ""] ?? "plain"} text=${humanWord(state)} />
      <span class="quiet small">${reason ? humanWord(reason) : `answers in ${formatSpan(durationMs ?? 0)}`}</span></li>`,
    )}</ul>`}</${Loaded}></${Panel}>`;
}

function Mark({ ok, text }: { ok: boolean | undefined; text: string }) {
  return html`<span class=${`mark ${ok ? "good" : "bad"}`}><i aria-hidden="true"></i>${text}${!ok && html`<span class="hidden">, not well</span>`}</span>`;
}

function ServiceCard({ service }: { service: Service }) {
  const { dependencies = [], loops = [], ready } = service;
  return html`<article class="panel card" aria-label=${service.service}>
    <header><h2>${service.service}</h2><${Chip} tone=${ready ? "good" : "bad"} text=${ready ? "ready" : "not ready"} /></header>
    ${dependencies.length > 0 && html`<h3 class="small quiet">Depends on</h3><ul class="checks">${dependencies.map(({ name = "", ok, durationMs }) => html`<li key=${name}><${Mark} ok=${ok} text=${name} /><span class="quiet small number">${ok ? formatSpan(durationMs ?? 0) : "does not answer"}</span></li>`)}</ul>`}
    ${loops.length > 0 && html`<h3 class="small quiet">Loops</h3><ul class="checks">${loops.map(({ name = "", ok, lastPassTime }) => html`<li key=${name}><${Mark} ok=${ok} text=${name} /><span class="quiet small number"><${Age} time=${lastPassTime} suffix=" ago" /></span></li>`)}</ul>`}
  </article>`;
}

function Services({ services }: { services: Query<Json<ListReadinessResponse>> }) {
  return html`<${Loaded} query=${services}>${({ services: all = [] }: Json<ListReadinessResponse>) => {
    const shown = all.filter(({ dependencies = [], loops = [] }) => dependencies.length + loops.length > 0);
    return shown.length === 0
      ? html`<section class="panel flush"><${Empty} icon="system" title="No service answers">Each is asked again by itself.</${Empty}></section>`
      : html`<div class="grid cards">${shown.map((service) => html`<${ServiceCard} key=${service.service} service=${service} />`)}</div>`;
  }}</${Loaded}>`;
}

function About() {
  const info = useQuery("info", (signal) => get<Json<GetInfoResponse>>("system/info", {}, signal));
  return html`<${Panel} title="What runs here"><${Loaded} query=${info}>${({
    version,
    apiVersion,
    nodeVersion,
    startTime,
    limits = {},
    services = [],
  }: Json<GetInfoResponse>) =>
    html`<${Pairs} pairs=${[
      ["Capstan", version],
      ["API", apiVersion],
      ["Node.js", nodeVersion],
      ["Gateway up since", html`<${Clock} time=${startTime} />`],
      ["Largest body", formatBytes(limits.maxBodyBytes ?? 0)],
      ["Deepest body", `${limits.maxDepth} levels`],
      [
        "Requests from one address",
        limits.rateLimit ? `${formatCount(limits.rateLimit)} in ${formatSpan(limits.rateWindowMs ?? 0)}` : "any number",
      ],
      [
        "gRPC services",
        html`<details class="more"><summary>${services.length}</summary><span class="small">${services.map((name) => html`<code key=${name}>${name}</code><br />`)}</span></details>`,
      ],
    ]} />`}</${Loaded}></${Panel}>`;
}

export function Screen() {
  const tab = query.value.get("tab") ?? "health";
  const health = useQuery("health", (signal) => get<Health>("system/health", {}, signal), { everyMs: freshMs });
  const services = useQuery("services", (signal) => get<Json<ListReadinessResponse>>("system/services", {}, signal), {
    everyMs: freshMs,
  });
  const checkups = useQuery("findings", (signal) => get<Json<ListCheckupsResponse>>("system/findings", {}, signal), {
    everyMs: 15_000,
  });
  const broken = (checkups.data?.checkups ?? []).reduce((sum, { violations = [] }) => sum + violations.length, 0);
  const unready = (services.data?.services ?? []).filter(({ ready }) => !ready);
  const state = health.data?.state;
  const tabs = [
    { id: "health", title: "Health" },
    { id: "findings", title: "Findings", ...(checkups.data === undefined ? {} : { count: broken }) },
    { id: "sessions", title: "Live clients" },
  ];
  return html`<${Head} title="System">
      ${state !== undefined && html`<${Chip} tone=${tones[state] ?? "plain"} text=${whole[state] ?? ""} />`}
      ${unready.length > 0 && html`<span class="bad-text">${plural(unready.length, "service")} not ready</span>`}
    </${Head}>
    <${Tabs} label="System" tabs=${tabs} />
    ${
      tab === "findings"
        ? html`<${Findings} checkups=${checkups} />`
        : tab === "sessions"
          ? html`<${Sessions} />`
          : html`<div class="stack"><${Parts} health=${health} /><${Services} services=${services} /><${About} /></div>`
    }`;
}
