/** Filters as Postgres understands them: which rows they find, and that none that parses is an error of SQL. */
import fc from "fast-check";
import { Client } from "pg";
import { afterAll, beforeAll, expect, inject, test } from "vitest";
import { type FilterFields, parseFilter } from "./filter.ts";
import { filterToSql } from "./filterSql.ts";

const fields: FilterFields = {
  name: { type: "string" },
  state: { type: "enum", values: ["RUNNING", "FAILED"] },
  attempt: { type: "number" },
  create_time: { type: "time" },
  labels: { type: "labels" },
};
const columns = { name: "name", state: "state", attempt: "attempt", create_time: "create_time", labels: "labels" };
const db = new Client({ connectionString: inject("postgresUrl") });

beforeAll(async () => {
  await db.connect();
  await db.query(
    `create temp table job (name text not null, state text, attempt int not null, create_time timestamptz not null, labels jsonb not null);
     insert into job values
       ('a', 'RUNNING', 1, '2026-11-20T10:00:00.000001Z', '{"team": "x", "app.io/name": "web"}'),
       ('b', 'FAILED', 2, '2026-11-20T10:00:00.000002Z', '{"team": "y"}'),
       ('it''s "c"', null, 3, '2026-11-21T00:00:00Z', '{}')`,
  );
});
afterAll(() => db.end());

async function namesFor(text: string): Promise<string> {
  const values: unknown[] = [];
  const condition = filterToSql(parseFilter(text, fields), columns, values);
  const { rows } = await db.query<{ name: string }>(`select name from job where ${condition} order by attempt`, values);
  return rows.map(({ name }) => name.charAt(0)).join("");
}

test.each([
  ["", "abi"],
  ["state = RUNNING", "a"],
  ["state != RUNNING", "bi"],
  ["NOT state = RUNNING", "bi"],
  ['name = "it\'s \\"c\\""', "i"],
  ["attempt >= 2", "bi"],
  ["attempt < 1.5", "a"],
  ["create_time > 2026-11-20T12:00:00.000001+02:00", "bi"],
  ["labels.team = x", "a"],
  ["labels.team != x", "bi"],
  ["labels.team:*", "ab"],
  ["-labels:team", "i"],
  ["labels.app.io/name = web", "a"],
  ["state = FAILED OR state = RUNNING AND attempt = 2", "b"],
  ["(state = RUNNING AND attempt = 1) OR labels.team = y", "ab"],
])("%s", async (text, names) => {
  expect(await namesFor(text)).toBe(names);
});

test("a filter that parses is never an error of SQL", async () => {
  const quoted = fc
    .string({ unit: "grapheme", minLength: 1 })
    .filter((text) => !text.includes("\0"))
    .map((text) => `"${text.replace(/["\\]/g, "\\$&")}"`);
  const sign = fc.constantFrom("=", "!=", "<", "<=", ">", ">=");
  const number = fc.double({ noNaN: true, noDefaultInfinity: true }).map(String);
  const time = fc
    .date({ noInvalidDate: true, min: new Date(0), max: new Date("9999-12-31") })
    .map((date) => date.toJSON());
  const comparison = fc
    .oneof(
      fc.tuple(fc.constant("name"), sign, quoted),
      fc.tuple(fc.constant("attempt"), sign, number),
      fc.tuple(fc.constant("create_time"), sign, time),
      fc.tuple(
        quoted.map((key) => `labels.${key}`),
        fc.constantFrom("=", "!=", ":"),
        quoted,
      ),
    )
    .map((words) => words.join(" "));
  const joined = fc.tuple(fc.constantFrom("AND", "OR", "AND NOT"), comparison).map((words) => words.join(" "));
  await fc.assert(
    fc.asyncProperty(comparison, fc.array(joined, { maxLength: 5 }), async (first, rest) => {
      await namesFor([first, ...rest].join(" "));
    }),
    { numRuns: 300 },
  );
});
