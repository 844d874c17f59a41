import fc from "fast-check";
import { afterAll, beforeAll, expect, test } from "vitest";
import { createTestDatabase, createTestLog, type TestDatabase } from "../../../test/support/database.ts";
import { arrayLiteral } from "./arrayClient.ts";
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

test("texts arrive as they are, whatever stands in them", async () => {
  const texts = fc.array(fc.option(fc.string({ unit: "grapheme" }).map((text) => text.replaceAll("\0", ""))));
  const words = ["", "null", "NULL", "{}", '"', "\\", "a,b", " ", "\n", "'", "\\x00", '{"a":"\\"b\\\\"}'];
  for (const sample of [words, ...fc.sample(texts, 200)]) {
    const { rows } = await pool.query("select $1::text[] as texts", [sample]);
    expect(rows).toEqual([{ texts: sample }]);
  }
});

test("numbers, times, bytes and JSON arrive as they are", async () => {
  const time = new Date("2026-02-03T04:05:06.789Z");
  const bytes = Buffer.from([0, 1, 92, 34, 255]);
  const values = [
    [1, -2, null],
    [1.5, Number.POSITIVE_INFINITY],
    [true, false],
    [time, null],
    [bytes],
    ['{"a": [1, "\\n"]}'],
  ];
  const { rows } = await pool.query({
    text: "select $1::int[] i, $2::float8[] f, $3::bool[] b, $4::timestamptz[] t, $5::bytea[] y, $6::json[] j",
    values,
  });
  expect(rows).toEqual([
    {
      i: [1, -2, null],
      f: [1.5, Number.POSITIVE_INFINITY],
      b: [true, false],
      t: [time, null],
      y: [bytes],
      j: [{ a: [1, "\n"] }],
    },
  ]);
});

test("what cannot be an element is refused", () => {
  expect(() => arrayLiteral([{ a: 1 }])).toThrow(TypeError);
});
