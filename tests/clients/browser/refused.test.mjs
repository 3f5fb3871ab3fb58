// What a browser's EventSource does when the gateway has no room for it just
// now: at any answer but 200 it would stay away for good.

import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { patiently } from "../gateway.mjs";
import { browser } from "./chromium.mjs";
import { ownGateway } from "./own-gateway.mjs";

const PAGE = `<!doctype html><title>refused</title><script>
window.told = [];
window.got = [];
window.events = (url) => {
  window.source = new EventSource(url + "/sse?channel=a");
  // The browser's own errors have the same name, and no data.
  source.addEventListener("push:error", (event) => told.push(JSON.parse(event.data).code));
  source.addEventListener("e", (event) => got.push(JSON.parse(event.data).data));
};
</script>`;

describe("a gateway that is full", () => {
  let chrome, gateway, urls;

  before(async () => {
    chrome = await browser();
    gateway = await ownGateway({ limits: { connections: 1 } });
    ({ urls } = gateway);
  });
  after(async () => {
    await gateway?.stop();
    await chrome?.close();
  });

  it("lets an EventSource in when there is room again", async () => {
    const place = new AbortController();
    const held = await fetch(`${urls.client}/sse?channel=a`, { signal: place.signal });
    assert.equal(held.status, 200);
    const page = await chrome.page(PAGE);
    await page.evaluate((url) => events(url), urls.client);
    await patiently("the refusal", page.waitForFunction(() => told.length > 0));
    assert.deepEqual(await page.evaluate(() => told), ["limit_connections"]);
    place.abort();
    await patiently("the page's return", (async () => {
      while ((await page.evaluate(() => got)).length === 0) {
        await fetch(`${urls.api}/v1/publish`, {
          method: "POST",
          headers: { "content-type": "application/json" },
          body: JSON.stringify({ channel: "a", event: "e", data: 1 }),
        });
        await new Promise((over) => setTimeout(over, 100));
      }
    })());
    assert.deepEqual(page.problems, []);
  });
});
