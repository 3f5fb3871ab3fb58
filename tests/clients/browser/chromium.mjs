// A page in headless Chromium, served from an origin of its own.

import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { chromium } from "playwright-core";

const BUNDLE = new URL("../node_modules/socket.io-client/dist/socket.io.min.js", import.meta.url);

/** Debian's Chromium, or the one that CHROMIUM names. Browsers are never downloaded. */
const EXECUTABLE = process.env.CHROMIUM ?? "/usr/bin/chromium";

const FLAGS = [
  "--headless",
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

/** Opens a browser; `page(html)` opens a page, of another host than `localhost` if it
 * is named, `close()` ends it all. */
export async function browser() {
  if (!existsSync(EXECUTABLE)) {
    throw new Error(`${EXECUTABLE} is not there: apt-get install chromium, or set CHROMIUM`);
  }
  const pages = new Map();
  const server = createServer(async (request, response) => {
    if (request.url === "/socket.io.min.js") {
      response.writeHead(200, { "content-type": "text/javascript" }).end(await readFile(BUNDLE));
    } else if (pages.has(request.url)) {
      response.writeHead(200, { "content-type": "text/html; charset=utf-8" });
      response.end(pages.get(request.url));
    } else {
      response.writeHead(404).end();
    }
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  const origin = `http://localhost:${server.address().port}`;
  const chrome = await chromium.launch({ executablePath: EXECUTABLE, args: FLAGS });
  return {
    origin,
    async page(html, host = "localhost") {
      const path = `/page-${pages.size}`;
      pages.set(path, html);
      const context = await chrome.newContext();
      // Only this machine: what the page asks of others is answered from
      // node_modules or not at all.
      await context.route(
        (url) => !/(^|\.)localhost$|^127\.0\.0\.1$/.test(url.hostname),
        async (route) => {
          if (/\/socket\.io(\.min)?\.js$/.test(new URL(route.request().url()).pathname)) {
            const body = await readFile(BUNDLE);
            await route.fulfill({
              contentType: "text/javascript",
              headers: { "access-control-allow-origin": "*" },
              body,
            });
          } else {
            await route.abort();
          }
        },
      );
      const page = await context.newPage();
      page.problems = [];
      page.on("pageerror", (error) => page.problems.push(String(error)));
      page.on("console", (message) => {
        if (message.type() === "error") page.problems.push(message.text());
      });
      await page.goto(`${origin.replace("localhost", host)}${path}`);
      return page;
    },
    async close() {
      await chrome.close();
      server.close();
    },
  };
}
