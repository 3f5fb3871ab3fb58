// A gateway with a configuration of its own, for tests that the common one
// can't serve.

import { spawn } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { patiently } from "../gateway.mjs";

const BINARY = process.env.PUSH_TEST_GATEWAY;
if (!BINARY) throw new Error("PUSH_TEST_GATEWAY is not set: pass the gateway, or use tests/run");

/** Starts it on ports that are free: `{urls: {client, api, admin}, stop}`. */
export async function ownGateway({ client, ...more }) {
  const folder = await mkdtemp(join(tmpdir(), "pushcluster-browser-"));
  const config = join(folder, "push.yaml");
  const listen = "127.0.0.1:0";
  await writeFile(config, JSON.stringify({
    client: { listen, ...client }, api: { listen }, admin: { listen }, ...more,
  }));
  const gateway = spawn(BINARY, ["--config", config], { stdio: ["ignore", "pipe", "inherit"] });
  const stop = async () => {
    gateway.kill("SIGINT");
    await rm(folder, { recursive: true, force: true });
  };
  const urls = {};
  try {
    await patiently("the gateway", (async () => {
      for await (const line of createInterface({ input: gateway.stdout })) {
        const [name, where] = line.split(/\s+/);
        urls[name] = where?.replace(/\/$/, "");
        if (name === "admin") return;
      }
      throw new Error("the gateway ended");
    })());
  } catch (error) {
    await stop();
    throw error;
  }
  gateway.stdout.resume();
  return { urls, stop };
}
