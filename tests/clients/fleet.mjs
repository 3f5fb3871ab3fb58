// Many clients of every kind, as apps would have them: they connect, subscribe,
// and come back by themselves for as long as they run. Each notes the numbers
// that it saw, channel by channel, in the order of their arrival.
//
//   node fleet.mjs PLAN
//
// PLAN is JSON: {"url": "http://…", "clients": [{"kind": …, "channels": […]}]}.
// Kinds: `default`, `polling`, `websocket` (socket.io-client with those
// transports), `plain` (`/ws`), `sse`. A publication is the event `n` with the
// data {"channel": …, "n": …}.
//
// It prints {"ready": COUNT} when all are subscribed. A line on its standard
// input, {"last": {channel: n}, "within": ms}, says what each must have seen
// before it ends. Then it prints what each saw, a line each, and exits.

import { once } from "node:events";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { io } from "socket.io-client";
import { WebSocket } from "ws";

/** How long a client that could not connect waits, as the official one's default. */
const retryDelay = () => 500 + Math.random() * 1000;

/** What one client saw, and what happened to it. */
class Client {
  constructor(kind, channels) {
    this.kind = kind;
    this.channels = channels;
    this.seen = Object.fromEntries(channels.map((channel) => [channel, []]));
    this.connects = 0;
    this.recovered = 0;
    this.notes = [];
    this.stopped = false;
  }

  saw(channel, n) {
    if (this.seen[channel]) this.seen[channel].push(n);
    else this.note(`a publication of ${channel}, to which it is not subscribed`);
  }

  note(text) {
    if (this.notes.length < 20) this.notes.push(`${new Date().toISOString()} ${text}`);
  }

  has(last) {
    return this.channels.every((channel) => !(channel in last) || this.seen[channel].at(-1) === last[channel]);
  }
}

/** The official client; recovery is its own affair. */
class SocketIo extends Client {
  start(url) {
    const transports = this.kind === "default" ? undefined : [this.kind];
    this.socket = io(url, { transports, forceNew: true, reconnectionDelayMax: 2000 });
    this.socket.on("n", (data) => this.saw(data.channel, data.n));
    this.socket.on("push:unsubscribed", (data) => this.note(`unsubscribed: ${JSON.stringify(data)}`));
    this.socket.on("connect_error", async (error) => {
      if (this.socket.active) return; // It tries again by itself.
      this.note(`refused: ${error.message}`);
      await sleep(retryDelay());
      this.socket.connect();
    });
    this.socket.on("disconnect", (reason) => {
      if (reason === "io server disconnect") this.note("sent away");
    });
    return new Promise((resolve) => {
      this.socket.on("connect", async () => {
        this.connects += 1;
        if (this.socket.recovered) this.recovered += 1;
        else if (this.connects > 1) this.note("connected, but not recovered");
        if (this.socket.recovered) return;
        await this.subscribe();
        resolve();
      });
    });
  }

  async subscribe() {
    for (const channel of this.channels) {
      for (;;) {
        try {
          const answer = await this.socket.timeout(10_000).emitWithAck("push:subscribe", channel);
          if (answer.ok) break;
          this.note(`subscribe: ${JSON.stringify(answer.error)}`);
        } catch (error) {
          this.note(`subscribe: ${error.message}`);
        }
        await sleep(retryDelay());
      }
    }
  }

  stop() {
    this.socket.disconnect();
  }
}

/** `/ws`: keeps one place for each channel, as docs/clients.md says. */
class Plain extends Client {
  places = new Map();

  async start(url) {
    for (const channel of this.channels) this.places.set(channel, undefined);
    let ready;
    const subscribed = new Promise((resolve) => (ready = resolve));
    this.run(`${url.replace("http", "ws")}/ws`, ready);
    return subscribed;
  }

  async run(target, ready) {
    while (!this.stopped) {
      await this.connection(target, ready);
      await sleep(retryDelay());
    }
  }

