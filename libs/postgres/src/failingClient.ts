/**
 * A connection with failpoints: around the COMMIT of each transaction that writes, and around each writing statement that is a
 * transaction of its own. Only what has a name can be failed. A statement that hangs does so in the server, under its statement_timeout.
 */
import type { Failpoints } from "@capstan/failpoints";
import type { Client, ClientConfig } from "pg";
import { ArrayClient } from "./arrayClient.ts";

type Query = Client["query"];
type Run = (...values: unknown[]) => Promise<unknown>;
type Callback = (error: Error | null, result?: unknown) => void;

interface Named {
  readonly name: string;
  readonly text: string;
  readonly values?: readonly unknown[];
}

/** The class of the connections of a pool; `context` begins the stages, as in `job.insert_jobs`. */
export function failingClient(failpoints: Failpoints, context: string): typeof Client {
  return class extends ArrayClient {
    constructor(config?: string | ClientConfig) {
      super(config);
      const fail = failingQuery(failpoints, context, this.query as Run);
      this.query = ((...given: unknown[]) => {
        const callback = typeof given.at(-1) === "function" ? (given.at(-1) as Callback) : null;
        if (callback === null) return fail(given);
        return void fail(given.slice(0, -1)).then(
          (result) => callback(null, result),
          (error: Error) => callback(error),
        );
      }) as Query;
    }
  };
}

/** How one connection runs its statements. */
function failingQuery({ around }: Failpoints, context: string, run: Run): (given: unknown[]) => Promise<unknown> {
  /** The writing statements of the transaction under way; null outside of one. */
  let written: Named[] | null = null;
  const hang = () => run("select pg_sleep(86400)");

  return (given) => {
    const [statement] = given;
    const operation = () => run(...given);
    if (statement === "begin") written = [];
    if (statement === "rollback") written = null;
    if (statement === "commit") {
      const statements = written ?? [];
      written = null;
      const [first] = statements; // a transaction is called after the first statement that writes
      if (first === undefined) return operation();
      const words = () => statements.flatMap(wordsOf);
      return around("commit", `${context}.${first.name}`, operation, { words, hang });
    }
    if (!isNamedWrite(statement)) return operation();
    if (written === null) {
      const words = () => wordsOf(statement);
      return around("write", `${context}.${statement.name}`, operation, { words, hang });
    }
    written.push(statement);
    return operation();
  };
}

/** Not the `for update` of a statement that only locks. */
const writing = /\b(insert into|delete from)\b|(?<!\bfor (no key )?)\bupdate\b/;

function isNamedWrite(statement: unknown): statement is Named {
  if (typeof statement !== "object" || statement === null) return false;
  const { name, text } = statement as Partial<Named>;
  return name !== undefined && text !== undefined && writing.test(text);
}

/** States and reasons among the values, and the facts that are appended. */
function wordsOf({ name, values = [] }: Named): string[] {
  const lists = values.map((value) => (Array.isArray(value) ? (value as unknown[]) : []));
  const [, , , , nouns = [], events = []] = lists;
  if (name === "append_facts") return nouns.map((noun, at) => `${noun}.${events[at]}`);
  return lists.flat().filter((value) => typeof value === "string" && /^[A-Z][A-Z_]+$/.test(value)) as string[];
}
