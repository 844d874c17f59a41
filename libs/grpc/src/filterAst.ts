/** A parsed filter: what the parser gives and the SQL writer takes. Fields are known and values checked against their type. */

export type FilterOperator = "=" | "!=" | "<" | "<=" | ">" | ">=";

/** Times are RFC 3339 in UTC, with microseconds if they were given. */
export type FilterValue =
  | { readonly type: "string"; readonly text: string }
  | { readonly type: "time"; readonly text: string }
  | { readonly type: "number"; readonly number: number };

export type Filter =
  | { readonly type: "and" | "or"; readonly filters: readonly Filter[] }
  | { readonly type: "not"; readonly filter: Filter }
  | {
      readonly type: "compare";
      readonly field: string;
      readonly operator: FilterOperator;
      readonly value: FilterValue;
    }
  | { readonly type: "label"; readonly field: string; readonly key: string; readonly value: string }
  | { readonly type: "hasLabel"; readonly field: string; readonly key: string };
