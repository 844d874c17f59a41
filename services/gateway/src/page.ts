/**
 * Serves the console: one document for every address that is a screen, and its files below `console/<version>/`, which never change
 * and are kept by the browser. Costs nothing until somebody opens it.
 */
import { createHash } from "node:crypto";
import { promisify } from "node:util";
import { brotliCompress, constants, gzip } from "node:zlib";
import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import { etagOfBody, isKnown } from "./etag.ts";
import { lastChangeTimeMs, type PageFile, type PageFiles, readPageFiles } from "./pageFiles.ts";

const brotli = promisify(brotliCompress);
const gzipped = promisify(gzip);
const compressFromBytes = 1_024;
/** Requests that come faster than this share a look at the files, which takes 3 ms: a page asks for dozens of them at once. */
const freshMs = 250;

interface Document extends PageFile {
  readonly policy: string;
  readonly etag: string;
}

/** With the base, the addresses of this version, what may be imported, and the one inline script that this is, by its hash. */
function writeDocument(page: PageFiles, publicPath: string): Document {
  const at = (path: string) => `console/${page.version}/${path}`;
  const imports = Object.entries(page.imports).map(([name, path]) => [name, `./${at(path)}`]);
  const importMap = JSON.stringify({ imports: Object.fromEntries(imports) });
  const preload = page.preload.map((path) => `<link rel="modulepreload" href="${at(path)}" />`).join("\n    ");
  const text = page.document
    .replace('<base href="/" />', `<base href="${publicPath}" />`)
    .replaceAll(/"console\/([^"]+)"/g, (_, path: string) => `"${at(path)}"`)
    .replace('<script type="importmap"></script>', `<script type="importmap">${importMap}</script>\n    ${preload}`);
  const policy = [
    "default-src 'none'",
    `script-src 'self' 'sha256-${createHash("sha256").update(importMap).digest("base64")}'`,
    "style-src 'self'",
    "img-src 'self' data:",
    "font-src 'self'",
    "connect-src 'self'",
    "base-uri 'self'",
    "form-action 'none'",
    "frame-ancestors 'none'",
  ].join("; ");
  const body = Buffer.from(text);
  return { type: "text/html; charset=utf-8", body, policy, etag: etagOfBody(body) };
}

/** The page as it is now: read once, and again after one of its files has changed. */
function createPageReader(
  publicPath: string,
): () => Promise<{ readonly page: PageFiles; readonly document: Document }> {
  const read = async () => {
    const page = await readPageFiles();
    return { page, document: writeDocument(page, publicPath) };
  };
  let current: ReturnType<typeof read> | null = null;
  let looked: { readonly atMs: number; readonly changeTimeMs: Promise<number> } | null = null;
  const look = () => {
    const nowMs = performance.now();
    if (looked === null || nowMs - looked.atMs > freshMs) looked = { atMs: nowMs, changeTimeMs: lastChangeTimeMs() };
    return looked.changeTimeMs;
  };
  return async () => {
    const before = current;
    if (before !== null) {
      const [{ page }, changeTimeMs] = await Promise.all([before, look()]);
      if (page.changeTimeMs === changeTimeMs) return before;
    }
    current = current === before ? read() : current;
    current?.catch(() => {
      current = null;
    });
    return current ?? read();
  };
}

/** Each body is compressed once for each way, when it is first sent so. */
function createCompression(): (
  file: PageFile,
  accepted: string,
) => Promise<{ readonly body: Buffer; readonly encoding: string | null }> {
  const done = new WeakMap<Buffer, Map<string, Promise<Buffer>>>();
  return async ({ body }, accepted) => {
    const encoding = ["br", "gzip"].find((each) =>
      new RegExp(`\\b${each}\\b(?!\\s*;\\s*q=0(?:\\.0*)?(?:,|$))`).test(accepted),
    );
    if (encoding === undefined || body.length < compressFromBytes) return { body, encoding: null };
    const ways = done.get(body) ?? new Map<string, Promise<Buffer>>();
    done.set(body, ways);
    const compressed =
      ways.get(encoding) ??
      (encoding === "br"
        ? brotli(body, { params: { [constants.BROTLI_PARAM_QUALITY]: 9 } })
        : gzipped(body, { level: 9 }));
    ways.set(encoding, compressed);
    return { body: await compressed, encoding };
  };
}

/** Adds the console below this path, which begins and ends with a slash. What is below `api/` is not its own. */
export function servePage(http: FastifyInstance, publicPath: string): void {
  const read = createPageReader(publicPath);
  const compress = createCompression();

  async function send(
    request: FastifyRequest,
    reply: FastifyReply,
    file: PageFile,
    etag: string,
  ): Promise<FastifyReply> {
    reply.header("etag", etag).header("vary", "Accept-Encoding").header("referrer-policy", "no-referrer");
    if (isKnown(etag, request.headers["if-none-match"])) return reply.code(304).send();
    const { body, encoding } = await compress(file, request.headers["accept-encoding"] ?? "");
    if (encoding !== null) reply.header("content-encoding", encoding);
    return reply.type(file.type).send(body);
  }

  async function sendDocument(request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> {
    const { document } = await read();
    reply.header("content-security-policy", document.policy).header("cache-control", "no-cache");
    return send(request, reply, document, document.etag);
  }

  async function sendFile(
    request: FastifyRequest<{ Params: { version: string; "*": string } }>,
    reply: FastifyReply,
  ): Promise<FastifyReply> {
    const { page } = await read();
    const { version, "*": path } = request.params;
    const file = page.files.get(path);
    if (file === undefined) {
      reply.callNotFound();
      return reply;
    }
    const isCurrent = version === page.version;
    reply.header("cache-control", isCurrent ? "public, max-age=31536000, immutable" : "no-cache");
    return send(request, reply, file, etagOfBody(file.body));
  }

  http.get(`${publicPath}console/:version/*`, sendFile);
  http.get(publicPath, sendDocument);
  http.get<{ Params: { "*": string } }>(`${publicPath}*`, async (request, reply) => {
    const path = request.params["*"];
    if (!path.startsWith("api/") && !/\.[a-z]+$/.test(path)) return sendDocument(request, reply);
    reply.callNotFound();
    return reply;
  });
  if (publicPath !== "/") http.get(publicPath.slice(0, -1), (_, reply) => reply.redirect(publicPath, 308));
}
