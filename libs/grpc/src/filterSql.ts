/** Filters as SQL. Column expressions come from our own code, everything a user wrote becomes a parameter. */
import type { Filter, FilterOperator, FilterValue } from "./filterAst.ts";

/** A column's expression, or how its comparison with a parameter is written when there is more to it; the operator is one of the grammar's. */
type FilterColumn = string | ((operator: FilterOperator, parameter: string) => string);

/** A condition for `where`, always in parentheses or a single word; pushes its parameters onto `values`. `columns` has each field's; labels are jsonb. */
export function filterToSql(
  filter: Filter | null,
  columns: Readonly<Record<string, FilterColumn>>,
  values: unknown[],
): string {
  if (filter === null) return "true";
  const bind = (value: unknown) => `$${values.push(value)}`;
  return write(filter, columns, bind);
}

type Bind = (value: unknown) => string;

function write(filter: Filter, columns: Readonly<Record<string, FilterColumn>>, bind: Bind): string {
  switch (filter.type) {
    case "and":
    case "or":
      return `(${filter.filters.map((part) => write(part, columns, bind)).join(` ${filter.type} `)})`;
    case "not":
      // Not `not`: what is compared with null is neither, and a row without the label is one that has not this value.
      return `(${write(filter.filter, columns, bind)} is not true)`;
    case "label": {
      const column = columnOf(columns, filter.field);
      const pair = `jsonb_build_object(${bind(filter.key)}::text, ${bind(filter.value)}::text)`;
      // That it is not empty follows, but the planner has to read it to use an index that leaves the empty ones out.
      return `(${column} <> '{}' and ${column} @> ${pair})`;
    }
    case "hasLabel":
      return `(${columnOf(columns, filter.field)} ? ${bind(filter.key)})`;
    case "compare": {
      const column = Object.hasOwn(columns, filter.field) ? columns[filter.field] : undefined;
      if (typeof column === "function") return `(${column(filter.operator, bindValue(filter.value, bind))})`;
      const operator = filter.operator === "!=" ? "is distinct from" : filter.operator;
      return `(${columnOf(columns, filter.field)} ${operator} ${bindValue(filter.value, bind)})`;
    }
  }
}

/** Texts have no cast, so that they take the type of their column, which may be text or uuid. */
function bindValue(value: FilterValue, bind: Bind): string {
  switch (value.type) {
    case "number":
      return `${bind(value.number)}::numeric`;
    case "time":
      return `${bind(value.text)}::timestamptz`;
    case "string":
      return bind(value.text);
  }
}

function columnOf(columns: Readonly<Record<string, FilterColumn>>, field: string): string {
  const column = Object.hasOwn(columns, field) ? columns[field] : undefined;
  if (typeof column !== "string") throw new Error(`no column for the filter field ${field}`);
  return column;
}
