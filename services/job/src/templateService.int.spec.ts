import { JobSpec, type StepSpec, TemplateUse } from "@capstan/proto/capstan/job/v1/spec.ts";
import { TemplateParameter, TemplateSpec } from "@capstan/proto/capstan/job/v1/template.ts";
import { afterAll, beforeAll, expect, test } from "vitest";
import { createTestDatabase, queryOnce, type TestDatabase } from "../../../test/support/database.ts";
import { refusalOf, requestOf } from "../../../test/support/jobs.ts";
import { startTestNats, type TestNats } from "../../../test/support/nats.ts";
import { factsOf, report, reportOf, startTestService, type TestService } from "./startTestService.ts";

let database: TestDatabase;
let nats: TestNats;
let service: TestService;

beforeAll(async () => {
  [database, nats] = await Promise.all([createTestDatabase("job"), startTestNats()]);
  service = await startTestService(database, nats.url);
});

afterAll(async () => {
  await service.end("SIGTERM");
  await Promise.all([database.drop(), nats.release()]);
});

function specOf(
  step: Partial<StepSpec> = { command: ["true"] },
  parameters: readonly Partial<TemplateParameter>[] = [],
): TemplateSpec {
  return {
    description: "",
    parameters: parameters.map((part) => ({ ...TemplateParameter.fromPartial({}), ...part })),
    job: JobSpec.fromPartial({ steps: [step] }),
  };
}

async function published(name: string, spec = specOf()) {
  await service.templates.createTemplate({ name, spec, validateOnly: false });
  return (await service.templates.publishTemplate({ name, version: 0, etag: "" })).template;
}

function useOf(name: string, parameters: Record<string, unknown> = {}, version = 0): TemplateUse {
  return TemplateUse.fromPartial({ name, version, parameters });
}

function submit(template: TemplateUse, more: object = {}) {
  const request = { spec: undefined, idempotencyKey: "", requestId: "", validateOnly: false, template, ...more };
  return service.jobs.submitJob(request);
}

test("a template goes from draft to archive, one version after the other, and tells so", async () => {
  const { templates } = service;
  const { template: draft } = await templates.createTemplate({ name: "life", spec: specOf(), validateOnly: false });
  expect(draft).toMatchObject({
    name: "life",
    version: 1,
    state: "TEMPLATE_STATE_DRAFT",
    spec: { job: { name: "life" } },
  });
  expect(await templates.createTemplate({ name: "life", spec: specOf(), validateOnly: false })).toMatchObject({
    existed: true,
    template: { version: 1 },
  });
  const other = specOf({ command: ["false"] });
  const refusal = await refusalOf(templates.createTemplate({ name: "life", spec: other, validateOnly: false }));
  expect(refusal).toMatchObject({ code: "ALREADY_EXISTS", reason: "TEMPLATE_HAS_DRAFT" });

  const { template: revised } = await templates.updateTemplate({ name: "life", spec: other, etag: draft?.etag ?? "" });
  const stale = await refusalOf(templates.updateTemplate({ name: "life", spec: specOf(), etag: draft?.etag ?? "" }));
  expect(stale).toMatchObject({ code: "ABORTED", reason: "TEMPLATE_CHANGED" });
  await templates.publishTemplate({ name: "life", version: 1, etag: revised?.etag ?? "" });
  expect((await templates.publishTemplate({ name: "life", version: 1, etag: "" })).template?.state).toBe(
    "TEMPLATE_STATE_PUBLISHED",
  );
  const late = await refusalOf(templates.updateTemplate({ name: "life", spec: specOf(), etag: "" }));
  expect(late).toMatchObject({ code: "FAILED_PRECONDITION", reason: "TEMPLATE_STATE" });

  expect(
    (await templates.createTemplate({ name: "life", spec: specOf(), validateOnly: false })).template?.version,
  ).toBe(2);
  expect((await templates.getTemplate({ name: "life", version: 0 })).template).toMatchObject({ version: 1 });
  await templates.deprecateTemplate({ name: "life", version: 1 });
  await templates.archiveTemplate({ name: "life", version: 1 });
  const again = await refusalOf(templates.deprecateTemplate({ name: "life", version: 1 }));
  expect(again).toMatchObject({ code: "FAILED_PRECONDITION" });
  expect(await factsOf(database, draft?.id ?? "")).toEqual([
    "template.created",
    "template.updated",
    "template.published",
    "template.created",
    "template.deprecated",
    "template.archived",
  ]);
});

test("what was published never changes, not even in the database", async () => {
  const template = await published("frozen");
  const id = template?.id;
  const change = (text: string) => queryOnce(database.adminUrl, text, [id]);
  const version = "job.template_version";
  await expect(change(`update ${version} set spec = '{}' where template_id = $1`)).rejects.toThrow("never changes");
  await expect(change(`update ${version} set state = 'DRAFT' where template_id = $1`)).rejects.toThrow("never changes");
  await expect(change(`update ${version} set version = 9 where template_id = $1`)).rejects.toThrow("never changes");
  await expect(change(`delete from ${version} where template_id = $1`)).rejects.toThrow("never changes");
});

