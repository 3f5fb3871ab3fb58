// Which pages may use a gateway that lists them: in Chromium, over every
// transport. Hosts below localhost are this machine.

import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { patiently } from "../gateway.mjs";
import { browser } from "./chromium.mjs";
import { ownGateway } from "./own-gateway.mjs";

const PAGE = `<!doctype html><title>origins</title>
<script src="/socket.io.min.js"></script><script>
window.socketio = (url, transports) => new Promise((resolve) => {
  const socket = io(url, { transports, reconnection: false, withCredentials: transports[0] === "polling" });
  socket.on("connect", () => resolve("in"));
  socket.on("connect_error", () => resolve("out"));
});
window.plain = (url) => new Promise((resolve) => {
  const ws = new WebSocket(url.replace("http", "ws") + "/ws");
  ws.onopen = () => resolve("in");
  ws.onerror = () => resolve("out");
});
window.events = (url) => new Promise((resolve) => {
  const source = new EventSource(url + "/sse?channel=a");
  source.onopen = () => { source.close(); resolve("in"); };
  source.onerror = () => { source.close(); resolve("out"); };
});
// A header of its own: the browser asks beforehand.
window.asks = (url) => fetch(url + "/socket.io/?EIO=4&transport=polling", { headers: { "x-own": "1" } })
  .then((answer) => (answer.ok ? "in" : "out"), () => "out");
window.all = async (url) => ({
  polling: await socketio(url, ["polling"]),
  websocket: await socketio(url, ["websocket"]),
  plain: await plain(url),
  events: await events(url),
  asks: await asks(url),
});
</script>`;

describe("a gateway that lists web origins", () => {
  let chrome, gateway, url;

  before(async () => {
    chrome = await browser();
    const port = new URL(chrome.origin).port;
    const allowedOrigins = [`http://app.localhost:${port}`, `http://*.shop.localhost:${port}`];
    gateway = await ownGateway({ client: { allowedOrigins } });
    url = gateway.urls.client;
  });
  after(async () => {
    await gateway?.stop();
    await chrome?.close();
  });

  const everything = (word) => ({
    polling: word, websocket: word, plain: word, events: word, asks: word,
  });

  for (const [host, word] of [
    ["app.localhost", "in"],
    ["a.shop.localhost", "in"],
    ["a.b.shop.localhost", "in"],
    ["shop.localhost", "out"],
    ["other.localhost", "out"],
    ["app.localhost.other.localhost", "out"],
  ]) {
    it(`${word === "in" ? "lets in" : "refuses"} a page of ${host}`, async () => {
      const page = await chrome.page(PAGE, host);
      const got = await patiently("all transports", page.evaluate((url) => all(url), url));
      assert.deepEqual(got, everything(word));
      assert.deepEqual(await page.context().cookies(), []);
    });
  }

  it("refuses a page without an origin", async () => {
    const page = await chrome.page(PAGE, "app.localhost");
    // A sandboxed frame's origin is null.
    const got = await patiently("the frame", page.evaluate((url) => new Promise((resolve) => {
      addEventListener("message", (event) => resolve([event.origin, event.data]));
      const frame = document.createElement("iframe");
      frame.sandbox = "allow-scripts";
      frame.srcdoc = `<script>
        const ws = new WebSocket(${JSON.stringify(url.replace("http", "ws") + "/ws")});
        ws.onopen = () => parent.postMessage("in", "*");
        ws.onerror = () => parent.postMessage("out", "*");
      <` + `/script>`;
      document.body.append(frame);
    }), url));
    assert.deepEqual(got, ["null", "out"]);
  });
});
