// Every fenced block of README.md is executed, as it is written there.
//
// An HTML comment right above a block says how; a block without one fails:
//
//   run                         runs to its end, which must be a good one
//   run: background, until: X   runs on; the test goes on when X was printed
//   run: browser, until: X      a page in Chromium; goes on when X is on it
//   run: config                 must be a valid configuration file
//   run: this                   the command that runs this test, here and now
//   output                      the last command has printed these lines
//   output: N                   the command before the Nth-last, and so on
//   page                        the page shows these lines
//
// The default ports are used if they are free; else others, and their numbers
// are put where the README has the default ones.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, it } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { browser } from "../browser/chromium.mjs";

const ROOT = fileURLToPath(new URL("../../../", import.meta.url));

/** Longest waits, in milliseconds: for a block that builds, and for others. */
const BUILD = 40 * 60_000;
const PATIENCE = 30_000;

const DEFAULT_PORTS = [8080, 8081, 9090];

/** The blocks of a Markdown text: line, language, directive, text. */
function blocksOf(markdown) {
  const lines = markdown.split("\n");
  const blocks = [];
  for (let at = 0; at < lines.length; at += 1) {
    const fence = /^```(.*)$/.exec(lines[at]);
    if (!fence) continue;
    const above = /^<!-- (.*) -->$/.exec(lines[at - 1] ?? "");
    const end = lines.indexOf("```", at + 1);
    assert.ok(end > at, `README.md:${at + 1}: the block has no end`);
    blocks.push({
      line: at + 1,
      language: fence[1],
      directive: above ? above[1] : "",
      text: `${lines.slice(at + 1, end).join("\n")}\n`,
    });
    at = end;
  }
  return blocks;
}

function isFree(port) {
  return new Promise((resolve) => {
    const server = createServer();
    server.once("error", () => resolve(false));
    server.listen(port, "127.0.0.1", () => server.close(() => resolve(true)));
  });
}

async function freePort() {
  return new Promise((resolve) => {
    const server = createServer();
    server.listen(0, "127.0.0.1", () => {
      const { port } = server.address();
      server.close(() => resolve(port));
    });
  });
}

async function until(what, ask, patience = PATIENCE) {
  const end = Date.now() + patience;
  while (!(await ask())) {
    if (Date.now() > end) throw new Error(`waited in vain for ${what()}`);
    await sleep(50);
  }
}

