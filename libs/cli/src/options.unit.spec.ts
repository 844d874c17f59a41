import { expect, test } from "vitest";
import { json } from "./options.ts";

test("an input is any JSON value", () => {
  expect(json('{"url": "https://example.com", "sizes": [1, 2.5], "on": true, "none": null}')).toEqual({
    url: "https://example.com",
    sizes: [1, 2.5],
    on: true,
    none: null,
  });
  expect(json("7")).toBe(7);
});

test.each([
  ["{url: 1}", /^It must be JSON: .*position 1/],
  ["", /^It must be JSON: .*end of JSON/],
  ["\u001b[31m", /^It must be JSON: [\x20-\x7e]*$/],
  ['{"a": {"__proto__": 1}}', /"__proto__" cannot be used as a key/],
])("what is not says what is wrong with it, and nothing that a terminal would obey: %j", (text, says) => {
  expect(() => json(text)).toThrow(says);
});