test("ten who make a template of one name at once make one draft", async () => {
  const make = () => service.templates.createTemplate({ name: "race", spec: specOf(), validateOnly: false });
  const answers = await Promise.all(Array.from({ length: 10 }, make));
  expect(answers.filter(({ existed }) => !existed)).toHaveLength(1);
  expect(new Set(answers.map(({ template }) => template?.id)).size).toBe(1);
});

test("a job from a template has its parameters as input, and says where it came from", async () => {
  await published(
    "greet",
    specOf({ handler: "greet", input: "${{ input.name }}" }, [
      { name: "name", required: true },
      { name: "times", type: "PARAMETER_TYPE_INTEGER", defaultValue: 1 },
    ]),
  );
  const spec = JobSpec.fromPartial({ name: "hello", labels: { a: "1" }, priority: 7 });
  const { job, warnings } = await submit(useOf("greet", { name: "Ada" }), { spec });
  expect(warnings).toEqual([]);
  expect(job).toMatchObject({
    template: "greet",
    templateVersion: 1,
    spec: { name: "hello", labels: { a: "1" }, priority: 7, input: { name: "Ada", times: 1 } },
  });
  expect(await service.jobs.getJob({ jobId: job?.id ?? "" })).toMatchObject({ job: { template: "greet" } });
  const filter = 'template = "greet" AND template_version = 1';
  const { jobs } = await service.jobs.listJobs({ filter, orderBy: "", pageSize: 0, pageToken: "" });
  expect(jobs.map(({ id }) => id)).toEqual([job?.id]);
});

test("every bad parameter and field is told at once, by its path", async () => {
  await published("strict", specOf(undefined, [{ name: "size", type: "PARAMETER_TYPE_INTEGER", required: true }]));
  const spec = JobSpec.fromPartial({ priority: 200, steps: [{ command: ["true"] }], input: 1 });
  const refusal = await refusalOf(submit(useOf("strict", { size: "big", colour: "red" }), { spec }));
  expect(refusal.fields.map(({ field }) => field).sort()).toEqual([
    "spec.input",
    "spec.priority",
    "spec.steps",
    "template.parameters.colour",
    "template.parameters.size",
  ]);
});

test("a template parameter injection attempt changes nothing but its own value", async () => {
  const step = { command: ["sh", "-c", "echo ok"], env: { WHO: "${{ input.who }}" } };
  await published("inject", specOf(step, [{ name: "who" }]));
  const { job: harmless } = await submit(useOf("inject", { who: "Ada" }));
  for (const who of [
    "${{ steps.main.result }}",
    "${{ input.who }}",
    '"; rm -rf / #',
    "'\nsteps:\n  - command: [evil]\n",
    '"}],"steps":[{"command":["evil"]}]',
    "\\u0022 $(evil) `evil` %0a",
  ]) {
    const { job } = await submit(useOf("inject", { who }));
    expect(job?.spec).toEqual({ ...harmless?.spec, input: { who } });
    const { job: read } = await service.jobs.getJob({ jobId: job?.id ?? "" });
    expect(read?.spec).toEqual({ ...harmless?.spec, input: { who } });
  }
  const nested = await refusalOf(submit(useOf("inject", { who: { command: ["evil"] } })));
  expect(nested.fields).toEqual([{ field: "template.parameters.who", description: "is an object; it must be text" }]);
});

test("a secret is handed on by name", async () => {
  await published("secret", specOf(undefined, [{ name: "key", type: "PARAMETER_TYPE_SECRET" }]));
  const { job } = await submit(useOf("secret", { key: "secret:db/password" }));
  expect(job?.spec?.input).toEqual({ key: "secret:db/password" });
});

test("version 0 is the newest published; drafts and archived versions are refused, a deprecated one says so", async () => {
  const { templates } = service;
  await templates.createTemplate({ name: "moving", spec: specOf(), validateOnly: false });
  expect(await refusalOf(submit(useOf("moving")))).toMatchObject({ reason: "TEMPLATE_NOT_PUBLISHED" });
  expect(await refusalOf(submit(useOf("moving", {}, 1)))).toMatchObject({ reason: "TEMPLATE_NOT_PUBLISHED" });
  await templates.publishTemplate({ name: "moving", version: 0, etag: "" });
  await published("moving", specOf({ command: ["false"] }));
  expect((await submit(useOf("moving"))).job?.templateVersion).toBe(2);
  await templates.deprecateTemplate({ name: "moving", version: 2 });
  expect((await submit(useOf("moving"))).job?.templateVersion).toBe(1);
  expect(await submit(useOf("moving", {}, 2))).toMatchObject({
    job: { templateVersion: 2 },
    warnings: ["version 2 of template moving is DEPRECATED; use a newer one"],
  });
  await templates.archiveTemplate({ name: "moving", version: 2 });
  expect(await refusalOf(submit(useOf("moving", {}, 2)))).toMatchObject({ reason: "TEMPLATE_ARCHIVED" });
  expect(await refusalOf(submit(useOf("moving", {}, 3)))).toMatchObject({ reason: "TEMPLATE_NOT_FOUND" });
  expect(await refusalOf(submit(useOf("nobody")))).toMatchObject({ reason: "TEMPLATE_NOT_FOUND" });
  expect(await refusalOf(submit(useOf("No Body")))).toMatchObject({ reason: "TEMPLATE_NOT_FOUND" });
});

