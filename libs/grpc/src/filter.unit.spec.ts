import { DomainError } from "@capstan/errors";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type FilterFields, parseFilter } from "./filter.ts";
import { filterToSql } from "./filterSql.ts";

const fields: FilterFields = {
  name: { type: "string" },
  state: { type: "enum", values: ["RUNNING", "FAILED"] },
  job_id: { type: "id" },
  attempt: { type: "number" },
  create_time: { type: "time" },
  labels: { type: "labels" },
};
const columns = {
  name: "j.name",
  state: "j.state",
  job_id: "j.job_id",
  attempt: "j.attempt",
  create_time: "j.create_time",
  labels: "j.labels",
};

function sqlOf(text: string): { sql: string; values: unknown[] } {
  const values: unknown[] = [];
  return { sql: filterToSql(parseFilter(text, fields), columns, values), values };
}

function refusalOf(text: string): string {
  try {
    parseFilter(text, fields);
  } catch (error) {
    if (error instanceof DomainError) return error.message;
  }
  throw new Error(`${text} was not refused`);
}

describe("what is understood", () => {
  test.each<[string, string, unknown[]]>([
    ["", "true", []],
    ["   ", "true", []],
    ["state = RUNNING", "(j.state = $1)", ["RUNNING"]],
    ["job_id = 01A1FC33-6AF1-7000-a9a1-161830421536", "(j.job_id = $1)", ["01A1FC33-6AF1-7000-a9a1-161830421536"]],
    ['name = "a \\"b\\" c"', "(j.name = $1)", ['a "b" c']],
    ["name = 'it'", "(j.name = $1)", ["it"]],
    ["name != x", "(j.name is distinct from $1)", ["x"]],
    ["attempt >= -2.5e1", "(j.attempt >= $1::numeric)", [-25]],
    [
      "create_time<2026-11-20T10:00:00.123456+02:00",
      "(j.create_time < $1::timestamptz)",
      ["2026-11-20T08:00:00.123456Z"],
    ],
    ['create_time > "2026-11-20t10:00:00z"', "(j.create_time > $1::timestamptz)", ["2026-11-20T10:00:00Z"]],
    ["labels.team = x", "(j.labels <> '{}' and j.labels @> jsonb_build_object($1::text, $2::text))", ["team", "x"]],
    ["labels.team:x", "(j.labels <> '{}' and j.labels @> jsonb_build_object($1::text, $2::text))", ["team", "x"]],
    [
      "labels.team != x",
      "((j.labels <> '{}' and j.labels @> jsonb_build_object($1::text, $2::text)) is not true)",
      ["team", "x"],
    ],
    ["labels.app.kubernetes.io/name:*", "(j.labels ? $1)", ["app.kubernetes.io/name"]],
    ['labels."a b":*', "(j.labels ? $1)", ["a b"]],
    ["labels:team", "(j.labels ? $1)", ["team"]],
    ["NOT name = x", "((j.name = $1) is not true)", ["x"]],
    ["-name = x", "((j.name = $1) is not true)", ["x"]],
    ["-(name = x)", "((j.name = $1) is not true)", ["x"]],
  ])("%s", (text, sql, values) => {
    expect(sqlOf(text)).toEqual({ sql, values });
  });

  test("OR binds tighter than AND, as AIP-160 has it", () => {
    expect(sqlOf("name = a AND name = b OR name = c").sql).toBe("((j.name = $1) and ((j.name = $2) or (j.name = $3)))");
    expect(sqlOf("(name = a AND name = b) OR name = c").sql).toBe(
      "(((j.name = $1) and (j.name = $2)) or (j.name = $3))",
    );
  });
});

