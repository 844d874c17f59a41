/**
 * From an HTTP request to the message of its RPC as JSON: values of the path, query parameters or body, and the headers that stand for
 * fields. All that is wrong is told at once.
 */
import { type DescField, type DescMessage, ScalarType } from "@bufbuild/protobuf";
import { type FieldViolation, invalid } from "@capstan/errors";
import type { Binding } from "./contracts.ts";

export interface ReceivedRequest {
  /** By the name of the field in the contract. */
  readonly path: Readonly<Record<string, string>>;
  readonly query: Readonly<Record<string, unknown>>;
  readonly body: unknown;
  readonly idempotencyKey: string | undefined;
  readonly ifMatch: string | undefined;
}

/** What may be in the query of a call without a body: fields of one value and lists of these, that are not in its path. */
export function queryFields({ rpc, template }: Binding): readonly DescField[] {
  const inPath = new Set(template.segments.map(({ variable }) => variable));
  return rpc.desc.input.fields.filter((field) => !inPath.has(field.name) && isPlain(field));
}

const plainMessages = ["google.protobuf.Timestamp", "google.protobuf.Duration", "google.protobuf.FieldMask"];

function isPlain(field: DescField): boolean {
  if (field.fieldKind === "message") return plainMessages.includes(field.message.typeName);
  return field.fieldKind === "list" ? field.listKind !== "message" : field.fieldKind !== "map";
}

/** The field that the header Idempotency-Key stands for; undefined where a call may be repeated without one. */
export function idempotencyField({ fields }: DescMessage): DescField | undefined {
  return fields.find(({ name }) => name === "idempotency_key") ?? fields.find(({ name }) => name === "request_id");
}

export function etagField({ fields }: DescMessage): DescField | undefined {
  return fields.find(({ name }) => name === "etag");
}

/** `check` says what is wrong with the message as a whole. */
export function readRequest(
  binding: Binding,
  request: ReceivedRequest,
  check: (message: DescMessage, json: unknown) => readonly FieldViolation[],
): Record<string, unknown> {
  const { input } = binding.rpc.desc;
  const wrong: FieldViolation[] = [];
  const body = readBody(binding, request, wrong);
  const json: Record<string, unknown> = { ...body, ...readQuery(binding, request.query, wrong) };
  for (const field of input.fields) {
    const value = request.path[field.name];
    if (value !== undefined) json[field.jsonName] = fromText(value, field);
  }
  if (request.idempotencyKey !== undefined) {
    const key = request.idempotencyKey.replace(/^"(.*)"$/, "$1");
    const field = idempotencyField(input);
    if (field !== undefined) setFromHeader(json, field, key, "Idempotency-Key", wrong);
  }
  readIfMatch(json, binding, request.ifMatch, wrong);
  const all = [...wrong, ...check(input, json)];
  if (all.length > 0) throw invalid(all);
  return json;
}

function readBody({ rpc, template, hasBody }: Binding, { body }: ReceivedRequest, wrong: FieldViolation[]): object {
  if (body === undefined || body === null) return {};
  if (!hasBody) {
    wrong.push({ field: "body", description: "this call takes none" });
    return {};
  }
  if (typeof body !== "object" || Array.isArray(body)) {
    wrong.push({ field: "body", description: "must be an object" });
    return {};
  }
  for (const { variable } of template.segments) {
    const field = rpc.desc.input.fields.find(({ name }) => name === variable);
    if (field !== undefined && field.jsonName in body) {
      wrong.push({ field: field.jsonName, description: "is said by the path, not in the body" });
    }
  }
  return body;
}

function readQuery(
  binding: Binding,
  query: Readonly<Record<string, unknown>>,
  wrong: FieldViolation[],
): Record<string, unknown> {
  const fields = binding.hasBody ? [] : queryFields(binding);
  const json: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(query)) {
    const field = fields.find(({ jsonName }) => jsonName === name);
    if (field === undefined) wrong.push({ field: name, description: "there is no such query parameter" });
    else if (field.fieldKind === "list") json[name] = [value].flat().map((text) => fromText(String(text), field));
    else if (Array.isArray(value)) wrong.push({ field: name, description: "must be given once" });
    else json[name] = fromText(String(value), field);
  }
  return json;
}

/** Text as what the field wants; what is no such value stays text, so that the check says what it must be. */
function fromText(text: string, field: DescField): unknown {
  const { scalar } = field;
  if (scalar === ScalarType.BOOL) return text === "true" ? true : text === "false" ? false : text;
  const isNumber = scalar === ScalarType.INT32 || scalar === ScalarType.DOUBLE || scalar === ScalarType.UINT32;
  return isNumber && /^-?\d+(\.\d+)?$/.test(text) ? Number(text) : text;
}

function setFromHeader(
  json: Record<string, unknown>,
  { jsonName }: DescField,
  value: string,
  header: string,
  wrong: FieldViolation[],
): void {
  if (json[jsonName] === undefined || json[jsonName] === value) json[jsonName] = value;
  else wrong.push({ field: header, description: `says something else than ${jsonName}` });
}

/** RFC 9110, 13.1.1. A condition must not be ignored, so that a call which knows none refuses it. */
function readIfMatch(
  json: Record<string, unknown>,
  { rpc, method }: Binding,
  ifMatch: string | undefined,
  wrong: FieldViolation[],
): void {
  if (ifMatch === undefined || method === "GET" || ifMatch.trim() === "*") return;
  const field = etagField(rpc.desc.input);
  const etag = /^"([^"]*)"$/.exec(ifMatch.trim())?.[1];
  if (field === undefined) wrong.push({ field: "If-Match", description: "this call takes no condition" });
  else if (etag === undefined)
    wrong.push({ field: "If-Match", description: 'must be one ETag as it was answered, such as "3"' });
  else setFromHeader(json, field, etag, "If-Match", wrong);
}
