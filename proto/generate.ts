/**
 * Generates proto/gen from the contracts; `--check` only compares and fails when it is not current.
 * buf and the plugin come from the dev dependencies, so nothing has to be installed.
 */
import { execFileSync } from "node:child_process";
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, relative } from "node:path";
import { fromBinary, toBinary } from "@bufbuild/protobuf";
import { type FileDescriptorProto, FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";

const protoDirectory = import.meta.dirname;
const committed = join(protoDirectory, "gen");

function generateInto(directory: string): void {
  const template = readFileSync(join(protoDirectory, "buf.gen.yaml"), "utf8").replace("out: gen", `out: ${directory}`);
  const bin = join(protoDirectory, "../node_modules/.bin");
  execFileSync(join(bin, "buf"), ["generate", "--template", template.replace(/^#.*\n/, "").trim()], {
    cwd: protoDirectory,
    stdio: "inherit",
    env: { ...process.env, PATH: `${bin}:${process.env["PATH"]}` },
  });
}

/** A map entry named `__proto__` must arrive like any other, so that it can be refused by name; plain assignment would drop it. */
function keepEveryMapKey(directory: string): void {
  for (const [name, text] of filesIn(directory)) {
    const kept = text.replace(
      /message\.(\w+)\[(entry\d+)\.key\] = \2\.value;/g,
      "globalThis.Object.defineProperty(message.$1, $2.key, { value: $2.value, enumerable: true, configurable: true, writable: true });",
    );
    if (kept !== text) writeFileSync(join(directory, name), kept);
  }
}

/** Text that is not UTF-8 is refused, as proto3 asks for; otherwise it would be kept with U+FFFD in place of what was sent. */
function readTextStrictly(directory: string): void {
  for (const [name, text] of filesIn(directory)) {
    const strict = text.replaceAll("reader.string()", "reader.string(true)");
    if (strict !== text) writeFileSync(join(directory, name), strict);
  }
}

const canonicalDuration = `fromJSON(object: any): Duration {
    const match = !isSet(object) ? null : /^(-?)(\\d{1,12})(?:\\.(\\d{1,9}))?s$/.exec(globalThis.String(object));
    if (match === null) {
      throw new globalThis.Error("a duration is written as seconds, such as \\"30s\\" or \\"0.5s\\"");
    }
    const sign = match[1] === "-" ? -1 : 1;
    const nanos = globalThis.Number((match[3] ?? "").padEnd(9, "0"));
    return { seconds: sign * globalThis.Number(match[2]), nanos: sign * nanos };
  },

  toJSON(message: Duration): unknown {
    const sign = message.seconds < 0 || message.nanos < 0 ? "-" : "";
    const fraction = globalThis.Math.abs(message.nanos).toString().padStart(9, "0").replace(/0+$/, "");
    return sign + globalThis.Math.abs(message.seconds) + (fraction === "" ? "" : "." + fraction) + "s";
  },`;

/** The JSON mapping of a duration is text such as "1.5s" (protobuf's JSON mapping); the plugin writes an object instead. */
function writeDurationsAsText(directory: string): void {
  const file = join(directory, "google/protobuf/duration.ts");
  const text = readFileSync(file, "utf8").replace(
    /fromJSON\(object: any\): Duration \{[\s\S]*?return obj;\n {2}\},/,
    () => canonicalDuration,
  );
  if (!text.includes(canonicalDuration)) throw new Error("the plugin writes durations in another way now");
  writeFileSync(file, text);
}

/** What annotates methods is read from the descriptors; nobody needs it as code. */
function leaveOutAnnotations(directory: string): void {
  for (const name of ["google/api", "google/protobuf/descriptor.ts"])
    rmSync(join(directory, name), { recursive: true });
}

interface Named {
  readonly name: string;
}

/** The leading comment of each element by its full name. Paths are as in descriptor.proto: field numbers and places in lists. */
function commentsOf(file: FileDescriptorProto): (readonly [string, string])[] {
  const said = new Map(
    (file.sourceCodeInfo?.location ?? []).map(({ path, leadingComments }) => [path.join("."), leadingComments]),
  );
  const found: (readonly [string, string])[] = [];

  function note(elements: readonly Named[], path: string, scope: string, within: (at: number, prefix: string) => void) {
    for (const [at, { name }] of elements.entries()) {
      const text = said.get(`${path}.${at}`);
      if (text !== undefined && text !== "") found.push([`${scope}.${name}`, text.replace(/^ /gm, "").trimEnd()]);
      within(at, `${path}.${at}`);
    }
  }
  const leaf = () => {};
  function messages(list: FileDescriptorProto["messageType"], path: string, scope: string): void {
    note(list, path, scope, (at, here) => {
      const message = list[at];
      if (message === undefined) return;
      const inside = `${scope}.${message.name}`;
      note(message.field, `${here}.2`, inside, leaf);
      messages(message.nestedType, `${here}.3`, inside);
      enums(message.enumType, `${here}.4`, inside);
    });
  }
  function enums(list: FileDescriptorProto["enumType"], path: string, scope: string): void {
    note(list, path, scope, (at, here) => note(list[at]?.value ?? [], `${here}.2`, `${scope}.${list[at]?.name}`, leaf));
  }
  messages(file.messageType, "4", file.package);
  enums(file.enumType, "5", file.package);
  note(file.service, "6", file.package, (at, here) =>
    note(file.service[at]?.method ?? [], `${here}.2`, `${file.package}.${file.service[at]?.name}`, leaf),
  );
  return found;
}

/**
 * The contracts as data, for what treats every method alike: `descriptors.binpb`, a FileDescriptorSet, and beside it `comments.json`, what
 * the contracts say of each element by its full name, because few need that and it is twice as large.
 */
function describeInto(directory: string): void {
  const image = execFileSync(join(protoDirectory, "../node_modules/.bin/buf"), ["build", "-o", "-"], {
    cwd: protoDirectory,
    maxBuffer: 64 * 1024 * 1024,
  });
  const set = fromBinary(FileDescriptorSetSchema, image);
  const comments = set.file.filter(({ name }) => name.startsWith("capstan/")).flatMap(commentsOf);
  for (const file of set.file) delete file.sourceCodeInfo;
  writeFileSync(join(directory, "descriptors.binpb"), toBinary(FileDescriptorSetSchema, set));
  const sorted = Object.fromEntries(comments.sort(([a], [b]) => (a < b ? -1 : 1)));
  writeFileSync(join(directory, "comments.json"), `${JSON.stringify(sorted, null, 1)}\n`);
}

function filesIn(directory: string): Map<string, string> {
  const names = readdirSync(directory, { recursive: true, encoding: "utf8" });
  const files = names.filter((name) => statSync(join(directory, name)).isFile());
  return new Map(files.map((name) => [relative(".", name), readFileSync(join(directory, name), "utf8")]));
}

const fresh = mkdtempSync(join(tmpdir(), "capstan-gen-"));
try {
  generateInto(fresh);
  leaveOutAnnotations(fresh);
  keepEveryMapKey(fresh);
  readTextStrictly(fresh);
  writeDurationsAsText(fresh);
  describeInto(fresh);
  if (process.argv.includes("--check")) {
    const [want, have] = [filesIn(fresh), filesIn(committed)];
    const stale = [...new Set([...want.keys(), ...have.keys()])].filter((name) => want.get(name) !== have.get(name));
    if (stale.length > 0) {
      console.error(`proto/gen is not current; run "npm run generate". Differs: ${stale.join(", ")}`);
      process.exitCode = 1;
    }
  } else {
    rmSync(committed, { recursive: true, force: true });
    cpSync(fresh, committed, { recursive: true });
  }
} finally {
  rmSync(fresh, { recursive: true, force: true });
}
