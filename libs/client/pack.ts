/**
 * Makes the package that users install. In the repository it runs from its TypeScript sources; packed it has to be JavaScript, hold
 * what it takes from the other libs, and name `dist/` as its way in. npm calls this before it packs (`node pack.ts build`) and after
 * (`node pack.ts restore`): between the two, package.json is that of the packed one, because npm knows no other way.
 */
import { spawnSync } from "node:child_process";
import { cpSync, existsSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";

const here = import.meta.dirname;
const dist = join(here, "dist");
const sources = join(dist, "sources");
const manifest = join(here, "package.json");
const savedManifest = join(dist, "package.source.json");

/** What goes in, beside each other. */
const folders = { client: "src", errors: "../errors/src", grpc: "../grpc/src", proto: "../../proto/gen" };

/** What the other libs are called, and where they lie then. */
const inside: readonly (readonly [RegExp, string])[] = [
  [/^@capstan\/errors$/, "errors/index.ts"],
  [/^@capstan\/grpc\/client$/, "grpc/clientOnly.ts"],
  [/^@capstan\/proto\/(.*)$/, "proto/$1"],
];

function build(): void {
  // Of a run that was interrupted.
  restore();
  rmSync(dist, { recursive: true, force: true });
  for (const [name, from] of Object.entries(folders))
    cpSync(join(here, from), join(sources, name), { recursive: true });
  rewriteImports(sources, /\.ts$/, specifierIn);
  compile();
  rmSync(sources, { recursive: true });
  // The compiler changes the extensions in JavaScript only.
  rewriteImports(dist, /\.d\.ts$/, (_, specifier) => specifier.replace(/^(\..*)\.ts$/, "$1.js"));
  const types = join(dist, "client/index.d.ts");
  writeFileSync(types, `/// <reference types="node" />\n${readFileSync(types, "utf8")}`);
  cpSync(join(here, "../../LICENSE"), join(dist, "LICENSE"));
  publishManifest();
}

function compile(): void {
  const tsc = join(here, "../../node_modules/typescript/bin/tsc");
  const args = [tsc, "--project", join(here, "tsconfig.build.json")];
  if (spawnSync(process.execPath, args, { stdio: "inherit" }).status !== 0) process.exit(1);
}

function rewriteImports(folder: string, files: RegExp, rewrite: (path: string, specifier: string) => string): void {
  for (const name of readdirSync(folder, { recursive: true, encoding: "utf8" })) {
    if (!files.test(name)) continue;
    const path = join(folder, name);
    const text = readFileSync(path, "utf8").replaceAll(
      /^((?:import|export|\}).*? from |import )"([^"]+)"/gm,
      (_, before: string, specifier: string) => `${before}"${rewrite(path, specifier)}"`,
    );
    writeFileSync(path, text);
  }
}

function specifierIn(path: string, specifier: string): string {
  for (const [pattern, target] of inside) {
    if (!pattern.test(specifier)) continue;
    const to = relative(dirname(path), join(sources, specifier.replace(pattern, target)));
    return to.startsWith(".") ? to : `./${to}`;
  }
  return specifier;
}

function publishManifest(): void {
  const source = readFileSync(manifest, "utf8");
  writeFileSync(savedManifest, source);
  const { devDependencies: _, ...packed } = JSON.parse(source) as Record<string, unknown>;
  const entry = { types: "./dist/client/index.d.ts", default: "./dist/client/index.js" };
  writeFileSync(manifest, `${JSON.stringify({ ...packed, exports: entry }, null, 2)}\n`);
}

function restore(): void {
  if (existsSync(savedManifest)) renameSync(savedManifest, manifest);
}

if (process.argv[2] === "restore") restore();
else build();
