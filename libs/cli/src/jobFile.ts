/**
 * Job files: YAML or JSON whose content is exactly the proto JSON mapping of `JobSpec`; a list, or several documents, are
 * several jobs. Strict on purpose: a misspelt field that is passed over in silence is a job that runs without its timeout.
 */
import { readFile } from "node:fs/promises";
import { text } from "node:stream/consumers";
import type { JobSpec } from "@capstan/proto/capstan/job/v1/spec.ts";
import { parseAllDocuments } from "yaml";
import { UsageError } from "./failure.ts";
import { jobSpecFields } from "./jobSpecFields.ts";
import type { Kind } from "./protoFields.ts";

/** The text of a job file; `-` is standard input. */
export async function readJobFile(file: string): Promise<string> {
  if (file === "-") return text(process.stdin);
  try {
    return await readFile(file, "utf8");
  } catch (error) {
    if (error instanceof Error && "syscall" in error) throw new UsageError(`cannot read ${file}: ${error.message}`);
    throw error;
  }
}

/** As it is called in messages. */
export function nameOfJobFile(file: string): string {
  return file === "-" ? "standard input" : file;
}

/** The values of all documents of a file, maps as `Map`. Refuses bad syntax, duplicate keys and unknown tags. */
function parseDocuments(content: string, fileName: string): readonly unknown[] {
  const documents = parseAllDocuments(content, { prettyErrors: true });
  if ("empty" in documents) return [];
  const problems = documents.flatMap((document) => [...document.errors, ...document.warnings]);
  if (problems.length > 0) {
    throw new UsageError(
      `${fileName} is not valid YAML or JSON`,
      problems.map(({ message }) => firstLine(message)),
    );
  }
  try {
    return documents.map((document) => document.toJS({ mapAsMap: true }) as unknown).filter((value) => value !== null);
  } catch (error) {
    // Thrown for aliases that would expand without end.
    throw new UsageError(`${fileName} cannot be read: ${error instanceof Error ? error.message : String(error)}`);
  }
}

/** The parser adds an excerpt below its message, which a terminal does not need. */
function firstLine(text: string): string {
  return text.split("\n", 1)[0]?.replace(/:$/, "") ?? text;
}

/**
 * The jobs of a file, at least one. Refuses, with all bad fields at once, whatever is not in the contract; values are checked by
 * their kind only, their limits by the platform.
 */
export function parseJobFile(content: string, fileName: string): readonly JobSpec[] {
  const values = parseDocuments(content, fileName).flat(1);
  if (values.length === 0) throw new UsageError(`${fileName} holds no job`);
  const problems: string[] = [];
  const specs = values.map((value, index) => {
    const prefix = values.length === 1 ? "" : `job ${index + 1}: `;
    return jobSpecFields.read(value, "", (field, description) => problems.push(`${prefix}${field} ${description}`));
  });
  if (problems.length > 0) throw new UsageError(`${fileName} is not a job spec`, problems);
  return specs;
}

/** As `parseMessage`, of a file. */
export async function readMessageFile<M>(file: string, noun: string, kind: Kind<M>): Promise<M> {
  return parseMessage(await readJobFile(file), nameOfJobFile(file), noun, kind);
}

/** The one message of the contract that a file holds, as strictly as a job file; `noun` is what it is called in messages. */
export function parseMessage<M>(content: string, fileName: string, noun: string, kind: Kind<M>): M {
  const [value, ...others] = parseDocuments(content, fileName);
  if (value === undefined) throw new UsageError(`${fileName} holds no ${noun}`);
  if (others.length > 0) throw new UsageError(`${fileName} holds more than one ${noun}`);
  const problems: string[] = [];
  const message = kind.read(value, "", (field, description) => problems.push(`${field} ${description}`));
  if (problems.length > 0) throw new UsageError(`${fileName} is not a ${noun}`, problems);
  return message;
}
