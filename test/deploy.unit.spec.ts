/** What deploy/ and docker-compose.yml say, held against the code: a set-up that is wrong is otherwise found by its first user. */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { describe, expect, it, test } from "vitest";
import { parse } from "yaml";
import { configSchema as executionConfig } from "../services/execution/src/config.ts";
import { configSchema as gatewayConfig } from "../services/gateway/src/config.ts";
import { configSchema as jobConfig } from "../services/job/src/config.ts";
import { configSchema as orchestratorConfig } from "../services/orchestrator/src/config.ts";
import { configSchema as providerConfig } from "../services/provider/src/config.ts";

const root = new URL("../", import.meta.url);
const read = (path: string) => readFileSync(new URL(path, root), "utf8");

interface ComposeService {
  readonly image?: string;
  readonly build?: { readonly dockerfile: string; readonly args: { readonly SERVICE: string } };
  readonly environment?: Readonly<Record<string, string>>;
  readonly ports?: readonly string[];
  readonly healthcheck?: object;
  readonly depends_on?: Readonly<Record<string, { readonly condition: string }>>;
}

const { services } = parse(read("docker-compose.yml"), { merge: true }) as {
  readonly services: Readonly<Record<string, ComposeService>>;
};
const schemas = {
  job: jobConfig,
  provider: providerConfig,
  execution: executionConfig,
  orchestrator: orchestratorConfig,
  gateway: gatewayConfig,
};
const names = Object.keys(schemas) as (keyof typeof schemas)[];

function composeService(name: string): ComposeService {
  const service = services[name];
  if (service === undefined) throw new Error(`docker-compose.yml has no service ${name}`);
  return service;
}

/** `${NAME:-default}` with its default, as compose puts it in when nothing is set. */
function withDefaults(value: string): string {
  return value.replaceAll(/\$\{\w+:-([^}]*)\}/g, "$1");
}

/** Where a service listens: gRPC, health, and HTTP if it has that. */
function portsOf(config: object): readonly string[] {
  const own = ["CAPSTAN_GRPC_ADDRESS", "CAPSTAN_HEALTH_ADDRESS", "CAPSTAN_HTTP_ADDRESS"];
  const addresses = new Map<string, string>(Object.entries(config));
  return own.flatMap((name) => addresses.get(name) ?? []).map(portOf);
}

function portOf(address: string): string {
  return address.slice(address.lastIndexOf(":") + 1);
}

test("docker-compose.yml has every service of services/ but standalone", () => {
  const all = readdirSync(new URL("services/", root)).filter((name) =>
    existsSync(new URL(`services/${name}/src/main.ts`, root)),
  );
  expect(all.filter((name) => name !== "standalone").sort()).toEqual([...names].sort());
  expect(Object.keys(services)).toEqual(expect.arrayContaining([...names, "postgres", "nats", "migrate"]));
});

