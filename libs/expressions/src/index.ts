/** The expressions of workflows: what they read, what they give, and the limits within which they are evaluated. */
export { checkExpression, evaluate } from "./expression.ts";
export { ExpressionError } from "./expressionError.ts";
export { splitTemplate } from "./template.ts";
export { Work } from "./work.ts";
