/** The RPCs of templates. Each reads: check the request, lock, decide, save, answer. */
import { DomainError, type FieldViolation, invalid, notFound } from "@capstan/errors";
import {
  type Call,
  decodePageToken,
  encodePageToken,
  type FilterFields,
  fitPage,
  pageSize,
  parseFilter,
  unary,
} from "@capstan/grpc";
import { appendFacts, type Db, inTransaction, type Pool, uuidv7 } from "@capstan/postgres";
import { TemplateSpec } from "@capstan/proto/capstan/job/v1/template.ts";
import type { TemplateServiceServer } from "@capstan/proto/capstan/job/v1/template_service.ts";
import { moveTemplate, reviseTemplate, type Template, type TemplateChange, templateStates } from "./template.ts";
import { countsOf, isSameTemplate, templateFact, templateMessage } from "./templateProto.ts";
import { checkName, checkTemplate, completeTemplate, isName } from "./templateSpec.ts";
import {
  countJobs,
  findTemplate,
  insertDraft,
  insertTemplate,
  listTemplates,
  listVersions,
  lockTemplate,
  type Meant,
  nextSequence,
  saveVersion,
} from "./templateStore.ts";

const filterFields: FilterFields = {
  name: { type: "string" },
  state: { type: "enum", values: templateStates },
};

const maxVersion = 2_147_483_647;

export function createTemplateService(pool: Pool): TemplateServiceServer {
  /** One version, moved by what is decided about it while its template is locked. */
  async function change(
    { name, version }: { readonly name: string; readonly version: number },
    meant: Meant,
    { tenant, traceparent }: Call,
    decide: (template: Template) => TemplateChange,
  ) {
    assertReference(name, version);
    const template = await inTransaction(pool, async (db) => {
      if ((await lockTemplate(db, tenant, name)) === null) throw missing(name, version);
      const before = await findTemplate(db, tenant, name, version, meant);
      if (before === null) throw missing(name, version);
      const moved = decide(before);
      if (moved === null) return before;
      const after = await saveVersion(db, before, moved.after);
      await appendFacts(db, [templateFact(after, moved.event, await nextSequence(db, after.id), traceparent)]);
      return after;
    });
    return { template: templateMessage(template) };
  }

  async function withCounts(tenant: string, name: string, templates: readonly Template[]) {
    const versions = templates.map(({ version }) => version);
    const counts = versions.length === 0 ? [] : await countJobs(pool, tenant, name, versions);
    return templates.map((template) => templateMessage(template, countsOf(counts, template.version)));
  }

  return {
    createTemplate: unary(async ({ name, spec, validateOnly }, call) => {
      const violations: FieldViolation[] = [];
      checkName(name, (field, description) => violations.push({ field, description }));
      violations.push(...checkTemplate(spec, "spec", new Date()));
      if (spec === undefined || violations.length > 0) throw invalid(violations);
      const complete = completeTemplate(spec, name);
      if (validateOnly) return { template: templateMessage(unsaved(name, complete, call)), existed: false };
      return inTransaction(pool, (db) => create(db, name, complete, call));
    }),

    getTemplate: unary(async ({ name, version }, { tenant }) => {
      assertReference(name, version);
      const template = await findTemplate(pool, tenant, name, version, "published");
      if (template === null) throw missing(name, version);
      const [message] = await withCounts(tenant, name, [template]);
      return { template: message };
    }),

    listTemplates: unary(async ({ pageSize: requested, pageToken, filter }, { tenant }) => {
      const query = { list: "templates", tenant, filter };
      const limit = pageSize(requested);
      const [afterName = ""] = decodePageToken(pageToken, query) ?? [];
      const parsed = filter === "" ? null : parseFilter(filter, filterFields);
      const found = await listTemplates(pool, { tenant, afterName, filter: parsed, limit: limit + 1 });
      const page = fitPage(found, limit, bytesOf);
      const last = found.length > page.length ? page.at(-1) : undefined;
      return {
        templates: page.map((template) => templateMessage(template)),
        nextPageToken: last === undefined ? "" : encodePageToken(query, [last.name]),
      };
    }),

    listTemplateVersions: unary(async ({ name, pageSize: requested, pageToken }, { tenant }) => {
      assertReference(name, 0);
      const query = { list: "template versions", tenant, name };
      const limit = pageSize(requested);
      const [below = String(maxVersion)] = decodePageToken(pageToken, query) ?? [];
      const found = await listVersions(pool, tenant, name, Number(below), limit + 1);
      if (found.length === 0 && pageToken === "") throw missing(name, 0);
      const page = fitPage(found, limit, bytesOf);
      const last = found.length > page.length ? page.at(-1) : undefined;
      return {
        templates: await withCounts(tenant, name, page),
        nextPageToken: last === undefined ? "" : encodePageToken(query, [String(last.version)]),
      };
    }),

    updateTemplate: unary(async ({ name, spec, etag }, call) => {
      const violations = checkTemplate(spec, "spec", new Date());
      if (spec === undefined || violations.length > 0) throw invalid(violations);
      const complete = completeTemplate(spec, name);
      return change({ name, version: 0 }, "draft", call, (template) =>
        reviseTemplate(template, complete, etag, isSameTemplate(template.spec, complete)),
      );
    }),

    publishTemplate: unary(({ name, version, etag }, call) =>
      change({ name, version }, "draft", call, (template) => moveTemplate(template, "published", etag)),
    ),

    deprecateTemplate: unary(async ({ name, version }, call) => {
      assertNamed(version);
      return change({ name, version }, "published", call, (template) => moveTemplate(template, "deprecated", ""));
    }),

    archiveTemplate: unary(async ({ name, version }, call) => {
      assertNamed(version);
      return change({ name, version }, "published", call, (template) => moveTemplate(template, "archived", ""));
    }),
  };
}

