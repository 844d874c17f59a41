/** Examines invariants on a database, one statement each, and repairs what was found where that is safe. */
import { appendRepair, type Db } from "@capstan/postgres";
import { type Invariant, type Schema, schemas } from "./invariant.ts";
import { type InvariantName, invariants } from "./invariants.ts";
import type { Observed } from "./observed.ts";
import { statementOf } from "./statement.ts";

/** What breaks an invariant. */
export interface Finding {
  readonly ref: string;
  /** For the repair; "" if there is none. */
  readonly key: string;
}

export interface Examination {
  readonly name: InvariantName;
  /** At most `limit`. */
  readonly findings: readonly Finding[];
  /** There are more than these. */
  readonly isMore: boolean;
  /** Why it could not be examined, for people; null if it was. */
  readonly failure: string | null;
}

interface ExamineOptions {
  readonly names: readonly InvariantName[];
  /** The schemas that may be read; all when absent. */
  readonly from?: readonly Schema[];
  readonly observed?: Observed;
  /** How long something may be under way before it counts; 0: it is known that nothing is. */
  readonly settleMs: number;
  /** Findings of one invariant at most. */
  readonly limit: number;
}

/** True if an invariant can be examined from these schemas alone. */
export function isReadableFrom({ reads }: Invariant, from: readonly Schema[]): boolean {
  return reads === "each" || reads.every((schema) => from.includes(schema));
}

/** `run` runs a statement on a connection or in a transaction of the caller's; each sees the database as it is by then. */
export async function examine(
  run: (statement: { text: string; values: string[] }) => Promise<readonly Partial<Finding>[]>,
  { names, from = schemas, observed = {}, settleMs, limit }: ExamineOptions,
): Promise<readonly Examination[]> {
  const examinations: Examination[] = [];
  for (const name of names) {
    const statement = statementOf(invariants[name], from, { observed, settleMs, limit: limit + 1 });
    if (statement === null) continue;
    const examined = await run(statement).then(
      (rows) => ({
        findings: rows.slice(0, limit).map(({ ref = "", key = "" }) => ({ ref, key })),
        isMore: rows.length > limit,
        failure: null,
      }),
      (error: unknown) => ({ findings: [], isMore: false, failure: failureOf(error) }),
    );
    examinations.push({ name, ...examined });
  }
  return examinations;
}

const queryCanceled = "57014";
const undefinedTable = "42P01";
const undefinedColumn = "42703";
const insufficientPrivilege = "42501";

/** A failure of the one statement; of the connection it is thrown on, because then nothing can be examined. */
function failureOf(error: unknown): string {
  const { code = "", message = "" } = error as { readonly code?: string; readonly message?: string };
  if (code === queryCanceled) return "it took too long";
  if (code === undefinedTable || code === undefinedColumn)
    return `${message}: another version of Capstan, or no migration`;
  if (code === insufficientPrivilege) return message;
  throw error;
}

/** Repairs findings of one invariant in one transaction of the caller's, and tells of it in a fact. Throws on one that has no repair. */
export async function repair(db: Db, name: InvariantName, findings: readonly Finding[], actor: string): Promise<void> {
  const { repair: how, finding, reads } = invariants[name];
  if (how === undefined) throw new Error(`there is no repair for ${name}`);
  for (const statement of how.statements) await db.query(statement, [findings.map(({ key }) => key)]);
  // By the service whose schema it is about; of several, one is enough.
  await db.query(`set local search_path = ${(reads === "each" ? schemas[0] : reads[0]) ?? schemas[0]}`);
  const refs = findings.map(({ ref }) => ref);
  await appendRepair(db, { repair: name, message: `${finding}: ${how.does}`, refs }, actor);
}

/** What is in both, as the later one has it: what moves is not wrong, it is on its way. */
export function seenTwice(before: readonly Finding[], after: readonly Finding[]): readonly Finding[] {
  const seen = new Set(before.map(({ ref }) => ref));
  return after.filter(({ ref }) => seen.has(ref));
}
