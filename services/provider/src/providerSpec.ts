/**
 * What an operator may say of a provider. The checks name every bad field with its limit at once; the limits are those that the
 * comments of the protos promise.
 */
import type { FieldViolation } from "@capstan/errors";
import { checkLabels, type Labels } from "@capstan/labels";

export const providerKinds = ["PROCESS", "DOCKER", "WORKER"] as const;
export type ProviderKind = (typeof providerKinds)[number];

/** An amount of what a provider holds. In a capacity 0 CPU or memory means: not counted, so never short. */
export interface Amount {
  readonly slots: number;
  readonly cpuMillis: number;
  readonly memoryMib: number;
}

export interface ProviderSpec {
  readonly kind: ProviderKind;
  readonly capacity: Amount;
  readonly labels: Labels;
  /** Where its engine listens; "": the default of its kind. */
  readonly endpoint: string;
}

/** What an update changes; what is absent stays. */
export type SpecChange = Partial<Pick<ProviderSpec, "capacity" | "labels" | "endpoint">>;

const namePattern = /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/;
const uuidPattern = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;
const endpointPattern = /^(unix:\/\/\/[\x21-\x7e]+|tcp:\/\/([a-zA-Z0-9.-]+|\[[0-9a-fA-F:]+\]):\d{1,5})$/;
// biome-ignore lint/suspicious/noControlCharactersInRegex: finding them is the purpose
const controlCharacters = /[\u0000-\u001f\u007f-\u009f\u2028\u2029]/;

const maxSlots = 100_000;
const maxEndpointLength = 256;

export function isUuid(text: string): boolean {
  return uuidPattern.test(text);
}

/** Whether a provider could have this name; what cannot be a name need not be looked for. */
export function isName(text: string): boolean {
  return namePattern.test(text);
}

export function hasControlCharacters(text: string): boolean {
  return controlCharacters.test(text);
}

/** For words of others that go into a row or a message: each control character becomes a space. */
export function withoutControlCharacters(text: string): string {
  return text.replace(new RegExp(controlCharacters, "g"), " ");
}

/** Every bad field of a registration; empty if it is good. Kind null means not given or not known. */
export function checkRegistration(
  name: string,
  spec: Omit<ProviderSpec, "kind" | "capacity"> & {
    readonly kind: ProviderKind | null;
    readonly capacity: Amount | undefined;
  },
): readonly FieldViolation[] {
  return [
    ...checkName(name),
    ...checkKind(spec.kind),
    ...checkCapacity(spec.capacity),
    ...checkLabels(spec.labels, "labels"),
    ...checkEndpoint(spec.endpoint, spec.kind),
  ];
}

function checkKind(kind: ProviderKind | null): readonly FieldViolation[] {
  const registered = providerKinds.filter((known) => known !== "WORKER");
  const kinds = registered.map((known) => `PROVIDER_KIND_${known}`).join(" or ");
  if (kind === null) return [{ field: "kind", description: `must be ${kinds}` }];
  const description = `must be ${kinds}; a worker pool registers itself with its first worker`;
  return kind === "WORKER" ? [{ field: "kind", description }] : [];
}

/** Every bad field of an update of a provider of this kind. */
export function checkChange({ capacity, labels, endpoint }: SpecChange, kind: ProviderKind): readonly FieldViolation[] {
  const ofPool = (field: string, description: string) => [{ field, description }];
  const isPool = kind === "WORKER";
  return [
    ...(capacity === undefined
      ? []
      : isPool
        ? ofPool("capacity", "cannot be set; a worker pool has that of its connected workers")
        : checkCapacity(capacity)),
    ...(labels === undefined
      ? []
      : isPool
        ? ofPool("labels", "cannot be set; those of the connected workers count")
        : checkLabels(labels, "labels")),
    ...(endpoint === undefined
      ? []
      : isPool
        ? ofPool("endpoint", "cannot be set; the workers of a pool connect by themselves")
        : checkEndpoint(endpoint, kind)),
  ];
}

/** Every bad thing about a name. */
export function checkName(name: string): readonly FieldViolation[] {
  if (!isName(name)) return [{ field: "name", description: `must match ${namePattern.source}` }];
  // A provider is asked for by id or by name, so one must not pass for the other.
  return isUuid(name) ? [{ field: "name", description: "must not have the form of a UUID" }] : [];
}

function checkCapacity(capacity: Amount | undefined): readonly FieldViolation[] {
  if (capacity === undefined) return [{ field: "capacity", description: "is required" }];
  const { slots, cpuMillis, memoryMib } = capacity;
  return [
    ...(slots < 1 || slots > maxSlots
      ? [{ field: "capacity.slots", description: `is ${slots}; must be 1 to ${maxSlots}` }]
      : []),
    ...(cpuMillis < 0 ? [{ field: "capacity.cpu_millis", description: `is ${cpuMillis}; must not be negative` }] : []),
    ...(memoryMib < 0 ? [{ field: "capacity.memory_mib", description: `is ${memoryMib}; must not be negative` }] : []),
  ];
}

function checkEndpoint(endpoint: string, kind: ProviderKind | null): readonly FieldViolation[] {
  const refuse = (description: string) => [{ field: "endpoint", description }];
  if (endpoint === "") return [];
  if (kind === "PROCESS") return refuse("must be empty; processes run on the runner's machine");
  if (endpoint.length > maxEndpointLength) {
    return refuse(`has ${endpoint.length} characters; the limit is ${maxEndpointLength}`);
  }
  return endpointPattern.test(endpoint) ? [] : refuse("must be unix:///path or tcp://host:port");
}