describe("what is refused says where and what was expected", () => {
  test.each([
    ["colour = red", 'column 1: unknown field "colour"; known are name, state, job_id, attempt, create_time, labels'],
    ["__proto__ = x", 'column 1: unknown field "__proto__"'],
    ["constructor = x", 'column 1: unknown field "constructor"'],
    ["name.first = x", 'column 1: unknown field "name.first"'],
    ["state = Running", "column 9: expected one of RUNNING, FAILED"],
    ["state > RUNNING", "column 9: > needs a field with an order"],
    ["attempt = many", "column 11: expected a number"],
    ["attempt = 1e999", "column 11: expected a number"],
    ["create_time > yesterday", "column 15: expected a time as in RFC 3339"],
    ["create_time > 2026-02-30T00:00:00Z", "column 15: expected a time as in RFC 3339"],
    ["create_time > 0000-01-01T00:00:00Z", "column 15: expected a time as in RFC 3339"],
    ["create_time > 9999-12-31T23:59:59-14:00", "column 15: expected a time as in RFC 3339"],
    ["name", "column 5: expected one of = != < <= > >="],
    ["name:x", "column 5: expected one of = != < <= > >="],
    ["name =", "column 7: expected a value"],
    ["name = x name = y", "column 10: expected AND, OR or the end"],
    ["name = x OR", "column 12: expected a comparison"],
    ["(name = x", "column 10: expected )"],
    ['name = "x', "column 8: the quote is never closed"],
    ["name ! x", 'column 6: unexpected "!"'],
    ["job_id = 7", "column 10: expected an id"],
    ["job_id > 01a1fc33-6af1-7000-a9a1-161830421536", "column 10: > needs a field with an order"],
    ["labels = x", 'column 8: expected a key, as in labels.team = "x"'],
    ["labels.team < x", "column 13: expected one of = != :"],
    ["name = '\0'", "column 8: a NUL character can be in no value"],
  ])("%s", (text, expected) => {
    expect(refusalOf(text)).toContain(`filter: ${expected}`);
  });

  test("a filter that is too long, too deep or has too many comparisons", () => {
    expect(refusalOf(`name = ${"x".repeat(5_000)}`)).toContain("may have 4096 characters");
    expect(refusalOf("(".repeat(1_000))).toContain("nested deeper than 32");
    expect(refusalOf("NOT ".repeat(1_000))).toContain("nested deeper than 32");
    expect(refusalOf(Array(200).fill("name = x").join(" OR "))).toContain("more than 100 comparisons");
  });
});

const piece = fc.oneof(
  fc.constantFrom(
    "name",
    "state",
    "labels.a",
    "attempt",
    "create_time",
    "AND",
    "OR",
    "NOT",
    "-",
    "(",
    ")",
    "=",
    "!=",
    ":",
    "*",
  ),
  fc.constantFrom(
    "RUNNING",
    "1",
    "2026-11-20T10:00:00Z",
    "'; drop table job; --",
    '"',
    "'",
    "\\",
    "$1",
    "__proto__",
    "\0",
  ),
  fc.string({ unit: "binary" }),
);

test("whatever is sent, it is understood or refused, and never throws anything else", () => {
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 12 }), fc.constantFrom("", " "), (pieces, separator) => {
      try {
        parseFilter(pieces.join(separator), fields);
      } catch (error) {
        expect(error).toBeInstanceOf(DomainError);
      }
    }),
    { numRuns: 2_000 },
  );
});

test("what a user wrote only ever becomes a parameter", () => {
  const quoted = fc.string({ unit: "grapheme" }).filter((text) => !text.includes("\0"));
  const quote = (text: string) => `"${text.replace(/["\\]/g, "\\$&")}"`;
  fc.assert(
    fc.property(quoted, quoted, (key, value) => {
      fc.pre(key !== "");
      const { sql, values } = sqlOf(`labels.${quote(key)} = ${quote(value)} AND name = ${quote(value)}`);
      expect(sql).toBe("((j.labels <> '{}' and j.labels @> jsonb_build_object($1::text, $2::text)) and (j.name = $3))");
      expect(values).toEqual([key, value, value]);
    }),
  );
});

test("parameters go on after those that are there", () => {
  const values: unknown[] = ["default"];
  expect(filterToSql(parseFilter("name = x", fields), columns, values)).toBe("(j.name = $2)");
  expect(values).toEqual(["default", "x"]);
});
