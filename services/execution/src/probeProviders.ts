/**
 * Looks at every provider this runner could use and tells the provider context what it saw. Opens their backends on the way. One that
 * was just registered takes no work before its first probe: so whoever wakes the loop has only those probed whose turn has come.
 */
import type { PromiseClient } from "@capstan/grpc";
import type {
  HealthObservation,
  ProbeTarget,
  ProviderInternalServiceClient,
} from "@capstan/proto/capstan/provider/v1/provider_internal_service.ts";
import type { App, Loop } from "@capstan/service";
import type { Backends } from "./backends.ts";
import { providerKinds } from "./execution.ts";
import { fromKind } from "./executionProto.ts";

interface ProbeOptions {
  readonly app: Pick<App, "startLoop">;
  readonly backends: Backends;
  readonly providers: Pick<PromiseClient<ProviderInternalServiceClient>, "listProbeTargets" | "reportHealth">;
  readonly intervalMs: number;
  readonly timeoutMs: number;
}

const maxReport = 1_000;

export function startProbes({ app, backends, providers, intervalMs, timeoutMs }: ProbeOptions): Loop {
  const nextProbe = new Map<string, number>();
  return app.startLoop({
    name: "probe-providers",
    intervalMs,
    once: async (signal) => {
      const kinds = providerKinds.map((kind) => `PROVIDER_KIND_${kind}` as const);
      const { targets } = await providers.listProbeTargets({ kinds }, { signal });
      const now = performance.now();
      const due = targets.filter(({ providerId }) => (nextProbe.get(providerId) ?? 0) <= now);
      const observations = await Promise.all(due.map((target) => probe(target, backends, timeoutMs)));
      for (const { providerId } of due) nextProbe.set(providerId, now + intervalMs);
      for (let from = 0; from < observations.length; from += maxReport) {
        await providers.reportHealth({ observations: observations.slice(from, from + maxReport) }, { signal });
      }
    },
  });
}

async function probe(target: ProbeTarget, backends: Backends, timeoutMs: number): Promise<HealthObservation> {
  const { providerId, endpoint } = target;
  const kind = fromKind(target.kind);
  if (kind === null) return { providerId, isGood: false, message: "this runner does not drive this kind" };
  const timeout = AbortSignal.timeout(timeoutMs);
  try {
    const { version } = await orTimeout(
      backends.open({ kind, endpoint }).then((backend) => backend.probe(timeout)),
      timeout,
    );
    return { providerId, isGood: true, message: version };
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    return { providerId, isGood: false, message: timeout.aborted ? `no answer within ${timeoutMs} ms` : why };
  }
}

function orTimeout<T>(work: Promise<T>, timeout: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    timeout.addEventListener("abort", () => reject(timeout.reason), { once: true });
    work.then(resolve, reject);
  });
}
