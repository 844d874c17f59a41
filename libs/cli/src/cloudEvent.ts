/** Facts on NATS as CloudEvents, for printing and choosing. Lenient: a tail must show what is there, not judge it. Pure. */

/** The JSON format of CloudEvents 1.0. Null stands for attributes that the message does not have. */
export interface CloudEvent {
  readonly specversion: string;
  readonly id: string;
  readonly source: string;
  readonly type: string;
  /** The aggregate's id. */
  readonly subject: string;
  readonly time: string;
  readonly datacontenttype: string;
  readonly tenant: string;
  readonly sequence: number;
  /** The job, or "". */
  readonly correlationid: string;
  readonly causationid: string;
  readonly data: unknown;
}

/** Where the headers of a message are looked up; "" for one that is not there. */
export interface Headers {
  get(name: string): string;
}

function parseData(data: Uint8Array): unknown {
  const text = Buffer.from(data).toString();
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

/** A message in NATS binary mode: `ce-` headers and the data as body. */
export function toCloudEvent(headers: Headers, data: Uint8Array): CloudEvent {
  const attribute = (name: string) => headers.get(`ce-${name}`);
  return {
    specversion: attribute("specversion"),
    id: attribute("id"),
    source: attribute("source"),
    type: attribute("type"),
    subject: attribute("subject"),
    time: attribute("time"),
    datacontenttype: attribute("datacontenttype"),
    tenant: attribute("tenant"),
    sequence: Number(attribute("sequence")),
    correlationid: attribute("correlationid"),
    causationid: attribute("causationid"),
    data: parseData(data),
  };
}

export interface EventChoice {
  /** A type, whole or from the noun on, with `*` for any part: `job.*`, `capstan.execution.v1.execution.failed`. */
  readonly type?: string | undefined;
  /** Only facts about this job, of whichever context. */
  readonly job?: string | undefined;
}

function typeMatches(type: string, pattern: string): boolean {
  const expression = pattern
    .split("*")
    .map((part) => part.replaceAll(/[^\w-]/g, "\\$&"))
    .join(".*");
  return new RegExp(`^(capstan\\.[a-z]+\\.v1\\.)?${expression}$`).test(type);
}

/** True if the event is wanted. */
export function isChosen(event: CloudEvent, { type, job }: EventChoice): boolean {
  if (type !== undefined && !typeMatches(event.type, type)) return false;
  return job === undefined || event.correlationid === job || event.subject === job;
}
