import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createTestDatabase, createTestLog, type TestDatabase } from "../../../test/support/database.ts";
import { arrayLiteral } from "./arrayLiteral.ts";
import { binaryArray } from "./binaryArray.ts";
import { openPool } from "./pool.ts";

let database: TestDatabase;
let pool: ReturnType<typeof openPool>;

beforeAll(async () => {
  database = await createTestDatabase("job");
  pool = openPool({ url: database.urlOf("job"), schema: "job", log: createTestLog() });
});

afterAll(async () => {
  await pool.end();
  await database.drop();
});

const time = new Date("2026-02-03T04:05:06.789Z");
const uuid = "00ff10aa-9bcd-7ef0-8123-456789abcdef";
const words = ["", "null", "NULL", "{}", '"', "\\", "a,b", " ", "\n", "'", "\\x00", '{"a":"\\"b"}', "ü€😀"];
const json = ['{"a": [1, "\\n\\"\\\\"]}', "null", '"x"'];

const samples = {
  uuid: [uuid, uuid.toUpperCase(), null],
  text: [...words, null],
  json: [...json, null],
  jsonb: json,
  int: [0, 1, -1, 2 ** 31 - 1, 1 - 2 ** 31, null],
  bigint: [0, 1, -1, 2 ** 32, -(2 ** 32), 2 ** 53 - 1, 1 - 2 ** 53, null],
  float8: [0, 1.5, -1e300, Number.POSITIVE_INFINITY, null],
  bool: [true, false, null],
  timestamptz: [time, new Date(0), new Date("1999-12-31T23:59:59.999Z"), new Date("2200-01-01T00:00:00Z"), null],
  bytea: [Buffer.from([0, 1, 92, 34, 255]), Buffer.alloc(0), null],
} as const;

describe.each(Object.entries(samples))("an array of %s", (type, values) => {
  test("arrives as it is, in both ways of writing it", async () => {
    expect(binaryArray(type, values)).not.toBeNull();
    const text = `select $1::${type}[]::text[] as sent, $2::text::${type}[]::text[] as literal`;
    for (const some of [values, [], [null]]) {
      const { rows } = await pool.query(text, [some, arrayLiteral(some)]);
      expect(rows[0].sent).toEqual(rows[0].literal);
      expect(rows[0].sent).toHaveLength(some.length);
    }
  });
});

test("texts of any kind arrive as they are, named and unnamed", async () => {
  const texts = fc.array(fc.option(fc.string({ unit: "grapheme" }).map((text) => text.replaceAll("\0", ""))));
  for (const sample of fc.sample(texts, 200)) {
    const { rows } = await pool.query({ name: "any_texts", text: "select $1::text[] as texts", values: [sample] });
    expect(rows).toEqual([{ texts: sample }]);
  }
});

test("an array whose type the statement does not name is written as text", async () => {
  const { rows } = await pool.query("select 'a' = any($1) as found", [["a", 'b"']]);
  expect(rows).toEqual([{ found: true }]);
});

test("what is no value of the type is refused by the server, and what can be no element by us", async () => {
  await expect(pool.query("select $1::uuid[]", [["0".repeat(36)]])).rejects.toMatchObject({ code: "22P02" });
  await expect(pool.query("select $1::int[]", [[1.5]])).rejects.toMatchObject({ code: "22P02" });
  expect(() => arrayLiteral([{ a: 1 }])).toThrow(TypeError);
});
