// What every client suite needs: where the gateway is, how an app publishes,
// and how long a test waits.

import { connect, createServer } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";

function url(name) {
  const value = process.env[name];
  if (!value) {
    throw new Error(`${name} is not set: start a gateway and pass its URL, or use tests/run`);
  }
  return value.replace(/\/$/, "");
}

/** The client listener, `http://127.0.0.1:PORT`. */
export const CLIENT_URL = url("PUSH_TEST_CLIENT_URL");

/** The API listener. */
export const API_URL = url("PUSH_TEST_API_URL");

/** Longest wait for something that must happen, in milliseconds. */
export const PATIENCE = 20_000;

/** A channel that no other test of this run uses; those under `log.` have history. */
export function channel(prefix = "") {
  return `${prefix}${process.pid}.${Math.random().toString(36).slice(2)}`;
}

/** Publishes as an app does; the answer. */
export async function publish(body) {
  const response = await fetch(`${API_URL}/v1/publish`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(body),
  });
  const text = await response.text();
  if (response.status !== 200) throw new Error(`publish: ${response.status} ${text}`);
  return JSON.parse(text);
}

/** Waits for a promise, at most PATIENCE. */
export async function patiently(what, promise) {
  const limit = new AbortController();
  try {
    return await Promise.race([
      promise,
      sleep(PATIENCE, undefined, { signal: limit.signal, ref: false }).then(() => {
        throw new Error(`waited ${PATIENCE} ms in vain for ${what}`);
      }),
    ]);
  } finally {
    limit.abort();
  }
}

/** Waits for an emitter's next event; its arguments. */
export function once(emitter, event) {
  return patiently(event, new Promise((resolve) => emitter.once(event, (...args) => resolve(args))));
}

/** A TCP connection to the client listener that can be cut: `{url, cut, unplug}`. */
export async function cable() {
  const ends = new Set();
  const server = createServer((here) => {
    const { hostname, port } = new URL(CLIENT_URL);
    const there = connect(Number(port), hostname);
    for (const end of [here, there]) {
      ends.add(end);
      end.on("close", () => ends.delete(end)).on("error", () => {});
    }
    here.pipe(there).pipe(here);
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  const cut = () => ends.forEach((end) => end.resetAndDestroy());
  return {
    url: `http://127.0.0.1:${server.address().port}`,
    cut,
    unplug() {
      cut();
      server.close();
    },
  };
}
