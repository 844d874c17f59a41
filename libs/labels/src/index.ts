/** Labels, and the one rule by which placement constraints are compared with them, wherever something is chosen by its labels. */
export type { LabelConstraint, Labels } from "./labels.ts";
export { constraintsOf, failingConstraint, labelOf } from "./labels.ts";
