/**
 * JSON Schemas (2020-12) of messages as proto3's JSON mapping writes them. The same schemas check requests, stand in the OpenAPI document,
 * and hold for answers. A message that can be sent takes no other fields; one that is only answered always has its fields that are
 * not optional.
 */
import { type DescEnum, type DescField, type DescMessage, ScalarType } from "@bufbuild/protobuf";
import type { Rpc } from "./contracts.ts";

export type Schema = { readonly [keyword: string]: unknown };

export interface Schemas {
  /** By the name they are referred to with. */
  readonly components: Readonly<Record<string, Schema>>;
  refTo(message: DescMessage): Schema;
  /** Of one field, without its description. */
  ofField(field: DescField): Schema;
  /** What is in a body: the message without the fields that are elsewhere. */
  without(message: DescMessage, fields: readonly string[]): Schema;
}

interface SchemaOptions {
  /** What stands before the name of a component in `$ref`. */
  readonly refPrefix: string;
  /** What is said of an element, by its full name. */
  readonly describe?: (fullName: string) => string | undefined;
}

const wellKnown: Readonly<Record<string, Schema>> = {
  "google.protobuf.Timestamp": { type: "string", format: "date-time" },
  "google.protobuf.Duration": {
    type: "string",
    pattern: "^-?[0-9]{1,12}(\\.[0-9]{1,9})?s$",
    examples: ["30s", "0.5s"],
  },
  "google.protobuf.FieldMask": { type: "string", examples: ["capacity,labels"] },
  "google.protobuf.Struct": { type: "object", additionalProperties: true },
  "google.protobuf.ListValue": { type: "array", items: {} },
  "google.protobuf.Value": {},
};

const maxInt32 = 2 ** 31 - 1;

/** Of everything that the RPCs take and answer. */
export function createSchemas(rpcs: readonly Rpc[], { refPrefix, describe = () => undefined }: SchemaOptions): Schemas {
  const sent = reach(rpcs.map(({ desc }) => desc.input));
  const all = reach(rpcs.flatMap(({ desc }) => [desc.input, desc.output]));
  const names = nameAll([...all]);

  const described = (fullName: string, schema: Schema): Schema => {
    const description = describe(fullName);
    return description === undefined ? schema : { ...schema, description };
  };
  const refTo = (message: DescMessage | DescEnum): Schema => ({ $ref: `${refPrefix}${names.get(message)}` });

  function ofType(field: DescField): Schema {
    if (field.fieldKind === "map") {
      const value = { ...field, fieldKind: field.mapKind } as unknown as DescField;
      return { type: "object", additionalProperties: ofType(value) };
    }
    if (field.fieldKind === "list") {
      const item = { ...field, fieldKind: field.listKind } as unknown as DescField;
      return { type: "array", items: ofType(item) };
    }
    if (field.fieldKind === "message") return wellKnown[field.message.typeName] ?? refTo(field.message);
    if (field.fieldKind === "enum") return refTo(field.enum);
    return ofScalar(field.scalar);
  }

  function ofMessage(message: DescMessage, left: readonly string[] = []): Schema {
    const fields = message.fields.filter(({ name }) => !left.includes(name));
    const isSent = sent.has(message);
    const always = fields.filter(isAlwaysThere).map(({ jsonName }) => jsonName);
    return described(message.typeName, {
      type: "object",
      properties: Object.fromEntries(
        fields.map((field) => [field.jsonName, described(`${message.typeName}.${field.name}`, ofType(field))]),
      ),
      ...(isSent ? { additionalProperties: false } : always.length > 0 && { required: always }),
    });
  }

  const ofEnum = (desc: DescEnum): Schema => {
    const lines = desc.values.flatMap(({ name }) => {
      const said = describe(`${desc.typeName}.${name}`);
      return said === undefined ? [] : [`- \`${name}\`: ${said}`];
    });
    const schema = { type: "string", enum: desc.values.map(({ name }) => name) };
    const description = [describe(desc.typeName), lines.join("\n")].filter(Boolean).join("\n\n");
    return description === "" ? schema : { ...schema, description };
  };

  const components = [...names].map(([desc, name]) => [name, desc.kind === "enum" ? ofEnum(desc) : ofMessage(desc)]);
  return {
    components: Object.fromEntries(components.sort(([a], [b]) => (String(a) < String(b) ? -1 : 1))),
    refTo,
    ofField: ofType,
    without: ofMessage,
  };
}

/** Fields that our answers have even when they hold nothing: those without presence. */
function isAlwaysThere(field: DescField): boolean {
  if (field.oneof !== undefined) return false;
  if (field.fieldKind === "list" || field.fieldKind === "map") return true;
  return field.fieldKind !== "message" && !field.proto.proto3Optional;
}

/** The messages and enums that can be in these messages, themselves among them. */
function reach(roots: readonly DescMessage[]): Set<DescMessage | DescEnum> {
  const found = new Set<DescMessage | DescEnum>();
  const visit = (message: DescMessage) => {
    if (found.has(message) || message.typeName in wellKnown) return;
    found.add(message);
    for (const field of message.fields) {
      if (field.enum !== undefined) found.add(field.enum);
      if (field.message !== undefined) visit(field.message);
    }
  };
  roots.forEach(visit);
  return found;
}

/** Their own names, or those with the package where two have the same. */
function nameAll(descs: readonly (DescMessage | DescEnum)[]): Map<DescMessage | DescEnum, string> {
  const counts = Map.groupBy(descs, shortName);
  return new Map(
    descs.map((desc) => {
      const short = shortName(desc);
      const long = desc.typeName
        .split(".")
        .slice(1)
        .filter((part) => part !== "v1")
        .join("_");
      return [desc, (counts.get(short)?.length ?? 0) > 1 ? long : short];
    }),
  );
}

function shortName({ typeName, file }: DescMessage | DescEnum): string {
  return typeName.slice(file.proto.package.length + 1).replaceAll(".", "_");
}

function ofScalar(scalar: ScalarType): Schema {
  switch (scalar) {
    case ScalarType.BOOL:
      return { type: "boolean" };
    case ScalarType.STRING:
      return { type: "string" };
    case ScalarType.BYTES:
      return { type: "string", contentEncoding: "base64", pattern: "^[A-Za-z0-9+/_-]*={0,2}$" };
    case ScalarType.DOUBLE:
    case ScalarType.FLOAT:
      return { type: "number", format: scalar === ScalarType.DOUBLE ? "double" : "float" };
    case ScalarType.INT32:
    case ScalarType.SINT32:
    case ScalarType.SFIXED32:
      return { type: "integer", format: "int32", minimum: -maxInt32 - 1, maximum: maxInt32 };
    case ScalarType.UINT32:
    case ScalarType.FIXED32:
      return { type: "integer", minimum: 0, maximum: 2 ** 32 - 1 };
    default:
      // 64 bits are text in JSON, because a number there is exact up to 53 only.
      return { type: "string", format: "int64", pattern: "^-?[0-9]{1,19}$" };
  }
}
