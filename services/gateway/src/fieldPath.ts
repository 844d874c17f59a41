/** Paths of fields as the contexts say them, in proto names, told to HTTP clients in the names that their JSON has. */
import type { DescField, DescMessage } from "@bufbuild/protobuf";
import { DomainError } from "@capstan/errors";

/** `spec.steps[0].working_directory` as `spec.steps[0].workingDirectory`; keys of maps and what is not known stay as they are. */
export function toJsonPath(path: string, root: DescMessage): string {
  let message: DescMessage | undefined = root;
  return path
    .split(".")
    .map((part) => {
      const [, name = "", rest = ""] = /^(\w+)(.*)$/.exec(part) ?? [];
      const field: DescField | undefined = message?.fields.find((candidate) => candidate.name === name);
      message = field?.message;
      return field === undefined ? part : field.jsonName + rest;
    })
    .join(".");
}

/** The same refusal with its fields in JSON names. Its message lists them too, where it is about fields alone. */
export function withJsonPaths(error: DomainError, root: DescMessage): DomainError {
  if (error.fields.length === 0) return error;
  const fields = error.fields.map(({ field, description }) => ({ field: toJsonPath(field, root), description }));
  const { code, reason, metadata, retryAfterMs, resource } = error;
  const listsFields = error.fields.some(({ field }) => field !== "" && error.message.startsWith(`${field}: `));
  return new DomainError({
    ...{ code, reason, metadata, fields },
    message: listsFields ? listFields(fields) : error.message,
    ...(retryAfterMs !== null && { retryAfterMs }),
    ...(resource !== null && { resource }),
  });
}

const maxDetailLength = 500;

function listFields(fields: DomainError["fields"]): string {
  const text = fields
    .map(({ field, description }) => (field === "" ? description : `${field}: ${description}`))
    .join("; ");
  return text.length <= maxDetailLength ? text : `${text.slice(0, maxDetailLength - 1)}…`;
}
