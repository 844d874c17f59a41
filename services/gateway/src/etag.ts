/** ETags of HTTP: https://www.rfc-editor.org/rfc/rfc9110#section-8.8.3 */
import { createHash } from "node:crypto";

/** Of a body as it is. */
export function etagOfBody(body: string | Buffer): string {
  return `"${createHash("sha256").update(body).digest("base64url").slice(0, 22)}"`;
}

/** Whether the client has it already, by its `If-None-Match`: a list, which a proxy that compresses may have weakened. */
export function isKnown(etag: string, ifNoneMatch: string | undefined): boolean {
  if (ifNoneMatch?.trim() === "*") return true;
  return ifNoneMatch?.split(",").some((given) => given.trim().replace(/^W\//, "") === etag) === true;
}
