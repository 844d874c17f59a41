/** The log: JSON lines, one event each, on stdout; a program that prints results there logs to stderr instead. */
import { type Logger, pino } from "pino";

export type { Logger };

// Names that must never be logged with their value, at the top of the fields and one level down.
const secrets = [
  "password",
  "secret",
  "token",
  "apiKey",
  "authorization",
  "databaseUrl",
  "natsUrl",
  "connectionString",
];

/** `level` is the least severe that is written. Errors belong under the key `err`. */
export function createLogger(name: string, level: string, destination: "stdout" | "stderr" = "stdout"): Logger {
  return pino(
    {
      level,
      base: { service: name },
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
      redact: { paths: secrets.flatMap((secret) => [secret, `*.${secret}`]), censor: "[redacted]" },
    },
    pino.destination({ fd: destination === "stdout" ? 1 : 2, sync: true }),
  );
}
