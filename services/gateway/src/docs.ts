/** `/api/openapi.json` and `/api/docs`. Both are made when they are first asked for, and kept. */
import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import { type Contracts, readComments } from "./contracts.ts";
import { docsStyle, writeDocsPage } from "./docsPage.ts";
import { etagOfBody, isKnown } from "./etag.ts";
import { writeOpenApi } from "./openApi.ts";

interface DocsOptions {
  readonly contracts: Contracts;
  readonly version: string;
  readonly publicPath: string;
}

interface Page {
  readonly type: string;
  readonly body: string;
  readonly etag: string;
}

const policy = "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

export function serveDocs(http: FastifyInstance, { contracts, version, publicPath }: DocsOptions): void {
  const pages = new Map<string, Page>();
  const openApi = () => writeOpenApi({ contracts, comments: readComments(), version, publicPath });
  const made: Readonly<Record<string, () => { readonly type: string; readonly body: string }>> = {
    "openapi.json": () => ({ type: "application/json; charset=utf-8", body: JSON.stringify(openApi()) }),
    docs: () => ({ type: "text/html; charset=utf-8", body: writeDocsPage(openApi()) }),
    "docs.css": () => ({ type: "text/css; charset=utf-8", body: docsStyle }),
  };

  function pageOf(name: string, make: () => { readonly type: string; readonly body: string }): Page {
    const known = pages.get(name);
    if (known !== undefined) return known;
    const { type, body } = make();
    const page = { type, body, etag: etagOfBody(body) };
    pages.set(name, page);
    return page;
  }

  for (const [name, make] of Object.entries(made)) {
    http.get(`${publicPath}api/${name}`, (request: FastifyRequest, reply: FastifyReply) => {
      const { type, body, etag } = pageOf(name, make);
      reply.header("etag", etag).header("cache-control", "no-cache");
      reply.header("content-security-policy", policy).header("referrer-policy", "no-referrer");
      if (isKnown(etag, request.headers["if-none-match"])) return reply.code(304).send();
      return reply.type(type).send(body);
    });
  }
}
