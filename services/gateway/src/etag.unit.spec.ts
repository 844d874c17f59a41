import { expect, test } from "vitest";
import { etagOfBody, isKnown } from "./etag.ts";

test("a client has what one of the tags in its list says, weak or not", () => {
  const etag = etagOfBody("text");
  expect(etag).toMatch(/^"[\w-]{22}"$/);
  for (const header of [etag, `W/${etag}`, `"3", ${etag}`, `"3",W/${etag} `, "*"])
    expect(isKnown(etag, header)).toBe(true);
  for (const header of [undefined, "", '"3"', etag.slice(1, -1)]) expect(isKnown(etag, header)).toBe(false);
});
