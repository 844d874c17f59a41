/**
 * Decides whether a promise was broken, once the platform is quiet. Independent of it: it knows tables, streams and what others saw,
 * and shares no code with the services or with the doctor.
 */
import type { Client } from "pg";
import { attemptRules } from "./attemptRules.ts";
import { capacityRules } from "./capacityRules.ts";
import { type Evidence, layOut } from "./evidence.ts";
import { factRules } from "./factRules.ts";
import { jobRules } from "./jobRules.ts";
import type { Rules } from "./rule.ts";

export const rules = { ...jobRules, ...factRules, ...attemptRules, ...capacityRules } satisfies Rules;
export type RuleName = keyof typeof rules;
export const ruleNames = Object.keys(rules) as RuleName[];

export interface Violation {
  readonly rule: string;
  readonly says: string;
  /** How many rows break it, and the first of them. */
  readonly count: number;
  readonly refs: readonly string[];
}

const shown = 50;

/** Every rule that is broken. Leaves the evidence in temporary tables of this session. */
export async function check(
  client: Pick<Client, "query">,
  evidence: Evidence,
  names: readonly RuleName[] = ruleNames,
): Promise<readonly Violation[]> {
  await layOut(client, evidence);
  const violations: Violation[] = [];
  for (const rule of names) {
    const { says, sql } = rules[rule];
    const { rows } = await client.query<{ ref: string }>(sql);
    const refs = rows.slice(0, shown).map(({ ref }) => ref);
    if (rows.length > 0) violations.push({ rule, says, count: rows.length, refs });
  }
  return violations;
}
