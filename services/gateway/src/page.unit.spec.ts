import { createHash } from "node:crypto";
import { brotliDecompressSync, gunzipSync, gzipSync } from "node:zlib";
import { fastify } from "fastify";
import { afterAll, expect, test } from "vitest";
import { servePage } from "./page.ts";
import { readPageFiles } from "./pageFiles.ts";

const maxScriptBytes = 300_000;

const http = fastify();
servePage(http, "/capstan/");
http.get("/capstan/api/v1/jobs", async () => ({ jobs: [] }));
afterAll(() => http.close());

const get = (url: string, headers: Record<string, string> = {}) => http.inject({ url, headers });

test("all script of the page together is at most 300 kB compressed", async () => {
  const { files } = await readPageFiles();
  const scripts = [...files].filter(([, { type }]) => type.startsWith("text/javascript"));
  const bytes = scripts.reduce((sum, [, { body }]) => sum + gzipSync(body, { level: 9 }).length, 0);
  expect(scripts.length).toBeGreaterThan(20);
  expect(bytes).toBeLessThanOrEqual(maxScriptBytes);
});

test("every address that is a screen gets the document, with the path it is served at as its base", async () => {
  const { body } = await get("/capstan/");
  expect(body).toContain('<base href="/capstan/" />');
  expect((await get("/capstan/jobs/some-id")).body).toBe(body);
  expect((await get("/capstan")).headers["location"]).toBe("/capstan/");
});

test("what is below api/ and what looks like a file is not a screen", async () => {
  expect((await get("/capstan/api/v1/jobs")).json()).toEqual({ jobs: [] });
  expect((await get("/capstan/api/v1/nothing")).statusCode).toBe(404);
  expect((await get("/capstan/robots.txt")).statusCode).toBe(404);
  expect((await get("/jobs")).statusCode).toBe(404);
});

test("the one script within the document is allowed by its hash, and no other is", async () => {
  const { body, headers } = await get("/capstan/");
  const inline = [...body.matchAll(/<script(?![^>]*\bsrc=)[^>]*>([\s\S]*?)<\/script>/g)].map(([, text = ""]) => text);
  expect(inline).toHaveLength(1);
  const hash = createHash("sha256")
    .update(inline[0] ?? "")
    .digest("base64");
  expect(headers["content-security-policy"]).toContain(`script-src 'self' 'sha256-${hash}'`);
  expect(headers["content-security-policy"]).not.toContain("unsafe");
  expect(headers["content-security-policy"]).toContain("frame-ancestors 'none'");
});

test("every file that the document and the modules name is there", async () => {
  const { body } = await get("/capstan/");
  const named = [...body.matchAll(/(?:href|src)="(console\/[^"]+)"|"\.\/(console\/[^"]+)"/g)].map(
    ([, one, other]) => one ?? other,
  );
  expect(named.length).toBeGreaterThan(20);
  for (const path of new Set(named)) expect((await get(`/capstan/${path}`)).statusCode, path).toBe(200);
  const { files, imports } = await readPageFiles();
  for (const [name, { body: script }] of files) {
    if (name.startsWith("npm/")) continue;
    for (const [, target = ""] of script.toString().matchAll(/\bfrom "([^"]+)"|\bimport\("([^"]+)"\)/g)) {
      const known = target.startsWith(".")
        ? files.has(new URL(target, `file:///${name}`).pathname.slice(1))
        : target in imports || target === "";
      expect(known, `${name} imports ${target}`).toBe(true);
    }
  }
});

test("modules come without types, compressed as asked for, and are kept for good under their version", async () => {
  const { body } = await get("/capstan/");
  const main = /src="(console\/[^"]+main\.ts)"/.exec(body)?.[1] ?? "";
  const plain = await get(`/capstan/${main}`);
  expect(plain.headers).toMatchObject({
    "content-type": "text/javascript; charset=utf-8",
    "cache-control": expect.stringContaining("immutable"),
  });
  expect(plain.body).not.toContain("import type");
  const shell = main.replace("main.ts", "shell.ts");
  const [brotli, gzip] = await Promise.all([
    get(`/capstan/${shell}`, { "accept-encoding": "gzip, br" }),
    get(`/capstan/${shell}`, { "accept-encoding": "gzip, br;q=0" }),
  ]);
  expect(brotli.headers["content-encoding"]).toBe("br");
  expect(gzip.headers["content-encoding"]).toBe("gzip");
  expect(brotliDecompressSync(brotli.rawPayload)).toEqual(gunzipSync(gzip.rawPayload));
  const again = await get(`/capstan/${shell}`, { "if-none-match": String(brotli.headers["etag"]) });
  expect(again.statusCode).toBe(304);
});

test("a file of another version is the present one, and is asked for again", async () => {
  const old = await get("/capstan/console/old/main.ts");
  expect(old.statusCode).toBe(200);
  expect(old.headers["cache-control"]).toBe("no-cache");
  expect((await get("/capstan/console/old/../../package.json")).statusCode).toBe(404);
  expect((await get("/capstan/console/old/index.html")).statusCode).toBe(404);
  expect((await get("/capstan/console/old/specText.unit.spec.ts")).statusCode).toBe(404);
});
