/**
 * Comparing labels with the constraints of a placement. A constraint on a label that is not there fails, but for NE and NOT_IN: what
 * is absent differs from everything.
 */

/** Keys are users' words, `constructor` among them: read with `labelOf`. */
export type Labels = Readonly<Record<string, string>>;

export interface LabelConstraint {
  readonly key: string;
  /** A word of LabelOperator without its prefix; one that is not known passes nowhere. */
  readonly operator: string;
  readonly values: readonly string[];
}

/** The constraints of a spec, whose operators are the enum's whole words. */
export function constraintsOf(messages: readonly LabelConstraint[]): readonly LabelConstraint[] {
  return messages.map(({ key, operator, values }) => ({
    key,
    operator: operator.replace("LABEL_OPERATOR_", ""),
    values,
  }));
}

/** Null when there is no such label. */
export function labelOf(labels: Labels, key: string): string | null {
  return Object.hasOwn(labels, key) ? (labels[key] ?? null) : null;
}

/** The first constraint that does not hold for the labels; null when all do. */
export function failingConstraint(constraints: readonly LabelConstraint[], labels: Labels): LabelConstraint | null {
  return constraints.find((constraint) => !holds(constraint, labels)) ?? null;
}

function holds({ key, operator, values }: LabelConstraint, labels: Labels): boolean {
  const label = labelOf(labels, key);
  const [first = ""] = values;
  switch (operator) {
    case "EQ":
      return label === first;
    case "NE":
      return label !== first;
    case "IN":
      return label !== null && values.includes(label);
    case "NOT_IN":
      return label === null || !values.includes(label);
    case "GT":
      return numberOf(label) > numberOf(first);
    case "LT":
      return numberOf(label) < numberOf(first);
    default:
      return false;
  }
}

/** NaN for what is not a number, which is neither greater nor less than anything. */
function numberOf(text: string | null): number {
  return text === null || text.trim() === "" ? Number.NaN : Number(text);
}