describe("README.md", () => {
  const blocks = blocksOf(readFileSync(join(ROOT, "README.md"), "utf8"));
  const folder = mkdtempSync(join(tmpdir(), "pushcluster-readme-"));
  const commands = [];
  const ports = new Map();
  let chrome;
  let page;

  function clean() {
    for (const command of commands) command.end();
    rmSync(folder, { recursive: true, force: true });
  }

  after(async () => {
    await chrome?.close();
    clean();
  });
  // Interrupted, it leaves nothing behind either.
  for (const signal of ["SIGINT", "SIGTERM"]) {
    process.once(signal, () => {
      clean();
      process.exit(1);
    });
  }

  /** A block's text with the ports that are really used. */
  function here(text) {
    return text.replace(/127\.0\.0\.1:(\d+)/g, (address, port) => {
      return ports.has(port) ? `127.0.0.1:${ports.get(port)}` : address;
    });
  }

  /** Starts a bash block in a process group of its own. */
  function start(text) {
    const env = { ...process.env };
    if (ports.size) {
      const at = (port) => `127.0.0.1:${ports.get(String(port))}`;
      env.PUSH_CLIENT_LISTEN = at(8080);
      env.PUSH_API_LISTEN = at(8081);
      env.PUSH_ADMIN_LISTEN = at(9090);
      if (text.includes("-- publish")) text = text.replace("-- publish", `-- publish --api-url http://${at(8081)}`);
    }
    const child = spawn("bash", ["-euo", "pipefail", "-c", here(text)], {
      cwd: ROOT,
      env,
      detached: true,
      stdio: ["ignore", "pipe", "pipe"],
    });
    const command = { text, output: "", errors: "", code: undefined };
    child.stdout.on("data", (chunk) => (command.output += chunk));
    child.stderr.on("data", (chunk) => (command.errors += chunk));
    child.on("exit", (code, signal) => (command.code = signal ?? code));
    command.end = () => {
      if (command.code === undefined) process.kill(-child.pid, "SIGTERM");
    };
    commands.push(command);
    return command;
  }

  /** Asserts that each line was printed, in this order. */
  function assertLines(expected, output, what) {
    let from = 0;
    const lines = output.split("\n").map((line) => line.trim());
    for (const line of here(expected).trim().split("\n")) {
      const at = lines.indexOf(line.trim(), from);
      assert.ok(at >= 0, `${what}: no line ${JSON.stringify(line)} in\n${output}`);
      from = at + 1;
    }
  }

  it("has blocks, and each says how it is run", () => {
    assert.ok(blocks.length > 5);
    for (const { line, directive } of blocks) {
      assert.notEqual(directive, "", `README.md:${line}: no directive above the block`);
    }
  });

  it("has the default ports, or others", async () => {
    const free = await Promise.all(DEFAULT_PORTS.map(isFree));
    if (!free.every(Boolean)) {
      for (const port of DEFAULT_PORTS) ports.set(String(port), await freePort());
      console.log("# the default ports are taken; the README is run with others");
    }
  });

  for (const { line, language, directive, text } of blocks) {
    const patience = text.includes("cargo ") ? BUILD : PATIENCE;
    it(`line ${line}: ${text.trim().split("\n")[0]}`, { timeout: BUILD }, async () => {
      const [kind, word] = directive.split(", until: ");
      switch (kind) {
        case "run": {
          assert.equal(language, "bash");
          const command = start(text);
          await until(() => text, () => command.code !== undefined, patience);
          assert.equal(command.code, 0, command.output + command.errors);
          assert.doesNotMatch(command.output, /"status": ?[45]/, "a problem instead of an answer");
          break;
        }
        case "run: background": {
          assert.equal(language, "bash");
          const command = start(text);
          await until(
            () => `${JSON.stringify(word)}: ${command.output}${command.errors}`,
            () => {
              assert.equal(command.code, undefined, `it ended: ${command.output}${command.errors}`);
              return command.output.includes(word);
            },
            patience,
          );
          break;
        }
        case "run: browser": {
          assert.equal(language, "html");
          chrome = await browser();
          page = await chrome.page(here(text));
          await page.waitForFunction((word) => document.body.innerText.includes(word), word);
          assert.deepEqual(page.problems, []);
          break;
        }
        case "run: config": {
          const file = join(folder, "push.yaml");
          writeFileSync(file, text);
          const command = start(`cargo run --release -q -p gateway -- config check ${file}`);
          await until(() => text, () => command.code !== undefined, BUILD);
          assert.equal(command.code, 0, command.errors);
          break;
        }
        case "run: this": {
          // It is what runs this test; by hand, it is at least there.
          const path = text.trim();
          assert.equal(text, `${path}\n`, "one command");
          assert.ok(existsSync(join(ROOT, path)), path);
          assert.match(readFileSync(join(ROOT, ".ci/run"), "utf8"), new RegExp(`^(exec )?${path}$`, "m"));
          break;
        }
        case "page": {
          const last = text.trim().split("\n").at(-1);
          await page.waitForFunction((word) => document.body.innerText.includes(word), last);
          assertLines(text, await page.evaluate(() => document.body.innerText), "the page");
          break;
        }
        default: {
          const which = /^output(?:: (\d+))?$/.exec(directive);
          assert.ok(which, `README.md:${line}: no such directive: ${directive}`);
          const command = commands.at(-Number(which[1] ?? 1));
          const last = here(text).trim().split("\n").at(-1);
          await until(() => `${last} in ${command.output}`, () => command.output.includes(last));
          assertLines(text, command.output, command.text.trim());
        }
      }
    });
  }
});
