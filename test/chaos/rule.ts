/** A rule that holds once the platform is quiet: a statement that finds what breaks it. */
export interface Rule {
  /** What is wrong, said of each row that it finds. */
  readonly says: string;
  /** One column `ref`: the row that breaks the rule. */
  readonly sql: string;
}

export type Rules = Readonly<Record<string, Rule>>;
