/** Ports of the embedded servers. All of them listen on loopback only. */
import { createServer } from "node:net";
import { DomainError } from "@capstan/errors";

export const loopback = "127.0.0.1";

/** Gives back the port if nothing listens on it, and a free one for 0; refuses a port that is taken, naming it. */
export async function claimPort(port: number, user: string): Promise<number> {
  const probe = createServer();
  try {
    return await new Promise<number>((resolve, reject) => {
      probe.once("error", reject);
      probe.listen(port, loopback, () => {
        const address = probe.address();
        resolve(typeof address === "object" && address !== null ? address.port : port);
      });
    });
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code !== "EADDRINUSE" && code !== "EACCES") throw error;
    const why = code === "EACCES" ? "may not be opened by this user" : "is already in use";
    throw new DomainError({
      code: "FAILED_PRECONDITION",
      reason: "ADDRESS_IN_USE",
      message: `${user} cannot listen on ${loopback}:${port}: the port ${why}`,
      metadata: { address: `${loopback}:${port}` },
    });
  } finally {
    probe.close();
  }
}
