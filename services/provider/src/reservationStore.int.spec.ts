import { afterAll, beforeAll, expect, test } from "vitest";
import { listLive } from "./reservationStore.ts";
import { idsOf, requests, startTestService, type TestService } from "./startTestService.ts";

let service: TestService;

beforeAll(async () => {
  service = await startTestService();
});
afterAll(() => service.stop());

test("who reads the live reservations page by page comes to each of them, and to none that has ended", async () => {
  await service.ready("local", 10);
  const held = requests(7);
  await service.orchestrator.reserveCapacity({ requests: held, validateOnly: false });
  const [released = "", ...live] = idsOf(held).sort();
  await service.orchestrator.releaseReservations({ reservationIds: [released] });
  const pages: (readonly string[])[] = [];
  for (let afterId = "00000000-0000-0000-0000-000000000000"; pages.at(-1)?.length !== 0; ) {
    const page = await listLive(service.pool, 0, afterId, 4);
    pages.push(page);
    afterId = page.at(-1) ?? afterId;
  }
  expect(pages).toEqual([live.slice(0, 4), live.slice(4), []]);
  const all = { minAge: { seconds: 0, nanos: 0 }, pageToken: "" };
  expect(await service.orchestrator.listLiveReservations(all)).toEqual({ reservationIds: live, nextPageToken: "" });
  expect(await listLive(service.pool, 3_600_000, "00000000-0000-0000-0000-000000000000", 4)).toEqual([]);
});
