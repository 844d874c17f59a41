/** Where in a job file the fields stand that the platform speaks of: it names them by the contract, people look for lines. */
import { isAlias, isMap, isScalar, isSeq, LineCounter, type Node, parseAllDocuments } from "yaml";

/** The line, from 1, of what a field path of `JobSpec` names, or of the closest thing around it that stands in the file. */
type LineOf = (field: string) => number;

/** One for each job of a file that `parseJobFile` has read. */
export function jobFileLines(content: string): readonly LineOf[] {
  const lines = new LineCounter();
  const documents = parseAllDocuments(content, { lineCounter: lines });
  if ("empty" in documents) return [];
  const jobs = documents.flatMap(({ contents }) => (isSeq<Node>(contents) ? contents.items : [contents]));
  return jobs
    .filter((job) => job !== null && !(isScalar(job) && job.value === null))
    .map((job) => (field: string) => lineOf(job, partsOf(field), lines));
}

/** `steps[3].env["A"]` as names and numbers; `spec` itself is the whole job. */
function partsOf(field: string): readonly (string | number)[] {
  const parts = field.matchAll(/\[(\d+)\]|\["((?:[^"\\]|\\.)*)"\]|([A-Za-z0-9_]+)/g);
  return [...parts].map(([, index, key, name]) => (index === undefined ? (key ?? name ?? "") : Number(index)));
}

function lineOf(job: Node | null, parts: readonly (string | number)[], lines: LineCounter): number {
  let node: unknown = job;
  let offset = job?.range?.[0] ?? 0;
  for (const part of parts) {
    const found = isAlias(node) ? null : below(node, part);
    if (found === null) break;
    node = found.value;
    offset = found.offset;
  }
  return lines.linePos(offset).line;
}

/** Null when it does not stand there. A field may be spelt as in the contract or as in its JSON mapping. */
function below(node: unknown, part: string | number): { readonly value: unknown; readonly offset: number } | null {
  if (isSeq<Node>(node) && typeof part === "number") {
    const item = node.items[part];
    return item === undefined ? null : { value: item, offset: item.range?.[0] ?? 0 };
  }
  if (!isMap<Node, Node>(node)) return null;
  const names = [String(part), String(part).replace(/_([a-z])/g, (_, letter: string) => letter.toUpperCase())];
  const pair = node.items.find(({ key }) => isScalar(key) && names.includes(String(key.value)));
  return pair === undefined ? null : { value: pair.value, offset: pair.key.range?.[0] ?? 0 };
}