  async connection(target, ready) {
    const socket = new WebSocket(target);
    const answered = new Set();
    this.ws = socket;
    // The close that follows says all that is needed.
    socket.on("error", () => {});
    socket.on("open", () => {
      this.connects += 1;
      this.channels.forEach((channel, id) => {
        socket.send(JSON.stringify({ id, subscribe: { channel, since: this.places.get(channel) } }));
      });
    });
    socket.on("message", (bytes) => {
      const frame = JSON.parse(bytes);
      if (frame.error) {
        this.note(`subscribe: ${JSON.stringify(frame.error)}`);
        socket.close();
      } else if (frame.ok) {
        const channel = this.channels[frame.id];
        answered.add(channel);
        const lost = this.places.get(channel) && !frame.ok.recovered;
        if (lost) this.note(`${channel} not recovered`);
        else if (this.places.get(channel)) this.recovered += 1;
        if (lost || !this.places.get(channel)) this.places.set(channel, frame.ok.offset);
        if (answered.size === this.channels.length) ready();
      } else if (frame.channel) {
        this.places.set(frame.channel, frame.offset);
        if (frame.event === "n") this.saw(frame.channel, frame.data.n);
      } else if (frame.offset) {
        for (const channel of answered) this.places.set(channel, frame.offset);
      }
    });
    await once(socket, "close");
  }

  stop() {
    this.stopped = true;
    this.ws?.close();
  }
}

/** SSE, by the rules of the HTML standard: `Last-Event-ID`, `retry`. */
class Sse extends Client {
  async start(url) {
    const query = this.channels.map((channel) => `channel=${encodeURIComponent(channel)}`).join("&");
    let ready;
    const subscribed = new Promise((resolve) => (ready = resolve));
    this.run(`${url}/sse?${query}`, ready);
    return subscribed;
  }

  async run(target, ready) {
    while (!this.stopped) {
      try {
        await this.connection(target, ready);
      } catch {
        // As above.
      }
      await sleep(retryDelay());
    }
  }

  async connection(target, ready) {
    this.abort = new AbortController();
    const headers = this.lastId === undefined ? {} : { "last-event-id": this.lastId };
    const response = await fetch(target, { headers, signal: this.abort.signal });
    if (response.status !== 200) {
      this.note(`answered ${response.status}: ${await response.text()}`);
      return;
    }
    this.connects += 1;
    let text = "";
    for await (const chunk of response.body.pipeThrough(new TextDecoderStream())) {
      text += chunk;
      for (;;) {
        const end = text.indexOf("\n\n");
        if (end < 0) break;
        this.block(text.slice(0, end), ready);
        text = text.slice(end + 2);
      }
    }
  }

  block(text, ready) {
    if (text === ": subscribed") ready();
    let event = "message";
    let data = "";
    for (const line of text.split("\n")) {
      const [, field, value] = /^([^:]*):? ?(.*)$/.exec(line);
      if (field === "id") this.lastId = value;
      if (field === "event") event = value;
      if (field === "data") data += value;
    }
    if (event === "n") {
      const message = JSON.parse(data);
      this.saw(message.channel, message.data.n);
    } else if (event === "push:recovered") {
      this.note(`not recovered: ${data}`);
    }
  }

  stop() {
    this.stopped = true;
    this.abort?.abort();
  }
}

const kinds = { default: SocketIo, polling: SocketIo, websocket: SocketIo, plain: Plain, sse: Sse };
const plan = JSON.parse(process.argv[2]);
const clients = plan.clients.map(({ kind, channels }) => new kinds[kind](kind, channels));
await Promise.all(clients.map((client) => client.start(plan.url)));
console.log(JSON.stringify({ ready: clients.length }));

const [line] = await once(createInterface({ input: process.stdin }), "line");
const { last, within } = JSON.parse(line);
const end = Date.now() + within;
while (Date.now() < end && !clients.every((client) => client.has(last))) await sleep(50);
// What comes twice would come now.
await sleep(500);
for (const client of clients) {
  client.stop();
  const { kind, connects, recovered, seen, notes } = client;
  console.log(JSON.stringify({ kind, connects, recovered, seen, notes }));
}
process.stdout.write("", () => process.exit(0));
