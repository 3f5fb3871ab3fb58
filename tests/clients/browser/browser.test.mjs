// A page in Chromium with the official client's own bundle, and with the
// browser's EventSource and WebSocket. The page has another origin than the
// gateway, so every answer must allow that (CORS).

import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { API_URL, CLIENT_URL, cable, channel, patiently, publish } from "../gateway.mjs";
import { browser } from "./chromium.mjs";

const SOCKETIO = `<!doctype html><title>socket.io</title>
<script src="/socket.io.min.js"></script><script>
window.got = [];
window.start = (url, options, name) => new Promise((resolve, reject) => {
  window.socket = io(url, { reconnectionDelay: 50, reconnectionDelayMax: 100, ...options });
  socket.on("connect_error", (error) => reject(error.message));
  socket.on("e", (data) => got.push(data instanceof ArrayBuffer ? [...new Uint8Array(data)] : data));
  socket.once("connect", async () => resolve(await socket.emitWithAck("push:subscribe", name)));
});
</script>`;

const PLAIN = `<!doctype html><title>plain</title><script>
window.got = [];
window.events = (url) => new Promise((resolve) => {
  window.source = new EventSource(url);
  source.onopen = () => resolve(true);
  source.addEventListener("e", (event) => got.push([event.lastEventId, JSON.parse(event.data)]));
});
window.plain = (url, name) => new Promise((resolve) => {
  window.ws = new WebSocket(url);
  ws.onopen = () => ws.send(JSON.stringify({ id: 1, subscribe: { channel: name } }));
  ws.onmessage = (message) => {
    const frame = JSON.parse(message.data);
    if (frame.id === 1) resolve(frame);
    else if (frame.channel) got.push(frame);
  };
});
</script>`;

describe("a page in Chromium", () => {
  let chrome;
  before(async () => (chrome = await browser()));
  after(() => chrome?.close());

  /** Waits until the page has got so much; all of it. */
  async function got(page, count) {
    await patiently(`${count} on the page`, page.waitForFunction((n) => got.length >= n, count));
    return page.evaluate(() => got);
  }

  const ways = { polling: ["polling"], websocket: ["websocket"], upgrade: ["polling", "websocket"] };
  for (const [way, transports] of Object.entries(ways)) {
    it(`gets what is published over socket.io, ${way}`, async () => {
      const page = await chrome.page(SOCKETIO);
      const name = channel();
      const ack = await page.evaluate(
        ([url, options, name]) => start(url, options, name),
        [CLIENT_URL, { transports }, name],
      );
      assert.equal(ack.ok, true, JSON.stringify(ack));
      for (const data of ["ünï 🚀", { a: [1] }, { base64: "AQID" }]) {
        await publish({ channel: name, event: "e", data });
      }
      assert.deepEqual(await got(page, 3), ["ünï 🚀", { a: [1] }, [1, 2, 3]]);
      if (way === "upgrade") {
        await page.waitForFunction(() => socket.io.engine.transport.name === "websocket");
      }
      assert.deepEqual(page.problems, []);
    });

    it(`recovers over socket.io, ${way}`, async () => {
      const page = await chrome.page(SOCKETIO);
      const name = channel("log.");
      await page.evaluate(
        ([url, options, name]) => start(url, options, name),
        [CLIENT_URL, { transports }, name],
      );
      await publish({ channel: name, event: "e", data: 0 });
      await got(page, 1);
      await page.evaluate(
        () =>
          new Promise((resolve) => {
            socket.once("disconnect", resolve);
            socket.io.engine.close();
          }),
      );
      await publish({ channel: name, event: "e", data: 1 });
      await publish({ channel: name, event: "e", data: 2 });
      assert.deepEqual(await got(page, 3), [0, 1, 2]);
      assert.equal(await page.evaluate(() => socket.recovered), true);
    });
  }

  it("gets what is published over EventSource", async () => {
    const page = await chrome.page(PLAIN);
    const name = channel("log.");
    await page.evaluate((url) => events(url), `${CLIENT_URL}/sse?channel=${name}`);
    const { offset } = await publish({ channel: name, event: "e", data: "ünï\n🚀" });
    assert.deepEqual(await got(page, 1), [[offset, { channel: name, data: "ünï\n🚀" }]]);
    assert.deepEqual(page.problems, []);
  });

  it("gets what is published over its own WebSocket", async () => {
    const page = await chrome.page(PLAIN);
    const name = channel();
    const url = `${CLIENT_URL.replace("http", "ws")}/ws`;
    const answer = await page.evaluate(([url, name]) => plain(url, name), [url, name]);
    assert.equal(answer.ok.channel, name, JSON.stringify(answer));
    await publish({ channel: name, event: "e", data: 1 });
    assert.deepEqual(await got(page, 1), [{ channel: name, event: "e", data: 1 }]);
    assert.deepEqual(page.problems, []);
  });

  it("misses nothing over EventSource when its connection is lost", async () => {
    const page = await chrome.page(PLAIN);
    const name = channel("log.");
    const wire = await cable();
    try {
      await page.evaluate((url) => events(url), `${wire.url}/sse?channel=${name}`);
      await publish({ channel: name, event: "e", data: 0 });
      await got(page, 1);
      for (const round of [1, 3]) {
        wire.cut();
        await publish({ channel: name, event: "e", data: round });
        await publish({ channel: name, event: "e", data: round + 1 });
        await got(page, round + 2);
      }
      const data = (await got(page, 5)).map(([, { data }]) => data);
      assert.deepEqual(data, [0, 1, 2, 3, 4]);
    } finally {
      wire.unplug();
    }
  });

  it("can subscribe and publish on the gateway's own page", async () => {
    const page = await chrome.page("<!doctype html>");
    const response = await page.goto(`${API_URL}/`);
    assert.equal(response.status(), 200);
    assert.notEqual((await page.title()).trim(), "");
    const name = channel();
    await page.fill("#sub-channel", name);
    await page.click("#subscribe button");
    await page.waitForFunction((name) => document.body.innerText.includes(name), name);
    await patiently("a subscriber", (async () => {
      for (;;) {
        const reply = await fetch(`${API_URL}/v1/channels/${name}`);
        if ((await reply.json()).subscribers === 1) return;
      }
    })());
    await page.fill("#pub-channel", name);
    await page.fill("#data", '{"text": "from the page"}');
    await page.click("#publish button");
    await page.waitForFunction(() => {
      return document.querySelector("#events").innerText.includes("from the page");
    });
    // And what an app publishes shows up, as text and never as HTML.
    await publish({ channel: name, event: "<b>e</b>", data: "<img src=x onerror=alert(1)>" });
    await page.waitForFunction(() => {
      return document.querySelector("#events").innerText.includes("<img src=x");
    });
    assert.equal(await page.locator("#events img").count(), 0);
    assert.deepEqual(page.problems, []);
  });
});
