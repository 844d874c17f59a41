/**
 * A fact on its way to live clients. It comes from a stream or out of the log, looks the same either way, and is written out once,
 * however many clients get it: most facts that go by are wanted by nobody, so that nothing of them is read before somebody asks.
 */
import type { StreamedFact, StreamPlace } from "@capstan/messaging";
import type { LoggedJobEvent } from "@capstan/proto/capstan/job/v1/job_internal_service.ts";

/** What a filter looks at, of the data of a fact. */
interface EventData {
  readonly state?: unknown;
  readonly queue?: unknown;
  readonly labels?: unknown;
}

/** Where an event comes from, and how its parts are read. */
interface Source {
  attribute(name: Attribute): string;
  readonly json: string;
}

type Attribute = "id" | "time" | "sequence" | "correlationid" | "causationid" | "traceparent" | "tenant";

export class LiveEvent {
  readonly context: string;
  readonly noun: string;
  readonly event: string;
  /** Id of the aggregate. */
  readonly subject: string;
  /** Null out of the log. */
  readonly place: StreamPlace | null;
  /** It was given out before: its stream was lost, and what it held is published again. */
  isRepeated = false;
  readonly #source: Source;
  #json: string | null = null;
  #data: EventData | null = null;
  readonly #frames = new Map<string, Buffer>();

  constructor(
    known: Pick<LiveEvent, "context" | "noun" | "event" | "subject"> & { readonly place: StreamPlace | null },
    source: Source,
  ) {
    this.context = known.context;
    this.noun = known.noun;
    this.event = known.event;
    this.subject = known.subject;
    this.place = known.place;
    this.#source = source;
  }

  /** Number within its aggregate; 0 if it says none. */
  get sequence(): number {
    return Number.parseInt(this.#source.attribute("sequence"), 10) || 0;
  }

  /** Milliseconds since 1970. */
  get time(): number {
    return Date.parse(this.#source.attribute("time"));
  }

  /** The job it belongs to, or "". */
  get jobId(): string {
    return this.context === "job" ? this.subject : this.#source.attribute("correlationid");
  }

  get data(): EventData {
    this.#data ??= readData(this.#source.json);
    return this.#data;
  }

  /** True if it is the last of its job, if it is of one. */
  get endsJob(): boolean {
    return this.context === "job" && this.noun === "job" && endsOfJob.has(this.event);
  }

  /** The CloudEvent in its JSON format. */
  get json(): string {
    this.#json ??= this.#write();
    return this.#json;
  }

  /** `make` is asked once for each key: clients that get the same bytes share them. */
  frame(key: string, make: (json: string) => string): Buffer {
    const known = this.#frames.get(key);
    if (known !== undefined) return known;
    const frame = Buffer.from(make(this.json));
    if (this.#frames.size < maxFrames) this.#frames.set(key, frame);
    return frame;
  }

  #write(): string {
    const read = (name: Attribute) => JSON.stringify(this.#source.attribute(name));
    const traceparent = this.#source.attribute("traceparent");
    const { json } = this.#source;
    const isReadable = (this.#data ?? readData(json)) !== unreadable;
    return (
      `{"specversion":"1.0","id":${read("id")},"source":"/capstan/${this.context}",` +
      `"type":${JSON.stringify(`capstan.${this.context}.v1.${this.noun}.${this.event}`)},"subject":${JSON.stringify(this.subject)},"time":${read("time")},` +
      `"datacontenttype":"application/json","tenant":${read("tenant")},"sequence":${this.sequence},` +
      `"correlationid":${JSON.stringify(this.jobId)},"causationid":${read("causationid")},` +
      `${traceparent === "" ? "" : `"traceparent":${JSON.stringify(traceparent)},`}${isReadable ? `"data":${oneLine(json)}` : '"data":{}'}}`
    );
  }
}

/** Of a fact that is garbled: it must not break what is told beside it. The orchestrator sets such a one aside, and says so. */
const unreadable: EventData = {};

function readData(json: string): EventData {
  try {
    const data: unknown = JSON.parse(json);
    return typeof data === "object" && data !== null ? data : unreadable;
  } catch {
    return unreadable;
  }
}

const endsOfJob = new Set(["succeeded", "failed", "cancelled", "timed_out"]);
/** Subscriptions are mostly called alike. */
const maxFrames = 16;

/** A line break in JSON is white space between its parts, and would end a line of an SSE stream. */
function oneLine(json: string): string {
  return /[\r\n]/.test(json) ? json.replaceAll(/[\r\n]+/g, " ") : json;
}

export function eventOfFact(fact: StreamedFact): LiveEvent {
  const { context, noun, event, aggregateId, place } = fact;
  return new LiveEvent({ context, noun, event, subject: aggregateId, place }, fact);
}

/** The same event out of the log of the job context. */
export function eventOfLog(jobId: string, tenant: string, logged: LoggedJobEvent): LiveEvent {
  const [, , , noun = "", event = ""] = logged.type.split(".");
  const attributes: Record<Attribute, string> = {
    id: logged.id,
    time: (logged.time ?? new Date(0)).toISOString(),
    sequence: String(logged.sequence),
    correlationid: jobId,
    causationid: logged.causationId,
    traceparent: logged.traceparent,
    tenant,
  };
  const source = { attribute: (name: Attribute) => attributes[name], json: logged.dataJson };
  return new LiveEvent({ context: "job", noun, event, subject: jobId, place: null }, source);
}
