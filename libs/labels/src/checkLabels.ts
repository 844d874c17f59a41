/** What labels may be, of providers and of workers alike. */
import type { FieldViolation } from "@capstan/errors";
import type { Labels } from "./labels.ts";

const keyPattern = /^[a-z0-9]([a-z0-9._/-]{0,61}[a-z0-9])?$/;
// biome-ignore lint/suspicious/noControlCharactersInRegex: finding them is the purpose
const controlCharacters = /[\u0000-\u001f\u007f-\u009f\u2028\u2029]/;
const maxLabels = 64;
const maxLength = 256;

/** Every bad label of the field; empty if all are good. */
export function checkLabels(labels: Labels, field: string): readonly FieldViolation[] {
  const entries = Object.entries(labels);
  if (entries.length > maxLabels) {
    return [{ field, description: `has ${entries.length} entries; the limit is ${maxLabels}` }];
  }
  return entries.flatMap(([key, value]) => {
    const refuse = (description: string) => [{ field: `${field}[${JSON.stringify(key.slice(0, 64))}]`, description }];
    if (!keyPattern.test(key)) return refuse(`keys must match ${keyPattern.source}`);
    if (value.length > maxLength) return refuse(`has ${value.length} characters; the limit is ${maxLength}`);
    return controlCharacters.test(value) ? refuse("must not contain control characters") : [];
  });
}
