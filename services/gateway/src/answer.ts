/** From the answer of an RPC to that of HTTP: JSON with every field that has no presence, and the ETag of what it is about. */
import {
  type DescField,
  type DescMessage,
  fromBinary,
  type JsonValue,
  type Registry,
  toJson,
} from "@bufbuild/protobuf";

/** An answer as JSON. */
export function toAnswer(bytes: Uint8Array, message: DescMessage, registry: Registry): JsonValue {
  return toJson(message, fromBinary(message, bytes), { registry, alwaysEmitImplicit: true });
}

/**
 * The way through an answer to the `etag` of its subject, by names in JSON; null if it has none. Lists have no ETag: they are of many.
 */
export function etagPathOf(message: DescMessage, levels = 3): readonly string[] | null {
  if (message.fields.some(isEtag)) return ["etag"];
  if (levels === 0) return null;
  for (const field of message.fields) {
    if (field.fieldKind !== "message" || !field.message.typeName.startsWith("capstan.")) continue;
    const path = etagPathOf(field.message, levels - 1);
    if (path !== null) return [field.jsonName, ...path];
  }
  return null;
}

/** As the header has it; null while there is none, as of what was only checked. */
export function etagOf(answer: JsonValue, path: readonly string[] | null): string | null {
  if (path === null) return null;
  const found = path.reduce<JsonValue | undefined>(
    (value, name) => (typeof value === "object" && value !== null && !Array.isArray(value) ? value[name] : undefined),
    answer,
  );
  return typeof found === "string" && found !== "" ? `"${found}"` : null;
}

function isEtag({ name, fieldKind }: DescField): boolean {
  return name === "etag" && fieldKind === "scalar";
}
