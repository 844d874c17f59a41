/** Pages that say what the code says too, held against it; and no page leads nowhere. */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { describe, expect, it, test } from "vitest";
import { z } from "zod";
import { configSchema as executionConfig } from "../services/execution/src/config.ts";
import { configSchema as gatewayConfig } from "../services/gateway/src/config.ts";
import { configSchema as jobConfig } from "../services/job/src/config.ts";
import { configSchema as orchestratorConfig } from "../services/orchestrator/src/config.ts";
import { configSchema as providerConfig } from "../services/provider/src/config.ts";
import { configSchema as standaloneConfig } from "../services/standalone/src/config.ts";
import { anchorsOf, linksOf, tableAfter } from "./support/documents.ts";

const root = new URL("../", import.meta.url);
const read = (path: string) => readFileSync(new URL(path, root), "utf8");

const pages = [
  "",
  "docs/",
  "services/job/",
  "services/provider/",
  "services/execution/",
  "services/orchestrator/",
  "services/gateway/",
].flatMap((folder) =>
  readdirSync(new URL(folder, root))
    .filter((name) => name.endsWith(".md"))
    .map((name) => folder + name),
);

test.each(pages)("every link of %s leads to something", (page) => {
  const here = new URL(page, root);
  for (const link of linksOf(read(page))) {
    const target = new URL(link, here);
    const anchor = target.hash.slice(1);
    expect(existsSync(new URL(target.pathname, root)), link).toBe(true);
    if (anchor !== "") expect(anchorsOf(readFileSync(new URL(target.pathname, root), "utf8")), link).toContain(anchor);
  }
});

describe("docs/operating.md", () => {
  const page = read("docs/operating.md");
  const everywhere = new Map(tableAfter(page, "### Every service").map(([name = "", stated = ""]) => [name, stated]));

  const services = {
    job: jobConfig,
    provider: providerConfig,
    execution: executionConfig,
    orchestrator: orchestratorConfig,
    gateway: gatewayConfig,
    standalone: standaloneConfig,
  };

  it.each(Object.entries(services))("lists the variables of %s with their defaults", (name, schema) => {
    const own = new Map(tableAfter(page, `### ${name}`).map(([variable = "", stated = ""]) => [variable, stated]));
    expect(Object.keys(schema.shape)).toEqual(expect.arrayContaining([...own.keys()]));
    for (const [variable, field] of Object.entries(schema.shape)) {
      const stated = own.get(variable) ?? everywhere.get(variable);
      expect(stated, variable).toBeDefined();
      if (stated !== undefined) expectDefault(variable, stated, field);
    }
  });
});

/** What is said in words instead of a value depends on the machine, or is what the code does without one. */
const inWords = ["CAPSTAN_WORK_DIR", "CAPSTAN_CONTAINER_STARTS", "an embedded server", "none"];

function expectDefault(variable: string, stated: string, field: z.ZodType): void {
  if (inWords.includes(variable) || inWords.includes(stated)) return;
  const without = z.safeParse(field, undefined);
  if (stated === "required") expect(without.success, variable).toBe(false);
  else expect(`\`${without.data}\``, variable).toBe(stated);
}

test("docs/events.md lists every fact of the contracts, and no other", () => {
  const contracts = readdirSync(new URL("proto/capstan/", root), { recursive: true, encoding: "utf8" });
  const told = contracts
    .filter((path) => path.endsWith("_event.proto"))
    .flatMap((path) => [...read(`proto/capstan/${path}`).matchAll(/^\/\/.*$/gm)])
    .flatMap(([comment]) => [...comment.matchAll(/`([a-z]+\.[a-z_]+)`/g)].map(([, fact]) => fact));
  const listed = tableAfter(read("docs/events.md"), "## The facts").map(([fact]) => fact);
  expect([...listed].sort()).toEqual([...new Set(told)].sort());
});