describe.each(names)("%s in docker-compose.yml", (name) => {
  const schema = schemas[name];
  const { environment = {}, ports = [], build, healthcheck, depends_on: dependencies = {} } = composeService(name);
  const config = schema.parse(
    Object.fromEntries(Object.entries(environment).map(([key, text]) => [key, withDefaults(text)])),
  );
  const defaults = schema.parse({ CAPSTAN_DATABASE_URL: "postgres://u:p@h/d" });

  it("sets only variables that the service knows", () => {
    expect(Object.keys(schema.shape)).toEqual(expect.arrayContaining(Object.keys(environment)));
  });

  it("listens on its default ports, published on loopback only", () => {
    const listening = portsOf(config);
    expect(listening).toEqual(portsOf(defaults));
    expect(ports).toEqual(listening.map((port) => `127.0.0.1:${port}:${port}`));
  });

  it("finds the other services where they listen", () => {
    const peers = Object.entries(config).filter(([key]) =>
      /^CAPSTAN_(JOB|PROVIDER|EXECUTION|ORCHESTRATOR)_ADDRESS$/.test(key),
    );
    for (const [key, address] of peers) {
      const peer = key.split("_")[1]?.toLowerCase() as keyof typeof schemas;
      const { CAPSTAN_GRPC_ADDRESS } = schemas[peer].parse({ CAPSTAN_DATABASE_URL: "postgres://u:p@h/d" });
      expect(address).toBe(`${peer}:${portOf(CAPSTAN_GRPC_ADDRESS)}`);
      // The gateway answers for what is up, and starts without the others.
      if (name !== "gateway") expect(Object.keys(dependencies).concat(name)).toContain(peer);
    }
  });

  it("uses the role that the migrations make for it, with the same password", () => {
    const password = composeService("migrate").environment?.[`CAPSTAN_DATABASE_PASSWORD_${name.toUpperCase()}`];
    expect(environment["CAPSTAN_DATABASE_URL"]).toBe(`postgres://capstan_${name}:${password}@postgres:5432/capstan`);
  });

  it("is built for this service, checked for health, and waits until the others are well", () => {
    expect(build).toMatchObject({ dockerfile: "deploy/docker/Dockerfile", args: { SERVICE: name } });
    expect(healthcheck).toBeDefined();
    expect(dependencies["migrate"]?.condition).toBe("service_completed_successfully");
    const { migrate: _, ...running } = dependencies;
    for (const [dependency, { condition }] of Object.entries(running)) {
      expect(condition).toBe("service_healthy");
      expect(composeService(dependency).healthcheck).toBeDefined();
    }
  });
});

test("no password is written into docker-compose.yml but as the development default of a variable", () => {
  const values = Object.values(services).flatMap(({ environment = {} }) => Object.entries(environment));
  const passwords = values.flatMap(([key, value]) => {
    const inUrl = /:\/\/[^:/]+:(.*)@/.exec(value)?.[1];
    return inUrl ?? (/PASSWORD|SECRET|TOKEN/.test(key) ? value : []);
  });
  expect(passwords.length).toBeGreaterThan(0);
  for (const password of passwords) expect(password).toMatch(/^\$\{CAPSTAN_\w+:-development-only\}$/);
});

test("images are named plainly, without a registry", () => {
  const images = Object.values(services).flatMap(({ image = [] }) => image);
  const bases = [...read("deploy/docker/Dockerfile").matchAll(/^FROM (\S+)/gm)].map(([, image = ""]) => image);
  for (const image of [...images, ...bases]) expect(image).toMatch(/^[a-z]+:[\w.-]+$/);
});

describe("the Dockerfile", () => {
  const lines = read("deploy/docker/Dockerfile").split("\n");
  const copied = lines
    .filter((line) => line.startsWith("COPY ") && !line.includes("--from="))
    .flatMap((line) => line.split(" ").slice(1, -1));
  const ignored = read(".dockerignore").split("\n");

  it("copies only what exists and is let in by .dockerignore", () => {
    for (const path of copied) {
      expect(existsSync(new URL(path, root)), path).toBe(true);
      expect(ignored, path).toContain(`!${path.split("/")[0]}`);
    }
  });

  it("copies the manifest of every workspace before it installs", () => {
    const { workspaces } = JSON.parse(read("package.json")) as { workspaces: string[] };
    const folders = workspaces.flatMap((pattern) =>
      pattern.endsWith("/*")
        ? readdirSync(new URL(pattern.slice(0, -1), root)).map((name) => pattern.replace("*", name))
        : [pattern],
    );
    expect(copied.filter((path) => path.includes("/")).sort()).toEqual(
      folders.map((folder) => `${folder}/package.json`).sort(),
    );
  });

  it("installs for every service that compose runs", () => {
    for (const name of names) expect(lines.join("\n")).toContain(`--workspace=services/${name}`);
  });

  it("does not run as root", () => {
    expect(lines).toContain("USER node");
  });
});
