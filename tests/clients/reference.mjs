#!/usr/bin/env node
// The reference server in the gateway's place, to check the protocol suites
// themselves: what they demand of the gateway must hold there too.
//
//   PUSH_GATEWAY_BIN=tests/clients/reference.mjs cargo test -p tests --test engineio
//
// It takes the configuration as JSON (which is YAML too) and prints the same
// lines. Any event with an ack id is refused as an event without a handler.

import { createServer } from "node:http";
import { readFileSync } from "node:fs";
import { Server } from "socket.io";

const at = process.argv.indexOf("--config");
const config = at > 0 ? JSON.parse(readFileSync(process.argv[at + 1], "utf8")) : {};
const settings = config.socketio ?? {};

function milliseconds(text, otherwise) {
  const parts = /^(\d+)(ms|s|m)$/.exec(text ?? "");
  return parts ? Number(parts[1]) * { ms: 1, s: 1000, m: 60000 }[parts[2]] : otherwise;
}

const http = createServer((request, response) => response.writeHead(404).end());
const io = new Server(http, {
  pingInterval: milliseconds(settings.pingInterval, 25000),
  pingTimeout: milliseconds(settings.pingTimeout, 20000),
  upgradeTimeout: milliseconds(settings.upgradeTimeout, 10000),
  connectTimeout: milliseconds(settings.connectTimeout, 45000),
  maxHttpBufferSize: settings.maxPayload ?? 1e6,
  cors: { origin: "*" },
  ...(settings.recovery === "off" ? {} : { connectionStateRecovery: {} }),
});
for (const namespace of settings.namespaces ?? ["/"]) {
  io.of(namespace).on("connection", (socket) => {
    socket.onAny((event, ...args) => {
      const ack = args.at(-1);
      if (typeof ack === "function") {
        ack({ error: { code: "no_handler", message: `no handler for ${event}`, retry: false } });
      }
    });
  });
}

http.listen(0, "127.0.0.1", () => {
  const url = `http://127.0.0.1:${http.address().port}`;
  for (const name of ["client ", "api    ", "admin  "]) console.log(`${name} ${url}`);
});