async function create(db: Db, name: string, spec: TemplateSpec, { tenant, traceparent }: Call) {
  const id = uuidv7();
  const isFirst = await insertTemplate(db, id, tenant, name);
  const locked = isFirst ? { id } : await lockTemplate(db, tenant, name);
  if (locked === null) throw new Error("a template is gone, and none is ever taken away");
  if (!isFirst) {
    const newest = await findTemplate(db, tenant, name, 0, "draft");
    if (newest !== null && newest.state === "DRAFT") {
      if (isSameTemplate(newest.spec, spec)) return { template: templateMessage(newest), existed: true };
      throw draftExists(newest);
    }
  }
  const draft = await insertDraft(db, locked.id, spec);
  const sequence = isFirst ? 1 : await nextSequence(db, locked.id);
  await appendFacts(db, [templateFact(draft, "created", sequence, traceparent)]);
  return { template: templateMessage(draft), existed: false };
}

/** A draft as it would be made. */
function unsaved(name: string, spec: TemplateSpec, { tenant }: Call): Template {
  const now = new Date();
  const times = { createTime: now, updateTime: now, publishTime: null };
  return { id: "", tenant, name, version: 0, state: "DRAFT", spec, revision: 1, ...times };
}

function bytesOf({ spec }: Template): number {
  return TemplateSpec.encode(spec).finish().length;
}

/** What can name no template is as unknown as one that was never made, and does not reach the database. */
function assertReference(name: string, version: number): void {
  if (name === "") throw invalid([{ field: "name", description: "is required" }]);
  if (version < 0) throw invalid([{ field: "version", description: "must not be negative" }]);
  if (!isName(name)) throw missing(name, 0);
}

function assertNamed(version: number): void {
  if (version === 0) throw invalid([{ field: "version", description: "is required" }]);
}

function missing(name: string, version: number): DomainError {
  return notFound("template", version === 0 ? name.slice(0, 64) : `${name.slice(0, 64)}@${version}`);
}

function draftExists({ name, version }: Template): DomainError {
  return new DomainError({
    code: "ALREADY_EXISTS",
    reason: "TEMPLATE_HAS_DRAFT",
    message: `version ${version} of template ${name} is a DRAFT with another content; change or publish it, or archive it`,
    resource: { type: "template", name: `${name}@${version}` },
  });
}
