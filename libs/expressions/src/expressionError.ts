/** An expression that cannot be read, or that cannot be evaluated over the values it was given. The message is for its author. */
export class ExpressionError extends Error {
  override readonly name = "ExpressionError";
}
