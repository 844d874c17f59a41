/** What an invariant is: something that always holds, as a statement that selects what breaks it. */

/** The schemas of the services; no lib knows a service, but what it left behind can be read without it. */
export const schemas = ["job", "provider", "execution", "orchestrator"] as const;
export type Schema = (typeof schemas)[number];

/** What is not in the database: an invariant that reads of it cannot be examined where it was not looked at. */
export type Sight = "streams" | "consumers" | "workloads" | "acknowledged";

export interface Repair {
  /** What it does, as the end of "--fix …". */
  readonly does: string;
  /** Statements of one transaction. Each takes the keys of the findings as `$1::text[]`, and may be repeated. */
  readonly statements: readonly string[];
}

export interface Invariant {
  /** What is found when it is broken, as a sentence. */
  readonly finding: string;
  /** What that means for people. */
  readonly meaning: string;
  /** `error`: something is wrong that does not mend itself; `warning`: something is late, or waits for a person. */
  readonly severity: "error" | "warning";
  /** What it reads; "each": any of them by itself. */
  readonly reads: readonly Schema[] | "each";
  readonly sees?: Sight;
  /**
   * `always`: whenever one looks; `at rest`: only when nothing is under way, as after a test; `history`: always, but it reads all that
   * ever happened, and so is not looked at every hour.
   */
  readonly holds: "always" | "history" | "at rest";
  /**
   * Selects `ref`, what breaks it, in words that stay the same as long as it stands still; and `key`, if there is a repair. It may read
   * what statement.ts offers.
   */
  readonly sql: string;
  /** What a person does about it. */
  readonly advice: string;
  readonly repair?: Repair;
}

export type Invariants = Readonly<Record<string, Invariant>>;
