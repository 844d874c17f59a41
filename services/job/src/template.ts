/**
 * The life of one version of a template. Nothing here reads a clock, makes an id or does I/O.
 *
 *   DRAFT ─▶ PUBLISHED ─▶ DEPRECATED ─▶ ARCHIVED
 *     └──────────┴────────────────────────▶┘
 *
 * Only a draft is ever changed, so that a job says for ever what it was made from. A template has one draft at most.
 */
import { DomainError } from "@capstan/errors";
import type { TemplateSpec } from "@capstan/proto/capstan/job/v1/template.ts";

export const templateStates = ["DRAFT", "PUBLISHED", "DEPRECATED", "ARCHIVED"] as const;
export type TemplateState = (typeof templateStates)[number];

/** One version, with what it shares with the others of its template. */
export interface Template {
  readonly id: string;
  readonly tenant: string;
  readonly name: string;
  readonly version: number;
  readonly state: TemplateState;
  readonly spec: TemplateSpec;
  /** Grows with every change of this version. */
  readonly revision: number;
  readonly createTime: Date;
  readonly updateTime: Date;
  readonly publishTime: Date | null;
}

export type TemplateEventType = "created" | "updated" | "published" | "deprecated" | "archived";

/** The states each event may happen in. The diagram above and the exhaustive test follow this table. */
export const templateAllowedFrom = {
  created: [],
  updated: ["DRAFT"],
  published: ["DRAFT"],
  deprecated: ["PUBLISHED"],
  archived: ["DRAFT", "PUBLISHED", "DEPRECATED"],
} as const satisfies Record<TemplateEventType, readonly TemplateState[]>;

const stateAfter = {
  published: "PUBLISHED",
  deprecated: "DEPRECATED",
  archived: "ARCHIVED",
} as const satisfies Partial<Record<TemplateEventType, TemplateState>>;

/** A version after a move, and what the fact of it is called; null if it was so already. */
export type TemplateChange = { readonly after: Template; readonly event: TemplateEventType } | null;

/** Moves a version to the state that the event leads to; null if it is there. Refuses what the table does not allow. */
export function moveTemplate(template: Template, event: keyof typeof stateAfter, etag: string): TemplateChange {
  const state = stateAfter[event];
  if (template.state === state) return null;
  assertAllowed(template, event);
  assertEtag(template, etag);
  return { event, after: { ...template, state, revision: template.revision + 1 } };
}

/** Gives a draft another content; null if it has it. */
export function reviseTemplate(template: Template, spec: TemplateSpec, etag: string, isSame: boolean): TemplateChange {
  assertAllowed(template, "updated");
  assertEtag(template, etag);
  return isSame ? null : { event: "updated", after: { ...template, spec, revision: template.revision + 1 } };
}

function assertAllowed({ name, version, state }: Template, event: TemplateEventType): void {
  const from: readonly TemplateState[] = templateAllowedFrom[event];
  if (from.includes(state)) return;
  throw new DomainError({
    code: "FAILED_PRECONDITION",
    reason: "TEMPLATE_STATE",
    message: `version ${version} of template ${name} is ${state}; it can be ${event} only while it is ${from.join(" or ")}`,
    metadata: { template: name, version: String(version), state },
  });
}

function assertEtag(template: Template, etag: string): void {
  if (etag === "" || etag === etagOf(template)) return;
  throw new DomainError({
    code: "ABORTED",
    reason: "TEMPLATE_CHANGED",
    message: `version ${template.version} of template ${template.name} has changed since it was read; read it again`,
    metadata: { etag: etagOf(template) },
  });
}

export function etagOf({ revision }: Pick<Template, "revision">): string {
  return String(revision);
}

/** Refuses a version that no new job may be made from; gives back what whoever does it should know. */
export function assertUsable({
  name,
  version,
  state,
}: Pick<Template, "name" | "version" | "state">): readonly string[] {
  if (state === "PUBLISHED") return [];
  if (state === "DEPRECATED") return [`version ${version} of template ${name} is DEPRECATED; use a newer one`];
  throw new DomainError({
    code: "FAILED_PRECONDITION",
    reason: state === "DRAFT" ? "TEMPLATE_NOT_PUBLISHED" : "TEMPLATE_ARCHIVED",
    message: `version ${version} of template ${name} is ${state}; no job can be made from it`,
    metadata: { template: name, version: String(version), state },
  });
}
