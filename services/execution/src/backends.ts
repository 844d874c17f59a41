/** The backends of this runner: one per engine, opened when first needed and kept. */
import { type AnyEnd, type Backend, BackendUnavailable } from "./backends/backend.ts";
import type { ProviderKind } from "./execution.ts";

/** An engine: its kind and where it listens; "" is the default of its kind. */
export interface Engine {
  readonly kind: ProviderKind;
  readonly endpoint: string;
}

export interface Backends {
  /** Throws {@link BackendUnavailable} when it cannot be opened; the next call tries again. */
  open(engine: Engine): Promise<Backend<AnyEnd>>;
  /** Those that are open. */
  opened(): Promise<readonly Backend<AnyEnd>[]>;
  /** Lets go of all that outlives a runner; it goes on. What is opened next knows of none and adopts what it is told to. */
  letGo(): Promise<void>;
  close(): Promise<void>;
}

export function createBackends(open: (engine: Engine) => Promise<Backend<AnyEnd>>): Backends {
  const byEngine = new Map<string, { readonly kind: ProviderKind; readonly backend: Promise<Backend<AnyEnd>> }>();

  async function closeThose(which: (kind: ProviderKind) => boolean): Promise<void> {
    const closing = [...byEngine].filter(([, { kind }]) => which(kind));
    for (const [key] of closing) byEngine.delete(key);
    // One that could not be opened has nothing to close.
    await Promise.allSettled(closing.map(([, { backend }]) => backend.then((opened) => opened.close())));
  }

  return {
    async opened() {
      const settled = await Promise.allSettled([...byEngine.values()].map(({ backend }) => backend));
      return settled.flatMap((each) => (each.status === "fulfilled" ? [each.value] : []));
    },
    open({ kind, endpoint }) {
      // Processes are this machine's, and workers those connected to it, whatever a provider says.
      const key = kind === "DOCKER" ? `${kind} ${endpoint}` : kind;
      const known = byEngine.get(key);
      if (known !== undefined) return known.backend;
      const backend = open({ kind, endpoint }).catch((error: unknown) => {
        byEngine.delete(key);
        throw new BackendUnavailable(error instanceof Error ? error.message : String(error));
      });
      byEngine.set(key, { kind, backend });
      return backend;
    },
    letGo: () => closeThose((kind) => kind !== "PROCESS"),
    close: () => closeThose(() => true),
  };
}
