// The official socket.io-client under Node: polling only, WebSocket only, and
// as it comes (polling, then an upgrade).

import assert from "node:assert/strict";
import { after, describe, it } from "node:test";
import { io } from "socket.io-client";
import { CLIENT_URL, channel, once, patiently, publish } from "../gateway.mjs";

const WAYS = {
  polling: { transports: ["polling"] },
  websocket: { transports: ["websocket"] },
  upgrade: {},
};

for (const [way, options] of Object.entries(WAYS)) {
  describe(`socket.io-client, ${way}`, () => {
    const sockets = [];

    async function connect(more = {}, namespace = "") {
      const socket = io(`${CLIENT_URL}${namespace}`, {
        forceNew: true,
        reconnectionDelay: 50,
        reconnectionDelayMax: 100,
        ...options,
        ...more,
      });
      sockets.push(socket);
      await once(socket, "connect");
      return socket;
    }

    async function subscribe(socket, argument) {
      const ack = await socket.timeout(20_000).emitWithAck("push:subscribe", argument);
      assert.equal(ack.ok, true, JSON.stringify(ack));
      return ack;
    }

    after(() => sockets.forEach((socket) => socket.disconnect()));

    it("connects over the transport that was asked for", async () => {
      const socket = await connect();
      const { engine } = socket.io;
      if (way === "upgrade") {
        if (engine.transport.name !== "websocket") {
          await patiently("upgrade", new Promise((resolve) => engine.once("upgrade", resolve)));
        }
        assert.equal(engine.transport.name, "websocket");
      } else {
        assert.equal(engine.transport.name, way);
      }
      assert.match(socket.id, /^\S{10,}$/);
      assert.equal(socket.recovered, false);
    });

    it("gets text of every kind", async () => {
      const socket = await connect();
      const name = channel();
      await subscribe(socket, name);
      const values = ["text", "ünï 🚀 \u2028", "", 17, 1.5, true, null, [1, [2]], { a: { b: [] } }];
      const got = [];
      const all = new Promise((resolve) => {
        socket.on("value", (value) => got.push(value) === values.length && resolve());
      });
      for (const data of values) await publish({ channel: name, event: "value", data });
      await patiently("all values", all);
      assert.deepEqual(got, values);
    });

    it("gets several arguments", async () => {
      const socket = await connect({ query: { recovery: "0" } });
      const name = channel();
      await subscribe(socket, name);
      const event = once(socket, "several");
      await publish({ channel: name, event: "several", args: [1, "two", { three: 3 }] });
      assert.deepEqual(await event, [1, "two", { three: 3 }]);
    });

    it("gets and sends bytes", async () => {
      const reader = await connect();
      const writer = await connect();
      const name = channel();
      await subscribe(reader, name);
      let event = once(reader, "bytes");
      await publish({ channel: name, event: "bytes", data: { base64: "AQIDBA==" } });
      assert.deepEqual([...(await event)[0]], [1, 2, 3, 4]);
      event = once(reader, "bytes");
      const bytes = Buffer.from(Array.from({ length: 70_000 }, (_, index) => index % 256));
      const message = { channel: name, event: "bytes", data: bytes };
      const ack = await writer.timeout(20_000).emitWithAck("push:publish", message);
      assert.equal(ack.ok, true, JSON.stringify(ack));
      assert.ok(bytes.equals(Buffer.from((await event)[0])));
    });

    it("gets acks, and errors by ack", async () => {
      const socket = await connect();
      const ack = await socket.timeout(20_000).emitWithAck("push:subscribe", "");
      assert.equal(ack.error.code, "channel_invalid");
      const none = await socket.timeout(20_000).emitWithAck("nobody handles this", { a: 1 });
      assert.equal(none.error.code, "no_handler");
      const binary = await socket.timeout(20_000).emitWithAck("nobody", Buffer.from([1, 2]));
      assert.equal(binary.error.code, "no_handler");
      // What needs no ack gets none.
      socket.emit("nobody handles this");
      await subscribe(socket, channel());
    });

    it("keeps the order of a thousand", async () => {
      const socket = await connect();
      const name = channel("log.");
      await subscribe(socket, name);
      const got = [];
      const all = new Promise((resolve) => {
        socket.on("n", (number) => got.push(number) === 1000 && resolve());
      });
      for (let start = 0; start < 1000; start += 100) {
        const list = Array.from({ length: 100 }, (_, index) => start + index);
        await Promise.all([publishAll(name, list)]);
      }
      await patiently("all of them", all);
      assert.deepEqual(got, Array.from({ length: 1000 }, (_, index) => index));
    });

    async function publishAll(name, numbers) {
      for (const data of numbers) await publish({ channel: name, event: "n", data });
    }

    it("can leave and join again", async () => {
      const socket = await connect();
      const first = socket.id;
      const left = once(socket, "disconnect");
      socket.disconnect();
      assert.deepEqual((await left)[0], "io client disconnect");
      const back = once(socket, "connect");
      socket.connect();
      await back;
      assert.notEqual(socket.id, first);
      assert.equal(socket.recovered, false);
      await subscribe(socket, channel());
    });

    it("joins two namespaces over one connection", async () => {
      const main = await connect({ forceNew: false, multiplex: true });
      const admin = main.io.socket("/admin");
      sockets.push(admin);
      if (!admin.connected) await once(admin, "connect");
      assert.notEqual(admin.id, main.id);
      const room = channel();
      await subscribe(main, room);
      await subscribe(admin, room);
      const toMain = once(main, "e");
      const toAdmin = once(admin, "e");
      await publish({ channel: `$ns.admin.${room}`, event: "e", data: "admin" });
      await publish({ channel: room, event: "e", data: "main" });
      assert.equal((await toAdmin)[0], "admin");
      assert.equal((await toMain)[0], "main");
      admin.disconnect();
      const still = once(main, "e");
      await publish({ channel: room, event: "e", data: "still" });
      assert.equal((await still)[0], "still");
    });

    it("is told that a namespace does not exist", async () => {
      const socket = io(`${CLIENT_URL}/nowhere`, { forceNew: true, ...options });
      sockets.push(socket);
      const [error] = await once(socket, "connect_error");
      assert.equal(error.message, "Invalid namespace");
    });

    it("recovers what it missed after its connection was lost", async () => {
      const socket = await connect();
      const name = channel("log.");
      await subscribe(socket, name);
      const got = [];
      let wake = () => {};
      socket.on("n", (number) => {
        got.push(number);
        wake();
      });
      const until = (count) =>
        patiently(`${count} events, have ${got}`, (async () => {
          while (got.length < count) await new Promise((resolve) => (wake = resolve));
        })());
      await publish({ channel: name, event: "n", data: 0 });
      await until(1);
      for (let round = 1; round <= 5; round += 1) {
        const { id } = socket;
        const gone = once(socket, "disconnect");
        const back = once(socket, "connect");
        socket.io.engine.close();
        await gone;
        for (const step of [0, 1]) {
          await publish({ channel: name, event: "n", data: round * 2 - 1 + step });
        }
        await back;
        assert.equal(socket.recovered, true);
        assert.equal(socket.id, id);
        await until(1 + round * 2);
      }
      assert.deepEqual(got, Array.from({ length: 11 }, (_, index) => index));
      await publish({ channel: name, event: "n", data: 11 });
      await until(12);
    });

    it("recovers before its first event", async () => {
      const socket = await connect();
      const name = channel("log.");
      await subscribe(socket, name);
      const event = once(socket, "e");
      const gone = once(socket, "disconnect");
      const back = once(socket, "connect");
      socket.io.engine.close();
      await gone;
      await publish({ channel: name, event: "e", data: "missed" });
      await back;
      assert.equal(socket.recovered, true);
      assert.equal((await event)[0], "missed");
    });
  });
}
