/** Labels: what they may be, and the one rule by which placement constraints are compared with them. */
export { checkLabels } from "./checkLabels.ts";
export type { LabelConstraint, Labels } from "./labels.ts";
export { constraintsOf, failingConstraint, labelOf } from "./labels.ts";
