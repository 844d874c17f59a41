/** Templates as messages and facts. */
import { type Fact, uuidv7 } from "@capstan/postgres";
import {
  type TemplateCounts,
  type Template as TemplateMessage,
  TemplateSpec,
} from "@capstan/proto/capstan/job/v1/template.ts";
import { TemplateEvent } from "@capstan/proto/capstan/job/v1/template_event.ts";
import { sortedJson } from "./jobProto.ts";
import { etagOf, type Template, type TemplateEventType } from "./template.ts";
import type { StateCount } from "./templateStore.ts";

export function templateMessage(template: Template, counts?: TemplateCounts): TemplateMessage {
  return {
    id: template.id,
    tenant: template.tenant,
    name: template.name,
    version: template.version,
    state: `TEMPLATE_STATE_${template.state}`,
    spec: template.spec,
    counts,
    createTime: template.createTime,
    updateTime: template.updateTime,
    publishTime: template.publishTime ?? undefined,
    etag: etagOf(template),
  };
}

/** The counts of one version among those of several. */
export function countsOf(counts: readonly StateCount[], version: number): TemplateCounts {
  const ofVersion = counts.filter((count) => count.version === version);
  const ended = (state: string) => ofVersion.find((count) => count.state === state)?.jobs ?? 0;
  return {
    runs: ofVersion.reduce((sum, { jobs }) => sum + jobs, 0),
    succeeded: ended("SUCCEEDED"),
    failed: ended("FAILED"),
    cancelled: ended("CANCELLED"),
    timedOut: ended("TIMED_OUT"),
  };
}

export function isSameTemplate(one: TemplateSpec, other: TemplateSpec): boolean {
  return sortedJson(TemplateSpec.toJSON(one)) === sortedJson(TemplateSpec.toJSON(other));
}

export function templateFact(
  { id, tenant, name, version, state }: Template,
  event: TemplateEventType,
  sequence: number,
  traceparent: string | null,
): Fact {
  return {
    id: uuidv7(),
    tenant,
    noun: "template",
    event,
    aggregateId: id,
    sequence,
    correlationId: "",
    causationId: "",
    traceparent,
    data: TemplateEvent.toJSON({ templateId: id, name, version, state: `TEMPLATE_STATE_${state}` }) as object,
  };
}
