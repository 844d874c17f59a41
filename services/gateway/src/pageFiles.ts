/**
 * The console as files to send: its TypeScript without the types, its style, and the few libraries it imports, as they lie in
 * node_modules. Nothing is bundled or written to disk. Read when the page is first asked for, and again when a file has changed.
 */
import { createHash } from "node:crypto";
import { readdir, readFile, stat } from "node:fs/promises";
import { findPackageJSON, stripTypeScriptTypes } from "node:module";
import { dirname, extname, join } from "node:path";

/** The directory of the console's own files. */
const consoleDirectory = join(import.meta.dirname, "../console");

/** What the page may import by name, and the file of its package that this is. */
const libraries = {
  preact: ["preact", "dist/preact.mjs"],
  "preact/hooks": ["preact", "hooks/dist/hooks.mjs"],
  "@preact/signals": ["@preact/signals", "dist/signals.mjs"],
  "@preact/signals-core": ["@preact/signals-core", "dist/signals-core.mjs"],
  htm: ["htm", "dist/htm.mjs"],
  "htm/preact": ["htm", "preact/index.mjs"],
  "@dagrejs/dagre": ["@dagrejs/dagre", "dist/dagre.esm.js"],
  yaml: ["yaml", "browser/dist/index.js"],
} as const;

/** The typeface; letters it lacks are the system's. */
const font = ["@fontsource-variable/inter", "files/inter-latin-wght-normal.woff2"] as const;

const types: Readonly<Record<string, string>> = {
  ".ts": "text/javascript; charset=utf-8",
  ".js": "text/javascript; charset=utf-8",
  ".mjs": "text/javascript; charset=utf-8",
  ".css": "text/css; charset=utf-8",
  ".svg": "image/svg+xml",
  ".woff2": "font/woff2",
};

export interface PageFile {
  readonly type: string;
  readonly body: Buffer;
}

export interface PageFiles {
  /** Changes with any of the files. */
  readonly version: string;
  /** By their path below the version: `main.ts`, `npm/preact/dist/preact.mjs`. */
  readonly files: ReadonlyMap<string, PageFile>;
  /** The document as it was written, without base, version and imports. */
  readonly document: string;
  /** Path below the version of each name that can be imported. */
  readonly imports: Readonly<Record<string, string>>;
  /** What the first screen needs of modules, so that the browser asks for all of them at once. */
  readonly preload: readonly string[];
  /** Newest change of the console's own files, to notice the next. */
  readonly changeTimeMs: number;
}

async function ownFiles(): Promise<readonly string[]> {
  const names = await readdir(consoleDirectory, { recursive: true });
  return names.filter((name) => extname(name) in types && !name.includes(".spec.")).sort();
}

/** When one of the console's own files last changed, in milliseconds since 1970. */
export async function lastChangeTimeMs(): Promise<number> {
  const names = [...(await ownFiles()), "index.html"];
  const times = await Promise.all(names.map(async (name) => (await stat(join(consoleDirectory, name))).mtimeMs));
  return Math.max(...times);
}

function directoryOf(packageName: string, from: string): string {
  const found = findPackageJSON(packageName, from);
  if (found === undefined) throw new Error(`the package ${packageName} is not installed`);
  return dirname(found);
}

/** The files of the libraries. Of those that are not in one piece, all beside the one that is imported. */
async function readLibraries(): Promise<Map<string, PageFile>> {
  const files = new Map<string, PageFile>();
  const signals = join(directoryOf("@preact/signals", import.meta.url), "package.json");
  for (const [packageName, path] of [...Object.values(libraries), font]) {
    const directory = directoryOf(packageName, packageName === "@preact/signals-core" ? signals : import.meta.url);
    const paths =
      packageName === "yaml"
        ? (await readdir(join(directory, dirname(path)), { recursive: true })).map((name) => join(dirname(path), name))
        : [path];
    for (const each of paths) {
      const type = types[extname(each)];
      if (type === undefined) continue;
      files.set(`npm/${packageName}/${each}`, { type, body: await readFile(join(directory, each)) });
    }
  }
  return files;
}

/** What runs the services strips their types too, and says of its API once that it may change: our version of Node is pinned. */
function withoutTypes(text: string): string {
  const { emitWarning } = process;
  process.emitWarning = () => {};
  try {
    return stripTypeScriptTypes(text, { mode: "strip" });
  } finally {
    process.emitWarning = emitWarning;
  }
}

async function readOwn(): Promise<Map<string, PageFile>> {
  const files = new Map<string, PageFile>();
  for (const name of await ownFiles()) {
    const text = await readFile(join(consoleDirectory, name), "utf8");
    const body = name.endsWith(".ts") ? withoutTypes(text).replaceAll(/[ \t]+$/gm, "") : text;
    files.set(name, { type: types[extname(name)] ?? "", body: Buffer.from(body) });
  }
  return files;
}

/** Every module that loads with this one, itself included. */
function modulesFrom(start: string, files: ReadonlyMap<string, PageFile>, imports: Readonly<Record<string, string>>) {
  const found = new Set<string>();
  const todo = [start];
  for (let name = todo.pop(); name !== undefined; name = todo.pop()) {
    const text = files.get(name)?.body.toString();
    if (text === undefined || found.has(name)) continue;
    found.add(name);
    for (const [, target = ""] of text.matchAll(/(?:^|[;\s}])(?:from|import)\s*"([^"]+)"/g)) {
      todo.push(target.startsWith(".") ? join(dirname(name), target) : (imports[target] ?? ""));
    }
  }
  return [...found];
}

export async function readPageFiles(): Promise<PageFiles> {
  const changeTimeMs = await lastChangeTimeMs();
  const files = new Map([...(await readOwn()), ...(await readLibraries())]);
  const document = await readFile(join(consoleDirectory, "index.html"), "utf8");
  const imports = Object.fromEntries(
    Object.entries(libraries).map(([name, [packageName, path]]) => [name, `npm/${packageName}/${path}`]),
  );
  const hash = createHash("sha256").update(document);
  for (const [name, { body }] of files) hash.update(name).update(body);
  const version = hash.digest("base64url").slice(0, 12);
  return { version, files, document, imports, preload: modulesFrom("main.ts", files, imports), changeTimeMs };
}
