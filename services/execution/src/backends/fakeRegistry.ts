/**
 * An image registry on loopback for tests, speaking as much of the distribution protocol as an engine needs for a pull. It has
 * one image, taken from the engine itself; for every other name it answers as registries do.
 */

import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { gzipSync } from "node:zlib";

const MANIFEST_TYPE = "application/vnd.docker.distribution.manifest.v2+json";

interface FakeRegistry {
  /** `127.0.0.1:<port>/tests/`, to be put before an image's name. */
  readonly prefix: string;
  close(): void;
}

/** A registry that has `<prefix>known:1`, a copy of the image in the engine's export. */
export async function startFakeRegistry(exportedImage: NodeJS.ReadableStream): Promise<FakeRegistry> {
  const blobs = new Map<string, Buffer>();
  const addBlob = (bytes: Buffer, mediaType: string) => {
    const digest = `sha256:${createHash("sha256").update(bytes).digest("hex")}`;
    blobs.set(digest, bytes);
    return { mediaType, size: bytes.length, digest };
  };
  const { config, layers } = await readExport(exportedImage);
  const manifest = {
    schemaVersion: 2,
    mediaType: MANIFEST_TYPE,
    config: addBlob(config, "application/vnd.docker.container.image.v1+json"),
    layers: layers.map((layer) => addBlob(gzipSync(layer), "application/vnd.docker.image.rootfs.diff.tar.gzip")),
  };
  const { digest } = addBlob(Buffer.from(JSON.stringify(manifest)), MANIFEST_TYPE);

  const find = (url: string): Buffer | null => {
    if (url === "/v2/") return Buffer.from("{}");
    if (url === "/v2/tests/known/manifests/1") return blobs.get(digest) ?? null;
    return blobs.get(/^\/v2\/tests\/known\/(?:blobs|manifests)\/(sha256:\w+)$/.exec(url)?.[1] ?? "") ?? null;
  };
  const server = createServer((request, response) => {
    const url = request.url ?? "";
    const bytes = find(url);
    response.setHeader("docker-distribution-api-version", "registry/2.0");
    if (url.includes("/manifests/")) response.setHeader("content-type", MANIFEST_TYPE);
    response.writeHead(bytes === null ? 404 : 200);
    response.end(bytes ?? JSON.stringify({ errors: [{ code: "MANIFEST_UNKNOWN", message: "manifest unknown" }] }));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return { prefix: `127.0.0.1:${(server.address() as AddressInfo).port}/tests/`, close: () => server.close() };
}

/** An engine's export is a tar file with a table of contents. */
async function readExport(exported: NodeJS.ReadableStream): Promise<{ config: Buffer; layers: Buffer[] }> {
  const directory = await mkdtemp(join(tmpdir(), "capstan-image-"));
  const unpacking = promisify(execFile)("tar", ["-x", "-C", directory]);
  exported.pipe(unpacking.child.stdin as NodeJS.WritableStream);
  await unpacking;
  const read = (path: string) => readFile(join(directory, path));
  const [contents] = JSON.parse((await read("manifest.json")).toString()) as [{ Config: string; Layers: string[] }];
  const image = { config: await read(contents.Config), layers: await Promise.all(contents.Layers.map(read)) };
  await rm(directory, { recursive: true });
  return image;
}
