// The official client, `ws` and the browser's `fetch`, all over TLS. Node
// trusts the authority in NODE_EXTRA_CA_CERTS.

import assert from "node:assert/strict";
import { io } from "socket.io-client";
import WebSocket from "ws";
import { API_URL, CLIENT_URL, channel, once, patiently, publish } from "./gateway.mjs";

assert.match(CLIENT_URL, /^https:/);
assert.match(API_URL, /^https:/);
const name = channel("log.");

const ways = { polling: ["polling"], websocket: ["websocket"], upgrade: ["polling", "websocket"] };
const sockets = [];
for (const [way, transports] of Object.entries(ways)) {
  const socket = io(CLIENT_URL, { transports, forceNew: true });
  socket.got = [];
  socket.on("e", (data) => socket.got.push(data));
  socket.once("connect_error", (error) => assert.fail(`${way}: ${error}`));
  // The upgrade may be done in the moment of the connect event itself.
  const ready = [once(socket, "connect")];
  if (way === "upgrade") ready.push(once(socket.io.engine, "upgrade"));
  await Promise.all(ready);
  const ack = await patiently("the ack", socket.emitWithAck("push:subscribe", name));
  assert.equal(ack.ok, true);
  sockets.push(socket);
}

const plain = new WebSocket(`${CLIENT_URL.replace("http", "ws")}/ws`);
await once(plain, "open");
plain.got = [];
plain.on("message", (text) => {
  const frame = JSON.parse(text);
  if (frame.channel) plain.got.push(frame.data);
});
plain.send(JSON.stringify({ id: 1, subscribe: { channel: name } }));
await once(plain, "message");

const stream = await fetch(`${CLIENT_URL}/sse?channel=${name}`);
assert.equal(stream.status, 200);
assert.equal(stream.headers.get("set-cookie"), null);

const large = "x".repeat(200_000);
for (const data of [1, large, { a: [2] }]) await publish({ channel: name, event: "e", data });
for (const client of [...sockets, plain]) {
  await patiently("three publications", (async () => {
    while (client.got.length < 3) await new Promise((resolve) => setTimeout(resolve, 20));
  })());
  assert.deepEqual(client.got, [1, large, { a: [2] }]);
}
let text = "";
const decoder = new TextDecoder();
const reader = stream.body.getReader();
while (!text.includes('{"a":[2]}')) {
  text += decoder.decode((await patiently("an event", reader.read())).value, { stream: true });
}
assert.ok(text.includes(large));
console.log("all clients are served over TLS");
process.exit(0);
