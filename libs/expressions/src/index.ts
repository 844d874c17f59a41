/** The expressions of workflows: what they read, what they give, and the limits within which they are evaluated. */
export { type CheckedExpression, checkExpression, evaluate } from "./expression.ts";
export { ExpressionError } from "./expressionError.ts";
export { splitTemplate, type TemplatePart } from "./template.ts";
export { Work } from "./work.ts";
