import { expect, test } from "vitest";
import { explainPull } from "./dockerImage.ts";

// As engines 20.10 to 28 say it.
const said = [
  ["manifest for busybox:nope not found: manifest unknown: manifest unknown", "IMAGE_NOT_FOUND"],
  ["pull access denied for nobody/x, repository does not exist or may require 'docker login'", "IMAGE_NOT_FOUND"],
  ["invalid reference format: repository name must be lowercase", "IMAGE_NOT_FOUND"],
  [
    'Get "https://images.invalid/v2/": dial tcp: lookup images.invalid on 10.0.0.2:53: no such host',
    "IMAGE_PULL_FAILED",
  ],
  ['Get "https://10.1.2.3/v2/": dial tcp 10.1.2.3:443: connect: connection refused', "IMAGE_PULL_FAILED"],
  ["Head https://10.1.2.3/v2/x/manifests/1: unauthorized: authentication required", "IMAGE_PULL_FAILED"],
  ["toomanyrequests: You have reached your pull rate limit", "IMAGE_PULL_FAILED"],
  ["write /var/lib/docker/tmp/GetImageBlob1: no space left on device", "IMAGE_PULL_FAILED"],
  ["something nobody has seen yet at /var/lib/docker on 10.9.9.9", "IMAGE_PULL_FAILED"],
] as const;

test.each(said)("%s", (message, reason) => {
  const refusal = explainPull("me/mine:1", message);
  expect(refusal.reason).toBe(reason);
  expect(refusal.message).toContain("me/mine:1");
  expect(refusal.message).not.toMatch(/\d+\.\d+\.\d+\.\d+|registry\.invalid|\/var/);
});
