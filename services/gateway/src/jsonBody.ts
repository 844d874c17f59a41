/** Bodies of requests: JSON in UTF-8, nested no deeper than what reads it by recursion can bear. */
import type { FastifyInstance } from "fastify";
import { HttpRefusal } from "./problem.ts";

/** An input may be 24 levels deep, and stands some six levels down in a request for many jobs. */
export const maxDepth = 64;

const [quote, backslash, openBrace, openBracket, closeBrace, closeBracket] = [...'"\\{[}]'].map((sign) =>
  sign.charCodeAt(0),
);

/** The levels of objects and lists within each other, by their brackets; what is no JSON has some number too. */
export function depthOf(bytes: Uint8Array): number {
  let [depth, deepest, isText] = [0, 0, false];
  for (let at = 0; at < bytes.length; at += 1) {
    const byte = bytes[at];
    if (isText) {
      if (byte === backslash) at += 1;
      else if (byte === quote) isText = false;
    } else if (byte === quote) isText = true;
    else if (byte === openBrace || byte === openBracket) {
      depth += 1;
      if (depth > deepest) deepest = depth;
    } else if (byte === closeBrace || byte === closeBracket) depth -= 1;
  }
  return deepest;
}

/** Takes bodies as application/json and nothing else: what other web pages can send without asking is another type. */
export function acceptJson(http: FastifyInstance): void {
  const parse = http.getDefaultJsonParser("error", "error");
  http.removeAllContentTypeParsers();
  http.addContentTypeParser("application/json", { parseAs: "buffer" }, (request, body, done) => {
    const bytes = body as Buffer;
    if (bytes.length === 0) return done(null, undefined);
    if (depthOf(bytes) > maxDepth) return done(tooDeep());
    let text: string;
    try {
      text = new TextDecoder("utf-8", { fatal: true }).decode(bytes);
    } catch {
      return done(notJson("the body is not UTF-8"));
    }
    parse(request, text, (error, value) => {
      if (error === null || error === undefined) done(null, value);
      else done(notJson(reasonOf(error)));
    });
  });
}

/** What the parser says holds a piece of the body, which may be a secret. */
function reasonOf(error: Error): string {
  if (/prototype/.test(error.message)) return "the body has a field named __proto__ or constructor";
  const [at] = /at position \d+( \(line \d+ column \d+\))?/.exec(error.message) ?? [];
  return `the body is not JSON${at === undefined ? "" : `, ${at}`}`;
}

function notJson(message: string): HttpRefusal {
  return new HttpRefusal(400, { code: "INVALID_ARGUMENT", reason: "BODY_NOT_JSON", message });
}

function tooDeep(): HttpRefusal {
  const message = `the body has more than ${maxDepth} levels of objects and lists within each other`;
  return new HttpRefusal(400, { code: "INVALID_ARGUMENT", reason: "BODY_TOO_DEEP", message });
}
