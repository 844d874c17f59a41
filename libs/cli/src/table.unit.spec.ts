import { expect, test } from "vitest";
import { displayWidth, formatDetails, formatTable } from "./table.ts";

const columns = [
  { title: "NAME", cell: ({ name }: { name: string; note: string }) => name },
  { title: "NOTE", cell: ({ note }: { name: string; note: string }) => note },
];

test("columns are aligned and no line has blanks at its end", () => {
  const rows = [
    { name: "a", note: "first" },
    { name: "longer", note: "" },
  ];
  expect(formatTable(rows, columns)).toBe("NAME    NOTE\na       first\nlonger\n");
});

test("no rows leave the titles", () => {
  expect(formatTable([], columns)).toBe("NAME  NOTE\n");
});

test("columns are aligned by what a terminal shows, not by characters", () => {
  const rows = [
    { name: "日本", note: "x" },
    { name: "e\u0301e", note: "y" },
    { name: "🚀ab", note: "z" },
  ];
  const starts = formatTable(rows, columns)
    .split("\n")
    .slice(1, 4)
    .map((line) => displayWidth(line.slice(0, line.search(/[xyz]$/))));
  expect(new Set(starts).size).toBe(1);
});

test("what a terminal would act on is shown as an escape, and stays on its line", () => {
  const rows = [{ name: "\u001b[31mred\u001b]0;title\u0007", note: "a\nb\u202ec\u009b2J" }];
  const text = formatTable(rows, columns);
  expect(text.split("\n")).toHaveLength(3);
  expect(text).toContain("\\u001b[31mred\\u001b]0;title\\u0007  a\\nb\\u202ec\\u009b2J");
});

test("the last column is cut to the width of the terminal", () => {
  const rows = [{ name: "a", note: "this is rather long" }];
  expect(formatTable(rows, columns, 16)).toBe("NAME  NOTE\na     this is r…\n");
});

test("details are aligned, and those without a value are left out", () => {
  expect(
    formatDetails([
      ["Id", "1"],
      ["Gone", ""],
      ["Message", "a\u001bb"],
    ]),
  ).toBe("Id       1\nMessage  a\\u001bb\n");
});
