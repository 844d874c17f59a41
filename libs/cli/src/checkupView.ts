/** How is shown what services say of themselves. */
import type { Checkup } from "@capstan/proto/capstan/system/v1/checkup.ts";
import { violationLines } from "./doctorView.ts";
import { formatAge } from "./durations.ts";
import { enumWord } from "./enumWord.ts";
import { formatTable } from "./table.ts";
import { visibleText } from "./visibleText.ts";

/** When each service looked at itself, and what it found. */
export function formatCheckups(checkups: readonly Checkup[], now: Date): string {
  if (checkups.length === 0) return "no service examines itself here\n";
  const table = formatTable(checkups, [
    { title: "SERVICE", cell: ({ service }) => service },
    { title: "LOOKED", cell: ({ time }) => (time === undefined ? "not yet" : `${formatAge(+now - +time)} ago`) },
    { title: "EXAMINED", cell: ({ examined }) => String(examined) },
    { title: "NOT EXAMINED", cell: ({ unexamined }) => String(unexamined.length) },
    {
      title: "DO NOT HOLD",
      cell: ({ violations: { length } }) => ({ text: String(length), colour: length === 0 ? "green" : "red" }),
    },
  ]);
  return [table, ...checkups.flatMap(blocksOf)].join("\n");
}

function blocksOf({ service, violations, unexamined }: Checkup): readonly string[] {
  const found = violations.map(({ invariant: name, hasMore: isMore, repair, ...violation }) =>
    [
      ...violationLines(
        { ...violation, name, isMore, severity: enumWord(violation.severity) },
        `capstan doctor --only ${name}`,
      ),
      ...(repair === "" ? [] : [visibleText(`  capstan doctor --only ${name} --fix ${repair}`)]),
    ].map((line) => `${line}\n`),
  );
  const unseen = unexamined.map(({ invariant, why }) =>
    visibleText(`${service} could not examine ${invariant}: ${why}`),
  );
  return [...found.map((lines) => lines.join("")), ...unseen.map((line) => `${line}\n`)];
}