test("a repeated submit answers its job, also when a newer version was published meanwhile", async () => {
  await published("again");
  const key = { idempotencyKey: "again" };
  const { job } = await submit(useOf("again"), key);
  await published("again", specOf({ command: ["false"] }));
  expect(await submit(useOf("again"), key)).toMatchObject({ existed: true, job: { id: job?.id, templateVersion: 1 } });
  expect(await refusalOf(submit(useOf("again", {}, 2), key))).toMatchObject({ code: "ALREADY_EXISTS" });
});

test("in a batch templates and specs stand side by side, and a bad one spoils no other", async () => {
  await published("batch");
  const base = { spec: undefined, idempotencyKey: "", requestId: "", validateOnly: false };
  const { results } = await service.jobs.submitJobs({
    requests: [
      { ...base, template: useOf("batch") },
      { ...base, template: useOf("batch", { unknown: 1 }) },
      requestOf({ command: ["true"] }),
      { ...base, template: useOf("nobody") },
    ],
  });
  expect(results.map(({ outcome }) => outcome?.$case)).toEqual(["accepted", "refused", "accepted", "refused"]);
  expect(results[1]?.outcome).toMatchObject({
    value: { fields: [{ field: "requests[1].template.parameters.unknown" }] },
  });
});

test("what became of the jobs of a version is counted", async () => {
  await published("counted");
  const jobs = await Promise.all(Array.from({ length: 4 }, () => submit(useOf("counted"))));
  const [first = "", second = "", third = ""] = jobs.map(({ job }) => job?.id ?? "");
  await report(service, reportOf(first, "SUCCEEDED"), reportOf(second, "FAILED"), reportOf(third, "CANCELLED"));
  const { template } = await service.templates.getTemplate({ name: "counted", version: 1 });
  expect(template?.counts).toEqual({ runs: 4, succeeded: 1, failed: 1, cancelled: 1, timedOut: 0 });
  const { templates } = await service.templates.listTemplateVersions({ name: "counted", pageSize: 0, pageToken: "" });
  expect(templates[0]?.counts?.runs).toBe(4);
});

test("templates and versions are listed in pages", async () => {
  for (const name of ["page-a", "page-b", "page-c"]) await published(name);
  await published("page-a", specOf({ command: ["false"] }));
  const names: string[] = [];
  let pageToken = "";
  do {
    const filter = 'name >= "page-" AND name < "page-z"';
    const page = await service.templates.listTemplates({ pageSize: 2, pageToken, filter });
    names.push(...page.templates.map(({ name, version }) => `${name}@${version}`));
    pageToken = page.nextPageToken;
  } while (pageToken !== "");
  expect(names).toEqual(["page-a@2", "page-b@1", "page-c@1"]);
  const first = await service.templates.listTemplateVersions({ name: "page-a", pageSize: 1, pageToken: "" });
  const rest = await service.templates.listTemplateVersions({
    name: "page-a",
    pageSize: 1,
    pageToken: first.nextPageToken,
  });
  expect([...first.templates, ...rest.templates].map(({ version }) => version)).toEqual([2, 1]);
  expect(rest.nextPageToken).toBe("");
});

test("a bad template is refused with all its bad fields", async () => {
  const spec = TemplateSpec.fromPartial({
    parameters: [{ name: "A" }, { name: "b", pattern: "(" }],
    job: { input: 1, priority: 200, steps: [{ command: [] }] },
  });
  const refusal = await refusalOf(service.templates.createTemplate({ name: "Bad Name", spec, validateOnly: false }));
  expect(refusal.fields.map(({ field }) => field)).toEqual([
    "name",
    "spec.parameters[0].name",
    "spec.parameters[1].pattern",
    "spec.job.input",
    "spec.job.priority",
    "spec.job.steps[0].command",
  ]);
  const empty = await refusalOf(service.templates.createTemplate({ name: "", spec: undefined, validateOnly: false }));
  expect(empty.fields.map(({ field }) => field)).toEqual(["name", "spec"]);
});
